# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which waivers are in force, what they are for, and what stands by their grace alone.

Pure; the present is an argument.

Rules:
 * In force is what was granted, was not revoked, and has not reached its expiry.
 * A waiver is for one rule of one package, of an archive or of versions, on the nodes that it
   selects; all of these must fit.  One of `public` is for all versions, one of another space for
   those of that space.
 * A finding that is waived keeps its outcome and names the waiver; it counts as noted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from shared.contracts.catalog import PackageVersion
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.licences import OUTCOMES, LicenceFinding, LicenceVerdict
from shared.contracts.selectors import NodeSelector
from shared.contracts.waivers import WARNING_DAYS, Waiver, WaiverState
from shared.errors import RefusedError
from shared.licensing.verdict import gravest
from shared.node_labels import label_mismatch
from shared.versions import parse_constraint, parse_version

ENDED: Final = "ended"
_STOPPING: Final = OUTCOMES.index("review")


@dataclass(frozen=True, slots=True)
class Subject:
    """One version of one package."""

    package: str
    version: str
    archive_sha256: str
    space: Audience = PUBLIC


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is to be said of a waiver's end, once."""

    waiver: str
    kind: str
    """`30-days`, `7-days`, `1-day` or `ended`."""


def subject_of(version: PackageVersion) -> Subject:
    """The version as waivers name it."""
    archive = version.signed.archive_sha256
    return Subject(version.manifest.name, version.version, archive, version.space)


def state_of(waiver: Waiver, *, now: datetime) -> WaiverState:
    """What is so at `now`."""
    if waiver.revoked_at:
        return "revoked"
    if now >= expiry_of(waiver):
        return "expired"
    return "granted" if waiver.granted_at else "requested"


def in_force(waivers: Iterable[Waiver], *, now: datetime) -> tuple[Waiver, ...]:
    """Those that let something through at `now`, by id."""
    found = (one for one in waivers if state_of(one, now=now) == "granted")
    return tuple(sorted(found, key=lambda one: one.id))


def expiry_of(waiver: Waiver) -> datetime:
    """The first moment at which it is in force no more."""
    return datetime.fromisoformat(waiver.expires_at)


def covers(waiver: Waiver, rule: str, subject: Subject) -> bool:
    """Whether the waiver is for this rule of this version, wherever it runs."""
    scope = waiver.scope
    if scope.space not in (PUBLIC, subject.space):
        return False
    if (scope.rule, scope.package) != (rule, subject.package):
        return False
    if scope.archive_sha256 and scope.archive_sha256 != subject.archive_sha256:
        return False
    return not scope.versions or _allows(scope.versions, subject.version)


def selects(selector: NodeSelector, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the node is meant: every label, every rule, and any of the names."""
    has_labels = label_mismatch(selector, labels) is None
    return has_labels and any(fnmatchcase(name, glob) for glob in selector.names)


def excuses(
    waiver: Waiver, rule: str, subject: Subject, *, node: str, labels: Mapping[str, str]
) -> bool:
    """Whether the waiver is for this rule of this version on the node."""
    return covers(waiver, rule, subject) and selects(waiver.scope.nodes, node, labels)


def uncovered(
    rules: Collection[str],
    subject: Subject,
    waivers: Sequence[Waiver],
    *,
    node: str,
    labels: Mapping[str, str],
) -> list[str]:
    """The rules that the version was excused from and that nothing excuses on the node.

    Args:
        rules: That were waived when the version was published.
        subject: The version.
        waivers: In force.
        node: Its name.
        labels: Its effective labels.
    """
    return [
        rule
        for rule in rules
        if not any(excuses(one, rule, subject, node=node, labels=labels) for one in waivers)
    ]


def lapsed(
    verdict: LicenceVerdict | None, subject: Subject, waivers: Sequence[Waiver]
) -> tuple[str, ...]:
    """Rules that refuse the version, were waived when it was published, and are no more.

    Args:
        verdict: As it was recorded.
        subject: Of what.
        waivers: In force now.
    """
    findings = verdict.findings if verdict else ()
    waived = dict.fromkeys(one.rule for one in findings if one.waiver and one.outcome == "refused")
    return tuple(rule for rule in waived if not any(covers(one, rule, subject) for one in waivers))


def waive(verdict: LicenceVerdict, subject: Subject, waivers: Sequence[Waiver]) -> LicenceVerdict:
    """The verdict with each grave finding named after the waiver that is for it, if one is.

    Args:
        verdict: What the rules say.
        subject: Of what.
        waivers: In force.
    """
    findings = tuple(_waived(one, subject, waivers) for one in verdict.findings)
    return msgspec.structs.replace(verdict, findings=findings, outcome=gravest(findings))


def waived_rules(verdict: LicenceVerdict | None) -> tuple[str, ...]:
    """The rules that are broken by the grace of a waiver, each once."""
    findings = verdict.findings if verdict else ()
    return tuple(dict.fromkeys(one.rule for one in findings if one.waiver))


def uses(verdict: LicenceVerdict) -> dict[str, list[LicenceFinding]]:
    """Waiver to the findings that it excuses."""
    found: dict[str, list[LicenceFinding]] = {}
    for one in verdict.findings:
        if one.waiver:
            found.setdefault(one.waiver, []).append(one)
    return found


def due_notices(waivers: Iterable[Waiver], *, now: datetime) -> Iterator[Notice]:
    """What is to be said now and was not said yet.

    A warning whose moment had passed when the waiver was granted is never due, nor is any after
    its end.
    """
    for waiver in waivers:
        state = state_of(waiver, now=now)
        if not waiver.granted_at or state == "requested":
            continue
        if state != "granted":
            if ENDED not in waiver.told:
                yield Notice(waiver.id, ENDED)
            continue
        for days in WARNING_DAYS:
            at = expiry_of(waiver) - timedelta(days=days)
            kind = warning_kind(days)
            was_ahead = datetime.fromisoformat(waiver.granted_at) < at
            if was_ahead and now >= at and kind not in waiver.told:
                yield Notice(waiver.id, kind)


def warning_kind(days: int) -> str:
    """As `7-days`."""
    return f"{days}-day{'s' if days != 1 else ''}"


def _waived(finding: LicenceFinding, subject: Subject, waivers: Sequence[Waiver]) -> LicenceFinding:
    if OUTCOMES.index(finding.outcome) < _STOPPING:
        return finding
    excusing = next((one.id for one in waivers if covers(one, finding.rule, subject)), "")
    return msgspec.structs.replace(finding, waiver=excusing)


def _allows(constraint: str, version: str) -> bool:
    try:
        wanted = parse_constraint(constraint, path="versions")
        return wanted.allows(parse_version(version, path="version"))
    except RefusedError:
        return False
