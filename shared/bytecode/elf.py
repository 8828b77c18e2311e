# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an eBPF object file holds, read without loading it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from shared.bytecode.btf import Btf, MalformedBtfError, parse_btf
from shared.bytecode.btf_checks import type_problems
from shared.bytecode.call_graph import CallGraph, ObjectProgram
from shared.bytecode.configurable_types import inner_map, value_type, variable_facts
from shared.bytecode.core_relocations import has_core_relocations, relocated_positions
from shared.bytecode.elf_sections import (
    FUNCTION_SYMBOL,
    GLOBAL_BINDINGS,
    MalformedObjectError,
    Section,
    Sections,
    Symbol,
    read_sections,
)
from shared.bytecode.instructions import INSTRUCTION_BYTES
from shared.bytecode.map_declarations import MapDeclaration, read_map_declarations
from shared.bytecode.object_data import Variable, read_array_programs, read_variables
from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts, ProgramRequirements

MAX_INSTRUCTIONS: Final = 1_000_000
"""The kernel verifies no longer program (include/linux/bpf.h, BPF_COMPLEXITY_LIMIT_INSNS)."""
MAX_PROGRAMS: Final = 1024
MAX_HELPER: Final = 4095
"""Far above the last of them (include/uapi/linux/bpf.h, ___BPF_FUNC_MAPPER)."""
MAX_KERNEL_FUNCTIONS: Final = 256
"""Of one program (kernel/bpf/verifier.c, MAX_KFUNC_DESCS)."""
MAX_LICENCE_BYTES: Final = 63
"""libbpf hands no more of the string to the kernel (libbpf.c, struct bpf_object)."""
MAX_TYPE_PROBLEMS: Final = 20
"""That a refusal names."""


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
class ElfReading:
    """All that one reading of an object file found."""

    facts: ElfFacts
    object: ObjectFile
    sections: Sections
    entries: tuple[Symbol, ...]
    """Where its programs start, in the order of `facts.programs`."""
    graph: CallGraph


def read_elf_facts(data: bytes, path: str) -> ElfFacts:
    """The facts that the catalog publishes about an object file.

    `path`, the file's path in its archive, is how refusals call it.

    Raises:
        RefusedError: the file is no eBPF object file, or contradicts itself.
    """
    return read_elf(data, path).facts


def read_elf(data: bytes, path: str) -> ElfReading:
    """The same, with what else can be asked of the object.

    Raises:
        RefusedError: the file is no eBPF object file, or contradicts itself.
    """
    sections = read_sections(data, path)
    parsed, programs = _read(sections, path)
    requirements = _requirements(parsed, programs, sections, path)
    facts = ElfFacts(
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
                requires=requirements[program.function],
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
                key=value_type(parsed.btf, declared.key_type_id),
                value=value_type(parsed.btf, declared.value_type_id),
                inner=inner_map(declared, parsed.btf),
                is_pinned_by_name=declared.is_pinned_by_name,
            )
            for declared in parsed.maps
        ),
        variables=tuple(variable_facts(sections, parsed.btf, parsed.variables)),
    )
    return ElfReading(facts, parsed, sections, programs.entries, programs.graph)


def read_object(data: bytes, path: str) -> ObjectFile:
    """Programs, maps, types and licence of an object file.

    Raises:
        RefusedError: the file is no eBPF object file, or contradicts itself.
    """
    return _read(read_sections(data, path), path)[0]


def _read(sections: Sections, path: str) -> tuple[ObjectFile, _Programs]:
    try:
        btf_section = sections.named(".BTF")
        btf = parse_btf(btf_section.data) if btf_section else None
        if btf is not None and (problems := list(islice(type_problems(btf), MAX_TYPE_PROBLEMS))):
            raise MalformedObjectError(path, *problems)
        maps = read_map_declarations(sections, btf, path)
        has_kernel_variables = btf is not None and bool(btf.section_variables(".ksyms"))
    except MalformedBtfError as error:
        raise MalformedObjectError(path, error.message) from error
    programs = _programs(sections, path)
    parsed = ObjectFile(
        licence=_licence(sections, path),
        btf=btf,
        needs_kernel_btf=has_kernel_variables or has_core_relocations(sections, path),
        programs=programs.facts,
        maps=maps,
        variables=read_variables(sections),
        array_programs=read_array_programs(sections),
    )
    return parsed, programs


