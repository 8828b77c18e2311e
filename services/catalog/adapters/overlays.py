# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Private forks on the bus: what a space has of its own, and that upstream has caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from services.catalog.adapters.watching import WATCH_SECONDS, keep_looking
from services.catalog.overlays import (
    base_entry,
    caught_up_event,
    file_changes,
    namespace_of,
    newly_caught_up,
    overlay_package,
)
from services.catalog.package_places import Held, Part
from services.catalog.spacing import seen_space
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.adapters.spaces import KnownSpaces
from shared.canonical import canonical_digest
from shared.contracts.base import Endpoint
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.overlays import (
    GET_OVERLAY,
    FileChange,
    GetOverlay,
    OverlayPackage,
    OverlayShown,
)
from shared.contracts.package_records import VersionEntry
from shared.contracts.spaces import PackageInSpace
from shared.errors import FaultError
from shared.versions import precedence

TOLD_WITHIN: Final = timedelta(days=5)
"""Of its publication a space is told that a version caught up with it: for less time than the
outbox remembers that it was told."""


class Packages(Protocol):
    """Packages by space."""

    @property
    def every_space(self) -> frozenset[Audience]:
        """Those that have packages."""

    def find(self, name: str, spaces: frozenset[Audience], *, first: Audience = PUBLIC) -> Held:
        """One package, as far as it is in these spaces."""

    def versions_in(self, audience: Audience) -> tuple[PackageInSpace, ...]:
        """Of one space."""

    async def whole(self, held: Held, entry: VersionEntry) -> PackageVersion:
        """One version, in full."""


class Overlays:
    """What private spaces have of their own."""

    def __init__(
        self,
        *,
        packages: Packages,
        spaces: KnownSpaces,
        outbox: Outbox,
        now: Callable[[], datetime],
    ) -> None:
        self._packages: Final = packages
        self._spaces: Final = spaces
        self._outbox: Final = outbox
        self._now: Final = now
        self._changed: Final[set[str]] = set()
        self._concerned: Final = asyncio.Event()

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {GET_OVERLAY: self.get_overlay}

    async def get_overlay(self, request: GetOverlay, caller: Caller) -> OverlayShown:
        """The space's own packages; of a space that the caller does not see there is none."""
        space = seen_space(self._spaces.current, request.space, caller.name, now=self._now())
        names = {one.name for one in self._packages.versions_in(space.audience)}
        wanted = sorted(name for name in names if fnmatchcase(name, request.package))
        count = len(wanted)
        packages = [await self._package(space.audience, name, packages=count) for name in wanted]
        return OverlayShown(space=space.audience, packages=tuple(packages))

    def heard(self, space: Audience, name: str) -> None:
        """A package changed: if it is public, somebody may have to be told."""
        if space == PUBLIC:
            self._changed.add(name)
            self._concerned.set()

    async def keep_telling(self) -> None:
        """For ever: the members of a space are told when upstream has caught up."""
        await keep_looking(self._tell_due, self._concerned, what="overlays")

    async def _tell_due(self) -> float:
        while self._changed:
            name = self._changed.pop()
            try:
                await self.tell(name)
            except FaultError:
                self._changed.add(name)
                raise
        return WATCH_SECONDS

    async def tell(self, name: str) -> None:
        """Every space whose own versions a public one makes unnecessary is told, once.

        Raises:
            FaultError: It could not be said; call again.
        """
        since = self._now() - TOLD_WITHIN
        own = list(self._private_parts(name))
        if not own:
            return
        public = self._packages.find(name, frozenset({PUBLIC})).part(PUBLIC).record
        for published in public.versions:
            if datetime.fromisoformat(published.published_at) < since:
                continue
            for part in own:
                versions = newly_caught_up(part.record, published, public.versions)
                if versions:
                    digest = canonical_digest([part.space, name, published.version])
                    event = caught_up_event(name, versions, published.version)
                    await self._outbox.emit(
                        event, event_id=f"overlay-{digest}", audience=part.space
                    )

    async def _package(self, space: Audience, name: str, *, packages: int) -> OverlayPackage:
        held = self._packages.find(name, frozenset({space, PUBLIC}), first=space)
        own, upstream = held.part(space), held.part(PUBLIC)
        changes = await self._changes(own, upstream)
        return overlay_package(own.record, upstream.record, changes, packages=packages)

    async def _changes(self, own: Part, upstream: Part) -> tuple[FileChange, ...]:
        """Of the newest own version against what it stands on; none if that is not public."""
        newest = max(own.record.versions, key=lambda one: precedence(one.version))
        before = base_entry(newest.version, upstream.record.versions)
        if before is None:
            return ()
        old = await self._packages.whole(Held(upstream.record, (upstream,)), before)
        new = await self._packages.whole(Held(own.record, (own,)), newest)
        return file_changes(old.manifest, new.manifest)

    def _private_parts(self, name: str) -> Iterator[Part]:
        for space in sorted(self._packages.every_space):
            if namespace_of(space):
                part = self._packages.find(name, frozenset({space}), first=space).part(space)
                if part.record.versions:
                    yield part
