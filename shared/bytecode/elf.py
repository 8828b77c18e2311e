# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an eBPF object file holds, read without loading it."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.bytecode.btf import Btf, MalformedBtfError, parse_btf
from shared.bytecode.elf_sections import (
    FUNCTION_SYMBOL,
    GLOBAL_BINDINGS,
    UNDEFINED_SECTION,
    MalformedObjectError,
    Section,
    Sections,
    Symbol,
    read_sections,
)
from shared.bytecode.instructions import (
    CALL,
    HELPER_CALL,
    INSTRUCTION_BYTES,
    LOAD_IMMEDIATE_64,
    SUBPROGRAM_CALL,
)
from shared.bytecode.map_declarations import MapDeclaration, read_map_declarations
from shared.bytecode.object_data import Variable, read_array_programs, read_variables
from shared.contracts.catalog import ElfFacts, MapFacts, ProgramFacts

MAX_INSTRUCTIONS: Final = 1_000_000
"""The kernel verifies no longer program (include/linux/bpf.h, BPF_COMPLEXITY_LIMIT_INSNS)."""
MAX_PROGRAMS: Final = 1024

_SLOT: Final = struct.Struct("<BBxxi")
_EXTENSION_HEADER: Final = struct.Struct("<HBBIIIIIII")
_EXTENSION_MAGIC: Final = 0xEB9F


@dataclass(frozen=True, slots=True)
class ObjectProgram:
    """One program and everything it calls inside its object."""

    function: str
    section: str
    instructions: int
    """Of the function itself and of every function of the object that it reaches."""
    helpers: tuple[int, ...]
    """Helper ids called, ascending."""
    kernel_functions: tuple[str, ...]
    """Names of kernel functions (kfuncs) called, ascending."""


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """One parsed object file."""

    licence: str
    btf: Btf | None
    needs_kernel_btf: bool
    programs: tuple[ObjectProgram, ...]
    maps: tuple[MapDeclaration, ...]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    array_programs: tuple[str, ...] = ()
    """Functions that the object's own program arrays hold from the start."""

    def program(self, function: str) -> ObjectProgram | None:
        """The program of that name."""
        return next((p for p in self.programs if p.function == function), None)


@dataclass(frozen=True, slots=True)
class _Function:
    section: int
    first: int
    """Position of its first instruction in its section."""
    last: int
    """Position behind its last instruction."""


@dataclass(frozen=True, slots=True)
class _Calls:
    functions: set[_Function]
    helpers: set[int]
    kernel_functions: set[str]


def read_elf_facts(data: bytes, path: str) -> ElfFacts:
    """The facts that the catalog publishes about an object file.

    `path`, the file's path in its archive, is how refusals call it.

    Raises:
        RefusedError: the file is no eBPF object file, or contradicts itself.
    """
    parsed = read_object(data, path)
    return ElfFacts(
        path=path,
        licence=parsed.licence,
        has_btf=parsed.btf is not None,
        needs_kernel_btf=parsed.needs_kernel_btf,
        programs=tuple(
            ProgramFacts(
                function=program.function,
                section=program.section,
                instructions=program.instructions,
                helpers=program.helpers,
                kernel_functions=program.kernel_functions,
            )
            for program in parsed.programs
        ),
        maps=tuple(
            MapFacts(
                name=declared.name,
                type=declared.type_name,
                key_size_bytes=declared.key_size_bytes,
                value_size_bytes=declared.value_size_bytes,
                max_entries=declared.max_entries,
            )
            for declared in parsed.maps
        ),
    )


def read_object(data: bytes, path: str) -> ObjectFile:
    """Programs, maps, types and licence of an object file.

    Raises:
        RefusedError: the file is no eBPF object file, or contradicts itself.
    """
    sections = read_sections(data, path)
    try:
        btf_section = sections.named(".BTF")
        btf = parse_btf(btf_section.data) if btf_section else None
        maps = read_map_declarations(sections, btf, path)
        has_kernel_variables = btf is not None and bool(btf.section_variables(".ksyms"))
    except MalformedBtfError as error:
        raise MalformedObjectError(path, error.message) from error
    return ObjectFile(
        licence=_licence(sections),
        btf=btf,
        needs_kernel_btf=has_kernel_variables or _has_core_relocations(sections, path),
        programs=_programs(sections, path),
        maps=maps,
        variables=read_variables(sections),
        array_programs=read_array_programs(sections),
    )


def _licence(sections: Sections) -> str:
    section = sections.named("license")
    return section.data.split(b"\0", 1)[0].decode(errors="replace") if section else ""


def _has_core_relocations(sections: Sections, path: str) -> bool:
    section = sections.named(".BTF.ext")
    if section is None:
        return False
    if len(section.data) < _EXTENSION_HEADER.size:
        # The first format ended behind line_info and knew no CO-RE relocations.
        return False
    magic, version, _, header_bytes, *_, core_bytes = _EXTENSION_HEADER.unpack_from(section.data)
    if (magic, version) != (_EXTENSION_MAGIC, 1):
        raise MalformedObjectError(path, ".BTF.ext has an unknown magic number or version")
    return bool(header_bytes >= _EXTENSION_HEADER.size and core_bytes > 0)


