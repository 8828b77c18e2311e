# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Control groups of companions: made, limited, read, killed and taken away.

A run has one group of one name in every hierarchy that is used, so whoever finds the name after a
crash has all of what the run left.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from services.companions.group_layout import (
    CONTROLLERS,
    Hierarchy,
    Layout,
    counted,
    group_layout,
    limit_writes,
)
from shared.contracts.companions import CompanionUsage, Controller
from shared.contracts.package_manifest import CompanionLimits
from shared.errors import FaultError

OWN: Final = "own"
"""As the groups' place: below the group that the supervisor was started in."""

_UNIFIED: Final = 2
_KILL_ROUNDS: Final = 100
_CLEAR_FIRST_SECONDS, _CLEAR_LONGEST_SECONDS = 0.002, 0.5
_MOUNTS, _OWN_GROUPS = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")


class ControlGroupError(FaultError):
    """A control group cannot be made or written."""


def read_layout() -> Layout:
    """What this machine has, as this process sees it."""
    mounts = _MOUNTS.read_text()
    unified = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            mount = before.split(" ")[4]
            with suppress(OSError):
                unified[mount] = Path(mount, "cgroup.controllers").read_text()
    return group_layout(mounts, _OWN_GROUPS.read_text(), unified)


class ControlGroups:
    """The folder of this supervisor in each hierarchy."""

    def __init__(self, layout: Layout, place: str) -> None:
        """Makes the folders and hands the controllers down to them.

        Args:
            layout: What the machine has.
            place: Path below the root of each hierarchy, or `own`.

        Raises:
            ControlGroupError: There are none, or a folder cannot be made.
        """
        if not layout.hierarchies:
            raise ControlGroupError("this machine has no control groups mounted")
        self.layout: Final = layout
        self._bases: Final = {one: _base(one, place) for one in layout.hierarchies}
        self._usable: Final[dict[Controller, Hierarchy]] = {}
        for hierarchy, base in self._bases.items():
            try:
                if hierarchy.version == _UNIFIED:
                    _hand_down(hierarchy, base, is_own=place == OWN)
                base.mkdir(parents=True, exist_ok=True)
                if hierarchy.version == _UNIFIED:
                    _enable(base, hierarchy.controllers)
            except OSError as error:
                raise ControlGroupError(f"control group {base}: {error}") from error
        for controller in CONTROLLERS:
            found = layout.of(controller)
            if found is not None and self._has(controller, found):
                self._usable[controller] = found

    def close(self) -> None:
        """The folders are gone, as far as nothing is in them.

        Those above stay: another supervisor may be making its own in them now.
        """
        for base in self._bases.values():
            with suppress(OSError):
                base.rmdir()

    def _has(self, controller: Controller, hierarchy: Hierarchy) -> bool:
        if hierarchy.version != _UNIFIED:
            return True
        enabled = (self._bases[hierarchy] / "cgroup.subtree_control").read_text()
        return controller in enabled.split()

    @property
    def controllers(self) -> tuple[Controller, ...]:
        """What can be limited."""
        return tuple(self._usable)

    def leftovers(self) -> tuple[str, ...]:
        """Names of groups that are there now."""
        names = {
            entry.name
            for base in self._bases.values()
            for entry in os.scandir(base)
            if entry.is_dir(follow_symlinks=False)
        }
        return tuple(sorted(names))

    def group(self, name: str) -> Group:
        """The group of that name, whether it is there or not."""
        paths = {one: base / name for one, base in self._bases.items()}
        return Group(paths, self._usable)


