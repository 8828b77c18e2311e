# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel as changes see it: hook points with their pins, programs and maps by id.

Nothing is held between calls: every call opens what it needs and lets it go again, so that only
pins and links decide what lives.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.actions import EntryChange
from services.node_executor.adapters import hooks, kernel_info, map_access, pins
from services.node_executor.adapters.bpf_syscall import LINK_DETACH, PIN, Memory, bpf
from services.node_executor.adapters.kernel_errors import (
    InterfaceGoneError,
    KernelFaultError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.generations import MapKey, Point
from services.node_executor.kernel_types import Handle, MapInfo, ProgramInfo, XdpMode
from services.node_executor.map_values import (
    MapLayout,
    MapValueError,
    encode_config,
    encode_key,
    map_layout,
)
from services.node_executor.pin_paths import (
    hook_point_path,
    link_path,
    map_path,
    parse_pin_name,
    program_path,
)
from services.node_executor.reconciliation import ObservedHook
from shared.contracts.node import MapConfig
from shared.errors import Reason

_WORD_BYTES: Final = 8
_UNFINISHED: Final = "-new"
"""Ends the name under which `pins.pin` makes a pin before it takes its place."""


class HookPointKernel:
    """Hook points of the network namespace that this process runs in."""

    def __init__(
        self,
        base: PurePosixPath,
        *,
        short_waits: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Pins lie below `base`, which is made, and bpffs mounted, if need be.

        Whatever makes the kernel wait for packets under way happens within `short_waits`.
        """
        pins.prepare_pin_directory(base)
        _sweep(base)
        self._base = base
        self._short_waits = short_waits

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""
        index = _interface_index(point.interface)
        link_id = program_id = 0
        link = pins.open_pinned(self._link(point))
        if link is not None:
            with link:
                info = kernel_info.link_info(link.fd)
            link_id = info.id
            if info.interface_index and info.interface_index == index:
                program_id = info.program_id
        foreign = _foreign_program(point, index, link_id) if index and not program_id else 0
        return ObservedHook(
            interface_index=index,
            link_id=link_id,
            link_program_id=program_id,
            foreign_program_id=foreign,
            program_pins=self._program_pins(point),
            map_pins=self._map_pins(point),
        )

    def program(self, program_id: int) -> ProgramInfo:
        """What the kernel says about a loaded program."""
        with kernel_info.program_by_id(program_id) as program:
            return kernel_info.program_info(program.fd)

    def xdp_mode(self, point: Point) -> XdpMode:
        """How XDP runs on the point's interface; empty for TC."""
        index = _interface_index(point.interface)
        if point.hook != "xdp" or index is None:
            return ""
        try:
            return hooks.xdp_mode(index)
        except InterfaceGoneError:
            return ""

    def pin_program(self, point: Point, pin: int, program_id: int) -> None:
        """The pin names the program."""
        with kernel_info.program_by_id(program_id) as program:
            pins.pin(program, program_path(self._base, *point, pin))

    def unpin_program(self, point: Point, pin: int) -> None:
        """The pin is free."""
        pins.unpin(program_path(self._base, *point, pin), base=self._base)

    def pin_map(self, point: Point, key: MapKey, map_id: int) -> None:
        """The pin names the map."""
        with kernel_info.map_by_id(map_id) as opened:
            pins.pin(opened, map_path(self._base, *point, *key))

    def unpin_map(self, point: Point, key: MapKey) -> None:
        """The pin is free."""
        pins.unpin(map_path(self._base, *point, *key), base=self._base)

    def attach(self, point: Point, *, interface_index: int, program_id: int) -> None:
        """A new link runs the program and is pinned, or nothing happened."""
        place = f"{point.interface}/{point.hook}"
        with kernel_info.program_by_id(program_id) as program, self._short_waits():
            made = hooks.attach(program, interface_index, point.hook, hook_point=place)
        with made.link:
            self._pin_link(made.link, point)

    def detach(self, point: Point) -> None:
        """The pinned link is off the hook, whoever else holds it, and its pin is gone."""
        link = pins.open_pinned(self._link(point))
        if link is not None:
            with link, self._short_waits():
                bpf(LINK_DETACH, struct.pack("<I", link.fd), action="detaching a link")
        pins.unpin(self._link(point), base=self._base)

    def replace(self, point: Point, *, expected_program_id: int, program_id: int) -> None:
        """The pinned link runs the program now; refused if it ran another than expected."""
        link = pins.open_pinned(self._link(point))
        if link is None:
            raise KernelFaultError(f"opening {self._link(point)}", errno.ENOENT)
        with link, kernel_info.program_by_id(program_id) as program, self._short_waits():
            hooks.replace_program(link, program, expected_id=expected_program_id)

    def drop_dead_link(self, point: Point) -> None:
        """The pin of a link that is not on the point's interface is removed."""
        pins.unpin(self._link(point), base=self._base)

    def write_entries(self, map_id: int, changes: Sequence[EntryChange]) -> None:
        """Each entry is as `after` says."""
        with kernel_info.map_by_id(map_id) as opened:
            for change in changes:
                if change.after is None:
                    map_access.delete(opened, change.key)
                else:
                    map_access.update(opened, change.key, change.after)

    def read_entries(self, map_id: int) -> dict[bytes, bytes]:
        """All entries, values as the kernel stores them."""
        with kernel_info.map_by_id(map_id) as opened:
            return dict(map_access.entries(opened))

    def stored_value(self, map_id: int, value: bytes) -> bytes:
        """A value as the kernel stores it: once for each processor in a per-CPU map."""
        return _stored(self._map_info(map_id), value)

    def blank_value(self, map_id: int) -> bytes | None:
        """Zeros for an array, whose entries always exist; None: entries can be deleted."""
        info = self._map_info(map_id)
        return _stored(info, bytes(info.value_size_bytes)) if info.is_array else None

    def encode_entries(
        self, map_id: int, name: str, config: MapConfig
    ) -> tuple[dict[bytes, bytes], tuple[Reason, ...]]:
        """The configuration as bytes by the map's BTF, and everything that does not fit it."""
        try:
            return encode_config({name: config}, {name: self._layout(map_id)})[name], ()
        except MapValueError as error:
            return {}, error.reasons

    def read_scalar(self, map_id: int, key: str) -> int:
        """The number under `key`, or the sum of all with `*`; summed over processors.

        Raises:
            RefusedError: The map holds no single numbers, or `key` is no key of it.
        """
        encoded = None if key == "*" else encode_key(key, self._layout(map_id).key, path=key)
        with kernel_info.map_by_id(map_id) as opened:
            return map_access.read_number(opened, encoded) or 0

    def _map_info(self, map_id: int) -> MapInfo:
        with kernel_info.map_by_id(map_id) as opened:
            return kernel_info.map_info(opened.fd)

    def _layout(self, map_id: int) -> MapLayout:
        with kernel_info.map_by_id(map_id) as opened:
            return map_layout(*kernel_info.map_declaration(opened.fd))

    def _pin_link(self, link: Handle, point: Point) -> None:
        """In one step and not under another name first: a kill must not leave a link unnamed."""
        path = self._link(point)
        Path(path.parent).mkdir(mode=0o700, parents=True, exist_ok=True)
        memory = Memory()
        request = struct.pack("<QII", memory.text(str(path)), link.fd, 0)
        bpf(PIN, request, action=f"pinning {path}")

    def _link(self, point: Point) -> PurePosixPath:
        return link_path(self._base, *point)

    def _program_pins(self, point: Point) -> dict[int, int]:
        folder = f"{self._folder(point)}/programs"
        found: dict[int, int] = {}
        for name in _names(folder):
            program = pins.open_pinned(PurePosixPath(f"{folder}/{name}"))
            if program is not None and name.isdecimal():
                with program:
                    found[int(name)] = kernel_info.program_info(program.fd).id
        return found

    def _map_pins(self, point: Point) -> dict[MapKey, int]:
        folder = f"{self._folder(point)}/maps"
        found: dict[MapKey, int] = {}
        for deployment in _names(folder):
            for name in _names(f"{folder}/{deployment}"):
                if name.endswith(_UNFINISHED):
                    continue
                opened = pins.open_pinned(PurePosixPath(f"{folder}/{deployment}/{name}"))
                if opened is not None:
                    with opened:
                        map_id = kernel_info.map_info(opened.fd).id
                    found[MapKey(deployment, parse_pin_name(name))] = map_id
        return found

    def _folder(self, point: Point) -> PurePosixPath:
        return hook_point_path(self._base, *point)


def _sweep(base: PurePosixPath) -> None:
    """What a killed executor had not named yet holds nothing that runs; nor do empty folders."""
    for path in Path(base).rglob(f"*{_UNFINISHED}"):
        if not path.is_dir():
            path.unlink()
    pins.remove_empty_directories(base)


def _names(folder: str) -> list[str]:
    """What is in a directory of bpffs, ascending; nothing if there is no such directory."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 because it is five times as fast
    except FileNotFoundError:
        return []


def _interface_index(name: str) -> int | None:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


def _foreign_program(point: Point, index: int, own_link_id: int) -> int:
    try:
        present = hooks.occupants(index, point.hook)
    except (InterfaceGoneError, UnsupportedByKernelError):
        return 0  # attaching says what is missing
    return next(
        (one.program_id for one in present if not one.link_id or one.link_id != own_link_id), 0
    )


def _stored(info: MapInfo, value: bytes) -> bytes:
    """Documentation/bpf/map_hash.rst: per-CPU values are padded to 8 bytes each."""
    if not info.is_per_cpu:
        return value
    padded = value.ljust(-(-len(value) // _WORD_BYTES) * _WORD_BYTES, b"\0")
    return padded * int(libraries().bpf.libbpf_num_possible_cpus())
