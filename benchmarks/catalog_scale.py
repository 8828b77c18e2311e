# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A catalog of 100,000 versions in 2,000 packages: its start, its memory, and what it is asked.

A real nats-server that syncs every write, filled with records as the catalog writes them, and the
catalog in another process.  Each version was submitted, approved twice and released.  Only the
versions that are asked for have their content stored: the catalog reads no other.

start     from the start of the process to its first answer, by the clock and of the processor
memory    resident, after all that was asked
list      one page, and all pages
get, resolve, promote, publish   a version of one of the packages
1,000     the same of a package that has as many versions
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec
import uvloop

from benchmarks.report import Row, report
from benchmarks.services import running_bus
from cli.package_build import BuiltPackage, build_package
from cli.package_publish import Publisher, load_publisher, upload
from demo.stage import ROOT
from installation.layout import Layout
from services.catalog.adapters.artifacts import Artifacts
from services.catalog.version_entries import content_of, entry_of, packed, storable
from shared.adapters.bus import Bus, connect
from shared.adapters.kv import KeyValue
from shared.canonical import sha256_hex
from shared.contracts.catalog import (
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    RESOLVE_PACKAGE,
    GetPackage,
    ListPackages,
    PackageVersion,
    PublishPackage,
    ResolvePackage,
)
from shared.contracts.licences import LicenceVerdict
from shared.contracts.lifecycle import Approval, Lifecycle, Statement
from shared.contracts.package_records import CATALOG, PackageRecord, StoredPackage, VersionEntry
from shared.contracts.reviews import PROMOTE_PACKAGE, PromotePackage
from shared.contracts.search import SEARCH_PACKAGES, SearchPackages
from shared.errors import FaultError

PACKAGES: Final = 2000
VERSIONS: Final = 50
MANY: Final = 1000
"""Versions of one further package."""
ASKED: Final = 60
PATIENCE_SECONDS: Final = 60.0
START_TARGET_S: Final = 5.0
MEMORY_TARGET_MB: Final = 300.0
PROMOTE_TARGET_MS: Final = 50.0
NAME: Final = "rate-limit"
LARGE: Final = "large"
AT: Final = "2026-03-01T12:00:00.000000Z"


@dataclass(frozen=True, slots=True)
class Shop:
    """What the catalog is filled from."""

    built: BuiltPackage
    publisher: Publisher
    packages: KeyValue[StoredPackage]
    artifacts: Artifacts

    def version(self, name: str, number: str, channels: tuple[str, ...]) -> PackageVersion:
        """As it is published."""
        manifest = msgspec.structs.replace(self.built.manifest, name=name, version=number)
        return PackageVersion(
            version=number,
            published_at=AT,
            published_by=f"U{'P' * 55}",
            channels=channels,
            lifecycle=_history(name, number),
            signed=self.publisher.sign(BuiltPackage(manifest, self.built.archive, self.built.elf)),
            manifest=manifest,
            elf=self.built.elf,
            command_id=_digest("command", name, number)[:32],
            licences=LicenceVerdict(
                policy="gpl-ok", policy_version="1.0.0", outcome="passed", findings=()
            ),
        )


def main() -> None:
    """Measure and report."""
    packages = PACKAGES // 20 if "--short" in sys.argv[1:] else PACKAGES
    with (
        TemporaryDirectory(prefix="l3af-bench-") as scratch,
        running_bus(Path(scratch)) as layout,
    ):
        rows = uvloop.run(measure(layout, Path(scratch), packages))
    report("catalog_scale", rows)


async def measure(layout: Layout, scratch: Path, packages: int) -> list[Row]:
    """Fill the catalog, start it and ask it."""
    built = build_package(ROOT / "packages" / NAME)
    publisher = load_publisher(layout.credentials("principal", "admin"))
    names = [f"p{number:05}" for number in range(packages)]
    asked = names[:: max(packages // ASKED, 1)][:ASKED]
    async with connect(layout.credentials("service", "catalog")) as bus:
        artifacts = Artifacts(bus.connection, folder=scratch)
        shop = Shop(built, publisher, bus.bucket(CATALOG), artifacts)
        for name in names:
            await _keep(shop, name, VERSIONS, candidates=1, is_asked=name in asked)
        await _keep(shop, LARGE, MANY, candidates=ASKED, is_asked=True)
    environment = os.environ | {
        "CATALOG_CREDENTIALS_DIR": str(layout.credentials("service", "catalog")),
        "CATALOG_STATE_DIR": str(scratch / "state"),
        "CATALOG_LICENCE_POLICY": "gpl-ok",
    }
    async with (
        connect(layout.credentials("principal", "admin")) as admin,
        connect(layout.credentials("service", "scheduler")) as scheduler,
    ):
        with (scratch / "catalog.log").open("wb") as log:
            started = perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "services.catalog"], env=environment, stderr=log
            )
        try:
            await until_it_answers(admin, process)
            start_s, start_cpu_s = perf_counter() - started, _processor_seconds(process)
            started_mb = resident_mb(process)
            # What is put in order for searches behind its back is measured by `search`.
            await admin.request(SEARCH_PACKAGES, SearchPackages(), timeout_seconds=PATIENCE_SECONDS)
            rows = await _lists(admin)
            await upload(admin, built.archive)
            rows += await _asked(admin, scheduler, shop, asked, "")
            rows += await _asked(admin, scheduler, shop, [LARGE] * ASKED, f" of {MANY:,}")
            at_last_mb = resident_mb(process)
        finally:
            process.terminate()
            process.wait()
    return [
        Row(f"start, {packages * VERSIONS + MANY:,} versions", start_s, "s", START_TARGET_S),
        Row("start, time of the processor", start_cpu_s, "s"),
        Row("memory, once started", started_mb, "MB"),
        Row("memory, at last", at_last_mb, "MB", MEMORY_TARGET_MB),
        *rows,
    ]


