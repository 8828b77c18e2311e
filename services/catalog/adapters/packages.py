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

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from services.catalog.adapters.package_index import Held, PackageIndex
from services.catalog.version_entries import content_of, packed, storable, unpacked, whole
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.canonical import sha256_hex
from shared.contracts.base import Message
from shared.contracts.catalog import PackageSummary, PackageVersion
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.licences import LicenceVerdict
from shared.contracts.package_records import CATALOG, PackageRecord, StoredPackage, VersionEntry
from shared.errors import FaultError
from shared.outbox_records import Change

MessageT = TypeVar("MessageT", bound=Message)

CONTENTS: Final = 64
"""Contents of versions that stay in memory, those that were asked for last."""


class Blobs(Protocol):
    """Artifacts by digest."""

    async def store(self, digest: str, data: bytes) -> None:
        """The whole is stored."""

    async def read(self, digest: str) -> Any:
        """The whole, its digest checked; None if it is not stored."""


class Packages:
    """Every package, by what a caller sees."""

    def __init__(self, bus: Bus, index: PackageIndex, blobs: Blobs) -> None:
        self._bucket: Final[KeyValue[StoredPackage]] = bus.bucket(CATALOG)
        self._index: Final = index
        self._blobs: Final = blobs
        self._contents: Final[OrderedDict[str, Message]] = OrderedDict()

    def seen_by(self, caller: Caller) -> frozenset[Audience]:
        """The spaces that somebody sees."""
        del caller
        return frozenset({PUBLIC})

    @property
    def every_space(self) -> frozenset[Audience]:
        """What the catalog itself works with."""
        return frozenset({PUBLIC})

    def find(self, name: str, spaces: frozenset[Audience]) -> Held:
        """The package of that name, as far as it is in these spaces."""
        return self._index.find(name, spaces)

    async def read(self, name: str, spaces: frozenset[Audience]) -> Held:
        """As `find`, of what is stored at this moment: what commands decide by.

        Raises:
            FaultError: It cannot be read.
        """
        return await self._index.read(name, spaces)

    def summaries(self, spaces: frozenset[Audience]) -> Iterator[PackageSummary]:
        """One line for each package in these spaces, by name."""
        return self._index.summaries(spaces)

    def at_gates(self, *, since: datetime) -> Iterator[tuple[str, str]]:
        """Name and version of what waits at its gate, or was ordered to be verified since then."""
        return self._index.at_gates(since=since)

    async def whole(self, held: Held, entry: VersionEntry) -> PackageVersion:
        """One version of a package, in full.

        Raises:
            FaultError: It cannot be read.
        """
        content = await self._content(held, entry)
        verdict = await self._kept(entry.verdict, LicenceVerdict) if entry.verdict else None
        return whole(entry, content, verdict)

    async def change(self, held: Held, record: PackageRecord, version: PackageVersion) -> Change:
        """The package's record becomes `record`, if it is still as it was found.

        Args:
            held: As it was found.
            record: As it shall be.
            version: The one whose state it changes, or that is new in it, whole.

        Raises:
            RecordFullError: The record does not fit its bucket.
            FaultError: What belongs to it could not be stored.
        """
        earlier = {one.version: one for one in await self._inline(held)}
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
        return Change(CATALOG, held.key, stored, revision=held.revision)

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
        for version in await self._inline(held):
            if version.version == entry.version:
                return version
        # It was written again meanwhile, and is light now.
        again = await self._index.read(held.record.name, frozenset({held.space}))
        for one in again.record.versions:
            if one.version == entry.version and one.content:
                return await self._kept(one.content, PackageVersion)
        raise FaultError(f"the content of {held.record.name} {entry.version} is not stored")

    async def _inline(self, held: Held) -> tuple[PackageVersion, ...]:
        """The versions that the record has whole, if it is one that has."""
        if all(one.content for one in held.record.versions):
            return ()
        entry = await self._bucket.get(held.key)
        return entry.value.versions if entry else ()

    async def _keep(self, value: Message) -> str:
        data = packed(value)
        digest = sha256_hex(data)
        if digest not in self._contents:
            await self._blobs.store(digest, data)
        self._remember(digest, value)
        return digest

    async def _kept(self, digest: str, kind: type[MessageT]) -> MessageT:
        value = self._contents.get(digest)
        if value is None:
            data = await self._blobs.read(digest)
            if data is None:
                raise FaultError(f"artifact {digest} is not stored")
            value = unpacked(bytes(data), kind)
        self._remember(digest, value)
        return cast("MessageT", value)

    def _remember(self, digest: str, value: Message) -> None:
        self._contents[digest] = value
        self._contents.move_to_end(digest)
        while len(self._contents) > CONTENTS:
            self._contents.popitem(last=False)
