# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which legal holds are in force, and whether one of them covers a record.

Pure.  The log itself is the memory of holds: what it says in `hold.place` and `hold.release` holds
for whoever has the log, whatever process it is.  So no document and no table can be edited to let
go of a record.

Rules:
 * A hold covers every record that matches everything it selects, of every audience, and also those
   that come later.
 * What cannot be known of a record any more is taken to match: in doubt it is held.
 * A hold is released by somebody else than who placed it.  So the record that placed it is held
   too: without its words nobody knew who that was, or what is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from services.auditor.disclosure import audience_of
from services.auditor.expressions import Expression, UnreadableExpressionError, parse_expression
from services.auditor.matching import has_text, matches, stored_document, values_at
from services.auditor.persons.tokens import is_token_text
from services.auditor.query import StoredRecord
from services.auditor.records import (
    UnbelievableError,
    parse_event_subject,
    parse_time_us,
    try_event,
)
from services.auditor.told_readings import NAMING
from shared.canonical import canonical_digest
from shared.contracts.events import Actor, Audience, Envelope, Event, EventBody
from shared.contracts.holds import (
    HOLD_PLACED,
    HOLD_RELEASED,
    MAX_HOLDS,
    HoldSelection,
    HoldShown,
    PlaceHold,
)
from shared.errors import Reason, RefusedError

HOLD_ACTIONS: Final = (HOLD_PLACED, HOLD_RELEASED)
"""Of the auditor: its records are what `holds_of` reads."""
EQUAL_FIELDS: Final = ("actor", "package", "node", "deployment", "outcome", "correlation")
_NAMING: Final = sorted(NAMING - {"space"})
"""What may be names that a space has."""
_NODE: Final = "node/"
_TYPE_PREFIX: Final = "org.l3af.v1."


class HoldError(RefusedError):
    """A hold cannot be placed or released so."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold, ready to be asked."""

    id: str
    audience: Audience
    """That was told of it."""
    selection: HoldSelection
    since_us: int | None
    until_us: int | None
    where: Expression | None
    record: int
    """That placed it."""
    placed_at: str
    placed_by: str
    reason: str = ""
    principal: str = ""
    """Name of whoever placed it: with another key they are no other principal."""

    def covers(self, record: StoredRecord) -> bool:
        """Whether the record must not be removed."""
        return _covers(self, _facts_of(record), record)


@dataclass(frozen=True, slots=True)
class KeptHolds:
    """What the log says of holds."""

    holds: tuple[Hold, ...]
    """In force, oldest first."""
    shown: tuple[HoldShown, ...]
    """All that ever were, oldest first."""

    def covering(self, record: StoredRecord) -> Hold | None:
        """The first hold that covers a record; None: it is not held."""
        if not self.holds:
            return None
        facts, at = _facts_of(record), record.index
        covering = (one for one in self.holds if at == one.record or _covers(one, facts, record))
        return next(covering, None)


def holds_of(stored: Iterable[StoredRecord]) -> KeptHolds:
    """The holds that the auditor's own believed records speak of.

    Args:
        stored: Those with one of HOLD_ACTIONS, oldest first.
    """
    placed: dict[str, Hold] = {}
    shown: dict[str, HoldShown] = {}
    for record in stored:
        event = try_event(record.body) if record.body is not None else None
        if event is None or event.data.outcome != "accepted":
            continue
        name = str(event.data.details.get("hold", ""))
        by = event.data.actor.key if event.data.actor else ""
        if event.data.action == HOLD_PLACED and name not in shown:
            hold = _placed(event, name, by, record.index)
            placed[name] = hold
            shown[name] = HoldShown(
                hold=name,
                selection=hold.selection,
                reason=hold.reason,
                audience=hold.audience,
                record=record.index,
                placed_at=event.time,
                placed_by=by,
            )
        elif event.data.action == HOLD_RELEASED and placed.pop(name, None) is not None:
            shown[name] = msgspec.structs.replace(
                shown[name], released_record=record.index, released_at=event.time, released_by=by
            )
    return KeptHolds(tuple(placed.values()), tuple(shown.values()))


