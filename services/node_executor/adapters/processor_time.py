# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long the node's processors were at work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from shared.errors import FaultError

_STAT: Final = Path("/proc/stat")
_IDLE: Final = (3, 4)
"""`idle` and `iowait` (Documentation/filesystems/proc.rst, 1.7)."""
_ALL: Final = 8
"""`user` to `steal`; `guest` and `guest_nice` are part of `user` and `nice`."""


class ProcessorTime(NamedTuple):
    """Of all processors since the kernel started."""

    seconds: float
    busy_seconds: float


def read_processor_time(path: Path = _STAT) -> ProcessorTime:
    """What the kernel counted by now.

    Raises:
        FaultError: The file cannot be read, or is not as documented.
    """
    try:
        name, *fields = path.read_text(encoding="ascii").partition("\n")[0].split()
        ticks = [int(field) for field in fields[:_ALL]]
        idle = sum(ticks[index] for index in _IDLE)
    except (OSError, ValueError, IndexError) as error:
        raise FaultError(f"{path} cannot be read: {error}") from error
    if name != "cpu":
        raise FaultError(f"{path} does not begin with all processors")
    per_second = os.sysconf("SC_CLK_TCK")
    return ProcessorTime(sum(ticks) / per_second, (sum(ticks) - idle) / per_second)
