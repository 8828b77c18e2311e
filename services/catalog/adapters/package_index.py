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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import msgspec
import structlog

from services.catalog.package_places import (
    Held,
    Part,
    VersionPlace,
    held_of,
    in_order,
    key_of,
    place_of,
)
from services.catalog.recent import Recent
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
UNPACKED_VERSIONS: Final = 5000
"""That stay unpacked, of the packages that were asked for last: some five kilobytes each."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Kept:
    stored: StoredPackage
    """With its entries packed, whatever release wrote it."""
    summary: PackageSummary | None
    """None: it has no version."""
    has_gate: bool
    """Whether any version was ordered to be verified."""
    revision: int


class PackageIndex:
    """All records of the bucket, as they are now."""

    def __init__(self, bus: Bus) -> None:
        self._bucket: Final[KeyValue[StoredPackage]] = bus.bucket(CATALOG)
        self._kept: Final[dict[Audience, dict[str, _Kept]]] = {}
        self._archives: Final[dict[Audience, set[bytes]]] = {}
        self._unpacked: Final = Recent[Part](UNPACKED_VERSIONS)
        self._drafted: tuple[StoredPackage, PackageRecord] | None = None
        self._heard: Final[list[Callable[[Audience, str], None]]] = []

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
        _log.info("packages_known", packages=sum(map(len, self._kept.values())))

    def on_change(self, heard: Callable[[Audience, str], None]) -> None:
        """From now on `heard` is told the space and the name of what changed."""
        self._heard.append(heard)

    @property
    def spaces(self) -> frozenset[Audience]:
        """Everywhere where something is."""
        return frozenset({PUBLIC, *self._kept})

    def find(
        self,
        name: str,
        spaces: frozenset[Audience],
        *,
        first: Audience = PUBLIC,
        closed: frozenset[Audience] = frozenset(),
    ) -> Held:
        """The package of that name as it is seen by somebody who sees these spaces.

        Args:
            name: Of the package.
            spaces: Looked at alike, whatever there is beside them.
            first: Whose version is meant where more than one space has it: see `in_order`.
            closed: What not everybody sees.
        """
        order = in_order(spaces, first=first, closed=closed)
        found = [(one, kept) for one in order if (kept := self._kept_in(one).get(name))]
        return held_of(name, [self._part(space, kept) for space, kept in found])

    async def read(
        self, name: str, spaces: frozenset[Audience], *, first: Audience = PUBLIC
    ) -> Held:
        """As `find`, of what is stored at this moment.

        Raises:
            FaultError: It cannot be read.
        """
        known = {one for one in spaces if name in self._kept_in(one)}
        for space in sorted({first, *known}):
            await self._read(space, name)
        return self.find(name, spaces, first=first)

    def summaries(self, spaces: frozenset[Audience]) -> Iterator[PackageSummary]:
        """One line for each package that somebody sees who sees these spaces, by name."""
        looked_at = [self._kept_in(one) for one in sorted(spaces)]
        for name in sorted(set[str]().union(*looked_at)):
            found = [kept for one in looked_at if (kept := one.get(name)) and kept.summary]
            if len(found) == 1:
                assert found[0].summary is not None
                yield found[0].summary
            elif found:
                yield summary_of(self.find(name, spaces).record)

    def names_in(self, space: Audience) -> list[str]:
        """Of the packages of one space, ascending."""
        return sorted(self._kept_in(space))

    def has_archive(self, digest: str, spaces: frozenset[Audience]) -> bool:
        """Whether a version in these spaces has this archive."""
        wanted = bytes.fromhex(digest)
        return any(wanted in self._archives.get(one, ()) for one in sorted(spaces))

    def at_gates(self, *, since: datetime) -> Iterator[VersionPlace]:
        """What waits at its gate, or was ordered to be verified since then."""
        for space, packages in self._kept.items():
            for name, kept in packages.items():
                for version in record_of(kept.stored).versions if kept.has_gate else ():
                    gate = version.gate
                    is_late = gate and datetime.fromisoformat(gate.ordered_at) >= since
                    if gate and (gate.awaits or is_late):
                        yield VersionPlace(space, name, version.version)

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

    def _kept_in(self, space: Audience) -> Mapping[str, _Kept]:
        return self._kept.get(space, _NOTHING)

    async def _read(self, space: Audience, name: str) -> None:
        entry = await self._bucket.get(key_of(space, name))
        known = self._kept_in(space).get(name)
        if entry is None:
            self._kept.get(space, {}).pop(name, None)
            self._unpacked.drop(key_of(space, name))
            self._tell(space, name)
        elif known is None or known.revision != entry.revision:
            self._keep(entry.key, entry.value, entry.revision)

    async def _on_stored(self, key: str, stored: StoredPackage | None, revision: int) -> None:
        space, name = place_of(key)
        kept = self._kept_in(space).get(name)
        if stored is None or (kept is not None and kept.revision > revision):
            # Outdated, or counted anew after the bucket was: what is stored says which.
            await self._read(space, name)
        else:
            self._take(key, stored, revision)

    def _take(self, key: str, stored: StoredPackage, revision: int) -> None:
        space, name = place_of(key)
        kept = self._kept_in(space).get(name)
        if kept is None or kept.revision < revision:
            self._keep(key, stored, revision)

    def _keep(self, key: str, stored: StoredPackage, revision: int) -> None:
        space, name = place_of(key)
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
        self._kept.setdefault(space, {})[name] = _Kept(stored, summary, has_gate, revision)
        digests = (bytes.fromhex(one.archive_sha256) for one in record.versions)
        self._archives.setdefault(space, set()).update(digests)
        self._unpacked.drop(key)
        if drafted and record is drafted[1]:
            self._remember(Part(space, record, revision))
        self._tell(space, name)

    def _tell(self, space: Audience, name: str) -> None:
        for heard in self._heard:
            heard(space, name)

    def _part(self, space: Audience, kept: _Kept) -> Part:
        part = self._unpacked.get(key_of(space, kept.stored.name))
        if part is None:
            part = Part(space, record_of(kept.stored), kept.revision)
            self._remember(part)
        return part

    def _remember(self, part: Part) -> None:
        self._unpacked.put(part.key, part, weight=len(part.record.versions))


_NOTHING: Final[Mapping[str, _Kept]] = MappingProxyType({})
