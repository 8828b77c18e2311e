# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What executor and companion supervisor say to one another."""

from __future__ import annotations

import msgspec
import pytest

from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    ApplyCompanions,
    AskEvents,
    CompanionCommand,
    CompanionReply,
    CompanionRequest,
    CompanionSpec,
    States,
    encode_line,
)

SPEC = CompanionSpec(
    id="default/lan1/xdp/guard/exporter",
    name="exporter",
    start=CompanionCommand(sha256="a" * 64, path="/cache/exporter", arguments=("--port=9100",)),
    maps={"packets": 7},
)


@pytest.mark.parametrize("request_", [ApplyCompanions(instances=(SPEC,)), AskEvents(since=3)])
def test_a_request_is_one_line_and_the_same_when_read(request_: CompanionRequest) -> None:
    """Whoever reads the line has the request."""
    line = encode_line(request_)

    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line, type=CompanionRequest) == request_


def test_a_reply_says_what_it_is() -> None:
    """No field has to be guessed from."""
    assert msgspec.json.decode(encode_line(States()), type=CompanionReply) == States()


def test_where_an_executable_lies_makes_no_other_companion() -> None:
    """A cache that moved starts nothing anew; other bytes, arguments or maps are another wish."""
    moved = msgspec.structs.replace(
        SPEC, start=msgspec.structs.replace(SPEC.start, path="/elsewhere/exporter")
    )
    other = msgspec.structs.replace(SPEC, maps={"packets": 8})

    assert spec_digest(moved) == spec_digest(SPEC)
    assert spec_digest(other) != spec_digest(SPEC)


def test_a_number_that_no_event_can_have_is_refused() -> None:
    """What is acknowledged is what later events are counted from, and a file holds so much."""
    line = encode_line(AskEvents(since=1 << 62))

    with pytest.raises(msgspec.ValidationError, match="since"):
        msgspec.json.decode(line, type=CompanionRequest)
