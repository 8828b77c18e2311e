# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What would have been refused or looked at under another policy, and was not; and the other way.

Pure.

Rules:
 * A version is judged by what was recorded of it when it was published; where an earlier release
   recorded too little, by what the catalog still has of the same archive; else it is not judged.
 * Promotions and deployments stand and fall with their version.
 * Waivers count as they were in force at the moment of each, in the log's own words.
 * What was refused for other reasons too would not have been accepted: it is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.compliance.facts import ComplianceFact, event_fact, in_said_order
from services.auditor.compliance.waivers import KnownWaivers
from services.auditor.records import parse_time_us, render_time_us
from shared.audit_formats.pages import PageTable, html_page
from shared.audit_formats.tables import csv_table
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Audience, Event, EventBody
from shared.contracts.licences import LicenceFacts, LicenceOutcome, LicenceVerdict
from shared.contracts.policy_replay import (
    REPLAY_CHANGES,
    PolicyReplay,
    ReplayChange,
    ReplayedEvent,
)
from shared.deployment_keys import space_of
from shared.errors import Reason
from shared.licensing.policies import LicencePolicy
from shared.licensing.replay import change_of_accepted, pack_digest, rejudged
from shared.licensing.verdict import gravest
from shared.licensing.waivers import Subject

PUBLISH: Final = "package.publish"
PROMOTE: Final = "package.promote"
DEPLOYMENTS: Final = frozenset({"deployment.apply", "deployment.rollback"})
ACTIONS: Final = (PUBLISH, PROMOTE, "waiver.*", "deployment.apply", "deployment.rollback")
"""What is asked for: actions or globs."""
_EMITTERS: Final = dict.fromkeys(DEPLOYMENTS, "scheduler")
"""Whose word counts; of all else the catalog's."""
_OF_LICENCES: Final = "; fix: "
"""In each reason of a refusal that a rule about licences gave (`shared.licensing.verdict`)."""
_GRAVE: Final = frozenset({"review", "refused"})


class VersionKey(NamedTuple):
    """One version of one package in one space."""

    space: Audience
    package: str
    version: str


class KnownVersion(NamedTuple):
    """What is known of the licences of a version."""

    archive_sha256: str
    verdict: LicenceVerdict
    facts: LicenceFacts | None
    channels: tuple[str, ...] = ()


class _Published(msgspec.Struct, frozen=True):
    """Details of `package.publish`."""

    archive_sha256: str = ""
    licences: LicenceVerdict | None = None
    licence_facts: LicenceFacts | None = None
    channels: tuple[str, ...] = ()
    submitted: tuple[str, ...] = ()


class _Moved(msgspec.Struct, frozen=True):
    """Details of `package.promote`."""

    channel: str = ""


@dataclass(slots=True)
class History:
    """The records that a replay goes by."""

    said: list[tuple[int, ComplianceFact, Event]] = field(default_factory=list)
    """From when on it counts, what it says of waivers, and all of it; oldest first."""
    tree_size: int = 0

    @classmethod
    def of(cls, records: Iterable[AuditRecord], *, tree_size: int) -> History:
        """What believed records of ACTIONS say, in whatever order."""
        events: dict[int, Event] = {}
        facts: list[ComplianceFact] = []
        for record in records:
            event = record.event
            if event is None or record.problem:
                continue
            fact = event_fact(event, index=record.index)
            if fact is not None:
                events[record.index] = event
                facts.append(fact)
        said = [(at, fact, events[fact.index]) for at, fact in in_said_order(facts)]
        return cls(said, tree_size)

    def unrecorded(self) -> dict[VersionKey, str]:
        """Versions of which too little was recorded, with their archives."""
        found: dict[VersionKey, str] = {}
        for _, fact, event in self.said:
            if event.data.action == PUBLISH and event.data.outcome == "accepted":
                known = _known(event)
                key = VersionKey(event.audience, fact.package, fact.version)
                if known is None or known.facts is None:
                    found[key] = fact.details.archive_sha256
        return found