async def _keep(shop: Shop, name: str, count: int, *, candidates: int, is_asked: bool) -> None:
    """A package whose newest versions are still to be promoted, as the catalog would keep it."""
    light = entry_of(shop.version(name, "1.0.0", ()), archive_bytes=len(shop.built.archive))
    entries: list[VersionEntry] = []
    for number in range(count):
        version, is_candidate = f"1.{number}.0", number >= count - candidates
        channels = ("dev",) if is_candidate else ("dev", "stable")
        if is_asked and number >= count - candidates - 1:
            whole = shop.version(name, version, channels)
            content = packed(content_of(whole))
            digest = sha256_hex(content)
            await shop.artifacts.store(digest, content)
            entries.append(msgspec.structs.replace(entry_of(whole), content=digest))
            continue
        entries.append(
            msgspec.structs.replace(
                light,
                version=version,
                channels=channels,
                lifecycle=_history(name, version),
                manifest_sha256=_digest("manifest", name, version),
                archive_sha256=_digest("archive", name, version),
                content=_digest("content", name, version),
            )
        )
    await shop.packages.put(name, storable(PackageRecord(name=name, versions=tuple(entries))))


async def _lists(admin: Bus) -> list[Row]:
    """One page, and all of them."""
    pages = []
    started = perf_counter()
    after, is_first = "", True
    while after or is_first:
        asked = perf_counter()
        page = await admin.request(LIST_PACKAGES, ListPackages(after=after))
        pages.append(1000 * (perf_counter() - asked))
        after, is_first = page.next, False
    whole_ms = 1000 * (perf_counter() - started)
    return [
        Row("list, one page, p50", statistics.median(pages), "ms"),
        Row(f"list, all {len(pages)} pages", whole_ms, "ms"),
    ]


async def _asked(
    admin: Bus, scheduler: Bus, shop: Shop, names: Sequence[str], of: str
) -> list[Row]:
    """Each name is asked for, promoted and published once."""

    def candidate(place: int) -> str:
        return f"1.{(MANY - ASKED + place) if names[place] == LARGE else VERSIONS - 1}.0"

    async def get(place: int) -> None:
        await admin.request(GET_PACKAGE, GetPackage(name=names[place]))

    async def resolve(place: int) -> None:
        await scheduler.request(RESOLVE_PACKAGE, ResolvePackage(name=names[place], constraint="^1"))

    async def promote(place: int) -> None:
        command = PromotePackage(name=names[place], version=candidate(place), to="stable")
        await admin.request(PROMOTE_PACKAGE, command, timeout_seconds=30)

    async def publish(place: int) -> None:
        signed = shop.version(names[place], f"2.{place}.0", ()).signed
        await admin.request(PUBLISH_PACKAGE, PublishPackage(signed=signed), timeout_seconds=30)

    rows = []
    for what, ask, target in (
        ("get", get, None),
        ("resolve", resolve, None),
        ("promote", promote, PROMOTE_TARGET_MS),
        ("publish", publish, None),
    ):
        taken = []
        for place in range(len(names)):
            started = perf_counter()
            await ask(place)
            taken.append(1000 * (perf_counter() - started))
        p99 = statistics.quantiles(taken, n=100, method="inclusive")[98]
        rows.append(Row(f"{what} one{of}, p50", statistics.median(taken), "ms", target))
        rows.append(Row(f"{what} one{of}, p99", p99, "ms"))
    return rows


async def until_it_answers(admin: Bus, process: subprocess.Popen[bytes]) -> None:
    """The catalog answers.

    Raises:
        SystemExit: It never does.
    """
    deadline = perf_counter() + PATIENCE_SECONDS
    while process.poll() is None and perf_counter() < deadline:
        with suppress(FaultError):
            await admin.request(LIST_PACKAGES, ListPackages(name="-"), timeout_seconds=1)
            return
        await asyncio.sleep(0.01)
    raise SystemExit("the catalog does not answer")


def _history(name: str, version: str) -> Lifecycle:
    """Submitted by one, approved by two, released."""
    said = Statement(by=f"U{'P' * 55}", name="acme", role="publisher", at=AT, why=f"{version}")
    digest = _digest("manifest", name, version)
    approvals = tuple(
        Approval(by=f"U{who:X<55}", name=who, role="code-owner", at=AT, manifest_sha256=digest)
        for who in ("ALICE", "BOB")
    )
    return Lifecycle(submitted=(said,), approvals=approvals, approved_at=AT, entered={"stable": AT})


def _digest(*what: str) -> str:
    return sha256_hex(" ".join(what).encode())


def _processor_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """What the process has in memory, in millions of bytes."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / 1000
    raise SystemExit("the catalog is gone")


if __name__ == "__main__":
    main()
