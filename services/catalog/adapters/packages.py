# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages as the catalog's commands use them: found, read whole, and changed.

Rules:
 * What never changes about a version is stored as an artifact before the decision that names it;
   one that no decision came to name harms nobody.
 * A record that a release before this one wrote, with every version whole, becomes light when it
   is written again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from services.catalog.adapters.package_index import PackageIndex
from services.catalog.package_places import Held, Meant, Part, VersionPlace, has_version
from services.catalog.recent import Recent
from services.catalog.resolution import descending
from services.catalog.version_entries import content_of, packed, storable, unpacked, whole
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.spaces import KnownSpaces
from shared.canonical import sha256_hex
from shared.contracts.base import Message
from shared.contracts.catalog import PackageSummary, PackageVersion
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.licences import LicenceVerdict
from shared.contracts.package_records import CATALOG, PackageRecord, StoredPackage, VersionEntry
from shared.contracts.spaces import PackageInSpace
from shared.errors import FaultError
from shared.outbox_records import Change
from shared.versions import precedence

MessageT = TypeVar("MessageT", bound=Message)

CONTENT_BYTES: Final = 1024 * 1024
"""Packed, of the contents that were asked for last and stay in memory, where they take far more."""


class Blobs(Protocol):
    """Artifacts by digest."""

    async def store(self, digest: str, data: bytes) -> None:
        """The whole is stored."""

    async def read(self, digest: str) -> Any:
        """The whole, its digest checked; None if it is not stored."""


