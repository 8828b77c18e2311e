# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From a request to promote a version to the answer, beside what a reader of its standing waits.

A real nats-server that syncs every write, and the catalog in another process, with as many
versions in the package's record as are promoted.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec
import uvloop

from benchmarks.report import Row, report
from benchmarks.services import running_bus
from cli.package_build import BuiltPackage, build_package
from cli.package_publish import load_publisher, upload
from demo.stage import ROOT
from installation.layout import Layout
from shared.adapters.bus import connect
from shared.contracts.catalog import PUBLISH_PACKAGE, PublishPackage
from shared.contracts.reviews import GET_REVIEW, PROMOTE_PACKAGE, GetReview, PromotePackage

VERSIONS: Final = 30
WARM_UP: Final = 3
TARGET_MS: Final = 50.0
NAME: Final = "rate-limit"


def main() -> None:
    """Measure and report."""
    with (
        TemporaryDirectory(prefix="l3af-bench-") as scratch,
        running_bus(Path(scratch), "catalog") as layout,
    ):
        promoted, shown = uvloop.run(measure(layout, build_package(ROOT / "packages" / NAME)))
    p99 = statistics.quantiles(promoted, n=100, method="inclusive")[98]
    report(
        "promote",
        [
            Row("promote, p50", statistics.median(promoted), "ms", TARGET_MS),
            Row("promote, p99", p99, "ms"),
            Row("standing, p50", statistics.median(shown), "ms"),
        ],
    )


async def measure(layout: Layout, built: BuiltPackage) -> tuple[list[float], list[float]]:
    """Milliseconds of each promotion, and of each look at a version."""
    credentials = layout.credentials("principal", "admin")
    publisher = load_publisher(credentials)
    promoted: list[float] = []
    shown: list[float] = []
    async with connect(credentials) as bus:
        await upload(bus, built.archive)
        versions = [f"1.0.{number}" for number in range(VERSIONS + WARM_UP)]
        for version in versions:
            manifest = msgspec.structs.replace(built.manifest, version=version)
            signed = publisher.sign(BuiltPackage(manifest, built.archive, built.elf))
            command = PublishPackage(signed=signed, channels=("dev",))
            await bus.request(PUBLISH_PACKAGE, command, timeout_seconds=30)
        for version in versions:
            request = PromotePackage(name=NAME, version=version, to="stable")
            started = perf_counter()
            await bus.request(PROMOTE_PACKAGE, request, timeout_seconds=30)
            promoted.append(1000 * (perf_counter() - started))
            started = perf_counter()
            await bus.request(GET_REVIEW, GetReview(name=NAME, version=version))
            shown.append(1000 * (perf_counter() - started))
    return promoted[WARM_UP:], shown[WARM_UP:]


if __name__ == "__main__":
    main()
