# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One program of an object file, loaded alone through libbpf and captured for linking.

libbpf parses the ELF, makes the maps and relocates.  That the original loads alone proves that it
verifies by itself, and gives an error in its own source lines before anything is linked.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Final, Self

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.capture import Capture, Captured, the_capture
from services.node_executor.adapters.kernel_errors import (
    KernelFaultError,
    UnsupportedByKernelError,
    VerifierRejectedError,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.stack_probe import may_read_uninitialised_stack
from services.node_executor.adapters.verifier_log import read_stack_depths
from services.node_executor.kernel_types import (
    ATTACH_TYPES,
    PROGRAM_TYPES,
    XDP_HAS_FRAGS,
    Handle,
    LoadedMap,
    MapInfo,
    ProgramInfo,
    ProgramSource,
)
from services.node_executor.linking.body import Body, ProgramArray
from services.node_executor.linking.plan import LinkRefusedError
from shared.bytecode.elf import ObjectProgram, read_object
from shared.bytecode.instructions import decode
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import Hook

_STATISTICS_LEVEL: Final = 4
_TEXT_LEVEL: Final = 1
_STATISTICS_BYTES: Final = 64 * 1024
_TEXT_BYTES: Final = 1 << 20
_LONG_TEXT_BYTES: Final = 16 << 20
"""Kernels before 6.4 answer ENOSPC when the log does not fit, so this is tried next."""

_PROGRAM_ARRAY: Final = 3
_RING_BUFFERS: Final = (27, 31)
_CONSTANTS: Final = (".rodata", ".kconfig")
_OUTSIDE_CAUSES: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR)


@dataclass(frozen=True, slots=True)
class LoadDurations:
    """Where the time went."""

    parse_ns: int
    load_ns: int
    """libbpf: maps, relocation, the kernel's verification."""
    probe_ns: int
    """Asking whether it reads uninitialised stack."""


class LoadedBody:
    """A program that verified alone, its maps, and the body to link."""

    def __init__(
        self,
        *,
        body: Body,
        data: bytes,
        info: ProgramInfo,
        maps: Mapping[str, LoadedMap],
        durations: LoadDurations,
        bpf_object: Any,
        bpf_program: Any,
    ) -> None:
        self.body: Final = body
        self.data: Final = data
        self.info: Final = info
        """Of the original, which is never attached."""
        self.maps: Final = maps
        """By declared name; their handles are valid until `close`."""
        self.durations: Final = durations
        self._object = bpf_object
        self._program: Final = bpf_program

    @property
    def program(self) -> Handle:
        """The original, loaded alone; valid until `close`."""
        found = self._program
        return Descriptor(libraries().bpf.bpf_program__fd(found), release=_leave)

    @property
    def types(self) -> Any:
        """The object's BTF, owned by this body."""
        return libraries().bpf.bpf_object__btf(self._object)

    def close(self) -> None:
        """Give program and maps up; what is pinned or used by a linked program stays."""
        if self._object is not None:
            given_up, self._object = self._object, None
            with the_capture().lock:
                libraries().bpf.bpf_object__close(given_up)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_read_object: Final = lru_cache(maxsize=32)(read_object)
"""The same objects are loaded again and again: for every chain, and for every generation."""


def load_body(source: ProgramSource, hook: Hook, *, is_first: bool) -> LoadedBody:
    """The program of `source`, verified by the kernel as if it were alone on `hook`.

    Only that program of the object is loaded.  Maps given by `source.maps` are used where type
    and sizes agree; constants (`.rodata`) are always made anew.

    Raises:
        VerifierRejectedError: the verifier refuses it.
        RefusedError: no such program, not for this hook, or the object cannot be relocated here.
        KernelFaultError: the kernel lacks memory, or forbids loading at all.
    """
    started = perf_counter_ns()
    parsed = _read_object(source.data, source.object_path)
    program = _wanted(parsed.program(source.function), source, hook)
    parse_ns = perf_counter_ns() - started
    capture = the_capture()
    with capture.lock:
        loading = _Loading(source, hook, program, capture)
        # What `finish` gives away is not closed here.
        with closing(loading):
            return loading.finish(parsed.licence, parse_ns=parse_ns, is_first=is_first)


