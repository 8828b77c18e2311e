# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may let something through that the licence policy stops, what for, and how long.

Pure.

Rules:
 * A request says why, which versions or which archive, and until when: in the future, and at most
   MAX_WAIVER_DAYS away.
 * Nobody grants what they requested: neither by the same key nor under the same name.
 * What has ended stays ended; a waiver is never prolonged, a new one is requested.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Final

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, EventBody
from shared.contracts.selectors import NodeSelector
from shared.contracts.waivers import (
    MAX_WAIVER_DAYS,
    GrantWaiver,
    RequestWaiver,
    RevokeWaiver,
    Waiver,
    WaiverState,
    WaiverView,
)
from shared.errors import Reason, RefusedError
from shared.licensing.waivers import expiry_of, state_of
from shared.moments import read_time, render_time
from shared.node_labels import rule_problems
from shared.versions import parse_constraint

_ID_DIGITS: Final = 12


class WaiverRequestError(RefusedError):
    """The waiver cannot be like this; with everything that is wrong."""

    code: ClassVar[ErrorCode] = "invalid_request"


class UnknownWaiverError(RefusedError):
    """No waiver of this id was requested."""

    code: ClassVar[ErrorCode] = "not_found"


class WaiverStateError(RefusedError):
    """It is not in the state for that."""

    code: ClassVar[ErrorCode] = "conflict"