def _requirements(
    parsed: ObjectFile, programs: _Programs, sections: Sections, path: str
) -> dict[str, ProgramRequirements]:
    """By function, with what the programs need that the object's own arrays hold."""
    try:
        relocated = relocated_positions(sections, parsed.btf, path)
    except MalformedBtfError as error:
        raise MalformedObjectError(path, error.message) from error
    certain = {entry.name: programs.graph.certain(entry, relocated) for entry in programs.entries}
    beside = [certain[name] for name in parsed.array_programs if name in certain]
    strong = programs.graph.strong_functions()
    return {
        program.function: ProgramRequirements(
            helpers=tuple(sorted(own[0].union(*(helpers for helpers, _ in beside)))),
            kernel_functions=tuple(
                sorted(own[1].union(strong, *(functions for _, functions in beside)))
            ),
            map_types=tuple(sorted({declared.type_name for declared in parsed.maps})),
            kernel_types=parsed.needs_kernel_btf,
            fragments=declares_fragments(program.section),
            licence=parsed.licence,
        )
        for program in parsed.programs
        for own in (certain[program.function],)
    }


def declares_fragments(section: str) -> bool:
    """Whether a program of that section says that it reads packets in several buffers."""
    return re.match(r"\??xdp\.frags(/|$)", section) is not None


def _licence(sections: Sections, path: str) -> str:
    section = sections.named("license")
    licence = section.data.split(b"\0", 1)[0].decode("latin-1") if section else ""
    if len(licence) > MAX_LICENCE_BYTES or not (licence.isascii() and licence.isprintable()):
        rule = f"has a license that is no line of at most {MAX_LICENCE_BYTES} ASCII characters"
        raise MalformedObjectError(path, rule)
    return licence


@dataclass(frozen=True, slots=True)
class _Programs:
    """The programs of an object, and how to find out more about them."""

    facts: tuple[ObjectProgram, ...]
    entries: tuple[Symbol, ...]
    graph: CallGraph


def _programs(sections: Sections, path: str) -> _Programs:
    code = [section for section in sections.sections if section.is_executable and section.data]
    total_bytes = sum(len(section.data) for section in code)
    if total_bytes > MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise MalformedObjectError(path, f"must have at most {MAX_INSTRUCTIONS} instructions")
    if any(len(section.data) % INSTRUCTION_BYTES for section in code):
        raise MalformedObjectError(path, "has code whose length is not a multiple of 8 bytes")
    by_index = {section.index: section for section in code}
    functions = _functions(sections, by_index, path)
    entries = _entries(functions, by_index)
    if len(entries) > MAX_PROGRAMS:
        raise MalformedObjectError(path, f"must have at most {MAX_PROGRAMS} programs")
    counted = Counter(entry.name for entry in entries)
    if twice := [name for name, count in counted.items() if count > 1]:
        raise MalformedObjectError(path, f"has program {twice[0]} twice")
    names = {section.index: section.name for section in sections.sections}
    graph = CallGraph(by_index, functions, names)
    facts: list[ObjectProgram] = []
    walked = 0
    for entry in entries:
        facts.append(graph.program(entry, by_index[entry.section].name))
        _check_calls(facts[-1], path)
        # A long function that many programs call is walked for each of them.
        walked += facts[-1].instructions
        if walked > MAX_INSTRUCTIONS:
            rule = f"has programs that reach more than {MAX_INSTRUCTIONS} instructions"
            raise MalformedObjectError(path, rule)
    return _Programs(tuple(facts), tuple(entries), graph)


def _check_calls(program: ObjectProgram, path: str) -> None:
    """The program calls what a kernel can have: each name that it calls costs memory to follow."""
    unknown = [helper for helper in program.helpers if not 0 < helper <= MAX_HELPER]
    if unknown:
        rule = f"has program {program.function} that calls helper {unknown[0]}, which no kernel has"
        raise MalformedObjectError(path, rule)
    if len(program.kernel_functions) > MAX_KERNEL_FUNCTIONS:
        rule = f"has program {program.function} with over {MAX_KERNEL_FUNCTIONS} kernel functions"
        raise MalformedObjectError(path, rule)


def _functions(sections: Sections, by_index: Mapping[int, Section], path: str) -> list[Symbol]:
    """All functions, each of whole instructions within its section."""
    functions = [
        symbol
        for symbol in sections.symbols
        if symbol.kind == FUNCTION_SYMBOL and symbol.section in by_index
    ]
    for symbol in functions:
        end = symbol.offset_bytes + symbol.size_bytes
        is_whole = not (symbol.offset_bytes | symbol.size_bytes) % INSTRUCTION_BYTES
        if end > len(by_index[symbol.section].data) or not is_whole:
            raise MalformedObjectError(path, f"has function {symbol.name} outside its section")
        if not symbol.size_bytes:
            raise MalformedObjectError(path, f"has function {symbol.name} of no length")
    if sum(symbol.size_bytes for symbol in functions) > 2 * MAX_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise MalformedObjectError(path, "has functions that overlap")
    return functions


def _entries(functions: list[Symbol], code: dict[int, Section]) -> list[Symbol]:
    """Global functions; those in `.text` are subprograms when any other section has programs."""
    visible = [symbol for symbol in functions if symbol.binding in GLOBAL_BINDINGS]
    outside_text = [symbol for symbol in visible if code[symbol.section].name != ".text"]
    return outside_text or visible
