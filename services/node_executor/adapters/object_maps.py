# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The maps of an object on its way into the kernel: carried over, given values, made, read back.

Used between opening and closing an object through libbpf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import LoadedMap, MapInfo, ProgramSource
from services.node_executor.map_carry_over import kernel_flags
from shared.bytecode.object_data import Variable
from shared.errors import Reason, RefusedError

_RING_BUFFERS: Final = (27, 31)
_CONSTANTS: Final = (".rodata", ".kconfig")


class ObjectMaps:
    """All maps of one opened object."""

    def __init__(self, bpf_object: Any) -> None:
        self._entries: Final = dict(_each_map(bpf_object))
        self._carried: Final[set[str]] = set()

    def carry_over(self, source: ProgramSource) -> None:
        """Maps that are given and agree with their declaration are used instead of new ones.

        Nothing is pinned or found by a name that the object declares.
        """
        ffi, bpf, _ = libraries()
        for name, entry in self._entries.items():
            bpf.bpf_map__set_pin_path(entry, ffi.NULL)
            given = source.maps.get(name)
            if given is None or name.startswith(_CONSTANTS):
                continue
            if _agrees(kernel_info.map_info(given.fd), entry):
                result = bpf.bpf_map__reuse_fd(entry, given.fd)
                if result < 0:
                    raise KernelFaultError(f"carrying map {name} over", -result)
                self._carried.add(name)

    def set_variables(self, source: ProgramSource, variables: Mapping[str, Variable]) -> None:
        """Variables have the given bytes from the start.

        Constants are part of the code, so they always get them; a variable in a map that is carried
        over keeps what it holds.

        Raises:
            RefusedError: a variable does not exist or has another size; all are listed.
        """
        problems = list(_variable_problems(source, variables))
        if problems:
            raise RefusedError(
                f"{source.name}: {source.object_path} has no such global variables:"
                f" {problems[0].path}: {problems[0].rule}",
                problems,
            )
        ffi, bpf, _ = libraries()
        for name, value in source.globals.items():
            variable = variables[name]
            if variable.section in self._carried:
                continue
            size = ffi.new("size_t *")
            # libbpf copies this memory into the map when it is made.
            start = bpf.bpf_map__initial_value(self._entries[variable.section], size)
            end = variable.offset_bytes + variable.size_bytes
            if start == ffi.NULL or end > size[0]:
                raise RefusedError(f"{source.name}: global variable '{name}' cannot be set")
            ffi.buffer(start, size[0])[variable.offset_bytes : end] = value

    def loaded(self) -> dict[str, LoadedMap]:
        """The maps that exist now, by declared name; their handles live as long as the object."""
        maps = {}
        for name, entry in self._entries.items():
            fd = libraries().bpf.bpf_map__fd(entry)
            if fd >= 0:
                # libbpf owns the descriptor; the object's close gives it up.
                handle = Descriptor(fd, release=_leave)
                info = kernel_info.map_info(fd)
                maps[name] = LoadedMap(name, handle, info, name in self._carried)
        return maps


def _each_map(bpf_object: Any) -> Iterator[tuple[str, Any]]:
    ffi, bpf, _ = libraries()
    entry = bpf.bpf_object__next_map(bpf_object, ffi.NULL)
    while entry != ffi.NULL:
        name = ffi.string(bpf.bpf_map__name(entry)).decode()
        # libbpf puts the object's name before that of a data section.
        yield (name[name.find(".") :] if bpf.bpf_map__is_internal(entry) else name), entry
        entry = bpf.bpf_object__next_map(bpf_object, entry)


def _variable_problems(
    source: ProgramSource, variables: Mapping[str, Variable]
) -> Iterator[Reason]:
    for name, value in source.globals.items():
        path = f"{source.name}.globals.{name}"
        if name not in variables:
            yield Reason(
                path=path,
                rule="must be a global variable of the object",
                got=name,
                allowed=sorted(variables),
            )
        elif len(value) != variables[name].size_bytes:
            yield Reason(
                path=path,
                rule="must have the variable's size in bytes",
                got=len(value),
                allowed=variables[name].size_bytes,
            )


def _agrees(info: MapInfo, entry: Any) -> bool:
    """Whether an existing map can serve as the declared one, entries and all."""
    bpf = libraries().bpf
    declared_entries = bpf.bpf_map__max_entries(entry)
    return (
        info.type_number == bpf.bpf_map__type(entry)
        and info.key_size_bytes == bpf.bpf_map__key_size(entry)
        and info.value_size_bytes == bpf.bpf_map__value_size(entry)
        and info.flags == kernel_flags(info.type_number, bpf.bpf_map__map_flags(entry))
        and (
            declared_entries in (0, info.max_entries)
            # libbpf rounds ring buffers up to whole pages when it makes them.
            or (info.type_number in _RING_BUFFERS and declared_entries <= info.max_entries)
        )
    )


def _leave(_fd: int) -> None:
    """Close nothing."""
