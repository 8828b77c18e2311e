# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a version may enter its channels, as a conversation with the nodes that try it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.catalog.config import kernels_by_channel
from services.catalog.release_gate import (
    GRACE_SECONDS,
    Asked,
    Demands,
    Standing,
    Verifier,
    choose_verifiers,
    gated,
    judge,
    ordered_anew,
    settled,
)
from services.catalog.resolution import VersionUnsatisfiedError, resolve
from services.catalog.verification_reports import (
    MAX_RESULTS_BYTES,
    NobodyVerifiesError,
    awaited,
    check_verifiers,
    matrix,
    replaced,
    settlement_events,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.node import NodeRecord
from shared.contracts.package_manifest import Needs
from shared.contracts.scheduler import NodeLabels
from shared.contracts.verification import ProgramVerified, VerificationReport
from shared.dsse import manifest_digest
from shared.errors import RefusedError
from tests.package_builders import NOW, a_program, a_record_of, a_version

SECONDS = 60
NODES = {
    "a": Verifier("a", "6.18.0", "x86_64", frozenset({"tcx"})),
    "b": Verifier("b", "5.15.0", "x86_64", frozenset({"bcc", "tracepoint"})),
}


def _waiting(*channels: str, **demands: int) -> PackageVersion:
    version = a_version(channels=channels or ("stable",))
    return gated(version, Demands(1, demands), now=NOW)


def _report(version: PackageVersion, node: str = "a", **changes: Any) -> VerificationReport:
    assert version.gate is not None
    fields = {
        "node": node,
        "kernel": NODES[node].kernel if node in NODES else "4.4.0",
        "machine": "x86_64",
        "package": "one",
        "version": version.version,
        "manifest_sha256": manifest_digest(version.signed),
        "order": version.gate.order,
        "outcome": "passed",
        "at": "2026-03-01T12:00:01Z",
    }
    return VerificationReport(**{**fields, **changes})


def _judged(
    version: PackageVersion,
    *reports: VerificationReport,
    after_seconds: float = 1,
    lapsed: tuple[str, ...] = (),
    nodes: Mapping[str, Verifier] = NODES,
    **asked: Asked,
) -> Standing:
    return judge(
        version,
        manifest_sha256=manifest_digest(version.signed),
        verifiers=nodes,
        reports=reports,
        asked=asked,
        now=NOW + timedelta(seconds=after_seconds),
        trial_seconds=SECONDS,
        lapsed=lapsed,
    )


RUNNING = Asked("running", NOW)
SILENT = Asked("silent", NOW, "node b is not answering")


def test_a_channel_that_demands_nothing_takes_a_version_at_once() -> None:
    """The gate stands before the others alone, and is not there if nobody demands anything."""
    both = _waiting("stable", "canary", canary=0)

    assert (both.channels, awaited(both)) == (("canary",), {"stable": 1})
    assert gated(a_version(), Demands(), now=NOW) == a_version()


def test_what_waits_cannot_be_resolved() -> None:
    """It is stored, and no deployment gets it."""
    record = a_record_of(_waiting())

    with pytest.raises(VersionUnsatisfiedError) as caught:
        resolve(record, name="one", constraint="*", channel="stable")
    assert caught.value.reasons[0].rule.endswith("; 1.0.0 waits there to be verified on kernels")


def test_a_node_that_is_at_it_is_waited_for() -> None:
    """Enough kernels have passed, and still another one's verdict is coming."""
    version = _waiting()
    report = _report(version)

    assert _judged(version, report, b=RUNNING).releases == ()
    assert _judged(version, report).releases == ()
    assert _judged(version, report, b=Asked("waiting", NOW)).releases == ()


def test_a_node_that_vanished_is_not_waited_for() -> None:
    """One that does not answer, or whose time is over, blocks nobody."""
    version = _waiting()
    report = _report(version)
    late = SECONDS + GRACE_SECONDS

    assert _judged(version, report, b=SILENT).releases == ("stable",)
    overdue = _judged(version, report, b=RUNNING, after_seconds=late)
    assert (overdue.releases, overdue.nodes["b"]) == (("stable",), "overdue")


def test_a_failure_keeps_a_version_out_of_every_channel() -> None:
    """Whoever else passed it, with the failure's first line."""
    version = _waiting("stable", "canary")
    failure = _report(
        version,
        "b",
        outcome="failed",
        results=(
            ProgramVerified(
                test="t", program="one", hook="xdp", has_passed=False, problem="R1 invalid"
            ),
        ),
    )

    standing = _judged(version, _report(version), failure)

    assert (standing.state, standing.releases) == ("failed", ())
    assert standing.waits_for == ("node b (Linux 5.15.0) says no: R1 invalid",)
    after = settled(version, standing)
    assert after.channels == ()
    assert not _judged(after, after_seconds=1000).is_open


def test_a_version_waits_for_a_waiver_that_has_ended() -> None:
    """Its kernels passed it, and the channel takes it once another waiver is in force."""
    waiting = _waiting()
    ended = _judged(waiting, _report(waiting), b=SILENT, lapsed=("licence-drift",))
    again = _judged(waiting, _report(waiting), b=SILENT)

    assert (ended.releases, ended.state, ended.is_open) == ((), "waiting", True)
    assert "breaks the licence rule licence-drift, and no waiver" in ended.waits_for[-1]
    assert again.releases == ("stable",)
    assert not any("licence rule" in sentence for sentence in again.waits_for)


def test_an_order_anew_forgets_what_was_said() -> None:
    """Reports of the first order count no more, and the version waits for what it waited for."""
    version = _waiting()
    failed = settled(version, _judged(version, _report(version, outcome="failed"), b=SILENT))
    anew = ordered_anew(failed, order="order-two", now=NOW)

    assert awaited(anew) == {"stable": 1}
    assert _judged(anew, _report(version)).fresh == ()
    assert _judged(anew, _report(anew), b=SILENT).releases == ("stable",)


def test_a_word_that_does_not_count() -> None:
    """Of a node without the label, of another order, about another manifest, or said twice."""
    version = _waiting()
    strangers = [
        _report(version, "c"),
        _report(version, order="another-order"),
        _report(version, manifest_sha256="0" * 64),
    ]

    assert _judged(version, *strangers, a=RUNNING, b=SILENT).fresh == ()
    once = settled(version, _judged(version, _report(version), b=RUNNING))
    assert _judged(once, _report(version), b=RUNNING).fresh == ()


def test_a_word_that_is_long_is_cut() -> None:
    """What a node may write into a package's record is bounded, whoever the node is."""
    version = _waiting()
    long = "6" * 300_000
    said = _report(version, kernel=long, machine=long, at=long, problem=long, outcome="failed")

    (verdict,) = _judged(version, said, b=SILENT).fresh

    assert len(msgspec.json.encode(verdict)) < 600


def test_two_nodes_on_one_kernel_are_one_witness() -> None:
    """Releases of kernels are counted, and what is missing is said with what to do."""
    version = gated(a_version(), Demands(2), now=NOW)
    same = _report(version, "b", kernel="6.18.0")

    standing = _judged(version, _report(version), same)

    assert (standing.releases, standing.state, standing.is_open) == ((), "waiting", True)
    assert standing.waits_for == (
        "passed on 1 of 2 different kernels (6.18.0); label a node on another kernel verifier=true",
    )
    assert _judged(version, _report(version), _report(version, "b")).releases == ("stable",)
    nobody = _judged(version, a=SILENT, b=SILENT).waits_for[-1]
    assert nobody == "passed on 0 of 2 different kernels; label a node verifier=true"


def test_verifiers_carry_the_label_and_were_not_given_up() -> None:
    """Labels of operators go before the node's own, and `false` is no."""

    def record(node: str, **labels: str) -> NodeRecord:
        return NodeRecord(
            node=node,
            hostname=node,
            architecture="x86_64",
            kernel="6.18.0",
            executor_version="1",
            boot_id="b",
            labels=labels,
        )

    records = [
        record("own", verifier=""),
        record("not"),
        record("no", verifier="false"),
        record("gone", verifier="true"),
        record("set"),
        record("unset", verifier="true"),
    ]
    labels = {
        "gone": NodeLabels(node="gone", labels={}, forgotten=True),
        "set": NodeLabels(node="set", labels={"verifier": "true"}),
        "unset": NodeLabels(node="unset", labels={"verifier": "false"}),
    }

    assert list(choose_verifiers(records, labels)) == ["own", "set"]
    with pytest.raises(NobodyVerifiesError):
        check_verifiers({})


def test_every_verdict_and_every_release_is_an_event_of_its_own() -> None:
    """In this order, following from the command that ordered the verification."""
    version = _waiting()
    standing = _judged(version, _report(version), _report(version, "b"))

    events = list(settlement_events(version, standing))

    assert [(one.action, one.outcome, one.node) for one in events] == [
        ("package.verify", "succeeded", "a"),
        ("package.verify", "succeeded", "b"),
        ("package.release", "succeeded", ""),
    ]
    assert {one.correlation for one in events} == {version.command_id}
    assert events[-1].details["kernels"] == ["6.18.0", "5.15.0"]
    record = replaced(
        a_record_of(version),
        settled(version, standing),
        command_id="command-settle",
    )
    assert resolve(record, name="one", constraint="*", channel="stable").version == "1.0.0"


def test_results_that_have_no_room_are_counted() -> None:
    """A matrix is one message, however many tests there are."""
    version = _waiting()
    result = ProgramVerified(
        test="t" * 200, program="one", hook="xdp", has_passed=True, problem="p" * 300
    )
    reports = {node: _report(version, node, results=(result,) * 600) for node in NODES}
    standing = _judged(version, *reports.values())

    shown = matrix(version, standing, verifiers=NODES, reports=reports, asked={})

    kept = sum(len(node.results) for node in shown.nodes)
    assert sum(node.left_out for node in shown.nodes) == 1200 - kept > 0
    assert kept * 500 < MAX_RESULTS_BYTES


def test_a_channel_demands_a_number() -> None:
    """Anything else is refused with the channel's name."""
    assert kernels_by_channel({"stable": "2", "canary": "0"}) == {"stable": 2, "canary": 0}
    with pytest.raises(RefusedError) as caught:
        kernels_by_channel({"stable": "two", "canary": "17", "edge": "-1", "ok": "1"})
    assert [reason.path for reason in caught.value.reasons] == ["stable", "canary", "edge"]


PARTS = (
    a_program(name="here", object="", objects={"linux-x86_64": "x.o"}),
    a_program(name="there", object="", objects={"linux-aarch64": "a.o"}),
    a_program(name="elsewhere", object="", objects={"windows-x86_64": "w.o"}),
)


def test_each_program_has_its_own_witnesses() -> None:
    """Programs for different platforms: nodes of each are asked, and each part needs its kernel."""
    version = _waiting()
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, programs=PARTS)
    )
    nodes = {"a": NODES["a"], "c": Verifier("c", "6.1.0", "aarch64")}
    first = _report(version)
    other = _report(version, "c", kernel="6.1.0", machine="aarch64")

    half = _judged(version, first, nodes=nodes, c=SILENT)
    whole = _judged(version, first, other, nodes=nodes)

    assert _judged(version, nodes=nodes).to_ask == ("a", "c")
    assert (half.releases, half.kernels) == ((), ("6.18.0",))
    assert half.waits_for[-1].startswith("there passed on 0 of 1 different kernels; label a node")
    assert whole.releases == ("stable",)


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, ("a", "b")),
        ({"needs": Needs(kernel=">=6")}, ("a",)),
        ({"programs": (a_program(object="", objects={"linux-aarch64": "a.o"}),)}, ()),
        ({"programs": (a_program(object="", objects={"linux-x86_64": "x.o"}),)}, ("a", "b")),
        ({"needs": Needs(features=("tcx",))}, ("a",)),
        ({"programs": (a_program(object="one.c", compiler="bcc"),)}, ("b",)),
        ({"programs": (a_program(hooks=("tracepoint",)),)}, ("b",)),
        ({"programs": (a_program(), a_program(name="two", hooks=("kprobe",)))}, ()),
    ],
)
def test_only_nodes_that_the_package_is_for_are_asked(
    changes: dict[str, Any], asked: tuple[str, ...]
) -> None:
    """A node without an object or a feature, or with a kernel out of range, is no witness."""
    version = _waiting()
    version = msgspec.structs.replace(
        version, manifest=msgspec.structs.replace(version.manifest, **changes)
    )
    failed = _report(version, "b", outcome="failed", problem="it does not load")

    assert _judged(version).to_ask == asked
    assert bool(_judged(version, failed).fresh) == ("b" in asked)
