# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Searching 100,000 versions that differ, by words and facets in every order.

A real nats-server, filled with records as the catalog writes them, and the catalog in another
process.  Names and summaries are of 20,000 made-up words; licences, hooks, a dozen helpers, owners
and tags differ from package to package.

start       from the start of the process to its first answer, and to its first search
memory      resident, after all that was asked
search      one page with facets, over the bus; half of the questions look at every version
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final

import uvloop

from benchmarks.catalog_scale import resident_mb, until_it_answers
from benchmarks.report import Row, report
from benchmarks.services import running_bus
from installation.layout import Layout
from services.catalog.version_entries import storable
from shared.adapters.bus import Bus, connect
from shared.contracts.lifecycle import Lifecycle
from shared.contracts.package_records import CATALOG, PackageFacets, PackageRecord, VersionEntry
from shared.contracts.search import SEARCH_PACKAGES, SearchPackages, Sort
from shared.identifiers import Hook

PACKAGES: Final = 5000
VERSIONS: Final = 20
QUESTIONS: Final = 600
WARM_UP: Final = 10
WORDS: Final = 20_000
HELPERS: Final = 211
START_TARGET_S: Final = 5.0
MEMORY_TARGET_MB: Final = 300.0
SEARCH_TARGET_MS: Final = 50.0
PATIENCE_SECONDS: Final = 120.0
SORTS: Final[tuple[Sort, ...]] = ("relevance", "name", "newest", "nodes", "stars")
LICENCES: Final = ("GPL-2.0-only OR BSD-2-Clause", "GPL-2.0-only", "Apache-2.0", "MIT")
KERNELS: Final = ("4.18", "5.4", "5.10", "5.15", "6.1")
HOOKS: Final[tuple[Hook, ...]] = ("xdp", "tc-ingress", "tc-egress")


def main() -> None:
    """Measure and report."""
    packages = PACKAGES // 20 if "--short" in sys.argv[1:] else PACKAGES
    with (
        TemporaryDirectory(prefix="l3af-bench-") as scratch,
        running_bus(Path(scratch)) as layout,
    ):
        rows = uvloop.run(measure(layout, Path(scratch), packages))
    report("search", rows)


async def measure(layout: Layout, scratch: Path, packages: int) -> list[Row]:
    """Fill the catalog, start it and search it."""
    random = Random(7)  # noqa: S311 because the same packages shall be searched each time
    words = [_word(random) for _ in range(WORDS)]
    async with connect(layout.credentials("service", "catalog")) as bus:
        bucket = bus.bucket(CATALOG)
        for number in range(packages):
            record = _record(random, words, number)
            await bucket.put(record.name, storable(record))
    environment = os.environ | {
        "CATALOG_CREDENTIALS_DIR": str(layout.credentials("service", "catalog")),
        "CATALOG_STATE_DIR": str(scratch / "state"),
    }
    async with connect(layout.credentials("principal", "admin")) as admin:
        with (scratch / "catalog.log").open("wb") as log:
            started = perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "services.catalog"], env=environment, stderr=log
            )
        try:
            await until_it_answers(admin, process)
            start_s = perf_counter() - started
            await admin.request(SEARCH_PACKAGES, SearchPackages(), timeout_seconds=PATIENCE_SECONDS)
            ready_s = perf_counter() - started
            taken = await _asked(admin, random, words)
            memory_mb = resident_mb(process)
        finally:
            process.terminate()
            process.wait()
    p99 = statistics.quantiles(taken, n=100, method="inclusive")[98]
    return [
        Row(f"start, {packages * VERSIONS:,} versions", start_s, "s", START_TARGET_S),
        Row("start, to the first search", ready_s, "s"),
        Row("memory", memory_mb, "MB", MEMORY_TARGET_MB),
        Row("search, p50", statistics.median(taken), "ms"),
        Row("search, p99", p99, "ms", SEARCH_TARGET_MS),
        Row("search, slowest", max(taken), "ms"),
    ]


async def _asked(admin: Bus, random: Random, words: list[str]) -> list[float]:
    """Milliseconds of each question."""
    taken = []
    for _ in range(QUESTIONS + WARM_UP):
        question = SearchPackages(**dict(_question(random, words)))
        started = perf_counter()
        await admin.request(SEARCH_PACKAGES, question, timeout_seconds=PATIENCE_SECONDS)
        taken.append(1000 * (perf_counter() - started))
    return taken[WARM_UP:]


def _question(random: Random, words: list[str]) -> Iterator[tuple[str, Any]]:
    one, other = random.sample(words, 2)
    yield "words", random.choice(("", one, one[:2], one[:3], f"{one[:3]} {other[:2]}"))
    yield "every_version", random.random() < 1 / 2
    yield "sort", random.choice(SORTS)
    for name, value, share in (
        ("hooks", ("xdp",), 0.4),
        ("helpers", (str(random.randint(1, HELPERS)),), 0.3),
        ("licences", ("MIT",), 0.2),
        ("kernel", "5.10", 0.2),
        ("channels", ("candidate",), 0.2),
    ):
        if random.random() < share:
            yield name, value


def _record(random: Random, words: list[str], number: int) -> PackageRecord:
    """One package; each of its versions calls one helper more or less."""
    name = f"{'-'.join(random.sample(words, 2))}-{number}"
    helpers = random.sample(range(1, HELPERS + 1), 12)
    facets: dict[str, Any] = {
        "summary": " ".join(random.choices(words, k=8)),
        "licence": random.choice(LICENCES),
        "owners": (f"team {random.randint(0, 2000)}",),
        "platforms": ("linux",),
        "programs": (name,),
        "hooks": tuple(random.sample(HOOKS, random.randint(1, 3))),
        "maps": tuple(random.choices(words, k=3)),
        "minimum_kernel": random.choice(KERNELS),
    }
    return PackageRecord(
        name=name,
        versions=tuple(
            VersionEntry(
                version=f"1.{minor}.0",
                published_at=_moment(random),
                published_by=f"U{'P' * 55}",
                channels=("stable",) if random.random() < 2 / 3 else ("dev", "candidate"),
                manifest_sha256=random.randbytes(32).hex(),
                archive_sha256=random.randbytes(32).hex(),
                publisher=f"publisher-{number % 50}",
                facets=PackageFacets(
                    **facets, helpers=tuple(sorted(helpers[: 8 + minor * 4 // VERSIONS]))
                ),
                lifecycle=Lifecycle(tags=(f"tag-{random.randint(0, 5000)}",))
                if random.random() < 1 / 10
                else None,
                content=random.randbytes(32).hex(),
            )
            for minor in range(VERSIONS)
        ),
    )


def _moment(random: Random) -> str:
    day, second = random.randint(1, 28), random.randint(0, 59)
    return (
        f"2026-{random.randint(1, 12):02}-{day:02}T12:00:{second:02}.{random.randrange(10**6):06}Z"
    )


def _word(random: Random) -> str:
    syllables = random.randint(2, 4)
    return "".join(
        random.choice("bcdfghklmnprst") + random.choice("aeiou") for _ in range(syllables)
    )


if __name__ == "__main__":
    main()
