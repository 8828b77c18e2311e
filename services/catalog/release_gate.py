# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a published version may enter the channels that demand verification.

Pure.  What nodes report and whether they answer is given.

Rules:
 * A channel demands a number of different kernels; the number is fixed when a version is published.
 * Kernels are different if their releases are.  Two nodes on one kernel are one witness.
 * One failure keeps the version out of every channel that it waits for, until it is ordered to be
   verified anew; then nothing that was said before counts.
 * A node that the package is not for (its platform has no object of any program, its kernel is
   outside the range that the package needs, or lacks what one of its probes needs) is not asked and
   says nothing.
 * A channel's number of kernels is demanded of each program that Linux has an object of; a node is
   a witness of the programs that have an object for its platform.
 * A node that is at it is waited for, until its time is over.  One that does not answer is not.
 * A node's verdict is recorded once for each order, and what was released stays released.
 * A version that a waiver let in enters no channel while no waiver in force covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import msgspec

from shared.contracts.catalog import PackageVersion
from shared.contracts.node import NodeRecord
from shared.contracts.release_gate import NodeVerdict, ReleaseGate
from shared.contracts.scheduler import NodeLabels
from shared.contracts.verification import (
    VERIFIER_LABEL,
    GateState,
    NodeVerification,
    VerificationReport,
)
from shared.identifiers import is_probe
from shared.kernel_versions import is_in_range
from shared.moments import render_time
from shared.node_labels import effective_labels

MAX_VERIFIERS: Final = 32
"""Nodes that are asked about one version: more labelled ones, by name, are left alone."""
MAX_WHY_CHARACTERS: Final = 200
MAX_WORD_CHARACTERS: Final = 64
"""Of what a node says of its kernel: its word is kept in the package's record."""
_MISSING: Final[Mapping[NodeVerification, str]] = {
    "running": "is trying it",
    "waiting": "has not begun",
    "overdue": "has not reported in time",
    "silent": "does not answer",
}
_LAPSED: Final = (
    "it breaks the licence rule {rule}, and no waiver for it is in force: "
    "l3af licence waiver request {rule} ..."
)
GRACE_SECONDS: Final = 30
"""How long after its time is over a node may still report in time."""


@dataclass(frozen=True, slots=True)
class Demands:
    """How many different kernels each channel asks for."""

    everywhere: int = 0
    by_channel: Mapping[str, int] = field(default_factory=dict)
    """Where it is another number."""

    def of(self, channel: str) -> int:
        """0: none."""
        return self.by_channel.get(channel, self.everywhere)


@dataclass(frozen=True, slots=True)
class Verifier:
    """A node that may be asked, as its inventory describes it."""

    node: str
    kernel: str
    machine: str
    features: frozenset[str] = frozenset()
    """What it was found to have, as `bcc`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking a node."""

    state: Literal["waiting", "running", "silent"]
    since: datetime
    """When it said so first."""
    why: str = ""
    """Why it does not answer, or came to no report last time."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a version stands at its gate."""

    verdicts: tuple[NodeVerdict, ...]
    """All of this order."""
    fresh: tuple[NodeVerdict, ...]
    """Those that are not in the version's record yet."""
    releases: tuple[str, ...]
    """Channels that it may enter now."""
    state: GateState
    kernels: tuple[str, ...]
    """Different ones that it passed on."""
    to_ask: tuple[str, ...]
    """Nodes whose report is wanted."""
    nodes: Mapping[str, NodeVerification]
    waits_for: tuple[str, ...]
    is_open: bool
    """Whether it has to be looked at again."""

    @property
    def has_news(self) -> bool:
        """Whether the record would change."""
        return bool(self.fresh or self.releases)


def gated(version: PackageVersion, demands: Demands, *, now: datetime) -> PackageVersion:
    """The version as it is published: in the channels that demand nothing, waiting for the others.

    Args:
        version: With all the channels that its publisher named.
        demands: The installation's.
        now: By the catalog's clock.
    """
    demanded = {channel: demands.of(channel) for channel in version.channels}
    demanded = {channel: count for channel, count in demanded.items() if count}
    if not demanded:
        return version
    gate = ReleaseGate(
        order=version.command_id,
        ordered_at=render_time(now),
        kernels=demanded,
        awaits=tuple(channel for channel in version.channels if channel in demanded),
    )
    free = tuple(channel for channel in version.channels if channel not in demanded)
    return msgspec.structs.replace(version, channels=free, gate=gate)


