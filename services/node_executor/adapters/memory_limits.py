# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that was refused: by which limits of this process, as far as they can be read.

The kernel says ENOMEM whoever refused: the limit of the process (setrlimit(2)), that of one of its
control groups (Documentation/admin-guide/cgroup-v2.rst), or the host, which has no memory left.
"""

from __future__ import annotations

import errno
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from services.node_executor.adapters.kernel_errors import KernelFaultError
from shared.errors import FaultError, Reason

_GROUP: Final = Path("/proc/self/cgroup")
_GROUPS: Final = Path("/sys/fs/cgroup")
_PROCESS_LIMITS: Final = {"RLIMIT_AS": resource.RLIMIT_AS, "RLIMIT_DATA": resource.RLIMIT_DATA}
_UNLIMITED: Final = 1 << 60
"""Version 1 says a number near the largest one where there is no limit."""
_NO_LIMIT: Final = "no limit is set for the executor: the host has no memory left"


class MemoryLimitError(FaultError):
    """The executor got no memory; what ran before runs on, and it is tried again."""

    def __init__(self, while_doing: str, limits: dict[str, int]) -> None:
        """`limits` are those of this process, in bytes, by name."""
        named = ", ".join(f"{name} {size} bytes" for name, size in limits.items()) or _NO_LIMIT
        rule = f"the executor's memory limit was hit ({named})"
        reason = Reason(path="memory", rule=rule, got=while_doing, allowed=limits or None)
        super().__init__(f"{rule}: {while_doing}", [reason])


def as_memory_limit(fault: FaultError) -> FaultError:
    """The fault as one of memory, if it is one; else as it is."""
    if isinstance(fault, KernelFaultError) and fault.number == errno.ENOMEM:
        return MemoryLimitError(fault.message, read_limits())
    return fault


def read_limits(group: Path = _GROUP, groups: Path = _GROUPS) -> dict[str, int]:
    """What limits the memory of this process, in bytes by name; nothing of what cannot be read.

    Args:
        group: Says the control group of the process (cgroups(7)).
        groups: Where control groups are mounted.
    """
    found: dict[str, int] = {}
    for name, number in _PROCESS_LIMITS.items():
        size_bytes, _ = resource.getrlimit(number)
        if size_bytes != resource.RLIM_INFINITY:
            found[name] = size_bytes
    with suppress(OSError, MemoryError):
        sizes = _group_limits(group.read_text(), groups)
        if sizes:
            found["cgroup memory limit"] = min(sizes)
    return found


def _group_limits(text: str, groups: Path) -> list[int]:
    """Of the control group and those that it is in, versions 1 and 2."""
    found = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        version_1 = "memory" in controllers.split(",")
        if controllers and not version_1:
            continue
        top = groups / "memory" if version_1 else groups
        folder = top / path.lstrip("/")
        while folder.is_relative_to(top):
            with suppress(OSError, ValueError):
                name = "memory.limit_in_bytes" if version_1 else "memory.max"
                found.append(int((folder / name).read_text()))
            folder = folder.parent
    return [size_bytes for size_bytes in found if size_bytes < _UNLIMITED]
