# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which programs of a host are news, and nobody's."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from services.node_executor.unmanaged import MAX_NEW, Loaded, arrivals, drift_id, is_nobodys
from shared.contracts.ebpf import EbpfOwner, EbpfProgram

FAMILY = PurePosixPath("/sys/fs/bpf/l3af")


def test_the_oldest_news_come_first_and_the_rest_later() -> None:
    """A storm of programs is taken in pieces, and none is left out."""
    programs = [Loaded(number, 1000 - number) for number in range(1, 40)]
    known: set[Loaded] = set()
    sizes = []
    while news := arrivals(known, programs):
        assert list(news) == sorted(news, key=lambda one: one.loaded_ns)
        sizes.append(len(news))
        known |= set(news)

    assert sizes == [MAX_NEW, MAX_NEW, 39 - 2 * MAX_NEW]


def test_a_number_that_is_used_again_is_another_program() -> None:
    """Ids begin anew with each boot, and go round."""
    assert arrivals({Loaded(7, 100)}, [Loaded(7, 200)]) == (Loaded(7, 200),)
    assert drift_id("n1", "boot", Loaded(7, 100)) != drift_id("n1", "boot", Loaded(7, 200))
    assert drift_id("n1", "boot", Loaded(7, 100)) != drift_id("n1", "other", Loaded(7, 100))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"managed": True}, False),
        ({"pins": ("/sys/fs/bpf/l3af/other-node/eth0/xdp/link",)}, False),
        ({"pins": ("/sys/fs/bpf/theirs",)}, True),
        ({"owners": (EbpfOwner(pid=10),)}, False),
        ({"owners": (EbpfOwner(pid=10), EbpfOwner(pid=11))}, True),
        ({"owners": (EbpfOwner(pid=11),)}, True),
    ],
)
def test_what_executors_hold_is_not_nobodys(fields: dict[str, Any], expected: bool) -> None:
    """What they manage, pinned, or are loading; process 10 is one."""
    program = EbpfProgram(id=7, type="xdp", **fields)

    assert is_nobodys(program, executors={10}, family=FAMILY) == expected
