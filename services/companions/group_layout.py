# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which hierarchies of control groups limit companions here, and what is written into their files.

Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst, cgroup-v1/pids.rst and
Documentation/scheduler/sched-bwc.rst of the kernel; proc_pid_mountinfo(5), cgroups(7).

Rules:
 * A controller is where the kernel has it: in the unified hierarchy, or in one of version 1.
 * The unified hierarchy keeps account of the processes wherever it is mounted, because it alone can
   kill a group at once (`cgroup.kill`, Linux 5.14); else one of version 1 does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal, get_args

from shared.contracts.companions import Controller
from shared.contracts.package_manifest import CompanionLimits

CONTROLLERS: Final[tuple[Controller, ...]] = get_args(Controller)
PERIOD_MICROSECONDS: Final = 100_000
"""Over which processor time is shared out: the kernel's default."""

_USED: Final = frozenset({*CONTROLLERS, "cpuacct"})
_TYPE_SEPARATOR: Final = " - "

Mode = Literal["unified", "hybrid", "legacy", "none"]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy of control groups."""

    mount: PurePosixPath
    version: Literal[1, 2]
    controllers: frozenset[str]
    """Of those that companions need."""
    own: PurePosixPath
    """Folder of the group that this process is in."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The hierarchies that companions have groups in."""

    mode: Mode
    hierarchies: tuple[Hierarchy, ...] = ()
    """The one that keeps account of the processes first."""

    def of(self, controller: str) -> Hierarchy | None:
        """Where this controller is; None: nowhere."""
        having = (one for one in self.hierarchies if controller in one.controllers)
        return next(having, None)

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """Those that there are."""
        return tuple(name for name in CONTROLLERS if self.of(name) is not None)


@dataclass(frozen=True, slots=True)
class LimitWrite:
    """One value in one file of a group."""

    file: str
    value: str
    is_optional: bool = False
    """Whether kernels without the file limit well enough."""


def group_layout(mountinfo: str, own_groups: str, unified_controllers: Mapping[str, str]) -> Layout:
    """What the mount table says.

    Args:
        mountinfo: `/proc/self/mountinfo`.
        own_groups: `/proc/self/cgroup`.
        unified_controllers: `cgroup.controllers` by mount point of version 2.
    """
    own = _own_paths(own_groups)
    found: dict[str, Hierarchy] = {}
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(_TYPE_SEPARATOR)
        fields, kind = before.split(" "), after.split(" ")
        if not separator or kind[0] not in {"cgroup", "cgroup2"}:
            continue
        root, mount = _unescaped(fields[3]), _unescaped(fields[4])
        if kind[0] == "cgroup2":
            names = frozenset(unified_controllers.get(mount, "").split()) & _USED
            key = ""
        else:
            options = kind[-1].split(",")
            names = frozenset(options) & _USED
            key = next((name for name in own if name in options), "-")
            if not names:
                continue
        place = _below(mount, root, own.get(key, "/"))
        # The first mount of a hierarchy is as good as any other.
        version: Literal[1, 2] = 2 if kind[0] == "cgroup2" else 1
        found.setdefault(
            f"{version}{sorted(names) if version == 1 else ''}",
            Hierarchy(PurePosixPath(mount), version, names, place),
        )
    ordered = sorted(found.values(), key=_account_order)
    return Layout(_mode(ordered), tuple(ordered))


def _mode(hierarchies: Iterable[Hierarchy]) -> Mode:
    versions = {one.version for one in hierarchies}
    if not versions:
        return "none"
    if versions == {1, 2}:
        return "hybrid"
    return "unified" if versions == {2} else "legacy"


def _account_order(one: Hierarchy) -> tuple[int, bool, str]:
    return -one.version, "pids" not in one.controllers, str(one.mount)


def _own_paths(text: str) -> dict[str, str]:
    """Path by controller; the unified hierarchy's is under the empty name."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _below(mount: str, root: str, path: str) -> PurePosixPath:
    """Folder of a group whose path the kernel says, in a mount of the hierarchy's part `root`."""
    inside = PurePosixPath(path)
    if inside.is_relative_to(root):
        return PurePosixPath(mount) / inside.relative_to(root)
    return PurePosixPath(mount)


def _unescaped(text: str) -> str:
    """As octal escapes stand for it in /proc/self/mountinfo."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text


def bpf_mounts(mountinfo: str) -> tuple[str, ...]:
    """Where BPF file systems are mounted, each place once."""
    found: dict[str, None] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(_TYPE_SEPARATOR)
        if after.startswith("bpf "):
            found[_unescaped(before.split(" ")[4])] = None
    return tuple(found)


def limit_writes(
    limits: CompanionLimits, controller: Controller, version: Literal[1, 2]
) -> tuple[LimitWrite, ...]:
    """What makes a group keep one of the limits."""
    quota = PERIOD_MICROSECONDS * limits.cpu_percent // 100
    size = str(limits.memory_mib << 20)
    if controller == "pids":
        return (LimitWrite("pids.max", str(limits.processes)),)
    if controller == "cpu" and version == 2:  # noqa: PLR2004 because it is the version's name
        return (LimitWrite("cpu.max", f"{quota} {PERIOD_MICROSECONDS}"),)
    if controller == "cpu":
        return (
            LimitWrite("cpu.cfs_period_us", str(PERIOD_MICROSECONDS)),
            LimitWrite("cpu.cfs_quota_us", str(quota)),
        )
    if version == 2:  # noqa: PLR2004 because it is the version's name
        return (
            LimitWrite("memory.max", size),
            LimitWrite("memory.swap.max", "0", is_optional=True),
        )
    return (
        LimitWrite("memory.limit_in_bytes", size),
        LimitWrite("memory.memsw.limit_in_bytes", size, is_optional=True),
    )


def counted(text: str, name: str) -> int:
    """The number behind a name in a file of `name number` lines; 0: it is not there."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdecimal():
            return int(value)
    return 0