def check_selection(selection: HoldSelection) -> None:
    """The selection can be understood.

    Raises:
        HoldError: With everything in it that cannot.
    """
    problems: list[Reason] = []
    for name in ("since", "until"):
        text = getattr(selection, name)
        try:
            if text:
                parse_time_us(text)
        except UnbelievableError as error:
            rule = error.message.replace("its time", "the time")
            allowed = "2026-01-02T03:04:05Z"
            problems.append(Reason(path=f"selection.{name}", rule=rule, got=text, allowed=allowed))
    try:
        if selection.where.strip():
            parse_expression(selection.where, path="selection.where")
    except UnreadableExpressionError as error:
        problems += error.reasons
    if problems:
        raise HoldError("the hold cannot be placed", problems)


def check_place(command: PlaceHold, kept: KeptHolds, *, sees_spaces: bool) -> None:
    """The hold can be placed.

    Args:
        command: As it came.
        kept: As the log has it.
        sees_spaces: Whether the caller is a member of a space that is not open to everybody: what
            such a caller names is told to one audience, which they say.

    Raises:
        HoldError: With everything that stands in the way.
    """
    problems: list[Reason] = []
    if not command.reason.strip():
        problems.append(Reason(path="reason", rule="says why the records are held", got=""))
    if len(kept.holds) >= MAX_HOLDS:
        rule = "so many holds are in force: release one"
        problems.append(Reason(path="selection", rule=rule, allowed=f"{MAX_HOLDS} at a time"))
    selection = command.selection
    named = [name for name in _NAMING if getattr(selection, name)]
    if sees_spaces and named and not selection.space:
        rule = "say whose records are meant, `public` or a space of yours: the hold is told to them"
        problems.append(Reason(path="selection.space", rule=rule, got=""))
    try:
        check_selection(selection)
    except HoldError as error:
        problems += error.reasons
    if problems:
        raise HoldError("the hold cannot be placed", problems)


def check_release(
    kept: KeptHolds, name: str, *, by: str, principal: str, seen: frozenset[Audience]
) -> Hold:
    """The hold that `by` may release.

    Args:
        kept: As the log has it.
        name: Of the hold.
        by: Key of the principal that releases it.
        principal: Its name.
        seen: Audiences that it sees; there is no hold of others.

    Raises:
        HoldError: There is no such hold in force, or it is the caller's own.
    """
    hold = next((one for one in kept.holds if one.id == name and one.audience in seen), None)
    if hold is None:
        reason = Reason(path="hold", rule="is no hold in force", got=name)
        raise HoldError("there is no such hold in force", [reason], code="not_found")
    if by == hold.placed_by or (hold.principal and principal == hold.principal):
        rule = "is released by another principal than the one that placed it"
        reason = Reason(path="hold", rule=rule, got=name, allowed="any other principal's key")
        raise HoldError(f"hold {name} is yours: somebody else releases it", [reason])
    return hold


def placed_event(
    name: str,
    selection: HoldSelection,
    *,
    actor: Actor,
    reason: str,
    command_id: str,
    principal: str = "",
) -> EventBody:
    """`details`: `hold`, what it selects, and the name of whoever placed it."""
    return EventBody(
        action=HOLD_PLACED,
        outcome="accepted",
        actor=actor,
        reason=reason,
        correlation=command_id,
        after=canonical_digest(selection),
        details={
            "hold": name,
            "selection": msgspec.to_builtins(selection),
            "principal": principal,
        },
    )


