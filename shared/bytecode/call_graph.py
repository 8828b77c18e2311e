# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who calls what in one object file, found from relocations and pc-relative calls."""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.bytecode.certain_calls import FunctionCode, certain_calls
from shared.bytecode.elf_sections import (
    UNDEFINED_SECTION,
    WEAK_BINDING,
    Section,
    Symbol,
)
from shared.bytecode.instructions import (
    CALL,
    HELPER_CALL,
    INSTRUCTION_BYTES,
    LOAD_IMMEDIATE_64,
    SUBPROGRAM_CALL,
    decode,
)

_SLOT: Final = struct.Struct("<BBxxi")
_LOADS_OF_NUMBERS: Final = frozenset((LOAD_IMMEDIATE_64, 0xB4, 0xB7))
"""Also BPF_MOV of 32 and 64 bits with an immediate."""
_SET_BEFORE_LOADING: Final = re.compile(r"\.(rodata|kconfig)(\..+)?")


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
class ReachedFunction:
    """Where a function's code lies, and which others it calls or hands to a helper."""

    section: int
    first: int
    """Position of its first instruction in its section."""
    last: int
    """Position behind its last instruction."""
    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Function:
    section: int
    first: int
    """Position of its first instruction in its section."""
    last: int
    """Position behind its last instruction."""


@dataclass(frozen=True, slots=True)
class _Calls:
    functions: dict[int, _Function]
    """By position in the section; address loads too."""
    helpers: set[int]
    kernel_functions: dict[int, str]


class CallGraph:
    """Who calls what in one object, found from relocations and pc-relative calls."""

    def __init__(
        self,
        code: Mapping[int, Section],
        functions: Collection[Symbol],
        section_names: Mapping[int, str],
    ) -> None:
        """`code` has the executable sections by index, `section_names` all of them."""
        self._code: Final = code
        self._section_names: Final = section_names
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
        reached = self._reached(entry)
        calls = [self._calls[function] for function in reached]
        return ObjectProgram(
            function=entry.name,
            section=section_name,
            instructions=sum(function.last - function.first for function in reached),
            helpers=tuple(sorted(set().union(*(call.helpers for call in calls)))),
            kernel_functions=tuple(
                sorted(set().union(*(call.kernel_functions.values() for call in calls)))
            ),
        )

    def certain(
        self, entry: Symbol, relocated: Mapping[str, frozenset[int]]
    ) -> tuple[frozenset[int], frozenset[str]]:
        """Helpers and kernel functions that the program needs on every kernel.

        `relocated` has, by section, the positions of instructions that CO-RE changes.
        """
        reached = self._reached(entry)
        index = {function: number for number, function in enumerate(reached)}
        codes = [self._function_code(one, index) for one in reached]
        if any(code.frozen for code in codes) or self._asks_for_types(reached, relocated):
            certain = certain_calls(codes)
            helpers = {name for _, name in certain if isinstance(name, int)}
            functions = {name for _, name in certain if isinstance(name, str)}
            return frozenset(helpers), frozenset(functions)
        calls = [self._calls[function] for function in reached]
        return (
            frozenset().union(*(call.helpers for call in calls)),
            frozenset().union(*(call.kernel_functions.values() for call in calls)),
        )

    def functions(self, entry: Symbol) -> list[ReachedFunction]:
        """The program's function and every other that it reaches; calls are indexes of the list."""
        reached = self._reached(entry)
        index = {function: number for number, function in enumerate(reached)}
        return [
            ReachedFunction(
                section=function.section,
                first=function.first,
                last=function.last,
                calls=tuple({index[to] for to in self._calls[function].functions.values()}),
            )
            for function in reached
        ]

    def strong_functions(self) -> frozenset[str]:
        """Kernel functions without which the object's loader gives up, whoever calls them."""
        return frozenset(
            symbol.name
            for (section, position), symbol in self._symbols_at.items()
            if symbol.section == UNDEFINED_SECTION
            and symbol.binding != WEAK_BINDING
            and self._code[section].data[position * INSTRUCTION_BYTES :][:1] == bytes((CALL,))
        )

    def _reached(self, entry: Symbol) -> list[_Function]:
        """The program's function, and then every other of the object that it reaches."""
        first = _function(entry)
        reached = [first]
        known = {first}
        waiting = deque([first])
        while waiting:
            function = waiting.popleft()
            if function not in self._calls:
                self._calls[function] = self._read_calls(function)
            for target in self._calls[function].functions.values():
                if target not in known:
                    known.add(target)
                    reached.append(target)
                    waiting.append(target)
        return reached

    def _asks_for_types(
        self, functions: Iterable[_Function], relocated: Mapping[str, frozenset[int]]
    ) -> bool:
        """Whether a number is loaded that depends on the types of the kernel."""
        return any(
            function.first <= position < function.last
            and section.data[position * INSTRUCTION_BYTES] in _LOADS_OF_NUMBERS
            for function in functions
            for section in (self._code[function.section],)
            for position in relocated.get(section.name, ())
        )

    def _function_code(self, function: _Function, index: Mapping[_Function, int]) -> FunctionCode:
        section = self._code[function.section]
        first, last = function.first, function.last
        frozen = set()
        for position in range(first, last):
            symbol = self._symbols_at.get((function.section, position))
            if symbol is not None and section.data[position * INSTRUCTION_BYTES] != CALL:
                name = self._section_names.get(symbol.section, "")
                if symbol.section == UNDEFINED_SECTION or _SET_BEFORE_LOADING.fullmatch(name):
                    frozen.add(position - first)
        calls = self._calls[function]
        return FunctionCode(
            instructions=decode(section.data[first * INSTRUCTION_BYTES : last * INSTRUCTION_BYTES]),
            functions={at - first: index[to] for at, to in calls.functions.items()},
            kernel_functions={at - first: name for at, name in calls.kernel_functions.items()},
            frozen=frozenset(frozen),
        )

    def _read_calls(self, function: _Function) -> _Calls:
        data = self._code[function.section].data
        calls = _Calls({}, set(), {})
        for position in range(function.first, function.last):
            opcode, registers, immediate = _SLOT.unpack_from(data, position * INSTRUCTION_BYTES)
            if opcode not in (CALL, LOAD_IMMEDIATE_64):
                continue
            symbol = self._symbols_at.get((function.section, position))
            target = None
            if symbol is not None and symbol.section == UNDEFINED_SECTION:
                if opcode == CALL:
                    calls.kernel_functions[position] = symbol.name
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
                calls.functions[position] = target
        return calls


def _function(symbol: Symbol) -> _Function:
    first = symbol.offset_bytes // INSTRUCTION_BYTES
    return _Function(symbol.section, first, first + symbol.size_bytes // INSTRUCTION_BYTES)
