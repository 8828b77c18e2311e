# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package mirror`: what one installation published, in the catalog of another."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.console import JsonFlag, plain
from cli.package_publish import Publisher, load_publisher
from cli.package_transfer import Outcome, carry_out, find_version, is_same, take_in
from shared.adapters.bus import Bus
from shared.contracts.base import Message
from shared.contracts.catalog import LIST_PACKAGES, ListPackages, PackageVersion
from shared.contracts.events import PUBLIC
from shared.errors import Reason, Refusal, RefusedError

MirrorOutcome = Literal["published", "already there", "conflict", "left out", "refused"]
_BAD: Final[frozenset[MirrorOutcome]] = frozenset({"conflict", "refused"})


class MirroredVersion(Message, frozen=True, kw_only=True):
    """One version of the source, and what became of it."""

    name: str
    version: str
    outcome: MirrorOutcome
    """`conflict`: the target has another package under this name and version."""
    archive_sha256: str = ""
    channels: tuple[str, ...] = ()
    """Of the target."""
    why: str = ""
    """Of what was left out."""
    refusal: Refusal | None = None


class PackagesMirrored(Message, frozen=True, kw_only=True):
    """By name, the oldest version first."""

    source: str
    """Trust root of the installation that they are from."""
    versions: tuple[MirroredVersion, ...]


def mirror(
    *,
    source: Annotated[Path, Parameter(name="--from")],
    target: Annotated[Path, Parameter(name="--to")],
    package: str = "*",
    channel: str = "",
    reason: str = "",
    json: JsonFlag = False,
) -> None:
    """Copy published versions from one installation's catalog into another's.

    Archives and manifests keep their digests.  The target's publisher signs; the signatures of the
    source are checked, and kept beside.  What is there already is left alone, so a run that was
    broken off goes on when it is repeated.  What not everybody sees is never copied.  Exit status
    2: a version was refused, or the target has another under its number.

    Parameters
    ----------
    source
        Directory with credentials of the installation that has the packages.
    target
        Directory with a publisher's credentials of the one that shall have them.
    package
        Glob over the names.
    channel
        Copy what is in this channel, and release it to this channel alone; left out: everything
        that is released, to the channels of the same names.
    reason
        Why; goes into the audit log of the target.
    """
    mirrored = console.run(
        _mirror(source, target, package=package, channel=channel, reason=reason, json=json),
        json=json,
    )
    console.emit(mirrored, _render, json=json)
    if any(one.outcome in _BAD for one in mirrored.versions):
        sys.exit(console.REFUSED)


async def _mirror(
    source: Path, target: Path, *, package: str, channel: str, reason: str, json: bool
) -> PackagesMirrored:
    publisher = load_publisher(session.credentials_dir(target))
    done: list[MirroredVersion] = []
    async with session.connected(source) as there, session.connected(target) as here:
        if there.facts.trust_root == here.facts.trust_root:
            rule = "is the same installation as --to"
            raise RefusedError(f"--from {rule}", [Reason(path="from", rule=rule)])
        copying = _Copying(
            there, here, publisher, channel, reason or f"mirrored from {there.facts.name}"
        )
        async for name, version in _listed(there, package):
            one = await copying.copied(name, version)
            done.append(one)
            console.say(f"{one.name} {one.version}: {one.outcome} {one.why}".rstrip(), json=json)
        return PackagesMirrored(source=there.facts.trust_root, versions=tuple(done))


async def _listed(bus: Bus, glob: str) -> AsyncIterator[tuple[str, str]]:
    """Name and version of everything that is listed, the oldest first."""
    after = ""
    while True:
        page = await bus.request(LIST_PACKAGES, ListPackages(name=glob, after=after))
        for found in page.packages:
            for version in reversed(found.versions):
                yield found.name, version
        after = page.next
        if not after:
            return


@dataclass(frozen=True, slots=True)
class _Copying:
    """From where to where, and how."""

    there: Bus
    here: Bus
    publisher: Publisher
    channel: str
    reason: str

    async def copied(self, name: str, version: str) -> MirroredVersion:
        """What became of one version."""
        found = await find_version(self.there, name, version, space=PUBLIC)
        if found is None:
            return _left_out(name, version, "is not for everybody to see")
        channels = tuple(one for one in found.channels if self.channel in ("", one))
        if why := _unwanted(found, channels):
            return _left_out(name, version, why)
        try:
            outcome = await self._copied(found, channels)
        except RefusedError as error:
            refusal = error.refusal()
            return MirroredVersion(
                name=name, version=version, outcome="refused", why=refusal.message, refusal=refusal
            )
        return MirroredVersion(
            name=name,
            version=version,
            outcome=outcome,
            archive_sha256=found.signed.archive_sha256,
            channels=channels,
        )

    async def _copied(self, found: PackageVersion, channels: tuple[str, ...]) -> Outcome:
        name, version = found.manifest.name, found.version
        if (held := await find_version(self.here, name, version, space=PUBLIC)) is not None:
            return "already there" if is_same(held.signed, found.signed) else "conflict"
        label = f"{name} {version}"
        total = sum(one.size_bytes for one in found.manifest.files)
        root = self.there.facts.trust_root
        with console.progress(f"{label}: fetching", total=total) as show_progress:
            package = await carry_out(
                self.there,
                found,
                trust_root=root,
                destination=f"installation {self.here.facts.trust_root}",
                show_progress=show_progress,
            )
        total = len(package.archive)
        with console.progress(f"{label}: publishing", total=total) as show_progress:
            return await take_in(
                self.here,
                package,
                self.publisher,
                trust_root=self.here.facts.trust_root,
                channels=channels,
                reason=self.reason,
                show_progress=show_progress,
            )


def _unwanted(found: PackageVersion, channels: tuple[str, ...]) -> str:
    """Why the version is not copied; empty: it is."""
    life = found.lifecycle
    if life is not None and life.revoked is not None:
        return "is revoked"
    if life is not None and life.yanked is not None:
        return "is yanked"
    return "" if channels else "is in no channel that is asked for"


def _left_out(name: str, version: str, why: str) -> MirroredVersion:
    return MirroredVersion(name=name, version=version, outcome="left out", why=why)


def _render(mirrored: PackagesMirrored) -> RenderableType:
    if not mirrored.versions:
        return Text("there is nothing to copy")
    table = Table("package", "version", "outcome", "channels", "archive sha256", "why")
    for one in mirrored.versions:
        table.add_row(
            plain(one.name),
            plain(one.version),
            one.outcome,
            ", ".join(one.channels),
            one.archive_sha256,
            plain(one.why),
        )
    return table