def policy_replay(
    history: History,
    policy: LicencePolicy,
    *,
    since: str = "",
    until: str,
    from_catalog: Mapping[VersionKey, KnownVersion] | None = None,
) -> PolicyReplay:
    """Every publication, promotion and deployment of the range, judged by the policy.

    Args:
        history: All that was recorded, also before the range.
        policy: The other one.
        since: RFC 3339; empty: from the first record on.
        until: RFC 3339; before it.
        from_catalog: What the catalog has of versions of which too little was recorded.
    """
    replay = _Replay(policy, dict(from_catalog or {}))
    since_us = parse_time_us(since) if since else -1
    until_us = parse_time_us(until)
    events = []
    for at_us, fact, event in history.said:
        if at_us >= until_us:
            break
        found = replay.take(at_us, fact, event)
        if found is not None and at_us >= since_us:
            events.append(found)
    counted = Counter(one.change for one in events)
    return PolicyReplay(
        policy=policy.name,
        policy_version=policy.version,
        policy_sha256=pack_digest(policy),
        since=since,
        until=until,
        tree_size=history.tree_size,
        events=tuple(events),
        counts={one: counted[one] for one in REPLAY_CHANGES},
    )


class _Replay:
    """What was said until now."""

    def __init__(self, policy: LicencePolicy, versions: dict[VersionKey, KnownVersion]) -> None:
        self._policy: Final = policy
        self._catalog: Final = versions
        self._versions: Final[dict[VersionKey, KnownVersion]] = {}
        self._waivers: Final = KnownWaivers()

    def take(self, at_us: int, fact: ComplianceFact, event: Event) -> ReplayedEvent | None:
        """The next event; None: it is none that is judged."""
        action = event.data.action
        if event.emitter != _EMITTERS.get(action, "catalog"):
            return None
        if action == "waiver.grant" and event.data.outcome == "accepted":
            self._waivers.grant(fact, at_us)
        if action in {"waiver.end", "waiver.revoke"} and event.data.outcome != "refused":
            self._waivers.end(fact.details.waiver)
        if action == PUBLISH:
            return self._published(at_us, fact, event)
        is_refused = event.data.outcome == "refused"
        if action == PROMOTE and (not is_refused or any(map(_is_of_licences, event.data.reasons))):
            channel = _details(event, _Moved).channel
            key = self._key(event.audience, fact)
            return self._judged(at_us, key, event, record=fact.index, channel=channel)
        if action in DEPLOYMENTS and not is_refused:
            key = self._key(space_of(fact.deployment), fact)
            return self._judged(at_us, key, event, record=fact.index)
        return None

    def _published(self, at_us: int, fact: ComplianceFact, event: Event) -> ReplayedEvent | None:
        known = _known(event)
        key = VersionKey(event.audience, fact.package, fact.version)
        is_refused = event.data.outcome == "refused"
        if is_refused and (known is None or not fact.package):
            return None  # it never came to be judged
        if known is not None and not is_refused:
            self._versions[key] = known
        return self._judged(at_us, key, event, record=fact.index, known=known)

    def _key(self, space: Audience, fact: ComplianceFact) -> VersionKey:
        """Of the space itself if that has the version, else of whichever has."""
        own = VersionKey(space, fact.package, fact.version)
        if own in self._versions or own in self._catalog:
            return own
        others = (*self._versions, *self._catalog)
        return next((one for one in others if one[1:] == own[1:]), own)

    def _judged(
        self,
        at_us: int,
        key: VersionKey,
        event: Event,
        *,
        record: int,
        known: KnownVersion | None = None,
        channel: str = "",
    ) -> ReplayedEvent:
        body = event.data
        told: dict[str, Any] = {
            "record": record,
            "at": render_time_us(at_us),
            "action": body.action,
            "package": key.package,
            "version": key.version,
            "space": key.space,
            "deployment": body.deployment,
            "channel": channel,
            "was_refused": body.outcome == "refused",
        }
        known = known or self._versions.get(key)
        if known is None or known.facts is None:
            known = self._catalog.get(key, known)
        was = gravest(known.verdict.findings) if known is not None else ""
        if known is None or known.facts is None or known.facts.more_tags:
            why = "no verdict was recorded" if known is None else "too little of it was recorded"
            return ReplayedEvent(**told, was=was, change="unjudged", why=why)
        channels = (*known.channels, channel)
        verdict = rejudged(known.facts, known.verdict, self._policy, channels=channels)
        subject = Subject(key.package, key.version, known.archive_sha256, key.space)
        findings = [
            msgspec.structs.replace(
                one, waiver=next(iter(self._waivers.covering(one.rule, subject, at_us)), "")
            )
            if one.outcome in _GRAVE
            else one
            for one in verdict.findings
        ]
        would = gravest(findings)
        unwaived = (one.rule for one in findings if one.outcome in _GRAVE and not one.waiver)
        waivers = sorted({one.waiver for one in findings if one.waiver})
        return ReplayedEvent(
            **told,
            was=was,
            would=would,
            change=_change(body, gravest(known.verdict.findings), would),
            rules=tuple(dict.fromkeys(unwaived)),
            waivers=tuple(waivers),
        )


