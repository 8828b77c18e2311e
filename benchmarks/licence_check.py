# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What it costs to judge the licences of a program: every rule, under each policy pack.

`first` is a process's first verdict, which reads the list of licences.
"""

from __future__ import annotations

import statistics
import time
from typing import Final

from benchmarks.report import Row, report
from shared.adapters.licence_policies import load_policy
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_facts import ProgramFacts as Program
from shared.contracts.package_manifest import PackageFile, PackageManifest, ProgramEntry
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import SHIPPED
from shared.licensing.verdict import check_licences

RUNS: Final = 500
MANY: Final = 100
TARGET_MS: Final = 1.0
HELPERS: Final = (1, 2, 5, 7, 23, 25, 28, 44, 51, 69)


def package(policy: str, *, programs: int, licence: str, spdx: str) -> LicensedPackage:
    """One object for each program."""
    names = [f"program_{number}" for number in range(programs)]
    files = [f"{name}.bpf.{end}" for name in names for end in ("c", "o")]
    return LicensedPackage(
        manifest=PackageManifest(
            name="measured",
            version="1.0.0",
            summary="Measured",
            licence=spdx,
            programs=tuple(
                ProgramEntry(
                    name=name.replace("_", "-"),
                    object=f"{name}.bpf.o",
                    function=name,
                    hooks=("xdp",),
                )
                for name in names
            ),
            files=tuple(PackageFile(path=one, sha256="0" * 64, size_bytes=1) for one in files),
        ),
        elf=tuple(
            ElfFacts(
                path=f"{name}.bpf.o",
                licence=licence,
                has_btf=True,
                needs_kernel_btf=False,
                programs=(Program(function=name, section="xdp", instructions=9, helpers=HELPERS),),
                maps=(),
            )
            for name in names
        ),
        policy=load_policy(policy),
        source_licences={f"{name}.bpf.c": spdx for name in names},
    )


def milliseconds(subject: LicensedPackage) -> float:
    """Of one verdict, from its statements alone."""
    fresh = LicensedPackage(
        subject.manifest, subject.elf, subject.policy, subject.source_licences, subject.kernels
    )
    started = time.perf_counter()
    check_licences(fresh)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    """Measure and print."""
    dual = "GPL-2.0-only OR BSD-2-Clause"
    first = milliseconds(package("gpl-ok", programs=1, licence="Dual BSD/GPL", spdx=dual))
    rows = [Row("first", first, "ms")]
    for name in SHIPPED:
        one = package(name, programs=1, licence="Dual BSD/GPL", spdx=dual)
        taken = sorted(milliseconds(one) for _ in range(RUNS))
        rows.append(Row(f"a program, {name}, median", statistics.median(taken), "ms", TARGET_MS))
        rows.append(Row(f"a program, {name}, p99", taken[RUNS * 99 // 100], "ms", TARGET_MS))
    refused = package("lfn-l3af", programs=1, licence="MIT", spdx="MIT")
    rows.append(
        Row(
            "a program that is refused",
            statistics.median(milliseconds(refused) for _ in range(RUNS)),
            "ms",
            TARGET_MS,
        )
    )
    many = package("lfn-l3af", programs=MANY, licence="Dual BSD/GPL", spdx=dual)
    each = statistics.median(milliseconds(many) for _ in range(10)) / MANY
    rows.append(Row(f"each of {MANY} programs", each, "ms", TARGET_MS))
    report("licence_check", rows)


if __name__ == "__main__":
    main()
