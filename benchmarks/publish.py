# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From an archive of 1 MiB in a publisher's hands to its published version.

A real nats-server that syncs every write, and the catalog in another process: upload in chunks,
signatures, digests, analysis of the object, verdict on the licences, the event, and the record.
"""

from __future__ import annotations

import os
import statistics
from itertools import pairwise
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
from shared.adapters.bus import Bus, connect
from shared.contracts.catalog import PUBLISH_PACKAGE, PublishPackage
from shared.package_archive import describe_files, unpack_archive, write_archive

ROUNDS: Final = 60
WARM_UP: Final = 5
ARCHIVE_BYTES: Final = 1 << 20
TARGET_MS: Final = 150.0
WHOLE: Final = "1 MiB, from archive to published version"
PHASES: Final = ("signed", "uploaded", "published", WHOLE)


def main() -> None:
    """Measure and report."""
    folder = ROOT / "packages" / "rate-limit"
    with (
        TemporaryDirectory(prefix="l3af-bench-") as scratch,
        running_bus(Path(scratch), "catalog") as layout,
    ):
        found = uvloop.run(measure(layout, build_package(folder)))
    rows = [
        Row(f"{phase}, p50", statistics.median(found[phase]), "ms", target)
        for phase, target in zip(PHASES, (None, None, None, TARGET_MS), strict=True)
    ]
    p99 = statistics.quantiles(found[WHOLE], n=100, method="inclusive")[98]
    report("publish", [*rows, Row(f"{WHOLE}, p99", p99, "ms")])


async def measure(layout: Layout, built: BuiltPackage) -> dict[str, list[float]]:
    """Milliseconds of each phase, for every round."""
    credentials = layout.credentials("principal", "admin")
    publisher = load_publisher(credentials)
    found: dict[str, list[float]] = {phase: [] for phase in PHASES}
    async with connect(credentials) as bus:
        for number in range(ROUNDS + WARM_UP):
            taken = await publish(bus, publisher, large(built, f"bench-{number}"))
            if number >= WARM_UP:
                for phase, milliseconds in zip(PHASES, taken, strict=True):
                    found[phase].append(milliseconds)
    return found


async def publish(bus: Bus, publisher: Publisher, built: BuiltPackage) -> tuple[float, ...]:
    """Milliseconds for signing, uploading and publishing, and for all of it."""
    started = perf_counter()
    signed = publisher.sign(built)
    signed_at = perf_counter()
    await upload(bus, built.archive)
    uploaded_at = perf_counter()
    await bus.request(PUBLISH_PACKAGE, PublishPackage(signed=signed), timeout_seconds=30)
    published_at = perf_counter()
    moments = (started, signed_at, uploaded_at, published_at)
    phases = [after - before for before, after in pairwise(moments)]
    return tuple(1000 * seconds for seconds in (*phases, published_at - started))


def large(built: BuiltPackage, name: str) -> BuiltPackage:
    """The package under another name, filled up with random bytes: every archive is new."""
    files = unpack_archive(built.archive)
    files["padding.bin"] = b""
    files["padding.bin"] = os.urandom(ARCHIVE_BYTES - len(write_archive(files)))
    manifest = msgspec.structs.replace(built.manifest, name=name, files=describe_files(files))
    return BuiltPackage(manifest=manifest, archive=write_archive(files), elf=built.elf)


if __name__ == "__main__":
    main()
