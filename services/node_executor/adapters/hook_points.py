# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel as changes see it: hook points with their pins, programs and maps by id.

Nothing is held between calls: every call opens what it needs and lets it go again, so that only
pins and links decide what lives.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.actions import EntryChange
from services.node_executor.adapters import cls_bpf, kernel_info, map_access, pins
from services.node_executor.adapters.attachments import Attachments
from services.node_executor.adapters.kernel_errors import InterfaceGoneError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.attachment import Surroundings
from services.node_executor.generations import MapKey, Point
from services.node_executor.kernel_types import MapInfo, ProgramInfo
from services.node_executor.map_values import (
    MapLayout,
    MapValueError,
    encode_config,
    encode_key,
    map_layout,
)
from services.node_executor.pin_paths import (
    hook_point_path,
    map_path,
    parse_pin_name,
    program_path,
)
from services.node_executor.reconciliation import ObservedHook
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice, LinkOptions
from shared.contracts.node import MapConfig
from shared.errors import Reason, RefusedError

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
        self._attachments = Attachments(base, short_waits)

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""
        index = _interface_index(point.interface)
        program_pins = self._program_pins(point)
        held = self._attachments.observe(point, index, program_pins.values())
        return ObservedHook(
            interface_index=index,
            link_id=held.link_id,
            link_program_id=held.program_id,
            foreign_program_id=held.foreign_program_id,
            program_pins=program_pins,
            map_pins=self._map_pins(point),
            attachment=held.kind,
            displaced_program_id=held.displaced_program_id,
        )

    def program(self, program_id: int) -> ProgramInfo:
        """What the kernel says about a loaded program."""
        with kernel_info.program_by_id(program_id) as program:
            return kernel_info.program_info(program.fd)

    def surroundings(self, point: Point) -> Surroundings:
        """What else is to be said of our program on the hook."""
        index = _interface_index(point.interface)
        if index is None:
            return Surroundings()
        try:
            return self._attachments.surroundings(point, index)
        except InterfaceGoneError:
            return Surroundings()

    def owner(self, point: Point, program_id: int, *, hint: str = "") -> RefusedError:
        """A refusal that names whoever holds the hook with that program."""
        index = _interface_index(point.interface) or 0
        return self._attachments.owner(point, index, program_id=program_id, hint=hint)

    def check(self, point: Point, options: LinkOptions) -> None:
        """Nothing, if a new attachment with these options is not known to fail."""
        index = _interface_index(point.interface)
        if index is not None:
            self._attachments.check(point, index, options)

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

    def attach(
        self,
        point: Point,
        *,
        interface_index: int,
        program_id: int,
        choice: AttachChoice = "auto",
        position: str = DEFAULT_POSITION,
    ) -> None:
        """The program is on the hook and stays without us, or nothing happened."""
        with kernel_info.program_by_id(program_id) as program:
            self._attachments.attach(
                point, program, interface_index=interface_index, choice=choice, position=position
            )

    def detach(self, point: Point) -> None:
        """Nothing of ours is on the hook, whoever else holds our link; a displaced one is back."""
        index = _interface_index(point.interface)
        self._attachments.detach(point, index, self._program_pins(point).values())

    def replace(self, point: Point, *, expected_program_id: int, program_id: int) -> None:
        """The hook runs the program now; refused if it ran another than expected."""
        index = _interface_index(point.interface)
        with kernel_info.program_by_id(program_id) as program:
            self._attachments.replace(
                point, program, index=index, expected_program_id=expected_program_id
            )

    def take_over(
        self, point: Point, *, interface_index: int, foreign_program_id: int, program_id: int
    ) -> None:
        """The program replaced another owner's in one step, and that one is kept."""
        with kernel_info.program_by_id(program_id) as program:
            self._attachments.take_over(
                point,
                program,
                interface_index=interface_index,
                foreign_program_id=foreign_program_id,
            )

    def drop_dead_link(self, point: Point) -> None:
        """The pins of what is not on the point's interface are removed."""
        self._attachments.drop(point)

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
    """What a killed executor had not finished holds nothing that runs; nor do empty folders."""
    for path in Path(base).rglob(f"*{_UNFINISHED}"):
        if not path.is_dir():
            path.unlink()
    cls_bpf.sweep(base)
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


def _stored(info: MapInfo, value: bytes) -> bytes:
    """Documentation/bpf/map_hash.rst: per-CPU values are padded to 8 bytes each."""
    if not info.is_per_cpu:
        return value
    padded = value.ljust(-(-len(value) // _WORD_BYTES) * _WORD_BYTES, b"\0")
    return padded * int(libraries().bpf.libbpf_num_possible_cpus())