class Group:
    """What one run of a companion is kept in."""

    def __init__(self, paths: dict[Hierarchy, Path], usable: dict[Controller, Hierarchy]) -> None:
        self._paths: Final = paths
        self._usable: Final = usable
        self._accounting: Final = next(iter(paths.items()))

    @property
    def doors(self) -> tuple[Path, ...]:
        """Files through which a process enters."""
        return tuple(path / "cgroup.procs" for path in self._paths.values())

    def make(self, limits: CompanionLimits) -> None:
        """An empty group with its limits.

        Raises:
            ControlGroupError: It cannot be made, or a limit is refused.
        """
        for hierarchy, path in self._paths.items():
            try:
                path.mkdir()
                for controller, where in self._usable.items():
                    if where == hierarchy:
                        _limit(path, limits, controller, hierarchy)
            except OSError as error:
                self.remove()
                raise ControlGroupError(f"control group {path}: {error.strerror}") from error

    def kill(self) -> None:
        """SIGKILL to every process that is in it."""
        hierarchy, path = self._accounting
        if hierarchy.version == _UNIFIED:
            with suppress(FileNotFoundError):
                (path / "cgroup.kill").write_text("1")
                return
        # Before Linux 5.14: by descriptors, so that a number that was given anew is not hit.
        for _ in range(_KILL_ROUNDS):
            members = self.members()
            if not members:
                return
            for pid in members:
                self._kill_member(pid)

    def _kill_member(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                if pid in self.members():
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)

    def members(self) -> frozenset[int]:
        """Ids of the processes in it."""
        with suppress(FileNotFoundError):
            text = (self._accounting[1] / "cgroup.procs").read_text()
            return frozenset(map(int, text.split()))
        return frozenset()

    def remove(self) -> bool:
        """Whether it is gone now; it is not while a process is in it.

        Raises:
            ControlGroupError: It cannot be removed for another reason.
        """
        for path in self._paths.values():
            for folder in _deepest_first(path):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno == errno.EBUSY:
                        return False
                    raise ControlGroupError(f"control group {path}: {error.strerror}") from error
        return True

    def memory_kills(self) -> int:
        """How many processes the kernel ended in it for memory."""
        where = self._usable.get("memory")
        if where is None:
            return 0
        file = "memory.events" if where.version == _UNIFIED else "memory.oom_control"
        return counted(_read(self._paths[where] / file), "oom_kill")

    def usage(self) -> CompanionUsage:
        """What it uses now; 0 is what is not known too."""
        return CompanionUsage(
            cpu_seconds=round(self._cpu_seconds(), 6),
            memory_bytes=self._number("memory", "memory.current", "memory.usage_in_bytes"),
            processes=len(self.members()),
        )

    def _cpu_seconds(self) -> float:
        for hierarchy, path in self._paths.items():
            if "cpuacct" in hierarchy.controllers:
                return int(_read(path / "cpuacct.usage") or "0") / 1e9
        hierarchy, path = self._accounting
        if hierarchy.version == _UNIFIED:
            return counted(_read(path / "cpu.stat"), "usage_usec") / 1e6
        return 0.0

    def _number(self, controller: Controller, unified: str, legacy: str) -> int:
        where = self._usable.get(controller)
        if where is None:
            return 0
        file = unified if where.version == _UNIFIED else legacy
        return int(_read(self._paths[where] / file) or "0")


async def clear_group(group: Group) -> None:
    """Returns when the group and every process in it are gone."""
    wait = _CLEAR_FIRST_SECONDS
    while True:
        group.kill()
        if group.remove():
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, _CLEAR_LONGEST_SECONDS)


def _base(hierarchy: Hierarchy, place: str) -> Path:
    if place == OWN:
        return Path(hierarchy.own / "companions")
    return Path(hierarchy.mount / PurePosixPath(place.lstrip("/")))


def _hand_down(hierarchy: Hierarchy, base: Path, *, is_own: bool) -> None:
    """Every group from the root to the one above `base` has the controllers for its groups.

    A group that hands controllers down has no processes of its own (cgroup-v2.rst, "No Internal
    Process Constraint"), so what is in the own group moves below it first.
    """
    mount = Path(hierarchy.mount)
    if is_own and Path(hierarchy.own) != mount:
        aside = Path(hierarchy.own / "supervisor")
        aside.mkdir(exist_ok=True)
        for pid in Path(hierarchy.own / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                (aside / "cgroup.procs").write_text(pid)
    start = Path(hierarchy.own) if is_own else mount
    parents = [start, *_between(start, base)]
    for folder in parents:
        folder.mkdir(exist_ok=True)
        _enable(folder, hierarchy.controllers)


def _between(start: Path, end: Path) -> Iterator[Path]:
    parts = end.relative_to(start).parts[:-1]
    for count in range(1, len(parts) + 1):
        yield start.joinpath(*parts[:count])


def _enable(folder: Path, controllers: frozenset[str]) -> None:
    for controller in sorted(controllers & set(CONTROLLERS)):
        # What cannot be had is missed later, by name.
        with suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _limit(
    path: Path, limits: CompanionLimits, controller: Controller, hierarchy: Hierarchy
) -> None:
    for write in limit_writes(limits, controller, hierarchy.version):
        if write.is_optional and not (path / write.file).exists():
            continue
        (path / write.file).write_text(write.value)


def _deepest_first(path: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
