# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may be told of what, and until when: spaces as they are made, changed and lifted.

Pure.

Rules:
 * Who makes a space is a member; only members change or lift one, whatever their role.
 * To everybody else a space answers as one that was never made.
 * A private namespace stays private.  An embargo is lifted by a member, at its time, or by the
   first version that enters its channel; what is lifted stays lifted.
 * A refusal names everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, Audience, EventBody
from shared.contracts.spaces import (
    MAX_MEMBERS,
    CreateSpace,
    LiftSpace,
    SpaceRecord,
    SpaceView,
    UpdateSpace,
)
from shared.errors import Reason, RefusedError
from shared.moments import read_time, render_time
from shared.visibility import Spaces, is_lifted, is_visible, opening_of

_ID_DIGITS: Final = 16


class SpaceRequestError(RefusedError):
    """The space cannot be like this; with everything that is wrong."""

    code: ClassVar[ErrorCode] = "invalid_request"


class UnknownSpaceError(RefusedError):
    """The asker sees no space of this name."""

    code: ClassVar[ErrorCode] = "not_found"


class SpaceStateError(RefusedError):
    """It exists already, or is not in the state for that."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class Founder:
    """Who gives a command."""

    actor: Actor
    name: str
    """As the server vouches for it."""


def created_space(
    spaces: Spaces, request: CreateSpace, founder: Founder, *, command_id: str, now: datetime
) -> SpaceRecord:
    """The new space.

    Raises:
        SpaceRequestError: With every reason.
        SpaceStateError: There is such a namespace, or an embargo by this command.
    """
    members = tuple(sorted({*request.members, founder.name}))
    problems = [
        *_kind_problems(request),
        *_member_problems(members),
        *_time_problems(request.lifts_at, now),
    ]
    if problems:
        raise SpaceRequestError("such a space cannot be made", problems)
    audience = _audience_of(request, command_id)
    if audience in spaces:
        rule = "there is such a space already"
        raise SpaceStateError(
            f"{audience}: {rule}", [Reason(path="namespace", rule=rule, got=audience)]
        )
    return SpaceRecord(
        audience=audience,
        kind=request.kind,
        title=request.title,
        members=members,
        created_at=render_time(now),
        created_by=founder.actor.key,
        lifts_at=_in_utc(request.lifts_at),
        lifts_on_release=request.lifts_on_release,
        command_id=command_id,
    )


def updated_space(
    spaces: Spaces, request: UpdateSpace, founder: Founder, *, command_id: str, now: datetime
) -> SpaceRecord:
    """The space as it is from now on.

    Raises:
        UnknownSpaceError: The founder sees none of this name.
        SpaceStateError: It is lifted.
        SpaceRequestError: With every reason.
    """
    space = closed_space(spaces, request.space, founder.name, now=now)
    members = tuple(sorted({*space.members, *request.add} - {*request.remove}))
    problems = [*_member_problems(members), *_change_problems(space, request)]
    if request.lifts_at is not None:
        problems += _time_problems(request.lifts_at, now)
    if problems:
        raise SpaceRequestError(f"{space.audience} cannot be changed so", problems)
    return msgspec.structs.replace(
        space,
        title=space.title if request.title is None else request.title,
        members=members,
        lifts_at=space.lifts_at if request.lifts_at is None else _in_utc(request.lifts_at),
        lifts_on_release=(
            space.lifts_on_release if request.lifts_on_release is None else request.lifts_on_release
        ),
        command_id=command_id,
    )


def lifted_space(
    spaces: Spaces, request: LiftSpace, founder: Founder, *, command_id: str, now: datetime
) -> SpaceRecord:
    """The space that everybody sees from now on, and was told of.

    Raises:
        UnknownSpaceError: The founder sees none of this name.
        SpaceStateError: It is lifted already, or a private namespace.
    """
    space = closed_space(spaces, request.space, founder.name, now=now)
    if space.kind == "private":
        rule = "is a private namespace, and those are never lifted"
        raise SpaceStateError(
            f"{space.audience} {rule}", [Reason(path="space", rule=rule, got=space.audience)]
        )
    return msgspec.structs.replace(
        space, lifted_at=render_time(now), told=True, command_id=command_id
    )


def opened_space(space: SpaceRecord, *, released: bool, now: datetime) -> SpaceRecord | None:
    """The space whose moment has come, with that moment; None if it has not or is written down.

    Args:
        space: As it is.
        released: Whether a version of it has entered the channel that lifts it.
        now: By the catalog's clock.
    """
    if space.lifted_at:
        return None
    opening = opening_of(space)
    if opening is not None and opening <= now:
        return msgspec.structs.replace(space, lifted_at=render_time(opening))
    if space.kind == "embargo" and space.lifts_on_release and released:
        return msgspec.structs.replace(space, lifted_at=render_time(now))
    return None


def check_lifts_nothing(space: SpaceRecord, channels: Collection[str]) -> None:
    """A publication to these channels leaves the space as it is.

    Raises:
        SpaceStateError: One of them lifts it.
    """
    if space.lifts_on_release in channels:
        rule = "lifts the space: publish to another channel, and promote when its day has come"
        reason = Reason(path="channels", rule=rule, got=space.lifts_on_release)
        raise SpaceStateError(f"{space.lifts_on_release} {rule}", [reason])


def closed_space(spaces: Spaces, audience: Audience, name: str, *, now: datetime) -> SpaceRecord:
    """The space of this name, which the principal sees and not everybody does.

    Raises:
        UnknownSpaceError: There is none, or it is none of the principal's.
        SpaceStateError: It is lifted.
    """
    space = seen_space(spaces, audience, name, now=now)
    if is_lifted(space, now=now):
        rule = "is lifted, and stays so"
        raise SpaceStateError(f"{audience} {rule}", [Reason(path="space", rule=rule, got=audience)])
    return space


def seen_space(spaces: Spaces, audience: Audience, name: str, *, now: datetime) -> SpaceRecord:
    """The space of this name that the principal sees.

    Raises:
        UnknownSpaceError: There is none, or it is none of the principal's.
    """
    space = spaces.get(audience)
    if space is None or not is_visible(audience, spaces, name, now=now):
        raise unknown_space(audience)
    return space


def unknown_space(audience: Audience) -> UnknownSpaceError:
    """What everybody hears of a space that is none of theirs, or none at all."""
    reason = Reason(path="space", rule="there is no such space", got=audience)
    return UnknownSpaceError(f"unknown space {audience}", [reason])


def view_of(space: SpaceRecord, *, now: datetime) -> SpaceView:
    """The space, and what is so now."""
    return SpaceView(space=space, is_open=is_lifted(space, now=now))


def space_event(
    action: str, space: SpaceRecord, before: SpaceRecord | None, **details: Any
) -> EventBody:
    """What the audit log says of a space that was made, changed or lifted by a command.

    `details`: space, kind, title, members, and when or by what it is or was lifted.
    """
    return EventBody(
        action=action,
        outcome="accepted",
        before=canonical_digest(before) if before else "",
        after=canonical_digest(space),
        details={**_told(space), **details},
    )


def opening_event(space: SpaceRecord, *, twice: Sequence[str] = ()) -> EventBody:
    """That everybody sees a space now, by its time or by a release; `details` as above.

    Args:
        space: As it is.
        twice: Versions that `public` has too, which are meant where no space is named.
    """
    details = {**_told(space), "twice": list(twice)}
    return EventBody(action="space.lift", outcome="observed", details=details)


def _told(space: SpaceRecord) -> dict[str, Any]:
    return {
        "space": space.audience,
        "kind": space.kind,
        "title": space.title,
        "members": list(space.members),
        "lifts_at": space.lifts_at,
        "lifts_on_release": space.lifts_on_release,
        "lifted_at": space.lifted_at,
    }


def _audience_of(request: CreateSpace, command_id: str) -> Audience:
    if request.kind == "private":
        return f"p_{request.namespace}"
    return f"r_{canonical_digest(['space', command_id])[:_ID_DIGITS]}"


def _kind_problems(request: CreateSpace) -> Iterator[Reason]:
    if request.kind == "private":
        if not request.namespace:
            yield Reason(path="namespace", rule="a private namespace has a name")
        for path in ("lifts_at", "lifts_on_release"):
            if getattr(request, path):
                yield _never_lifted(path, getattr(request, path))
    elif request.namespace:
        rule = "an embargo has no name of its own, so that none says what it is about"
        yield Reason(path="namespace", rule=rule, got=request.namespace)


def _change_problems(space: SpaceRecord, request: UpdateSpace) -> Iterator[Reason]:
    for name in sorted({*request.add} & {*request.remove}):
        yield Reason(path="remove", rule="is added by the same command", got=name)
    for name in sorted({*request.remove} - {*space.members, *request.add}):
        yield Reason(path="remove", rule="is no member", got=name)
    if space.kind == "private":
        for path in ("lifts_at", "lifts_on_release"):
            if getattr(request, path):
                yield _never_lifted(path, getattr(request, path))


def _never_lifted(path: str, got: str) -> Reason:
    return Reason(path=path, rule="a private namespace is never lifted", got=got)


def _member_problems(members: Sequence[str]) -> Iterator[Reason]:
    if not members:
        yield Reason(path="members", rule="somebody has to see it")
    if len(members) > MAX_MEMBERS:
        rule = "are too many"
        yield Reason(path="members", rule=rule, got=len(members), allowed=MAX_MEMBERS)


def _time_problems(text: str, now: datetime) -> Iterator[Reason]:
    if not text:
        return
    try:
        moment = read_time(text)
    except ValueError:
        rule = "is not an RFC 3339 time with a zone"
        yield Reason(path="lifts_at", rule=rule, got=text, allowed="as 2027-01-02T00:00:00Z")
        return
    if moment <= now:
        rule = "has passed; lift the space instead"
        yield Reason(path="lifts_at", rule=rule, got=text, allowed=f"after {render_time(now)}")


def _in_utc(text: str) -> str:
    return render_time(read_time(text)) if text else ""