def replay_csv(replay: PolicyReplay) -> str:
    """A line for each event."""
    return csv_table(_COLUMNS, (_row(one) for one in replay.events))


def replay_html(replay: PolicyReplay, *, changes: Collection[ReplayChange] = ()) -> str:
    """One file: counts, and a table of the events.

    Args:
        replay: All of it.
        changes: Only these; empty: all.
    """
    counts = ", ".join(f"{count} {one}" for one, count in replay.counts.items())
    since = f"since {replay.since} " if replay.since else ""
    shown = [one for one in replay.events if not changes or one.change in changes]
    return html_page(
        f"History under policy {replay.policy} {replay.policy_version}",
        remarks=(
            f"Publications, promotions and deployments {since}until {replay.until}: {counts}.",
            f"From {replay.tree_size} records; SHA-256 of the policy: {replay.policy_sha256}",
        ),
        tables=(PageTable("Events", _COLUMNS, (_row(one) for one in shown)),),
    )


_COLUMNS: Final = (
    "record",
    "at",
    "action",
    "package",
    "version",
    "space",
    "deployment",
    "channel",
    "outcome",
    "was",
    "would",
    "change",
    "rules",
    "waivers",
    "why",
)


def _row(one: ReplayedEvent) -> tuple[object, ...]:
    return (
        one.record,
        one.at,
        one.action,
        one.package,
        one.version,
        one.space,
        one.deployment,
        one.channel,
        "refused" if one.was_refused else "accepted",
        one.was,
        one.would,
        one.change,
        " ".join(one.rules),
        " ".join(one.waivers),
        one.why,
    )


def _change(body: EventBody, was: LicenceOutcome, would: LicenceOutcome) -> ReplayChange:
    if body.outcome != "refused":
        return change_of_accepted(was, would)
    is_for_licences = bool(body.reasons) and all(map(_is_of_licences, body.reasons))
    return "would-accept" if is_for_licences and would != "refused" else "same"


def _is_of_licences(reason: Reason) -> bool:
    """Whether a rule about licences said so; that more was left out says nothing else."""
    return _OF_LICENCES in reason.rule or not reason.path


def _known(event: Event) -> KnownVersion | None:
    """What a publication says of the version; None: it was not judged."""
    details = _details(event, _Published)
    if details.licences is None:
        return None
    channels = (*details.channels, *details.submitted)
    return KnownVersion(details.archive_sha256, details.licences, details.licence_facts, channels)


def _details(event: Event, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(event.data.details, kind)
    except msgspec.ValidationError:
        return kind()