def _programs(sections: Sections, path: str) -> tuple[ObjectProgram, ...]:
    code = [section for section in sections.sections if section.is_executable and section.data]
    total_bytes = sum(len(section.data) for section in code)
    if total_bytes > MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise MalformedObjectError(path, f"must have at most {MAX_INSTRUCTIONS} instructions")
    if any(len(section.data) % INSTRUCTION_BYTES for section in code):
        raise MalformedObjectError(path, "has code whose length is not a multiple of 8 bytes")
    by_index = {section.index: section for section in code}
    functions = [
        symbol
        for symbol in sections.symbols
        if symbol.kind == FUNCTION_SYMBOL and symbol.section in by_index
    ]
    for symbol in functions:
        end = symbol.offset_bytes + symbol.size_bytes
        if end > len(by_index[symbol.section].data) or symbol.offset_bytes % INSTRUCTION_BYTES:
            raise MalformedObjectError(path, f"has function {symbol.name} outside its section")
    if sum(symbol.size_bytes for symbol in functions) > 2 * MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise MalformedObjectError(path, "has functions that overlap")
    entries = _entries(functions, by_index)
    if len(entries) > MAX_PROGRAMS:
        raise MalformedObjectError(path, f"must have at most {MAX_PROGRAMS} programs")
    graph = _CallGraph(by_index, functions)
    return tuple(graph.program(entry, by_index[entry.section].name) for entry in entries)


def _entries(functions: list[Symbol], code: dict[int, Section]) -> list[Symbol]:
    """Global functions; those in `.text` are subprograms when any other section has programs."""
    visible = [symbol for symbol in functions if symbol.binding in GLOBAL_BINDINGS]
    outside_text = [symbol for symbol in visible if code[symbol.section].name != ".text"]
    return outside_text or visible


class _CallGraph:
    """Who calls what in one object, found from relocations and pc-relative calls."""

    def __init__(self, code: dict[int, Section], functions: list[Symbol]) -> None:
        self._code: Final = code
        self._functions: Final = {
            (function.section, function.first): function for function in map(_function, functions)
        }
        self._symbols_at: Final = {
            (section.index, relocation.offset_bytes // INSTRUCTION_BYTES): relocation.symbol
            for section in code.values()
            for relocation in section.relocations
        }
        self._calls: Final[dict[_Function, _Calls]] = {}

    def program(self, entry: Symbol, section_name: str) -> ObjectProgram:
        """The program that starts at `entry`."""
        first = _function(entry)
        reached = {first}
        waiting = deque([first])
        while waiting:
            function = waiting.popleft()
            if function not in self._calls:
                self._calls[function] = self._read_calls(function)
            for target in self._calls[function].functions - reached:
                reached.add(target)
                waiting.append(target)
        calls = [self._calls[function] for function in reached]
        return ObjectProgram(
            function=entry.name,
            section=section_name,
            instructions=sum(function.last - function.first for function in reached),
            helpers=tuple(sorted(set().union(*(call.helpers for call in calls)))),
            kernel_functions=tuple(sorted(set().union(*(c.kernel_functions for c in calls)))),
        )

    def _read_calls(self, function: _Function) -> _Calls:
        data = self._code[function.section].data
        calls = _Calls(set(), set(), set())
        for position in range(function.first, function.last):
            opcode, registers, immediate = _SLOT.unpack_from(data, position * INSTRUCTION_BYTES)
            if opcode not in (CALL, LOAD_IMMEDIATE_64):
                continue
            symbol = self._symbols_at.get((function.section, position))
            target = None
            if symbol is not None and symbol.section == UNDEFINED_SECTION:
                if opcode == CALL:
                    calls.kernel_functions.add(symbol.name)
            elif symbol is not None:
                # A call's immediate is the distance from the symbol less one; an address load's
                # is the distance in bytes.
                distance = immediate + 1 if opcode == CALL else immediate // INSTRUCTION_BYTES
                start = symbol.offset_bytes // INSTRUCTION_BYTES + distance
                target = self._functions.get((symbol.section, start))
            elif opcode == CALL and registers >> 4 == SUBPROGRAM_CALL:
                target = self._functions.get((function.section, position + 1 + immediate))
            elif opcode == CALL and registers >> 4 == HELPER_CALL:
                calls.helpers.add(immediate)
            if target is not None:
                calls.functions.add(target)
        return calls


def _function(symbol: Symbol) -> _Function:
    first = symbol.offset_bytes // INSTRUCTION_BYTES
    return _Function(symbol.section, first, first + symbol.size_bytes // INSTRUCTION_BYTES)
