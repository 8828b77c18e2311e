# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Ratings on the bus: given, changed, removed, listed, and their totals for who searches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from services.catalog.adapters.packages import Packages
from services.catalog.publication import check_has_name
from services.catalog.rating import (
    Rater,
    listed,
    rated,
    rating_event,
    rating_prefix,
    removed,
)
from services.catalog.resolution import chosen_version
from services.catalog.version_refusals import refused_of_version
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import Entry, KeyValue
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint, Message
from shared.contracts.events import Audience
from shared.contracts.ratings import (
    LIST_RATINGS,
    PACKAGE_RATINGS,
    RATE_PACKAGE,
    REMOVE_RATING,
    ListRatings,
    RatePackage,
    RatingChanged,
    RatingList,
    RatingRecord,
    RemoveRating,
)
from shared.errors import RefusedError
from shared.outbox_records import Change, Decision

_log = structlog.get_logger()

RELIST_SECONDS: Final = 600.0

Version = tuple[str, Audience, str]
"""Package, space and version."""


class Ratings:
    """What principals think of versions, as far as a caller sees these."""

    def __init__(self, bus: Bus, packages: Packages, outbox: Outbox) -> None:
        self._bucket: Final[KeyValue[RatingRecord]] = bus.bucket(PACKAGE_RATINGS)
        self._packages: Final = packages
        self._stars: Final[dict[tuple[Version, str], int]] = {}
        self._totals: Final[dict[Version, tuple[int, int]]] = {}
        self.changes = 0
        """How often totals changed."""
        self._rate: Final = outbox.command(RATE_PACKAGE, self.rate, concerned=self._concerned)
        self._remove: Final = outbox.command(REMOVE_RATING, self.remove, concerned=self._concerned)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            RATE_PACKAGE: self._performing(self._rate),
            REMOVE_RATING: self._performing(self._remove),
            LIST_RATINGS: self.list_ratings,
        }

    @property
    def totals(self) -> Mapping[Version, tuple[int, int]]:
        """How many ratings a version has, and the sum of their stars."""
        return self._totals

    async def open(self) -> None:
        """All ratings are known soon, and changes are followed.

        Raises:
            FaultError: The bus does not answer.
        """
        try:
            await self._bucket.follow(">", self._on_rating, relist_seconds=RELIST_SECONDS)
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("ratings_not_read", why=error.message)

    async def rate(
        self, request: RatePackage, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RatingChanged]:
        """The caller's rating of a version is this."""
        meant = await self._packages.meant(request.name, request.version, caller, request.space)
        try:
            entry = chosen_version(meant.record, name=request.name, version=request.version)
            key = f"{rating_prefix(request.name, entry)}{caller.name}"
            found = await self._bucket.get(key)
            before = found.value if found else None
            rater = Rater(caller.actor(), caller.name, now)
            after = rated(request.name, entry, before, request, rater)
        except RefusedError as error:
            return refused_of_version("package.rate", request, error, audience=meant.audience)
        return self._changed("package.rate", found, after, key=key, command_id=command_id)

    async def remove(
        self, request: RemoveRating, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RatingChanged]:
        """A rating is gone, with its text."""
        meant = await self._packages.meant(request.name, request.version, caller, request.space)
        try:
            entry = chosen_version(meant.record, name=request.name, version=request.version)
            key = f"{rating_prefix(request.name, entry)}{request.author or caller.name}"
            found = await self._bucket.get(key)
            before = found.value if found else None
            after = removed(before, request, Rater(caller.actor(), caller.name, now))
        except RefusedError as error:
            return refused_of_version("package.unrate", request, error, audience=meant.audience)
        return self._changed("package.unrate", found, after, key=key, command_id=command_id)

    async def list_ratings(self, request: ListRatings, caller: Caller) -> RatingList:
        """One page of what was said of a version that the caller sees."""
        held = self._packages.find(request.name, self._packages.seen_by(caller, request.space))
        entry = chosen_version(held.record, name=request.name, version=request.version)
        entries = await self._bucket.entries(rating_prefix(request.name, entry))
        return listed(request.name, entry, [one.value for one in entries], request)

    def _changed(
        self,
        action: str,
        found: Entry[RatingRecord] | None,
        after: RatingRecord,
        *,
        key: str,
        command_id: str,
    ) -> Decision[RatingChanged]:
        after = msgspec.structs.replace(after, command_id=command_id)
        return Decision(
            reply=RatingChanged(
                command_id=command_id,
                name=after.package,
                version=after.version,
                space=after.space,
                author=after.author,
                stars=after.stars,
            ),
            change=Change(PACKAGE_RATINGS, key, after, revision=found.revision if found else 0),
            events=(rating_event(action, found.value if found else None, after),),
            audience=self._packages.audience_now(after.space),
        )

    def _performing(self, command: Handler) -> Handler:
        async def perform(request: Any, caller: Caller) -> Message:
            check_has_name(caller.name)
            changed = await command(request, caller)
            assert isinstance(changed, RatingChanged)
            place = (changed.name, changed.space, changed.version)
            self._note(place, changed.author, changed.stars)
            return changed

        return perform

    async def _concerned(self, request: RatePackage | RemoveRating, caller: Caller) -> Audience:
        meant = await self._packages.meant(request.name, request.version, caller, request.space)
        return self._packages.audience_now(meant.audience)

    async def _on_rating(self, _key: str, rating: RatingRecord | None, _revision: int) -> None:
        if rating is not None:
            place = (rating.package, rating.space, rating.version)
            self._note(place, rating.author, rating.stars)

    def _note(self, place: Version, author: str, stars: int) -> None:
        before = self._stars.pop((place, author), 0)
        self.changes += before != stars
        count, total = self._totals.pop(place, (0, 0))
        count, total = count + bool(stars) - bool(before), total + stars - before
        if stars:
            self._stars[place, author] = stars
        if count:
            self._totals[place] = (count, total)
