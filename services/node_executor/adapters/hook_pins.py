# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The pins of hook points: generations with their programs, maps and records, read and written.

What has a name of ours and is another kind of object, or has a name that nothing of ours has, is
reported and left alone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

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
    NAMESPACES,
    generation_map_path,
    generation_path,
    hook_point_path,
    link_path,
    maps_path,
    namespace_path,
    parse_pin_name,
    parse_segment,
    program_path,
)
from shared.identifiers import HOOKS, Hook

UNFINISHED: Final = "-new"
"""Ends the name under which a pin is made before it takes its place."""

_PROGRAM, _MAP = "bpf-prog", "bpf-map"
_MAPS: Final = "maps"
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
        self._seen: Final[dict[Point, dict[str, _Seen]]] = {}
        """What was read of each pin: a file of bpffs stands for one object as long as it is."""

    def points(self) -> set[Point]:
        """Hook points that have a pin directory."""
        namespaces = map(parse_pin_name, _names(str(self._base / NAMESPACES)))
        return {
            point
            for netns in ("", *namespaces)
            for interface in _names(str(namespace_path(self._base, netns)))
            for present in [_names(str(namespace_path(self._base, netns) / interface))]
            for hook in HOOKS
            if hook in present
            and Path(self.folder(point := Point(parse_pin_name(interface), hook, netns))).is_dir()
        }

    def link(self, point: Point) -> PurePosixPath:
        """Where the link is pinned."""
        return link_path(self._base, *point)

    def folder(self, point: Point) -> PurePosixPath:
        """The directory of all pins of the point."""
        return hook_point_path(self._base, *point)

    def read(self, point: Point) -> Pins:
        """What is pinned now."""
        reading = _Reading(str(self.folder(point)), self._seen.get(point, {}))
        found: dict[int, PinnedGeneration] = {}
        for name in _names(f"{reading.folder}/generations"):
            if name.isdecimal() and str(int(name)) == name:
                found[int(name)] = reading.generation(f"generations/{name}")
            else:
                reading.odd.append(f"generations/{name}")
        odd = [name for name in _pins(reading.folder) if name not in _IN_A_HOOK_POINT]
        self._seen[point] = reading.seen
        return Pins(found, self._named(point), (*odd, *reading.odd))

    def pin_program(self, point: Point, pin: ProgramPin, program_id: int) -> None:
        """The pin names the program."""
        with kernel_info.program_by_id(program_id) as program:
            pins.pin(program, program_path(*_placed(self._base, point), *pin))

    def unpin_program(self, point: Point, pin: ProgramPin) -> None:
        """The pin is free."""
        pins.unpin(program_path(*_placed(self._base, point), *pin), base=self.folder(point))

    def pin_map(self, point: Point, pin: MapPin, map_id: int) -> None:
        """The pin names the map."""
        with kernel_info.map_by_id(map_id) as opened:
            pins.pin(opened, generation_map_path(*_placed(self._base, point), *pin))

    def unpin_map(self, point: Point, pin: MapPin) -> None:
        """The pin is free."""
        path = generation_map_path(*_placed(self._base, point), *pin)
        pins.unpin(path, base=self.folder(point))

    def write_record(self, point: Point, generation: int, record: bytes) -> None:
        """The generation has this record; with nothing: it has none."""
        path = generation_path(*_placed(self._base, point), generation) / RECORD_NAME
        if not record:
            pins.unpin(path, base=self.folder(point))
            return
        with _frozen_map(record) as made:
            pins.pin(made, path)

    def name_maps(self, point: Point, generation: int) -> None:
        """The path of the point's maps leads to those of the generation; 0: there is no path."""
        path = maps_path(*_placed(self._base, point))
        if not generation:
            pins.unpin(path, base=self.folder(point))
            return
        target = generation_path(*_placed(self._base, point), generation) / "maps"
        pins.link_path(path, target.relative_to(path.parent))

    def move(self, point: Point, to: Point) -> None:
        """All that is pinned for the point is pinned for the other instead, in one step.

        Raises:
            KernelFaultError: Something is pinned there already.
        """
        source, target = Path(self.folder(point)), Path(self.folder(to))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source.rename(target)
        except OSError as error:
            raise KernelFaultError(f"moving {source} to {target}", error.errno or 0) from error
        self._seen.pop(point, None)
        self._seen.pop(to, None)
        pins.remove_empty_directories(self._base)

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
            path = Path(program_path(*_placed(self._base, point), int(name)))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            Path(f"{folder}/programs/{name}").rename(path)
        maps = Path(maps_path(*_placed(self._base, point)))
        if maps.is_dir() and not maps.is_symlink():
            maps.rename(generation_path(*_placed(self._base, point), int(owner)) / "maps")

    def _running(self, point: Point, heads: list[str]) -> str:
        """Which of the first release's programs the link runs; the newest, if there is no link."""
        folder = self.folder(point)
        link = pins.open_pinned(self.link(point))
        if link is None:
            return max(heads, key=int)
        with link:
            running = kernel_info.link_info(link.fd).program_id
        owners = [name for name in heads if _program_id(f"{folder}/programs/{name}") == running]
        return owners[0] if owners else max(heads, key=int)

    def _named(self, point: Point) -> int:
        try:
            target = os.readlink(maps_path(*_placed(self._base, point)))  # noqa: PTH115 because of its text
        except OSError:
            return 0
        number = PurePosixPath(target).parent.name
        return int(number) if number.isdecimal() else -1


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is behind a pin."""

    inode: int
    kind: str
    object_id: int
    record: bytes = b""


class _Reading:
    """One look at all pins of a hook point; only those that are new are opened."""

    def __init__(self, folder: str, seen_before: dict[str, _Seen]) -> None:
        self.folder: Final = folder
        self.odd: Final[list[str]] = []
        self.seen: Final[dict[str, _Seen]] = {}
        self._seen_before: Final = seen_before

    def generation(self, name: str) -> PinnedGeneration:
        """What is pinned in one directory."""
        programs: dict[int, int] = {}
        maps: dict[MapKey, int] = {}
        record = b""
        for entry, inode in _files(f"{self.folder}/{name}"):
            path, segment = f"{name}/{entry}", parse_segment(entry)
            if entry == _MAPS:
                maps |= self._maps(path)
            elif segment is not None:
                for one in self._of(path, inode, _PROGRAM):
                    programs[segment] = one.object_id
            else:
                key = MapKey("", parse_pin_name(entry))
                for one in self._of(path, inode, _MAP):
                    if entry == RECORD_NAME:
                        record = one.record
                    else:
                        maps[key] = one.object_id
        return PinnedGeneration(programs, maps, record)

    def _maps(self, name: str) -> dict[MapKey, int]:
        found: dict[MapKey, int] = {}
        for deployment in _names(f"{self.folder}/{name}"):
            for entry, inode in _files(f"{self.folder}/{name}/{deployment}"):
                for one in self._of(f"{name}/{deployment}/{entry}", inode, _MAP):
                    key = MapKey(parse_pin_name(deployment), parse_pin_name(entry))
                    found[key] = one.object_id
        return found

    def _of(self, name: str, inode: int, kind: str) -> Iterator[_Seen]:
        """What is behind the pin; nothing, and the name is odd, if it is of another kind."""
        seen = self._seen_before.get(name)
        if seen is None or seen.inode != inode:
            seen = _look(f"{self.folder}/{name}", inode)
        self.seen[name] = seen
        if seen.kind == kind:
            yield seen
        else:
            self.odd.append(name)


def _placed(base: PurePosixPath, point: Point) -> tuple[PurePosixPath, str, Hook]:
    """Where the paths of a point begin, its interface and hook."""
    return namespace_path(base, point.netns), point.interface, point.hook


def _look(path: str, inode: int) -> _Seen:
    try:
        opened = pins.open_pinned_text(path)
    except KernelFaultError:
        opened = None
    if opened is None:
        return _Seen(inode, "", 0)
    with opened:
        kind = _kind(opened)
        is_record = kind == _MAP and path.endswith(f"/{RECORD_NAME}")
        return _Seen(inode, kind, _object_id(opened), _record(opened) if is_record else b"")


def _record(opened: Descriptor) -> bytes:
    """What the map holds; something that is no record if it is another map."""
    info = kernel_info.map_info(opened.fd)
    is_ours = info.is_array and info.name == RECORD_NAME
    if not is_ours or info.value_size_bytes > MAX_RECORD_BYTES:
        return b"?"
    return map_access.lookup(opened, _KEY) or b"?"


def _kind(opened: Descriptor) -> str:
    target = os.readlink(f"/proc/self/fd/{opened.fd}")  # noqa: PTH115 because there is no file
    return target.removeprefix("anon_inode:")


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


def _program_id(path: str) -> int:
    """The id of the pinned program; 0: there is none."""
    opened = pins.open_pinned_text(path)
    if opened is None:
        return 0
    with opened:
        return _object_id(opened) if _kind(opened) == _PROGRAM else 0


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


def _files(folder: str) -> list[tuple[str, int]]:
    """Names and inodes of the pins in a directory, ascending."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.inode()) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(one for one in found if not one[0].endswith(UNFINISHED))


def _pins(folder: str) -> list[str]:
    """As `_names`, without what a killed process had not named yet; a deployment may end so."""
    return [name for name in _names(folder) if not name.endswith(UNFINISHED)]
