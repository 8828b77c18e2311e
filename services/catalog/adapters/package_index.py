# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every package that is published, at hand: what is light in memory, and nothing else.

Rules:
 * What somebody sees is looked up with the spaces that they see, by one function; what lies in
   another space takes the same way to the same answer as what does not exist.
 * A command decides by what is stored at that moment (`read`), and writes if it still is.
 * A write of this process is known here before its command is answered; one of another process a
   moment after it was stored.
 * Entries stay packed until somebody asks for them: 100,000 take some ten megabytes.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
import structlog

from services.catalog.resolution import summary_of
from services.catalog.version_entries import packed_entries, record_of
from shared.adapters.bus import Bus
from shared.adapters.kv import KeyValue
from shared.adapters.watched_bus import StoredChange
from shared.contracts.catalog import PackageSummary
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.package_records import CATALOG, PackageRecord, StoredPackage
from shared.errors import FaultError, RefusedError

RELIST_SECONDS: Final = 600.0
LISTED_SECONDS: Final = 60.0
"""How long reading all records may take at the start."""
UNPACKED: Final = 128
"""Records that stay unpacked, those that were asked for last."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """One package as somebody sees it; without versions if there is none that they see."""

    space: Audience
    record: PackageRecord
    revision: int = 0
    """Of its key; 0: it was never written."""

    @property
    def key(self) -> str:
        """In the bucket."""
        return key_of(self.space, self.record.name)


@dataclass(frozen=True, slots=True)
class _Kept:
    stored: StoredPackage
    """With its entries packed, whatever release wrote it."""
    summary: PackageSummary | None
    """None: it has no version."""
    has_gate: bool
    """Whether any version was ordered to be verified."""
    revision: int


def key_of(space: Audience, name: str) -> str:
    """Where the package of a space is kept."""
    return name if space == PUBLIC else f"{space}.{name}"


class PackageIndex:
    """All records of the bucket, as they are now."""

    def __init__(self, bus: Bus) -> None:
        self._bucket: Final[KeyValue[StoredPackage]] = bus.bucket(CATALOG)
        self._kept: Final[dict[str, _Kept]] = {}
        self._unpacked: Final[OrderedDict[str, Held]] = OrderedDict()
        self._drafted: tuple[StoredPackage, PackageRecord] | None = None

    async def open(self) -> None:
        """Everything that is stored is known, and changes are followed.

        Raises:
            FaultError: The bus does not answer.
        """
        try:
            listed = await self._bucket.follow(">", self._on_stored, relist_seconds=RELIST_SECONDS)
        except RefusedError as error:
            # Credentials of an earlier release have no right to follow; nobody else writes then.
            _log.warning("packages_not_followed", why=error.message)
            for entry in await self._bucket.entries():
                self._take(entry.key, entry.value, entry.revision)
        else:
            try:
                async with asyncio.timeout(LISTED_SECONDS):
                    await listed.wait()
            except TimeoutError as error:
                raise FaultError("the packages could not be read in time") from error
        _log.info("packages_known", packages=len(self._kept))

    def find(self, name: str, spaces: frozenset[Audience]) -> Held:
        """The package of that name as it is seen by somebody who sees these spaces."""
        for space in sorted(spaces, key=lambda one: (one == PUBLIC, one)):
            key = key_of(space, name)
            kept = self._kept.get(key)
            if kept is not None:
                return self._held(key, space, kept)
        return Held(PUBLIC, PackageRecord(name=name))

    async def read(self, name: str, spaces: frozenset[Audience]) -> Held:
        """As `find`, of what is stored at this moment.

        Raises:
            FaultError: It cannot be read.
        """
        for space in sorted(spaces):
            await self._read(key_of(space, name))
        return self.find(name, spaces)

    def summaries(self, spaces: frozenset[Audience]) -> Iterator[PackageSummary]:
        """One line for each package that somebody sees who sees these spaces, by name."""
        for name in sorted({kept.stored.name for kept in self._kept.values()}):
            for space in sorted(spaces, key=lambda one: (one == PUBLIC, one)):
                kept = self._kept.get(key_of(space, name))
                if kept is not None and kept.summary is not None:
                    yield kept.summary
                    break

    def at_gates(self, *, since: datetime) -> Iterator[tuple[str, str]]:
        """Name and version of what waits at its gate, or was ordered to be verified since then."""
        for kept in self._kept.values():
            for version in record_of(kept.stored).versions if kept.has_gate else ():
                gate = version.gate
                is_late = gate and datetime.fromisoformat(gate.ordered_at) >= since
                if gate and (gate.awaits or is_late):
                    yield kept.stored.name, version.version

    def expect(self, drafted: StoredPackage, record: PackageRecord) -> None:
        """Spares unpacking what is about to be stored.

        Args:
            drafted: What `note` may bring next.
            record: What it holds.
        """
        self._drafted = (drafted, record)

    def note(self, change: StoredChange) -> None:
        """A command's change is known without reading it back."""
        stored = msgspec.json.decode(change.data, type=StoredPackage)
        self._take(change.key, stored, change.revision)

    async def _read(self, key: str) -> None:
        entry = await self._bucket.get(key)
        if entry is None:
            self._kept.pop(key, None)
            self._unpacked.pop(key, None)
        elif key not in self._kept or self._kept[key].revision != entry.revision:
            self._keep(key, entry.value, entry.revision)

    async def _on_stored(self, key: str, stored: StoredPackage | None, revision: int) -> None:
        kept = self._kept.get(key)
        if stored is None or (kept is not None and kept.revision > revision):
            # Outdated, or counted anew after the bucket was: what is stored says which.
            await self._read(key)
        else:
            self._take(key, stored, revision)

    def _take(self, key: str, stored: StoredPackage, revision: int) -> None:
        kept = self._kept.get(key)
        if kept is None or kept.revision < revision:
            self._keep(key, stored, revision)

    def _keep(self, key: str, stored: StoredPackage, revision: int) -> None:
        try:
            entries = packed_entries(stored)
            stored = msgspec.structs.replace(stored, entries=entries, versions=())
            drafted = self._drafted
            record = drafted[1] if drafted and drafted[0] == stored else record_of(stored)
        except (msgspec.DecodeError, zlib.error) as error:
            _log.error("record_skipped", key=key, why=str(error))
            return
        summary = summary_of(record) if record.versions else None
        has_gate = any(one.gate is not None for one in record.versions)
        self._kept[key] = _Kept(stored, summary, has_gate, revision)
        self._remember(key, Held(key.rpartition(".")[0] or PUBLIC, record, revision))

    def _held(self, key: str, space: Audience, kept: _Kept) -> Held:
        held = self._unpacked.get(key)
        if held is None:
            held = Held(space, record_of(kept.stored), kept.revision)
        self._remember(key, held)
        return held

    def _remember(self, key: str, held: Held) -> None:
        self._unpacked[key] = held
        self._unpacked.move_to_end(key)
        while len(self._unpacked) > UNPACKED:
            self._unpacked.popitem(last=False)