def ordered_anew(version: PackageVersion, *, order: str, now: datetime) -> PackageVersion:
    """The version with nothing said of it yet, still waiting for what it waited for."""
    gate = version.gate or ReleaseGate(order=order, ordered_at="")
    fresh = msgspec.structs.replace(gate, order=order, ordered_at=render_time(now), verdicts=())
    return msgspec.structs.replace(version, gate=fresh)


def settled(version: PackageVersion, standing: Standing) -> PackageVersion:
    """The version with what was found out, in the channels that it may enter."""
    if version.gate is None:
        return version
    awaits = tuple(one for one in version.gate.awaits if one not in standing.releases)
    gate = msgspec.structs.replace(version.gate, verdicts=standing.verdicts, awaits=awaits)
    return msgspec.structs.replace(
        version, channels=(*version.channels, *standing.releases), gate=gate
    )


def choose_verifiers(
    records: Iterable[NodeRecord], labels: Mapping[str, NodeLabels]
) -> dict[str, Verifier]:
    """The nodes that carry the label and were not given up, by name."""
    chosen = {}
    for record in sorted(records, key=lambda one: one.node):
        given = labels.get(record.node)
        carried = effective_labels(record, given)
        is_given_up = given is not None and given.forgotten
        if carried.get(VERIFIER_LABEL, "false") != "false" and not is_given_up:
            features = frozenset(name for name, has in record.features.items() if has)
            chosen[record.node] = Verifier(
                record.node, record.kernel, record.architecture, features
            )
    return dict(list(chosen.items())[:MAX_VERIFIERS])


def is_for(version: PackageVersion, verifier: Verifier) -> bool:
    """Whether the package says of itself that it, or a part of it, can run there."""
    manifest = version.manifest
    has_objects = any(one.object_on(f"linux-{verifier.machine}") for one in manifest.programs)
    compilers = {one.compiler for one in manifest.programs if one.compiler}
    probes = {hook for one in manifest.programs for hook in one.hooks if is_probe(hook)}
    has_features = compilers.union(manifest.needs.features, probes) <= verifier.features
    return has_objects and has_features and is_in_range(verifier.kernel, manifest.needs.kernel)


def judge(
    version: PackageVersion,
    *,
    manifest_sha256: str,
    verifiers: Mapping[str, Verifier],
    reports: Iterable[VerificationReport],
    asked: Mapping[str, Asked],
    now: datetime,
    trial_seconds: int,
    lapsed: Sequence[str] = (),
) -> Standing:
    """Where the version stands.

    Args:
        version: As it is published.
        manifest_sha256: Of its manifest.
        verifiers: From `choose_verifiers`; reports of other nodes do not count.
        reports: Of nodes about this version, of whatever order; each under its own node's key.
        asked: By node, for this order; a node that is not in it was not asked yet.
        now: By the catalog's clock.
        trial_seconds: What nodes were given.
        lapsed: Licence rules that it broke by the grace of a waiver, and that none covers now.
    """
    gate = version.gate
    if gate is None:
        return Standing((), (), (), "not-demanded", (), (), {}, (), is_open=False)
    verifiers = {name: one for name, one in verifiers.items() if is_for(version, one)}
    known = {verdict.node: verdict for verdict in gate.verdicts}
    fresh = tuple(
        _verdict(report)
        for report in sorted(reports, key=lambda one: one.node)
        if report.node in verifiers
        and report.node not in known
        and (report.order, report.manifest_sha256) == (gate.order, manifest_sha256)
    )
    verdicts = (*gate.verdicts, *fresh)
    heard = {verdict.node for verdict in verdicts}
    failures = [verdict for verdict in verdicts if verdict.outcome == "failed"]
    kernels = tuple(dict.fromkeys(one.kernel for one in verdicts if one.outcome == "passed"))

    program, witnesses = _least_witnessed(version, verdicts)

    limit_seconds = trial_seconds + GRACE_SECONDS
    missing = [node for node in verifiers if node not in heard]
    nodes: dict[str, NodeVerification] = {one.node: one.outcome for one in verdicts}
    nodes |= {
        node: _state(asked.get(node), now=now, limit_seconds=limit_seconds) for node in missing
    }
    is_recent = (now - datetime.fromisoformat(gate.ordered_at)).total_seconds() < limit_seconds
    is_wanted = is_recent or (bool(gate.awaits) and not failures)
    to_ask = tuple(missing) if is_wanted else ()
    under_way = [node for node in missing if nodes[node] in ("running", "waiting")]
    is_undecided = any(node in under_way and (node in asked or is_wanted) for node in missing)
    releases = tuple(
        channel
        for channel in gate.awaits
        if not failures
        and not lapsed
        and not is_undecided
        and gate.kernels[channel] <= len(witnesses)
    )
    left = [channel for channel in gate.awaits if channel not in releases]
    demanded = max((gate.kernels[channel] for channel in left), default=0)
    return Standing(
        verdicts=verdicts,
        fresh=fresh,
        releases=releases,
        state=_gate_state(gate, failures),
        kernels=kernels,
        to_ask=to_ask,
        nodes=nodes,
        waits_for=(
            *_node_sentences(failures, nodes, asked),
            *_kernel_sentence(
                0 if failures else demanded,
                witnesses,
                nodes,
                program=program if witnesses != kernels else "",
            ),
            *(_LAPSED.format(rule=rule) for rule in lapsed if left),
        ),
        is_open=bool(fresh or is_undecided or to_ask or (left and not failures)),
    )


