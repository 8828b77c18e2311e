# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The pins of hook points: generations with their programs, maps and records, read and written.

What has a name of ours and is another kind of object, or has a name that nothing of ours has, is
reported and left alone.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, get_args

from services.node_executor.adapters import kernel_info, map_access, pins
from services.node_executor.adapters.bpf_syscall import (
    MAP_CREATE,
    MAP_FREEZE,
    Descriptor,
    bpf,
    info_by_fd,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.generation_record import MAX_RECORD_BYTES, RECORD_NAME
from services.node_executor.generations import MapKey, MapPin, Point, ProgramPin
from services.node_executor.observed_hook import PinnedGeneration
from services.node_executor.pin_paths import (
    generation_map_path,
    generation_path,
    hook_point_path,
    link_path,
    maps_path,
    parse_pin_name,
    parse_segment,
    program_path,
)
from shared.identifiers import Hook

UNFINISHED: Final = "-new"
"""Ends the name under which a pin is made before it takes its place."""

_PROGRAM, _MAP = "bpf-prog", "bpf-map"
_ARRAY: Final = 2
_KEY: Final = bytes(4)
_IN_A_HOOK_POINT: Final = frozenset(("link", "maps", "generations"))


class Pins(NamedTuple):
    """What is pinned of one hook point, its link left out."""

    generations: dict[int, PinnedGeneration]
    named: int
    odd: tuple[str, ...]


class HookPins:
    """All pins below one directory of bpffs."""

    def __init__(self, base: PurePosixPath) -> None:
        """`base` is a directory of bpffs."""
        self._base: Final = base
        self._records: Final[dict[int, bytes]] = {}
        """By the id of their map: they are frozen, and an id is not used twice."""

    def points(self) -> set[Point]:
        """Hook points that have a pin directory."""
        return {
            Point(parse_pin_name(interface), hook)
            for interface in _names(str(self._base))
            for hook in get_args(Hook)
            if Path(hook_point_path(self._base, parse_pin_name(interface), hook)).is_dir()
        }

    def link(self, point: Point) -> PurePosixPath:
        """Where the link is pinned."""
        return link_path(self._base, *point)

    def folder(self, point: Point) -> PurePosixPath:
        """The directory of all pins of the point."""
        return hook_point_path(self._base, *point)

    def read(self, point: Point) -> Pins:
        """What is pinned now."""
        folder = str(self.folder(point))
        odd = [name for name in _pins(folder) if name not in _IN_A_HOOK_POINT]
        found: dict[int, PinnedGeneration] = {}
        for name in _names(f"{folder}/generations"):
            if name.isdecimal() and str(int(name)) == name:
                found[int(name)] = self._generation(folder, f"generations/{name}", odd)
            else:
                odd.append(f"generations/{name}")
        return Pins(found, self._named(point), tuple(odd))

    def pin_program(self, point: Point, pin: ProgramPin, program_id: int) -> None:
        """The pin names the program."""
        with kernel_info.program_by_id(program_id) as program:
            pins.pin(program, program_path(self._base, *point, *pin))

    def unpin_program(self, point: Point, pin: ProgramPin) -> None:
        """The pin is free."""
        pins.unpin(program_path(self._base, *point, *pin), base=self.folder(point))

    def pin_map(self, point: Point, pin: MapPin, map_id: int) -> None:
        """The pin names the map."""
        with kernel_info.map_by_id(map_id) as opened:
            pins.pin(opened, generation_map_path(self._base, *point, *pin))

    def unpin_map(self, point: Point, pin: MapPin) -> None:
        """The pin is free."""
        path = generation_map_path(self._base, *point, *pin)
        pins.unpin(path, base=self.folder(point))

    def write_record(self, point: Point, generation: int, record: bytes) -> None:
        """The generation has this record; with nothing: it has none."""
        path = generation_path(self._base, *point, generation) / RECORD_NAME
        if not record:
            pins.unpin(path, base=self.folder(point))
            return
        with _frozen_map(record) as made:
            pins.pin(made, path)

    def name_maps(self, point: Point, generation: int) -> None:
        """The path of the point's maps leads to those of the generation; 0: there is no path."""
        path = maps_path(self._base, *point)
        if not generation:
            pins.unpin(path, base=self.folder(point))
            return
        target = generation_path(self._base, *point, generation) / "maps"
        pins.link_path(path, target.relative_to(path.parent))

    def sweep(self, point: Point) -> None:
        """Nothing is left of pins that a killed executor had not named yet, nor empty folders.

        The pins of the first release, which had one folder for the programs of all generations and
        one for their maps, are where they are looked for now.
        """
        folder = Path(self.folder(point))
        for path in folder.rglob(f"*{UNFINISHED}"):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
        self._move_first_layout(point)
        pins.remove_empty_directories(self.folder(point))

    def _move_first_layout(self, point: Point) -> None:
        folder = self.folder(point)
        heads = [name for name in _names(f"{folder}/programs") if name.isdecimal()]
        if not heads:
            return
        owner = self._running(point, heads)
        for name in heads:
            path = Path(program_path(self._base, *point, int(name)))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(f"{folder}/programs/{name}").rename(path)
        maps = Path(maps_path(self._base, *point))
        if maps.is_dir() and not maps.is_symlink():
            maps.rename(generation_path(self._base, *point, int(owner)) / "maps")

    def _running(self, point: Point, heads: list[str]) -> str:
        """Which of the first release's programs the link runs; the newest, if there is no link."""
        link = pins.open_pinned(self.link(point))
        if link is None:
            return max(heads, key=int)
        with link:
            running = kernel_info.link_info(link.fd).program_id
        for name in heads:
            head = _open(f"{self.folder(point)}/programs/{name}", _PROGRAM)
            if head is not None:
                with head:
                    if _object_id(head) == running:
                        return name
        return max(heads, key=int)

    def _generation(self, folder: str, name: str, odd: list[str]) -> PinnedGeneration:
        programs: dict[int, int] = {}
        maps: dict[MapKey, int] = {}
        record = b""
        for entry in _pins(f"{folder}/{name}"):
            segment = parse_segment(entry)
            path = f"{name}/{entry}"
            if entry == "maps":
                maps |= self._maps(folder, path, odd)
            elif segment is not None:
                found = self._id(folder, path, _PROGRAM, odd)
                programs |= {segment: found} if found else {}
            elif entry == RECORD_NAME:
                record = self._record(folder, path, odd)
            else:
                found = self._id(folder, path, _MAP, odd)
                maps |= {MapKey("", parse_pin_name(entry)): found} if found else {}
        return PinnedGeneration(programs, maps, record)

    def _maps(self, folder: str, name: str, odd: list[str]) -> dict[MapKey, int]:
        found: dict[MapKey, int] = {}
        for deployment in _names(f"{folder}/{name}"):
            for entry in _pins(f"{folder}/{name}/{deployment}"):
                map_id = self._id(folder, f"{name}/{deployment}/{entry}", _MAP, odd)
                if map_id:
                    found[MapKey(deployment, parse_pin_name(entry))] = map_id
        return found

    def _id(self, folder: str, name: str, kind: str, odd: list[str]) -> int:
        """The id of the object of that kind; 0, and the name is odd, if it is none."""
        opened = _open(f"{folder}/{name}", kind)
        if opened is None:
            odd.append(name)
            return 0
        with opened:
            return _object_id(opened)

    def _record(self, folder: str, name: str, odd: list[str]) -> bytes:
        opened = _open(f"{folder}/{name}", _MAP)
        if opened is None:
            odd.append(name)
            return b""
        with opened:
            map_id = _object_id(opened)
            if map_id not in self._records:
                info = kernel_info.map_info(opened.fd)
                is_ours = info.is_array and info.name == RECORD_NAME
                is_ours &= info.value_size_bytes <= MAX_RECORD_BYTES
                value = map_access.lookup(opened, _KEY) if is_ours else None
                self._records[map_id] = value or b"?"
            return self._records[map_id]

    def _named(self, point: Point) -> int:
        try:
            target = os.readlink(maps_path(self._base, *point))  # noqa: PTH115 because of its text
        except OSError:
            return 0
        number = PurePosixPath(target).parent.name
        return int(number) if number.isdecimal() else -1


def _frozen_map(value: bytes) -> Descriptor:
    """An array of one entry that user space cannot change any more."""
    request = struct.pack("<IIIIIII16s", _ARRAY, 4, len(value), 1, 0, 0, 0, RECORD_NAME.encode())
    made = Descriptor(bpf(MAP_CREATE, request, action="making a record"))
    try:
        map_access.update(made, _KEY, value)
        bpf(MAP_FREEZE, struct.pack("<I", made.fd), action="freezing a record")
    except KernelFaultError:
        made.close()
        raise
    return made


def _open(path: str, kind: str) -> Descriptor | None:
    """The pinned object, if it is of that kind."""
    try:
        opened = pins.open_pinned(PurePosixPath(path))
    except KernelFaultError:
        return None
    if opened is not None and os.readlink(f"/proc/self/fd/{opened.fd}") != f"anon_inode:{kind}":  # noqa: PTH115 because there is no file
        opened.close()
        return None
    return opened


def _object_id(opened: Descriptor) -> int:
    """Both struct bpf_prog_info and bpf_map_info begin with a type and an id."""
    raw = info_by_fd(opened.fd, 8, action="reading the id of a pinned object")
    return int(struct.unpack("<II", raw)[1])


def _names(folder: str) -> list[str]:
    """What is in a directory of bpffs, ascending; nothing if there is no such directory."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 because it is five times as fast
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(names)


def _pins(folder: str) -> list[str]:
    """As `_names`, without what a killed process had not named yet; a deployment may end so."""
    return [name for name in _names(folder) if not name.endswith(UNFINISHED)]
