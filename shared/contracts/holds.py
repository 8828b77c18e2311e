# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Legal holds: records that nobody may remove, whatever their age and whoever asks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Accepted, Command, Document, Endpoint, Message, Request
from shared.contracts.events import Outcome

HOLD_PLACED: Final = "hold.place"
HOLD_RELEASED: Final = "hold.release"
MAX_HOLDS: Final = 1000
"""In force at a time."""

_Name = Annotated[str, Meta(max_length=256)]


class HoldSelection(Document, frozen=True, kw_only=True):
    """Which records are held: those that match everything given; nothing given: all of them.

    Each field means what it means where records are asked for.
    """

    since: _Name = ""
    """RFC 3339, inclusive, by the emitter's clock."""
    until: _Name = ""
    """RFC 3339, exclusive.  Empty: what is recorded from now on is held as well."""
    actor: _Name = ""
    """Key of the principal."""
    action: _Name = ""
    """Glob."""
    package: _Name = ""
    node: _Name = ""
    deployment: _Name = ""
    outcome: Outcome | Literal[""] = ""
    correlation: _Name = ""
    event_id: _Name = ""
    licence: _Name = ""
    """Glob."""
    space: _Name = ""
    """Audience."""
    where: Annotated[str, Meta(max_length=2000)] = ""
    """An expression over the record's fields."""
    text: Annotated[str, Meta(max_length=200)] = ""
    """Only records that hold this text in any field, whatever the case of its letters."""


class PlaceHold(Command, frozen=True, kw_only=True):
    """Keep these records, and those that will match, until the hold is released."""

    selection: HoldSelection


class HoldPlaced(Accepted, frozen=True, kw_only=True):
    """It holds: the log has recorded it."""

    hold: str
    """By which it is released."""


class ReleaseHold(Command, frozen=True, kw_only=True):
    """Let go of a hold that somebody else placed."""

    hold: Annotated[str, Meta(min_length=1, max_length=64)]


class HoldReleased(Accepted, frozen=True, kw_only=True):
    """It holds no more."""

    hold: str


class ListHolds(Request, frozen=True, kw_only=True):
    """The holds that the caller sees."""

    released: bool = False
    """Also those that hold no more."""


class HoldShown(Message, frozen=True, kw_only=True):
    """One hold."""

    hold: str
    selection: HoldSelection
    reason: str = ""
    audience: str
    """Who is told of it: members of the space that it selects, else everybody who reads the log."""
    record: int
    """That placed it."""
    placed_at: str
    """RFC 3339 UTC."""
    placed_by: str
    """Key of the principal."""
    released_record: int | None = None
    """That released it; None: it is in force."""
    released_at: str = ""
    released_by: str = ""


class HoldsShown(Message, frozen=True, kw_only=True):
    """Oldest first."""

    holds: tuple[HoldShown, ...]


PLACE_HOLD: Final = Endpoint(f"{API}.auditor.hold.place", PlaceHold, HoldPlaced)
RELEASE_HOLD: Final = Endpoint(f"{API}.auditor.hold.release", ReleaseHold, HoldReleased)
LIST_HOLDS: Final = Endpoint(f"{API}.auditor.hold.list", ListHolds, HoldsShown)
