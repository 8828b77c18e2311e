# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What targets of probes name on this node: files with their symbols, cgroups, processes."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import ClassVar, Final

from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import UnsupportedByKernelError
from services.node_executor.symbols import NotAnExecutableError, symbol_offset
from shared.contracts.errors import ErrorCode
from shared.contracts.probes import (
    CgroupTarget,
    ProbeTarget,
    SockopsTarget,
    UprobeTarget,
    UretprobeTarget,
    kind_of,
)
from shared.errors import Reason, RefusedError
from shared.probe_targets import describe_target

NO_CGROUP2: Final = "no cgroup2 hierarchy is mounted on the node"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_KIND: Final = "cgroup2"


class TargetMissingError(RefusedError):
    """What a probe is to be attached to is not there now; it may come."""

    code: ClassVar[ErrorCode] = "conflict"

    def __init__(self, target: ProbeTarget, words: str) -> None:
        named = f"{kind_of(target)} {describe_target(target)}"
        reason = Reason(path="target", rule=words, got=describe_target(target))
        super().__init__(f"{named}: {words}", [reason])


def file_offset(target: UprobeTarget | UretprobeTarget) -> int:
    """Where in its file the target is.

    Raises:
        TargetMissingError: There is no such file, symbol or process.
    """
    if target.pid and not Path(f"/proc/{target.pid}").exists():
        raise TargetMissingError(target, f"there is no process {target.pid}")
    try:
        with open(target.path, "rb", opener=_without_waiting) as opened:
            size = os.fstat(opened.fileno()).st_size
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise TargetMissingError(target, "it is no regular file")
            if not target.symbol:
                return _within(target, target.offset, size)
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                start = symbol_offset(mapped, target.symbol)
    except OSError as error:
        words = f"the file cannot be read: {error.strerror}"
        raise TargetMissingError(target, words) from error
    except (NotAnExecutableError, ValueError) as error:
        raise TargetMissingError(target, str(error)) from error
    if start is None:
        raise TargetMissingError(target, f"the file has no function '{target.symbol}'")
    return _within(target, start + target.offset, size)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe is opened at once, though nobody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _within(target: ProbeTarget, offset: int, size: int) -> int:
    if offset >= size:
        raise TargetMissingError(target, f"the file has {size} bytes")
    return offset


def open_cgroup(target: CgroupTarget | SockopsTarget) -> Descriptor:
    """The cgroup's directory.

    Raises:
        TargetMissingError: There is no such cgroup.
        UnsupportedByKernelError: No cgroup2 hierarchy is mounted.
    """
    if not cgroup2_roots():
        raise UnsupportedByKernelError(NO_CGROUP2)
    try:
        opened = Descriptor(os.open(target.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        words = f"there is no such cgroup: {error.strerror}"
        raise TargetMissingError(target, words) from error
    if not Path(target.path, "cgroup.procs").exists() or not _is_below_cgroup2(target.path):
        opened.close()
        raise TargetMissingError(target, "it is no cgroup of a cgroup2 hierarchy")
    return opened


def cgroup_id(target: CgroupTarget | SockopsTarget) -> int:
    """By which links name it; 0: there is no such cgroup."""
    try:
        return Path(target.path).stat().st_ino
    except OSError:
        return 0


def cgroup2_roots() -> list[Path]:
    """Where cgroup2 hierarchies are mounted."""
    found = []
    for line in _MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == _KIND:
            found.append(Path(left.split()[4]))
    return found


def _is_below_cgroup2(path: str) -> bool:
    real = Path(path).resolve()
    return any(real == root or root in real.parents for root in cgroup2_roots())
