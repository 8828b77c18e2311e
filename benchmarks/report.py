# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How every benchmark prints: a table, or with `--json` one object.

The object is {"benchmark", "machine", "rows": [{"case", "value", "unit", "target", "ok"}]}.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value."""

    case: str
    value: float
    unit: str
    target: float | None = None
    """What the value may not exceed; None: there is no promise."""
    at_least: bool = False
    """Whether the target is what the value must reach, instead."""

    @property
    def ok(self) -> bool:
        """Whether the promise holds; a value without a promise always does."""
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target


def report(benchmark: str, rows: Sequence[Row]) -> None:
    """Print the rows; as JSON if the command line says so."""
    if "--json" in sys.argv[1:]:
        print(json.dumps(as_object(benchmark, rows)))
    else:
        print_table(benchmark, rows)


def as_object(benchmark: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The one object that tools read."""
    return {
        "benchmark": benchmark,
        "machine": machine(),
        "rows": [
            {
                "case": row.case,
                "value": round(row.value, 3),
                "unit": row.unit,
                "target": row.target,
                "ok": row.ok,
            }
            for row in rows
        ],
    }


def print_table(benchmark: str, rows: Sequence[Row]) -> None:
    """The rows for people."""
    table = Table(title=f"{benchmark} on {_described(machine())}", title_justify="left")
    table.add_column("case")
    table.add_column("value", justify="right")
    table.add_column("target", justify="right")
    table.add_column("")
    for row in rows:
        bound = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {row.target:g}"
        verdict = "" if row.target is None else ("[green]ok" if row.ok else "[red]missed")
        table.add_row(row.case, f"{row.value:,.2f} {row.unit}", bound, verdict)
    Console().print(table)


def machine() -> dict[str, str | int]:
    """What was measured on."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count() or 0,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20),
        "python": platform.python_version(),
    }


def _described(found: dict[str, str | int]) -> str:
    return (
        f"Linux {found['kernel']}, {found['processors']} x {found['processor']},"
        f" Python {found['python']}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()
