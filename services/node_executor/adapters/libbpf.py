# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One program of an object file, loaded alone through libbpf and captured for linking.

libbpf parses the ELF, makes the maps and relocates.  That the original loads alone proves that it
verifies by itself, and gives an error in its own source lines before anything is linked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from time import perf_counter_ns
from typing import Any, Final

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.capture import Capture, Captured, the_capture
from services.node_executor.adapters.kernel_errors import (
    KernelFaultError,
    UnsupportedByKernelError,
    VerifierRejectedError,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.loaded_body import LoadDurations, LoadedBody
from services.node_executor.adapters.object_maps import ObjectMaps
from services.node_executor.adapters.probe_loading import as_loaded, verify_against
from services.node_executor.adapters.program_sections import (
    Target,
    is_device_bound,
    program_flags,
    reads_fragments,
    wanted_program,
)
from services.node_executor.adapters.source_lines import place_at
from services.node_executor.adapters.stack_probe import StackProbe
from services.node_executor.adapters.verifier_log import (
    read_stack_depths,
    read_verifier_log,
    read_walked_instructions,
)
from services.node_executor.kernel_types import (
    XDP_HAS_FRAGS,
    LoadedMap,
    ProgramSource,
)
from services.node_executor.linking.body import Body, ProgramArray
from services.node_executor.probe_types import Loading
from shared.bytecode.call_graph import ObjectProgram
from shared.bytecode.elf import ObjectFile, read_object
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
_OUTSIDE_CAUSES: Final = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR)


_read_object: Final = lru_cache(maxsize=32)(read_object)
"""The same objects are loaded again and again: for every chain, and for every generation."""


@lru_cache(maxsize=32)
def _object_digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def load_body(
    source: ProgramSource,
    hook: Hook,
    *,
    is_first: bool,
    has_frags: bool | None = None,
    interface_index: int = 0,
    probe: Loading | None = None,
) -> LoadedBody:
    """The program of `source`, verified by the kernel as if it were alone on the hook.

    Of the object, only that program is loaded, and those that its program arrays hold from the
    start.  Maps given by `source.maps` are used where type and sizes agree; constants (`.rodata`)
    are always made anew.

    Args:
        source: The program.
        hook: Where it will stand.
        is_first: Whether no other program runs before it, so that it finds nobody's stack.
        has_frags: XDP: whether it is loaded as one that reads fragments; None: as its section says.
        interface_index: For a program that must be bound to a device; 0: there is none.
        probe: What the kernel is told of a probe's program; None: the hook is a network hook.

    Raises:
        VerifierRejectedError: the verifier refuses it.
        RefusedError: no such program, not for this hook, or the object cannot be relocated here.
        KernelFaultError: the kernel lacks memory, or forbids loading at all.
    """
    started = perf_counter_ns()
    target = Target(hook, has_frags, interface_index, probe)
    parsed = _read_object(source.data, source.object_path)
    program = wanted_program(parsed, source, target)
    parse_ns = perf_counter_ns() - started
    capture = the_capture()
    with capture.lock:
        loading = _Loading(source, target, parsed, program, capture)
        # What `finish` gives away is not closed here.
        with closing(loading):
            return loading.finish(parse_ns=parse_ns, is_first=is_first)