class OwnWaiverError(RefusedError):
    """Who requested it cannot grant it."""

    code: ClassVar[ErrorCode] = "not_permitted"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gives a command."""

    actor: Actor
    name: str
    """As the server vouches for it; empty when a recorded command is decided again."""


def requested_waiver(
    request: RequestWaiver, asker: Asker, *, command_id: str, now: datetime
) -> Waiver:
    """The waiver as it waits to be granted.

    Raises:
        WaiverRequestError: With every reason.
    """
    problems = _request_problems(request, now)
    if problems:
        raise WaiverRequestError("such a waiver cannot be requested", problems)
    return Waiver(
        id=f"w-{canonical_digest([command_id])[:_ID_DIGITS]}",
        scope=request.scope,
        reason=request.reason,
        expires_at=render_time(read_time(request.expires_at)),
        requested_by=asker.actor.key,
        requested_name=asker.name,
        requested_role=asker.actor.role,
        requested_at=render_time(now),
        command_id=command_id,
    )


def granted_waiver(
    waiver: Waiver | None, request: GrantWaiver, asker: Asker, *, command_id: str, now: datetime
) -> Waiver:
    """The waiver in force.

    Raises:
        UnknownWaiverError: There is none.
        WaiverStateError: It does not wait to be granted.
        OwnWaiverError: The asker requested it, or it is not known that somebody else did.
    """
    waiver = _known(waiver, request.waiver)
    state = state_of(waiver, now=now)
    if state != "requested":
        raise _wrong_state(waiver, state, "requested")
    _refuse_own(waiver, asker)
    return msgspec.structs.replace(
        waiver,
        granted_by=asker.actor.key,
        granted_role=asker.actor.role,
        granted_at=render_time(now),
        grant_reason=request.reason,
        command_id=command_id,
    )


def revoked_waiver(
    waiver: Waiver | None, request: RevokeWaiver, asker: Asker, *, command_id: str, now: datetime
) -> Waiver:
    """The waiver, in force no more.

    Raises:
        UnknownWaiverError: There is none.
        WaiverStateError: It has ended already.
    """
    waiver = _known(waiver, request.waiver)
    state = state_of(waiver, now=now)
    if state in ("expired", "revoked"):
        raise _wrong_state(waiver, state, "requested or granted")
    return msgspec.structs.replace(
        waiver,
        revoked_by=asker.actor.key,
        revoked_role=asker.actor.role,
        revoked_at=render_time(now),
        revoke_reason=request.reason,
        command_id=command_id,
    )


def listed_waivers(
    waivers: Iterable[Waiver], *, glob: str, with_ended: bool, now: datetime
) -> tuple[WaiverView, ...]:
    """By expiry; without those that ended unless asked for."""
    views = [
        WaiverView(waiver=one, state=state_of(one, now=now))
        for one in sorted(waivers, key=lambda one: (expiry_of(one), one.id))
        if fnmatchcase(one.scope.package, glob)
    ]
    return tuple(one for one in views if with_ended or one.state in ("requested", "granted"))


def waiver_event(action: str, waiver: Waiver, before: Waiver | None) -> EventBody:
    """What the audit log says of a request, a grant or a revocation.

    `details`: waiver (its id), scope and expires_at.
    """
    return EventBody(
        action=action,
        outcome="accepted",
        package=waiver.scope.package,
        before=canonical_digest(before) if before else "",
        after=canonical_digest(waiver),
        details=waiver_details(waiver),
    )


def waiver_details(waiver: Waiver) -> dict[str, Any]:
    """What every event about a waiver has."""
    return {
        "waiver": waiver.id,
        "scope": msgspec.to_builtins(waiver.scope),
        "expires_at": waiver.expires_at,
    }


def _refuse_own(waiver: Waiver, asker: Asker) -> None:
    own = "who requested a waiver cannot grant it"
    unnamed = "nobody knows the name of who requested it; let it be requested again"
    is_own = asker.actor.key == waiver.requested_by or asker.name == waiver.requested_name
    # A recorded command that is decided again has no name; it was compared before that.
    if not waiver.requested_name or not asker.actor.attested or is_own:
        rule = own if waiver.requested_name and asker.actor.attested else unnamed
        reason = Reason(path="waiver", rule=rule, got=waiver.id, allowed="another principal")
        raise OwnWaiverError(f"not permitted: {rule}", [reason])


def _request_problems(request: RequestWaiver, now: datetime) -> list[Reason]:
    scope = request.scope
    problems: list[Reason] = []
    if not request.reason.strip():
        problems.append(Reason(path="reason", rule="must say why"))
    if not scope.versions and not scope.archive_sha256:
        rule = "versions or an archive must be named; * means all versions"
        problems.append(Reason(path="scope.versions", rule=rule))
    if scope.versions:
        try:
            parse_constraint(scope.versions, path="scope.versions")
        except RefusedError as error:
            problems += error.reasons
    problems += _selector_problems(scope.nodes)
    problems += _expiry_problems(request.expires_at, now)
    return problems


def _selector_problems(selector: NodeSelector) -> list[Reason]:
    problems = rule_problems(selector, path="scope.nodes")
    if not selector.names:
        problems.append(Reason(path="scope.nodes.names", rule="names no node; * means all"))
    return problems


def _expiry_problems(text: str, now: datetime) -> list[Reason]:
    latest = now + timedelta(days=MAX_WAIVER_DAYS)
    allowed = f"after {render_time(now)}, until {render_time(latest)}"
    try:
        moment = read_time(text)
    except ValueError:
        rule = "is not an RFC 3339 time with a zone"
        return [Reason(path="expires_at", rule=rule, got=text, allowed="as 2027-01-02T00:00:00Z")]
    if now < moment <= latest:
        return []
    rule = "has passed" if moment <= now else f"is more than {MAX_WAIVER_DAYS} days away"
    return [Reason(path="expires_at", rule=rule, got=text, allowed=allowed)]


def _known(waiver: Waiver | None, wanted: str) -> Waiver:
    if waiver is not None:
        return waiver
    reason = Reason(path="waiver", rule="no waiver of this id was requested", got=wanted)
    raise UnknownWaiverError(f"unknown waiver {wanted}", [reason])


def _wrong_state(waiver: Waiver, state: WaiverState, allowed: str) -> WaiverStateError:
    reason = Reason(path="waiver", rule=f"is {state}", got=waiver.id, allowed=allowed)
    return WaiverStateError(f"waiver {waiver.id} is {state}", [reason])
