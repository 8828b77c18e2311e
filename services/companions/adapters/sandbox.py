# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a process does between fork and exec to become a companion.

Everything that it needs was found before the fork; what it opens here it opens by path as root, so
the order is: mounts, groups, limits, streams, rights, exec.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from services.companions.adapters import kernel_calls
from services.companions.adapters.kernel_calls import (
    BIND,
    NO_DEVICES,
    NO_EXECUTION,
    NO_SET_USER_ID,
    READ_ONLY,
    REMOUNT,
    BpfMaps,
)
from shared.contracts.companions import MAPS_DIR

ROOM: Final = "/run/l3af"
"""What a companion has of its own: its maps, its executable, the socket for READY=1."""
NOTIFY_SOCKET: Final = f"{ROOM}/notify"

_FAILED: Final = 127
_QUIET: Final = NO_SET_USER_ID | NO_DEVICES


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the process becomes."""

    user_id: int
    group_ids: tuple[int, ...]
    """The first is the main one."""
    capabilities: int
    """One bit for each."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Everything the process needs to know of its surroundings."""

    identity: Identity
    doors: tuple[str, ...]
    """Files of control groups to enter through."""
    open_files: int
    streams: tuple[int, int, int]
    """Descriptors that become standard input, output and error."""
    report: int
    """Where to write what went wrong; closed by exec."""
    maps: tuple[tuple[str, int], ...] = ()
    """Name and descriptor."""
    pinning: BpfMaps | None = None
    """None: there are no maps."""
    hidden: tuple[str, ...] = ()
    """Folders in which it finds nothing."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to execute."""

    name: str
    copy: str
    """Path of the supervisor's own copy."""
    notify: str
    """Path of the socket that it may tell."""
    arguments: tuple[str, ...]
    environment: dict[str, str]


class _Steps:
    """What is being done, for the report."""

    now = "start"


def become_companion(sandbox: Sandbox, program: Program) -> NoReturn:
    """In a forked process: the companion, or a report of why not and status 127."""
    steps = _Steps()
    try:
        _leave_supervisor(steps)
        steps.now = "make a mount table of its own"
        kernel_calls.leave_mounts()
        steps.now = f"furnish {ROOM}"
        _furnish(sandbox, program)
        steps.now = "hide the maps of others"
        _hide(sandbox.hidden)
        _enter_groups(sandbox, steps)
        _give_up_rights(sandbox, steps)
        steps.now = "execute the program"
        path = f"{ROOM}/bin/{program.name}"
        os.execve(path, [program.name, *program.arguments], program.environment)  # noqa: S606 because no shell is wanted
    except (OSError, ValueError) as error:
        _report(sandbox, steps, error)
    finally:
        os._exit(_FAILED)


def become_command(sandbox: Sandbox, program: Program, *, mounts: int, has_maps: bool) -> NoReturn:
    """In a forked process: a stop or update command beside the companion, in its surroundings.

    Args:
        sandbox: The companion's.
        program: The command.
        mounts: Descriptor of the companion's mount table.
        has_maps: Whether the companion's maps are those of the sandbox from now on.
    """
    steps = _Steps()
    try:
        _leave_supervisor(steps)
        executable = os.open(program.copy, os.O_RDONLY)
        os.set_inheritable(executable, True)
        steps.now = "enter the companion's mount table"
        kernel_calls.enter_mounts(mounts)
        if has_maps:
            steps.now = "exchange the maps"
            _exchange_maps(sandbox)
        _enter_groups(sandbox, steps)
        _give_up_rights(sandbox, steps)
        steps.now = "execute the command"
        os.execve(executable, [program.name, *program.arguments], program.environment)  # noqa: S606 because no shell is wanted
    except (OSError, ValueError) as error:
        _report(sandbox, steps, error)
    finally:
        os._exit(_FAILED)


def _report(sandbox: Sandbox, steps: _Steps, error: Exception) -> None:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    with suppress(OSError):
        os.write(sandbox.report, f"could not {steps.now}: {why}".encode()[:1000])