class _Loading:
    """One object on its way into the kernel; `close` gives it up."""

    def __init__(
        self,
        source: ProgramSource,
        target: Target,
        parsed: ObjectFile,
        program: ObjectProgram,
        capture: Capture,
    ) -> None:
        self._source: Final = source
        self._target: Final = target
        self._parsed: Final = parsed
        self._program: Final = program
        self._capture: Final = capture
        self._is_bound: Final = is_device_bound(program)
        self._flags: Final = program_flags(program, target)
        self._object: Any = None
        self._maps: ObjectMaps | None = None
        self._wanted: Any = None
        self._failure = 0

    def close(self) -> None:
        if self._object is not None:
            libraries().bpf.bpf_object__close(self._object)
            self._object = None

    def finish(self, *, parse_ns: int, is_first: bool) -> LoadedBody:
        started = perf_counter_ns()
        logs = self._load(_STATISTICS_LEVEL, _STATISTICS_BYTES)
        if self._failure:
            raise self._explanation(logs)
        loaded_at = perf_counter_ns()
        found = self._wanted
        captured = self._capture.programs.get(self._source.function)
        if captured is None and self._target.probe is not None:
            captured = as_loaded(found)
        if captured is None or self._maps is None:
            raise AssertionError("libbpf calls the handler of every section")
        depths = read_stack_depths(logs[self._source.function])
        maps = self._maps.loaded()
        # Whoever has no stack reads none that another left.
        has_stack = not depths or depths[0] > 0
        reads = not is_first and has_stack and self._reads_leftovers(captured, maps)
        info = kernel_info.program_info(libraries().bpf.bpf_program__fd(found))
        body = self._body(
            captured,
            depths,
            maps,
            reads_uninitialised_stack=reads,
            verified_instructions=read_walked_instructions(logs[self._source.function]),
        )
        given, self._object = self._object, None
        return LoadedBody(
            body=body,
            data=self._source.data,
            info=info,
            maps=maps,
            durations=LoadDurations(parse_ns, loaded_at - started, perf_counter_ns() - loaded_at),
            has_frags=bool(self._flags & XDP_HAS_FRAGS),
            bpf_object=given,
            bpf_program=found,
        )

    def _reads_leftovers(self, captured: Captured, maps: Mapping[str, LoadedMap]) -> bool:
        probe = StackProbe(
            program_type=self._target.program_type,
            attach_type=self._target.attach_type,
            flags=self._flags,
            interface_index=self._target.interface_index if self._is_bound else 0,
            licence=self._parsed.licence,
        )
        identity = (
            _object_digest(self._source.data),
            self._source.function,
            tuple(sorted(self._source.globals.items())),
            tuple((name, replace(entry.info, id=0)) for name, entry in maps.items()),
        )
        return probe.may_read_uninitialised_stack(captured, identity)

    def _load(self, log_level: int, log_bytes: int, *, listens: bool = False) -> dict[str, str]:
        """The verifier's log of each program that was to be loaded, in order."""
        ffi, bpf, _ = libraries()
        self.close()
        self._capture.begin(listens=listens)
        self._object = self._open()
        if self._object == ffi.NULL:
            raise self._not_opened()
        logs = {}
        for name, program in self._select():
            logs[name] = ffi.new("char[]", log_bytes)
            bpf.bpf_program__set_log_level(program, log_level)
            bpf.bpf_program__set_log_buf(program, logs[name], log_bytes)
        self._maps = ObjectMaps(self._object)
        self._maps.carry_over(self._source)
        self._maps.set_variables(self._source, self._parsed.variables)
        self._failure = -bpf.bpf_object__load(self._object)
        return {name: ffi.string(log).decode(errors="replace") for name, log in logs.items()}

    def _open(self) -> Any:
        ffi, bpf, _ = libraries()
        name = ffi.new("char[]", re.sub(r"\W", "_", self._source.function).encode())
        kind = "struct bpf_object_open_opts"
        options = ffi.new(f"{kind} *", {"sz": ffi.sizeof(kind), "object_name": name})
        data = ffi.from_buffer(self._source.data)
        return bpf.bpf_object__open_mem(data, len(self._source.data), options)

    def _not_opened(self) -> RefusedError | FaultError:
        self._capture.begin(listens=True)
        self._object = self._open()
        number, self._object = libraries().ffi.errno, None
        if number in _OUTSIDE_CAUSES:
            return KernelFaultError(f"{self._source.name}: opening its object", number)
        words = self._capture.complaint or os.strerror(number)
        return RefusedError(
            f"{self._source.name}: libbpf cannot open {self._source.object_path}: {words}",
            [Reason(path=self._source.name, rule="must be an object that libbpf opens")],
        )

    def _select(self) -> list[tuple[str, Any]]:
        """The programs to load: the wanted one, and what its object's program arrays hold."""
        ffi, bpf, _ = libraries()
        wanted = {self._source.function, *self._parsed.array_programs}
        selected = []
        program = bpf.bpf_object__next_program(self._object, ffi.NULL)
        while program != ffi.NULL:
            name = ffi.string(bpf.bpf_program__name(program)).decode()
            bpf.bpf_program__set_autoload(program, name in wanted)
            if name in wanted:
                bpf.bpf_program__set_type(program, self._target.program_type)
                bpf.bpf_program__set_expected_attach_type(program, self._target.attach_type)
                bpf.bpf_program__set_flags(program, self._flags)
                if self._target.probe is not None:
                    verify_against(program, self._target.probe, self._source.name)
                if self._is_bound:
                    bpf.bpf_program__set_ifindex(program, self._target.interface_index)
                selected.append((name, program))
            program = bpf.bpf_object__next_program(self._object, program)
        self._wanted = dict(selected).get(self._source.function)
        if self._wanted is None:
            raise RefusedError(f"{self._source.name}: libbpf finds no '{self._source.function}'")
        return selected

    def _body(
        self,
        captured: Captured,
        depths: tuple[int, ...],
        maps: Mapping[str, LoadedMap],
        *,
        reads_uninitialised_stack: bool,
        verified_instructions: int,
    ) -> Body:
        instructions = decode(captured.code)
        used = {i.immediate for i in instructions if i.refers_to_map}
        used_maps = [entry for entry in maps.values() if entry.handle.fd in used]
        return Body(
            name=self._source.name,
            instructions=instructions,
            stack_depths_bytes=depths,
            licence=self._parsed.licence,
            proceed_on=self._source.proceed_on,
            map_ids={entry.handle.fd: entry.info.id for entry in used_maps},
            program_arrays=tuple(
                ProgramArray(entry.name, kernel_info.program_array_is_empty(entry.handle.fd))
                for entry in used_maps
                if entry.info.type_number == _PROGRAM_ARRAY
            ),
            kernel_functions=self._program.kernel_functions,
            module_types_fds=captured.module_types_fds,
            has_frags=reads_fragments(self._program.section),
            is_device_bound=self._is_bound,
            writes_packets=self._target.hook in ("tc-ingress", "tc-egress")
            and kernel_info.makes_packets_writable(
                libraries().bpf.bpf_program__fd(self._wanted), captured.code
            ),
            reads_uninitialised_stack=reads_uninitialised_stack,
            verified_instructions=verified_instructions,
            function=self._source.function,
            functions=captured.functions,
            lines=captured.lines,
        )

    def _explanation(self, logs: Mapping[str, str]) -> RefusedError | FaultError:
        """Why the load failed."""
        failure = self._failure
        if any(log.strip() for log in logs.values()):
            texts = self._load(_TEXT_LEVEL, _TEXT_BYTES)
            if self._failure == errno.ENOSPC:
                texts = self._load(_TEXT_LEVEL, _LONG_TEXT_BYTES)
            # libbpf loads one after another and stops at the first that fails.
            tried = [name for name in logs if (texts[name] or logs[name]).strip()]
            failed = tried[-1]
            log = texts[failed] or logs[failed]
            captured = self._capture.programs.get(failed)
            lines = captured.lines if captured else ()
            types = libraries().bpf.bpf_object__btf(self._object)
            place = place_at(lines, read_verifier_log(log).position, types)
            return VerifierRejectedError(self._source.name, failed, log, place=place)
        if failure in _OUTSIDE_CAUSES:
            return KernelFaultError(f"{self._source.name}: loading", failure)
        self._load(_STATISTICS_LEVEL, _STATISTICS_BYTES, listens=True)
        return UnsupportedByKernelError(
            f"{self._source.name}: the object cannot be loaded here:"
            f" {self._capture.complaint or os.strerror(failure)}",
            [Reason(path=self._source.name, rule="must be an object that this kernel can load")],
        )


def _leave(_fd: int) -> None:
    """Close nothing."""