def released_event(hold: Hold, *, actor: Actor, reason: str, command_id: str) -> EventBody:
    """`details`: `hold`."""
    return EventBody(
        action=HOLD_RELEASED,
        outcome="accepted",
        actor=actor,
        reason=reason,
        correlation=command_id,
        before=canonical_digest(hold.selection),
        details={"hold": hold.id},
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What holds select by.  None in place of a text: it is not known any more."""

    audience: Audience
    time_us: int
    event_id: str | None
    action: str | None
    licences: tuple[str, ...] | None
    equal: dict[str, str | None]


def _placed(event: Event, name: str, by: str, index: int) -> Hold:
    """The hold that an event places; what cannot be read in it selects nothing away."""
    try:
        selection = msgspec.convert(event.data.details.get("selection"), HoldSelection)
        check_selection(selection)
    except (msgspec.ValidationError, HoldError):
        selection = HoldSelection()
    where = parse_expression(selection.where) if selection.where.strip() else None
    return Hold(
        id=name,
        audience=event.audience,
        selection=selection,
        since_us=parse_time_us(selection.since) if selection.since else None,
        until_us=parse_time_us(selection.until) if selection.until else None,
        where=where,
        record=index,
        placed_at=event.time,
        placed_by=by,
        reason=event.data.reason,
        principal=str(event.data.details.get("principal", "")),
    )


def _facts_of(record: StoredRecord) -> _Facts:
    event = try_event(record.body) if record.body is not None else None
    if event is None:
        return _facts_of_leaf(record)
    body = event.data
    origin = parse_event_subject(event.subject)
    node = event.emitter.removeprefix(_NODE) if event.emitter.startswith(_NODE) else body.node
    return _Facts(
        audience=audience_of(record.leaf),
        time_us=_time_us(event.time, record),
        event_id=event.id,
        action=body.action or (origin.action if origin is not None else ""),
        licences=_licences(body),
        equal={
            "actor": _known(body.actor.key) if body.actor is not None else "",
            "package": body.package,
            "node": node,
            "deployment": body.deployment,
            "outcome": body.outcome,
            "correlation": body.correlation,
        },
    )


def _known(text: str) -> str | None:
    """The text; None: it was erased."""
    return None if is_token_text(text) else text


def _facts_of_leaf(record: StoredRecord) -> _Facts:
    """Of a record whose body is gone, or is no event."""
    unknown: dict[str, str | None] = dict.fromkeys(EQUAL_FIELDS)
    audience = audience_of(record.leaf)
    try:
        leaf = msgspec.json.decode(record.leaf, type=Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Facts(audience, record.received_us, None, None, None, unknown)
    kind, _, outcome = leaf.type.removeprefix(_TYPE_PREFIX).rpartition(".")
    if leaf.emitter.startswith(_NODE):
        unknown["node"] = leaf.emitter.removeprefix(_NODE)
    unknown["outcome"] = outcome
    return _Facts(audience, _time_us(leaf.time, record), leaf.id, kind, None, unknown)


def _covers(hold: Hold, facts: _Facts, record: StoredRecord) -> bool:
    selection = hold.selection
    is_then = (hold.since_us is None or facts.time_us >= hold.since_us) and (
        hold.until_us is None or facts.time_us < hold.until_us
    )
    known = {**facts.equal, "event_id": facts.event_id, "space": facts.audience}
    wanted = ((name, getattr(selection, name)) for name in known)
    return (
        is_then
        and all(known[name] in (None, value) for name, value in wanted if value)
        and _fits(selection.action, None if facts.action is None else (facts.action,))
        and _fits(selection.licence, facts.licences)
        and _holds_text(hold, record)
    )


def _fits(glob: str, values: Sequence[str] | None) -> bool:
    pattern = glob.replace("[^", "[!")
    return not glob or values is None or any(fnmatchcase(value, pattern) for value in values)


def _holds_text(hold: Hold, record: StoredRecord) -> bool:
    text = hold.selection.text
    if (hold.where is None and not text) or record.body is None or record.is_erased:
        return True
    document = stored_document(record)
    if hold.where is not None and not matches(hold.where, document):
        return False
    return not text or has_text(document, text)


def _licences(body: EventBody) -> tuple[str, ...] | None:
    """As records are found by their licence, and each expression of several; None: erased."""
    said: Any = body.details.get("licence", "")
    if isinstance(said, str) and said:
        return None if is_token_text(said) else (said,)
    declared = values_at(body.details, ("running", "licence", "declared"))
    each = sorted({one for one in declared if one and isinstance(one, str)})
    return None if any(map(is_token_text, each)) else ("; ".join(each), *each)


def _time_us(text: str, record: StoredRecord) -> int:
    try:
        return parse_time_us(text) or record.received_us
    except UnbelievableError:
        return record.received_us