def _wanted(program: ObjectProgram | None, source: ProgramSource, hook: Hook) -> ObjectProgram:
    if program is None:
        reason = Reason(path=source.name, rule="must be a program of the object")
        raise RefusedError(
            f"{source.name}: {source.object_path} has no program '{source.function}'", [reason]
        )
    foreign = ("tc", "classifier", "action") if hook == "xdp" else ("xdp",)
    is_for_maps = re.match(r"xdp(\.frags)?/(devmap|cpumap)", program.section) is not None
    if program.section.startswith(foreign) or is_for_maps:
        reason = Reason(path=source.name, rule=f"must be a program for {hook}", got=program.section)
        raise LinkRefusedError(
            f"{source.name}: '{source.function}' is in section '{program.section}',"
            f" which is not for {hook}",
            [reason],
        )
    return program


class _Loading:
    """One object on its way into the kernel; `close` gives it up."""

    def __init__(
        self, source: ProgramSource, hook: Hook, program: ObjectProgram, capture: Capture
    ) -> None:
        self._source: Final = source
        self._hook: Final = hook
        self._program: Final = program
        self._capture: Final = capture
        self._flags: Final = XDP_HAS_FRAGS if program.section.startswith("xdp.frags") else 0
        self._carried: Final[set[str]] = set()
        self._object: Any = None
        self._failure = 0

    def close(self) -> None:
        if self._object is not None:
            libraries().bpf.bpf_object__close(self._object)
            self._object = None

    def finish(self, licence: str, *, parse_ns: int, is_first: bool) -> LoadedBody:
        started = perf_counter_ns()
        found, log = self._load(_STATISTICS_LEVEL, _STATISTICS_BYTES)
        if found is None:
            raise self._explanation(log)
        loaded_at = perf_counter_ns()
        captured = self._capture.programs.get(self._source.function)
        if captured is None:
            raise LinkRefusedError(
                f"{self._source.name}: section '{self._program.section}' is not for {self._hook}"
            )
        depths = read_stack_depths(log)
        maps = self._maps()
        reads = (
            not is_first
            and (not depths or depths[0] > 0)
            and may_read_uninitialised_stack(
                captured,
                program_type=PROGRAM_TYPES[self._hook],
                attach_type=ATTACH_TYPES[self._hook],
                flags=self._flags,
                licence=licence,
            )
        )
        body = self._body(captured, depths, licence, maps, reads_uninitialised_stack=reads)
        info = kernel_info.program_info(libraries().bpf.bpf_program__fd(found))
        given, self._object = self._object, None
        return LoadedBody(
            body=body,
            data=self._source.data,
            info=info,
            maps=maps,
            durations=LoadDurations(parse_ns, loaded_at - started, perf_counter_ns() - loaded_at),
            bpf_object=given,
            bpf_program=found,
        )

    def _load(self, log_level: int, log_bytes: int) -> tuple[Any, str]:
        """The loaded program or None, and the verifier's log."""
        ffi, bpf, _ = libraries()
        self.close()
        self._capture.begin()
        self._object = self._open()
        wanted = self._select()
        log = ffi.new("char[]", log_bytes)
        bpf.bpf_program__set_log_level(wanted, log_level)
        bpf.bpf_program__set_log_buf(wanted, log, log_bytes)
        self._prepare_maps()
        result = bpf.bpf_object__load(self._object)
        self._failure = -result
        return (wanted if result == 0 else None), ffi.string(log).decode(errors="replace")

    def _open(self) -> Any:
        ffi, bpf, _ = libraries()
        name = ffi.new("char[]", re.sub(r"\W", "_", self._source.function).encode())
        options = ffi.new("struct bpf_object_open_opts *")
        options.sz = ffi.sizeof("struct bpf_object_open_opts")
        options.object_name = name
        data = ffi.from_buffer(self._source.data)
        opened = bpf.bpf_object__open_mem(data, len(self._source.data), options)
        if opened == ffi.NULL:
            raise RefusedError(
                f"{self._source.name}: libbpf cannot open {self._source.object_path}:"
                f" {self._capture.complaint or os.strerror(ffi.errno)}",
                [Reason(path=self._source.name, rule="must be an object that libbpf opens")],
            )
        return opened

    def _select(self) -> Any:
        ffi, bpf, _ = libraries()
        wanted = None
        program = bpf.bpf_object__next_program(self._object, ffi.NULL)
        while program != ffi.NULL:
            is_wanted = ffi.string(bpf.bpf_program__name(program)).decode() == self._source.function
            bpf.bpf_program__set_autoload(program, is_wanted)
            if is_wanted:
                wanted = program
                bpf.bpf_program__set_type(program, PROGRAM_TYPES[self._hook])
                bpf.bpf_program__set_expected_attach_type(program, ATTACH_TYPES[self._hook])
                bpf.bpf_program__set_flags(program, self._flags)
            program = bpf.bpf_object__next_program(self._object, program)
        if wanted is None:
            raise RefusedError(f"{self._source.name}: libbpf finds no '{self._source.function}'")
        return wanted

    def _each_map(self) -> list[tuple[str, Any]]:
        ffi, bpf, _ = libraries()
        found = []
        entry = bpf.bpf_object__next_map(self._object, ffi.NULL)
        while entry != ffi.NULL:
            name = ffi.string(bpf.bpf_map__name(entry)).decode()
            # libbpf puts the object's name before that of a data section.
            found.append(
                (name[name.find(".") :] if bpf.bpf_map__is_internal(entry) else name, entry)
            )
            entry = bpf.bpf_object__next_map(self._object, entry)
        return found

    def _prepare_maps(self) -> None:
        ffi, bpf, _ = libraries()
        self._carried.clear()
        for name, entry in self._each_map():
            bpf.bpf_map__set_pin_path(entry, ffi.NULL)
            given = self._source.maps.get(name)
            if given is None or name.startswith(_CONSTANTS):
                continue
            if _agrees(kernel_info.map_info(given.fd), entry):
                result = bpf.bpf_map__reuse_fd(entry, given.fd)
                if result < 0:
                    raise KernelFaultError(f"carrying map {name} over", -result)
                self._carried.add(name)

    def _maps(self) -> dict[str, LoadedMap]:
        bpf = libraries().bpf
        maps = {}
        for name, entry in self._each_map():
            fd = bpf.bpf_map__fd(entry)
            if fd >= 0:
                # libbpf owns the descriptor; the object's close gives it up.
                handle = Descriptor(fd, release=_leave)
                info = kernel_info.map_info(fd)
                maps[name] = LoadedMap(name, handle, info, name in self._carried)
        return maps

    def _body(
        self,
        captured: Captured,
        depths: tuple[int, ...],
        licence: str,
        maps: Mapping[str, LoadedMap],
        *,
        reads_uninitialised_stack: bool,
    ) -> Body:
        instructions = decode(captured.code)
        used = {i.immediate for i in instructions if i.refers_to_map}
        used_maps = [entry for entry in maps.values() if entry.handle.fd in used]
        return Body(
            name=self._source.name,
            instructions=instructions,
            stack_depths_bytes=depths,
            licence=licence,
            proceed_on=self._source.proceed_on,
            map_ids={entry.handle.fd: entry.info.id for entry in used_maps},
            program_arrays=tuple(
                ProgramArray(entry.name, kernel_info.program_array_is_empty(entry.handle.fd))
                for entry in used_maps
                if entry.info.type_number == _PROGRAM_ARRAY
            ),
            kernel_functions=self._program.kernel_functions,
            has_frags=bool(self._flags),
            reads_uninitialised_stack=reads_uninitialised_stack,
            functions=captured.functions,
            lines=captured.lines,
        )

    def _explanation(self, log: str) -> RefusedError | FaultError:
        """Why the load failed."""
        failure = self._failure
        if log.strip():
            _, text = self._load(_TEXT_LEVEL, _TEXT_BYTES)
            if self._failure == errno.ENOSPC:
                _, text = self._load(_TEXT_LEVEL, _LONG_TEXT_BYTES)
            return VerifierRejectedError(self._source.name, self._source.function, text or log)
        if failure in _OUTSIDE_CAUSES:
            return KernelFaultError(f"{self._source.name}: loading", failure)
        return UnsupportedByKernelError(
            f"{self._source.name}: the object cannot be loaded here:"
            f" {self._capture.complaint or os.strerror(failure)}",
            [Reason(path=self._source.name, rule="must be an object that this kernel can load")],
        )


def _agrees(info: MapInfo, entry: Any) -> bool:
    """Whether an existing map can serve as the declared one, entries and all."""
    bpf = libraries().bpf
    declared_entries = bpf.bpf_map__max_entries(entry)
    return (
        info.type_number == bpf.bpf_map__type(entry)
        and info.key_size_bytes == bpf.bpf_map__key_size(entry)
        and info.value_size_bytes == bpf.bpf_map__value_size(entry)
        and info.flags == bpf.bpf_map__map_flags(entry)
        and (
            declared_entries in (0, info.max_entries)
            # libbpf rounds ring buffers up to whole pages when it makes them.
            or (info.type_number in _RING_BUFFERS and declared_entries <= info.max_entries)
        )
    )


def _leave(_fd: int) -> None:
    """Close nothing."""