class Packages:
    """Every package, by what a caller sees."""

    def __init__(self, bus: Bus, index: PackageIndex, blobs: Blobs, *, spaces: KnownSpaces) -> None:
        self._bucket: Final[KeyValue[StoredPackage]] = bus.bucket(CATALOG)
        self._index: Final = index
        self._blobs: Final = blobs
        self._spaces: Final = spaces
        self._contents: Final = Recent[Message](CONTENT_BYTES)

    def seen_by(self, caller: Caller, space: Audience = "") -> frozenset[Audience]:
        """The spaces that somebody sees; or the one that is named, if it is one of these."""
        seen = self._spaces.visible_to(caller.name)
        return seen & {space} if space else seen

    def beside(self, space: Audience) -> frozenset[Audience]:
        """What everybody sees who sees this space: itself, and what is open."""
        return self._spaces.open_to_all() | {space}

    @property
    def every_space(self) -> frozenset[Audience]:
        """What the catalog itself works with."""
        return self._index.spaces

    def audience_now(self, space: Audience) -> Audience:
        """To whom it is told from now on what concerns this space."""
        return self._spaces.audience_now(space)

    async def meant(self, name: str, version: str, caller: Caller, space: Audience = "") -> Meant:
        """What a command about one version is about, as it is stored at this moment.

        What everybody sees goes first, then each other space that the caller sees; if none has the
        version, it is the first of these that has the package.  Never two that not everybody sees
        at once: what is refused is told to one of them.

        Raises:
            FaultError: It cannot be read.
        """
        seen, is_open = self.seen_by(caller, space), self._spaces.open_to_all()
        held = await self._index.read(name, seen & is_open)
        found = Meant(held, held.record, PUBLIC)
        if has_version(found.record, version):
            return found
        for one in sorted(seen - is_open):
            if self._index.find(name, frozenset({one})).parts:
                held = await self._index.read(name, is_open | {one}, first=one)
                other = Meant(held, held.part(one).record, one)
                if has_version(other.record, version):
                    return other
                found = other if found.audience == PUBLIC else found
        return found

    def find(self, name: str, spaces: frozenset[Audience], *, first: Audience = PUBLIC) -> Held:
        """The package of that name, as far as it is in these spaces; see `PackageIndex.find`."""
        closed = spaces - self._spaces.open_to_all()
        return self._index.find(name, spaces, first=first, closed=closed)

    async def read(
        self, name: str, spaces: frozenset[Audience], *, first: Audience = PUBLIC
    ) -> Held:
        """As `find`, of what is stored at this moment: what commands decide by.

        Raises:
            FaultError: It cannot be read.
        """
        return await self._index.read(name, spaces, first=first)

    def summaries(self, spaces: frozenset[Audience]) -> Iterator[PackageSummary]:
        """One line for each package in these spaces, by name."""
        is_open = self._spaces.open_to_all()
        for summary in self._index.summaries(spaces):
            if spaces <= is_open:
                yield summary
                continue
            versions = self._index.find(summary.name, spaces).record.versions
            restricted = {one.version: one.space for one in versions if one.space not in is_open}
            yield msgspec.structs.replace(summary, restricted=restricted)

    def shows_archive(self, digest: str, caller: Caller) -> bool:
        """Whether a version that somebody sees has this archive."""
        return self._index.has_archive(digest, self.seen_by(caller))

    def versions_in(self, audience: Audience) -> tuple[PackageInSpace, ...]:
        """All versions of one space, by name, the newest first."""
        spaces = frozenset({audience})
        return tuple(
            PackageInSpace(name=name, version=one.version, channels=one.channels)
            for name in self._index.names_in(audience)
            for one in descending(self._index.find(name, spaces).record)
        )

    def twice(self, audience: Audience) -> tuple[str, ...]:
        """Versions of one space that `public` has too, as `name version`."""
        public = frozenset({PUBLIC})
        found = []
        for one in self.versions_in(audience):
            others = self._index.find(one.name, public).record.versions
            if precedence(one.version) in {precedence(other.version) for other in others}:
                found.append(f"{one.name} {one.version}")
        return tuple(found)

    def at_gates(self, *, since: datetime) -> Iterator[VersionPlace]:
        """What waits at its gate, or was ordered to be verified since then."""
        return self._index.at_gates(since=since)

    async def whole(self, held: Held, entry: VersionEntry) -> PackageVersion:
        """One version of a package, in full.

        Raises:
            FaultError: It cannot be read.
        """
        content = await self._content(held, entry)
        verdict = await self._kept(entry.verdict, LicenceVerdict) if entry.verdict else None
        return whole(entry, content, verdict)

    async def change(self, part: Part, record: PackageRecord, version: PackageVersion) -> Change:
        """The package's record becomes `record`, if it is still as it was found.

        Args:
            part: As it was found.
            record: As it shall be.
            version: The one whose state it changes, or that is new in it, whole.

        Raises:
            RecordFullError: The record does not fit its bucket.
            FaultError: What belongs to it could not be stored.
        """
        earlier = {one.version: one for one in await self._inline(part)}
        entries = []
        for entry in record.versions:
            kept = entry
            if not entry.content:
                content = content_of(earlier.get(entry.version, version))
                kept = msgspec.structs.replace(entry, content=await self._keep(content))
            if entry.version == version.version:
                kept = await self._judged(kept, version)
            entries.append(kept)
        light = msgspec.structs.replace(record, versions=tuple(entries))
        stored = storable(light)
        self._index.expect(stored, light)
        return Change(CATALOG, part.key, stored, revision=part.revision)

    async def _judged(self, entry: VersionEntry, version: PackageVersion) -> VersionEntry:
        """The entry with the verdict on its licences, if that is another than at publication."""
        content = await self._kept(entry.content, PackageVersion)
        digest = ""
        if version.licences is not None and version.licences != content.licences:
            digest = await self._keep(version.licences)
        return msgspec.structs.replace(entry, verdict=digest)

    async def _content(self, held: Held, entry: VersionEntry) -> PackageVersion:
        if entry.content:
            return await self._kept(entry.content, PackageVersion)
        part = held.part(entry.space)
        for version in await self._inline(part):
            if version.version == entry.version:
                return version
        # It was written again meanwhile, and is light now.
        again = await self._index.read(held.record.name, frozenset({part.space}), first=part.space)
        for one in again.record.versions:
            if one.version == entry.version and one.content:
                return await self._kept(one.content, PackageVersion)
        raise FaultError(f"the content of {held.record.name} {entry.version} is not stored")

    async def _inline(self, part: Part) -> tuple[PackageVersion, ...]:
        """The versions that the record has whole, if it is one that has."""
        if all(one.content for one in part.record.versions):
            return ()
        entry = await self._bucket.get(part.key)
        return entry.value.versions if entry else ()

    async def _keep(self, value: Message) -> str:
        data = packed(value)
        digest = sha256_hex(data)
        if digest not in self._contents:
            await self._blobs.store(digest, data)
        self._contents.put(digest, value, weight=len(data))
        return digest

    async def _kept(self, digest: str, kind: type[MessageT]) -> MessageT:
        value = self._contents.get(digest)
        if value is None:
            data = await self._blobs.read(digest)
            if data is None:
                raise FaultError(f"artifact {digest} is not stored")
            value = unpacked(bytes(data), kind)
            self._contents.put(digest, value, weight=len(data))
        return cast("MessageT", value)
