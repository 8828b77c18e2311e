# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which records say something about compliance, and in which order they were said.

Pure.

Rules:
 * Only believed events of the service that decides about the matter count.
 * What one emitter tells one audience is in its own order, by sequence, whenever it arrives.  If
   a later event has an earlier time, the clock was ahead, and what came before counts from that
   time on too.  Between emitters and audiences these times decide.
 * A record whose details cannot be read, were left out or are gone says nothing, and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from services.auditor.query import StoredRecord
from services.auditor.records import UnbelievableError, parse_time_us, try_event
from shared.contracts.base import Message
from shared.contracts.events import Audience, Event
from shared.contracts.findings import ANNOTATE, RESOLVE
from shared.contracts.licences import LicenceOutcome
from shared.contracts.reviews import REVOKE
from shared.contracts.waivers import WaiverScope
from shared.event_size import LEFT_OUT

COMPLIANCE_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "catalog": (
        "package.publish",
        "package.promote",
        REVOKE,
        "waiver.grant",
        "waiver.revoke",
        "waiver.use",
        "waiver.end",
        "licence.violate",
    ),
    "scheduler": (
        "deployment.apply",
        "deployment.rollback",
        "deployment.remove",
        "deployment.complete",
        "deployment.alarm",
        "waiver.use",
        "licence.violate",
        "licence.comply",
    ),
    "auditor": (RESOLVE, ANNOTATE),
}
"""By emitter."""


class JudgedRule(Message, frozen=True, kw_only=True):
    """One rule of a verdict that did not simply hold."""

    rule: str
    outcome: LicenceOutcome
    path: str = ""
    waiver: str = ""


class Judgement(Message, frozen=True, kw_only=True):
    """A verdict, as far as findings go."""

    policy: str = ""
    policy_version: str = ""
    outcome: LicenceOutcome = "passed"
    findings: tuple[JudgedRule, ...] = ()


class Details(Message, frozen=True, kw_only=True):
    """Of the details of such events what is looked at."""

    archive_sha256: str = ""
    licences: Judgement | None = None
    waiver: str = ""
    waivers: tuple[str, ...] = ()
    scope: WaiverScope | None = None
    expires_at: str = ""
    rules: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    node_count: int = 0
    places: tuple[Any, ...] = ()
    """Node and place, of what was deployed there."""
    on_revoked: str = ""
    revision: int = 0
    base_revision: int = 0
    rollout: str = ""
    finding: str = ""
    evidence: tuple[int, ...] = ()


class ComplianceFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one record says."""

    index: int
    """Number of the record."""
    time_us: int
    """By the emitter's clock, microseconds since 1970."""
    audience: Audience
    emitter: str
    sequence: int
    action: str
    outcome: str
    correlation: str = ""
    package: str = ""
    version: str = ""
    deployment: str = ""
    actor_key: str = ""
    actor_role: str = ""
    reason: str = ""
    details: Details = Details()


def read_fact(stored: StoredRecord) -> ComplianceFact | None:
    """What a believed record says of compliance; None: it cannot be read, or not all of it."""
    event = try_event(stored.body) if stored.body is not None else None
    return event_fact(event, index=stored.index) if event is not None else None


def event_fact(event: Event, *, index: int) -> ComplianceFact | None:
    """What a believed event says of compliance; None: it cannot be read, or not all of it.

    Args:
        event: Whose subject the server vouched for.
        index: Number of its record.
    """
    body = event.data
    try:
        details = msgspec.convert(body.details, Details)
        time_us = parse_time_us(event.time)
    except (msgspec.ValidationError, UnbelievableError):
        return None
    if _is_short(body.details):
        return None
    actor = body.actor
    return ComplianceFact(
        index=index,
        time_us=time_us,
        audience=event.audience,
        emitter=event.emitter,
        sequence=event.sequence,
        action=body.action,
        outcome=body.outcome,
        correlation=body.correlation,
        package=body.package,
        version=body.version,
        deployment=body.deployment,
        actor_key=actor.key if actor else "",
        actor_role=actor.role if actor else "",
        reason=body.reason,
        details=details,
    )


def in_said_order(facts: Iterable[ComplianceFact]) -> list[tuple[int, ComplianceFact]]:
    """Each fact with the moment from which it counts, microseconds since 1970, oldest first."""
    told: dict[tuple[str, Audience], list[ComplianceFact]] = {}
    for fact in facts:
        told.setdefault((fact.emitter, fact.audience), []).append(fact)
    found: list[tuple[int, ComplianceFact]] = []
    for channel in told.values():
        channel.sort(key=lambda one: (one.sequence, one.index), reverse=True)
        latest_us = channel[0].time_us
        for fact in channel:
            latest_us = min(latest_us, fact.time_us)
            found.append((latest_us, fact))
    found.sort(key=lambda one: (one[0], one[1].emitter, one[1].audience, one[1].sequence))
    return found


def _is_short(details: Mapping[str, Any]) -> bool:
    """Whether details of the event were left out for want of room."""
    left_out = details.get(LEFT_OUT)
    return isinstance(left_out, dict) and bool(left_out.get("details") or left_out.get("values"))
