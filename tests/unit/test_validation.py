# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What others wrote: typed, or refused with everything that is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.contracts.catalog import WriteArtifact
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.scheduler import ApplyDeployment, LabelNode
from shared.errors import Reason, RefusedError
from shared.validation import MAX_DEPTH, MAX_REASONS, convert_document, decode_document

SPEC = {"name": "edge", "package": "limit", "hook": "xdp", "interfaces": ["eth*"]}


def refusal_of(document: Any, kind: type[Any] = ApplyDeployment) -> RefusedError:
    """The refusal that a document gets."""
    data = document if isinstance(document, bytes) else msgspec.json.encode(document)
    with pytest.raises(RefusedError) as refused:
        decode_document(data, kind, what="request")
    assert refused.value.refusal_code == "invalid_request"
    return refused.value


def paths_of(error: RefusedError) -> set[str]:
    """Where the problems are."""
    return {reason.path for reason in error.reasons}


def test_good_document_becomes_its_value() -> None:
    """Defaults are filled in and nested types are typed."""
    spec = decode_document(msgspec.json.encode(SPEC), DeploymentSpec, what="file")

    assert spec.interfaces == ("eth*",)
    assert spec.order is None
    assert spec.version == "*"


def test_of_a_choice_the_problems_are_those_of_what_was_chosen() -> None:
    """A tag says what the rest has to be; without one, those that there are are told."""
    error = refusal_of(
        {
            **SPEC,
            "attach": [
                {"kind": "cgroup", "path": "relative", "symbol": "main"},
                {"name": "sched_switch"},
                {"kind": "hprobe"},
                "sched_switch",
            ],
        },
        DeploymentSpec,
    )

    found = {one.path: one for one in error.reasons}
    assert found.keys() == {
        *("attach[0].path", "attach[0].symbol", "attach[0].attach"),
        *("attach[1].kind", "attach[2].kind", "attach[3]"),
    }
    assert "tracepoint" in found["attach[1].kind"].allowed
    assert found["attach[2].kind"].got == "hprobe"


def test_every_problem_is_named_with_its_path() -> None:
    """Unknown, missing, mistyped and out of range, at every depth, in one refusal."""
    error = refusal_of(
        {
            "reasn": "typo",
            "spec": {
                "name": "Edge",
                "package": 5,
                "hook": "xpd",
                "interfaces": [],
                "order": 70000,
                "nodes": {"labels": {"zone one": "a", "ok": "b c"}, "names": ["*", 7]},
                "config": {"limits": [1]},
                "metrics": {"dropped": {"key": "0"}},
            },
        }
    )

    assert paths_of(error) == {
        "reasn",
        "spec.name",
        "spec.package",
        "spec.hook",
        "spec.interfaces",
        "spec.order",
        'spec.nodes.labels["zone one"]',
        "spec.nodes.labels.ok",
        "spec.nodes.names[1]",
        "spec.config.limits",
        "spec.metrics.dropped.map",
    }
    assert error.message.startswith("request: 11 problems, first: reasn: is not a known field")


def test_reason_says_what_was_found_and_what_would_do() -> None:
    """Enough to correct the document without another document."""
    (reason,) = refusal_of({"spec": SPEC | {"order": 70000}}).reasons

    assert reason == Reason(
        path="spec.order",
        rule="expected `int` <= 1000",
        got=70000,
        allowed="at least 0, at most 1000",
    )


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not UTF-8"),
        (b'\xef\xbb\xbf{"node": "n1"}', "BOM"),
        (b'{"\xed\xa0\x80node": "n1"}', "not UTF-8"),
        (b'{"node": "n1"}'.decode().encode("utf-16"), "not UTF-8"),
        (b"[]", "object"),
        (b'{"node": "n1", "node": "n2"}', "twice"),
        (b'{"node": "n1", "set": {"a": "b", "a": "c"}}', "twice"),
        (b'{"node": NaN}', "NaN"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deeply"),
        (b"9" * 5000, "out of range"),
        (b'{"node": "n1"} x', "not JSON"),
    ],
)
def test_unreadable_documents_are_refusals_too(data: bytes, words: str) -> None:
    """Nothing that arrives raises anything else."""
    error = refusal_of(data, LabelNode)

    assert words in f"{error.message} {error.reasons}"


def test_final_line_feed_is_not_part_of_a_name() -> None:
    """`$` in a pattern matches before it, and it would end up in a subject."""
    error = refusal_of({"node": "n1\n", "command_id": "12345678\n"}, LabelNode)

    assert paths_of(error) == {"node", "command_id"}


def test_refusal_can_always_be_sent() -> None:
    """Lone surrogates, huge values and huge names come back short and encodable."""
    error = refusal_of(
        b'{"node": "\\ud800' + b"x" * 100_000 + b'", "' + b"y" * 100_000 + b'": 1}', LabelNode
    )

    assert len(msgspec.json.encode(error.refusal())) < 2000


def test_number_of_reasons_is_limited() -> None:
    """A hostile document does not make a refusal of its own size; the count is still true."""
    error = refusal_of({"node": "n1"} | {f"x{number}": 1 for number in range(5000)}, LabelNode)

    assert len(error.reasons) == MAX_REASONS
    assert "5000 problems" in error.message


def test_bytes_are_base64() -> None:
    """As msgspec and other languages write them."""
    request = {"sha256": "0" * 64, "size_bytes": 2, "offset_bytes": 0, "data": "aGk="}

    assert decode_document(msgspec.json.encode(request), WriteArtifact, what="r").data == b"hi"
    assert paths_of(refusal_of(request | {"data": "*"}, WriteArtifact)) == {"data"}


def test_plain_objects_are_converted_with_the_same_promise() -> None:
    """As TOML gives them."""
    assert convert_document(SPEC, DeploymentSpec, what="file").hook == "xdp"
    with pytest.raises(RefusedError) as refused:
        convert_document(SPEC | {"order": -1, "extra": 1}, DeploymentSpec, what="edge.toml")

    assert paths_of(refused.value) == {"order", "extra"}
    assert refused.value.message.startswith("edge.toml: 2 problems")


def test_nesting_up_to_the_limit_is_read_and_can_be_written() -> None:
    """Whatever passes here is no trouble to an encoder later."""
    nested: Any = 1
    for _ in range(MAX_DEPTH - 5):
        nested = [nested]

    request = decode_document(
        msgspec.json.encode({"spec": SPEC | {"config": {"m": {"k": nested}}}}),
        ApplyDeployment,
        what="request",
    )

    assert msgspec.json.encode(request)


def test_what_an_optional_field_takes_is_named() -> None:
    """Null beside it says nothing to whoever mistyped a word."""
    error = refusal_of({**SPEC, "link": {"attach": "nativ", "position": "top"}}, DeploymentSpec)

    allowed = {reason.path: reason.allowed for reason in error.reasons}
    assert allowed["link.attach"] == ["auto", "native", "generic", "offload", "tcx", "cls_bpf"]
    assert "before|after" in allowed["link.position"]