def _leave_supervisor(steps: _Steps) -> None:
    steps.now = "leave the supervisor's session"
    os.setsid()
    # The supervisor's handlers would write into the supervisor's own loop.
    signal.set_wakeup_fd(-1)
    for number in _settable_signals():
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _settable_signals() -> Iterator[signal.Signals]:
    for number in signal.Signals:
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            yield number


def _furnish(sandbox: Sandbox, program: Program) -> None:
    kernel_calls.mount("l3af", ROOM, "tmpfs", _QUIET, "mode=0755,size=64k,nr_inodes=16")
    Path(ROOM, "bin").mkdir()
    executable = f"{ROOM}/bin/{program.name}"
    for path, source in ((executable, program.copy), (NOTIFY_SOCKET, program.notify)):
        Path(path).touch()
        kernel_calls.mount(source, path, "none", BIND)
        kernel_calls.mount("none", path, "none", BIND | REMOUNT | READ_ONLY | _QUIET)
    Path(MAPS_DIR).mkdir()
    if sandbox.pinning is not None:
        # A BPF file system of its own: what is pinned there is in no other, and is gone with it.
        # A folder of it covers it, because its root can have files that list all maps of the node.
        kernel_calls.mount("l3af", MAPS_DIR, "bpf", _QUIET | NO_EXECUTION, "mode=0700")
        own = Path(MAPS_DIR, "own")
        own.mkdir(mode=0o700)
        kernel_calls.mount(str(own), MAPS_DIR, "none", BIND)
        _pin_maps(sandbox)
    kernel_calls.mount("none", ROOM, "none", BIND | REMOUNT | READ_ONLY | _QUIET)


def _pin_maps(sandbox: Sandbox) -> None:
    owner = sandbox.identity.user_id, sandbox.identity.group_ids[0]
    os.chown(MAPS_DIR, *owner)
    for name, descriptor in sandbox.maps:
        if sandbox.pinning is None:
            raise AssertionError("unreachable")
        # The file system reserves names with dots (kernel/bpf/inode.c, bpf_lookup).
        path = f"{MAPS_DIR}/{name.replace('.', '_')}"
        sandbox.pinning.pin(descriptor, path)
        os.chown(path, *owner)
    read_only = BIND | REMOUNT | READ_ONLY | _QUIET | NO_EXECUTION
    kernel_calls.mount("none", MAPS_DIR, "none", read_only)


def _exchange_maps(sandbox: Sandbox) -> None:
    kernel_calls.mount("none", MAPS_DIR, "none", BIND | REMOUNT | _QUIET | NO_EXECUTION)
    for pin in Path(MAPS_DIR).iterdir():
        pin.unlink()
    _pin_maps(sandbox)


def _hide(folders: tuple[str, ...]) -> None:
    for folder in folders:
        with suppress(FileNotFoundError):
            kernel_calls.mount("l3af", folder, "tmpfs", _QUIET | READ_ONLY, "mode=0,size=4k")


def _enter_groups(sandbox: Sandbox, steps: _Steps) -> None:
    """Late, so that the memory of this copy of the supervisor counts as the supervisor's."""
    steps.now = "enter its control groups"
    for door in sandbox.doors:
        descriptor = os.open(door, os.O_WRONLY)
        os.write(descriptor, b"0")
        os.close(descriptor)


def _give_up_rights(sandbox: Sandbox, steps: _Steps) -> None:
    steps.now = f"allow itself {sandbox.open_files} open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (sandbox.open_files,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    steps.now = "take its streams"
    for number, descriptor in enumerate(sandbox.streams):
        os.dup2(descriptor, number)
    steps.now = "give up the rights of root"
    os.chdir("/")
    os.umask(0o077)
    mine = sandbox.identity
    kernel_calls.bound_capabilities(mine.capabilities)
    kernel_calls.forbid_new_privileges()
    os.setgroups(mine.group_ids)
    os.setresgid(*(mine.group_ids[0],) * 3)
    kernel_calls.keep_capabilities_over_user_change()
    os.setresuid(*(mine.user_id,) * 3)
    kernel_calls.hold_capabilities(mine.capabilities)