def _least_witnessed(
    version: PackageVersion, verdicts: Sequence[NodeVerdict]
) -> tuple[str, tuple[str, ...]]:
    """The program that the fewest kernels passed, of those for Linux, and these kernels."""
    found = [
        (
            program.name,
            tuple(
                dict.fromkeys(
                    one.kernel
                    for one in verdicts
                    if one.outcome == "passed" and program.object_on(f"linux-{one.machine}")
                )
            ),
        )
        for program in version.manifest.programs
        if program.object or any(key.startswith("linux-") for key in program.objects)
    ]
    return min(found, key=lambda one: len(one[1]), default=("", ()))


def _verdict(report: VerificationReport) -> NodeVerdict:
    problems = [one.problem for one in report.results if not one.has_passed]
    why = report.problem or (problems[0] if problems else "")
    return NodeVerdict(
        node=report.node,
        kernel=report.kernel[:MAX_WORD_CHARACTERS],
        machine=report.machine[:MAX_WORD_CHARACTERS],
        outcome=report.outcome,
        at=report.at[:MAX_WORD_CHARACTERS],
        why=why[:MAX_WHY_CHARACTERS] if report.outcome == "failed" else "",
    )


def _state(asked: Asked | None, *, now: datetime, limit_seconds: int) -> NodeVerification:
    if asked is None:
        return "waiting"
    if asked.state == "running" and (now - asked.since).total_seconds() >= limit_seconds:
        return "overdue"
    return asked.state


def _gate_state(gate: ReleaseGate, failures: Sequence[NodeVerdict]) -> GateState:
    """As it is recorded: what may enter a channel has not yet."""
    if not gate.kernels:
        return "not-demanded"
    if not gate.awaits:
        return "released"
    return "failed" if failures else "waiting"


def _node_sentences(
    failures: Sequence[NodeVerdict],
    nodes: Mapping[str, NodeVerification],
    asked: Mapping[str, Asked],
) -> Iterator[str]:
    """Who says no, and whose word is missing."""
    for failed in failures:
        yield f"node {failed.node} (Linux {failed.kernel}) says no: {failed.why}"
    for node, state in nodes.items():
        if state in _MISSING:
            why = asked[node].why if node in asked else ""
            yield f"node {node} {_MISSING[state]}" + (f": {why}" if why else "")


def _kernel_sentence(
    demanded: int,
    kernels: Sequence[str],
    nodes: Mapping[str, NodeVerification],
    *,
    program: str,
) -> Iterator[str]:
    """How many kernels are missing, and what to do if nobody is at it."""
    if len(kernels) >= demanded:
        return
    names = f" ({', '.join(kernels)})" if kernels else ""
    has_hope = any(state in ("running", "waiting") for state in nodes.values())
    where = "on another kernel " if kernels else ""
    advice = "" if has_hope else f"; label a node {where}{VERIFIER_LABEL}=true"
    of_program = f"{program} " if program else ""
    yield f"{of_program}passed on {len(kernels)} of {demanded} different kernels{names}{advice}"
