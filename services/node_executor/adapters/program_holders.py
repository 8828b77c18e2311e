# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who keeps programs alive: processes with descriptors, and names in bpffs.

One walk over all of each, bounded in number and in time.  Both may change meanwhile, and what
other mount and process namespaces hold is not seen: this informs, and decides nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Final, NamedTuple

from services.node_executor.adapters import kernel_info, pins
from services.node_executor.adapters.kernel_errors import KernelFaultError
from shared.contracts.ebpf import MAX_NAME_CHARACTERS, EbpfOwner

SEARCH_SECONDS: Final = 1.0
"""For processes, and once more for names."""
MAX_DESCRIPTORS: Final = 200_000
MAX_PINS: Final = 20_000
_PROC: Final = "/proc"
_MOUNTS: Final = Path("/proc/self/mountinfo")
_PROGRAM: Final = "anon_inode:bpf-prog"
_LINKS: Final = ("anon_inode:bpf_link", "anon_inode:bpf-link")


class _File(NamedTuple):
    """A file, whatever its names are."""

    device: int
    inode: int


class _Pinned(NamedTuple):
    """What a file of bpffs stands for."""

    program_id: int
    """The program, or the one that the link runs; 0: it is neither."""
    is_link: bool = False


class Search:
    """One search: what it may still look at, and why it ended early."""

    def __init__(self, what: str, maximum: int, seconds: float = SEARCH_SECONDS) -> None:
        self._what = what
        self._left = maximum
        self._deadline = monotonic() + seconds
        self.note = ""
        """Why it ended early; empty: it did not."""
        self.denied = 0
        """Processes that may not be looked at: they have rights that this one has not."""

    def notes(self) -> list[str]:
        """What was not looked at."""
        denied = f"{self.denied} processes have rights that keep their {self._what} from being read"
        return [*filter(None, [self.note]), *([denied] if self.denied else [])]

    def goes_on(self) -> bool:
        """Whether one more may be looked at."""
        self._left -= 1
        if self._left < 0:
            self.note = f"there are more {self._what} than are looked at"
        elif monotonic() > self._deadline:
            self.note = f"looking at all {self._what} takes too long"
        return not self.note


def program_owners(search: Search) -> dict[int, dict[int, EbpfOwner]]:
    """Program id to the processes that hold it or one of its links, by process id."""
    found: dict[int, dict[int, EbpfOwner]] = defaultdict(dict)
    for name in os.listdir(_PROC):  # noqa: PTH208 because it is many times as fast
        if name.isdecimal():
            for program_id in _held_by(name, search):
                if int(name) not in found[program_id]:
                    owner = EbpfOwner(pid=int(name), command=_command(name))
                    found[program_id][int(name)] = owner
        if search.note:
            break
    return found


class PinnedPrograms:
    """Names of programs and of their links in every bpffs; only those that are new are opened."""

    def __init__(self, *, first: PurePosixPath) -> None:
        """Names below `first` come first."""
        self._first: Final = first
        self._seen: dict[_File, _Pinned] = {}
        """A file of bpffs stands for one object as long as it is."""

    def find(self, search: Search) -> dict[int, list[str]]:
        """Program id to the paths of it and of its links."""
        found: dict[int, list[str]] = defaultdict(list)
        seen: dict[_File, _Pinned] = {}
        for path, file in _pinned(self._first):
            if not search.goes_on():
                break
            pinned = self._seen.get(file)
            if pinned is None or pinned.is_link:  # a link can run another program by now
                pinned = _read(path)
            seen[file] = pinned
            if pinned.program_id:
                found[pinned.program_id].append(_printable(path))
        self._seen = seen
        return found


def _printable(path: str) -> str:
    """The path as it can be sent: any bytes but `/` and zero can be in a name."""
    text = os.fsencode(path).decode(errors="replace")[:MAX_NAME_CHARACTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _held_by(process: str, search: Search) -> Iterator[int]:
    folder = f"{_PROC}/{process}/fd"
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208
    except PermissionError:
        search.denied += 1
        return
    except OSError:  # because processes come and go
        return
    for descriptor in descriptors:
        if not search.goes_on():
            return
        try:
            target = os.readlink(f"{folder}/{descriptor}")  # noqa: PTH115
            if target == _PROGRAM or target in _LINKS:
                text = Path(f"{_PROC}/{process}/fdinfo/{descriptor}").read_text()
                yield from _program_id(text)
        except PermissionError:
            search.denied += 1
            return
        except OSError:
            continue


def _program_id(text: str) -> Iterator[int]:
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "prog_id" and value.strip().isdecimal():
            yield int(value)
            return


def _command(process: str) -> str:
    with suppress(OSError):
        return Path(f"{_PROC}/{process}/comm").read_text(errors="replace").strip()
    return ""


def _pinned(first: PurePosixPath) -> Iterator[tuple[str, _File]]:
    """Every name in every bpffs that this process sees, each file system once."""
    own = str(first)
    yield from _files(own)
    devices: set[int] = set()
    for line in _MOUNTS.read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount_point = left.split()[4]
        if right.split()[0] != "bpf":
            continue
        with suppress(OSError):
            device = os.stat(mount_point).st_dev  # noqa: PTH116
            if device not in devices:
                devices.add(device)
                yield from (one for one in _files(mount_point) if not one[0].startswith(f"{own}/"))


def _files(folder: str) -> Iterator[tuple[str, _File]]:
    """Names of pins, those of a directory before those of the directories in it."""
    folders = []
    with suppress(OSError), os.scandir(folder) as entries:
        device = os.stat(folder).st_dev  # noqa: PTH116
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not entry.is_symlink():
                yield entry.path, _File(device, entry.inode())
    for one in folders:
        yield from _files(one)


def _read(path: str) -> _Pinned:
    """What is pinned there."""
    with suppress(KernelFaultError, OSError):
        opened = pins.open_pinned_text(path)
        if opened is not None:
            with opened:
                target = os.readlink(f"/proc/self/fd/{opened.fd}")  # noqa: PTH115
                if target == _PROGRAM:
                    return _Pinned(kernel_info.program_info(opened.fd).id)
                if target in _LINKS:
                    return _Pinned(kernel_info.link_info(opened.fd).program_id, is_link=True)
    return _Pinned(0)
