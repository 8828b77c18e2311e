# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which maps a program may write to, found in its instructions.

Pure.  What the program could not have written was written by somebody else.

An abstract run over all paths at once: each register, and each 8 bytes of stack, may hold any of
some maps or pointers into their values.  Where that is lost from sight (a helper that is not known
to read only, a function with a pointer to a stack that holds such pointers), the map counts as
written; where a map is reached without being named, all do.  A map of maps counts as written with
any of those that it holds, which may be others that are named too.  So a map that is not in the
result, and in no map of maps that is, is never written; one that is may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from shared.bytecode.instructions import (
    CALL,
    EXIT,
    FRAME_POINTER,
    HELPER_CALL,
    JUMP,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    MAP_VALUE,
    MAY_GOTO,
    STORE_64,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
    Instruction,
)


class Pointer(NamedTuple):
    """What a register may hold."""

    kind: str
    """`map`, `value` (into one of its values), or `stack`."""
    number: int
    """Of the map: its descriptor, as the instructions have it.  Of `stack`: the offset."""


_Values = frozenset[Pointer]
_NOTHING: Final[_Values] = frozenset()
_ANYWHERE: Final = Pointer("stack", 1)
"""Into a stack, it is not known where; no known place has a positive offset."""
_REGISTERS: Final = 11
_ARGUMENTS: Final = range(1, 6)
_LONG_JUMP: Final = 0x06
_LOAD_CLASS, _STORE_IMMEDIATE_CLASS, _STORE_CLASS = 1, 2, 3
_ARITHMETIC_CLASSES: Final = (4, 7)
_JUMP_CLASSES: Final = (5, 6)
_MOVE, _ADD, _SUBTRACT = 0xB0, 0x00, 0x10
_BY_REGISTER: Final = 0x08
_LOOKUP: Final = (1, 195)
"""bpf_map_lookup_elem, bpf_map_lookup_percpu_elem: give a pointer into a value."""
_READS_MAP: Final = frozenset((1, 12, 51, 195))
"""Those two, bpf_tail_call and bpf_redirect_map: the map in an argument stays as it is."""
_READS_VALUE: Final = frozenset((1, 2, 3, 6, 9, 11, 28, 51, 87, 195))
"""Helpers that only read what their pointers lead to: keys and values of map helpers,
bpf_trace_printk, bpf_skb_store_bytes, bpf_l4_csum_replace, bpf_csum_diff, bpf_map_push_elem."""
_WRITES_MAP: Final = (2, 3, 87)
"""bpf_map_update_elem, bpf_map_delete_elem, bpf_map_push_elem: their first argument is a map."""
_ATOMIC: Final = 0xC0
_LOAD_ACQUIRE: Final = 0x100
"""Immediate of the one atomic operation that loads: from where its source register points."""
_MAX_STEPS_PER_INSTRUCTION: Final = 32
_CALLS_BACK: Final = frozenset((164, 170, 180, 181, 209))
"""Helpers that call a function of the program, with a pointer that it gave."""


class MapWrites(NamedTuple):
    """What may be written."""

    maps: frozenset[int]
    """By the descriptors that the instructions hold."""
    any_map: bool = False
    """Whether it may be any map, as far as can be seen."""

    def may_reach(self, descriptor: int) -> bool:
        """Whether the map may be written."""
        return self.any_map or descriptor in self.maps


class _State(NamedTuple):
    registers: tuple[_Values, ...]
    stack: tuple[tuple[int, _Values], ...]
    """Offset to what may be kept there, ascending; only what leads to maps."""

    def join(self, other: _State) -> _State:
        """What may be so after either."""
        if self == other:
            return self
        stack = dict(self.stack)
        for at, values in other.stack:
            stack[at] = stack.get(at, _NOTHING) | values
        registers = tuple(a | b for a, b in zip(self.registers, other.registers, strict=True))
        return _State(registers, tuple(sorted(stack.items())))


class _Run:
    """One program."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        self._code = instructions
        self._states: dict[int, _State] = {}
        self._due: list[int] = []
        self._results: dict[int, _Values] = {}
        """Start of a function to what it may return."""
        self._callers: dict[int, set[int]] = {}
        self._functions: dict[int, int] = {}
        """Position to the start of the function that it was reached in."""
        self.written: set[int] = set()
        self.may_write_any = False

    def run(self) -> MapWrites:
        """The maps that may be written."""
        self._enter(0, (_NOTHING,) * _REGISTERS)
        steps_left = _MAX_STEPS_PER_INSTRUCTION * len(self._code)
        while self._due and not self.may_write_any:
            self._step(self._due.pop())
            steps_left -= 1
            self.may_write_any |= steps_left < 0
        return MapWrites(frozenset(self.written), self.may_write_any)

    def _enter(self, start: int, registers: tuple[_Values, ...]) -> None:
        """A function begins, with a stack of its own."""
        if not 0 <= start < len(self._code):
            return
        frame = frozenset({Pointer("stack", 0)})
        self._functions.setdefault(start, start)
        self._reach(start, _State((*registers[:FRAME_POINTER], frame), ()), start)

    def _reach(self, position: int, state: _State, function: int) -> None:
        if not 0 <= position < len(self._code):
            return
        known = self._states.get(position)
        joined = state if known is None else known.join(state)
        if joined != known:
            self._states[position] = joined
            self._functions[position] = function
            self._due.append(position)

    def _step(self, position: int) -> None:
        state, function = self._states[position], self._functions[position]
        one = self._code[position]
        if one.opcode == EXIT:
            self._return(function, state.registers[0])
            return
        if one.opcode == JUMP:
            self._reach(position + 1 + one.offset, state, function)
            return
        if one.opcode == _LONG_JUMP:
            self._reach(position + 1 + one.immediate, state, function)
            return
        if one.opcode == CALL:
            after = self._call(position, one, state)
        else:
            after = self._plain(one, state)
            is_branch = one.opcode & 7 in _JUMP_CLASSES or one.opcode == MAY_GOTO
            if is_branch:
                self._reach(position + 1 + one.offset, state, function)
            if one.opcode == LOAD_IMMEDIATE_64:
                position += 1
                if one.source == SUBPROGRAM_ADDRESS:
                    # The kernel gives it arguments; those that lead to maps count as written.
                    self._enter(position + one.immediate, (_NOTHING,) * _REGISTERS)
        self._reach(position + 1, after, function)

    def _plain(self, one: Instruction, state: _State) -> _State:
        kind = one.opcode & 7
        if one.opcode == LOAD_IMMEDIATE_64:
            return _with(state, one.destination, _loaded(one))
        is_load = kind == _STORE_CLASS and one.immediate == _LOAD_ACQUIRE
        if kind == _LOAD_CLASS or (is_load and one.opcode & 0xE0 == _ATOMIC):
            return _with(state, one.destination, self._read(state, one))
        if kind in (_STORE_CLASS, _STORE_IMMEDIATE_CLASS):
            return self._store(state, one, is_pointer=kind == _STORE_CLASS)
        if kind in _ARITHMETIC_CLASSES:
            return _with(state, one.destination, _calculated(one, state))
        if kind == 0:  # a load from the packet
            return _with(state, 0, _NOTHING)
        return state

    def _read(self, state: _State, one: Instruction) -> _Values:
        kept = dict(state.stack)
        found: set[Pointer] = set()
        for pointer in state.registers[one.source]:
            if pointer == _ANYWHERE:
                found |= {value for values in kept.values() for value in values}
            elif pointer.kind == "stack":
                found |= kept.get(pointer.number + one.offset, _NOTHING)
        return frozenset(found)

    def _store(self, state: _State, one: Instruction, *, is_pointer: bool) -> _State:
        value = state.registers[one.source] if is_pointer else _NOTHING
        leads = frozenset(pointer for pointer in value if pointer.kind != "stack")
        kept = dict(state.stack)
        places = state.registers[one.destination]
        if len(places) == 1 and one.opcode == STORE_64:
            (place,) = places
            if place.kind == "stack" and place != _ANYWHERE:
                kept.pop(place.number + one.offset, None)
        for pointer in places:
            if pointer.kind == "value":
                self.written.add(pointer.number)
            elif pointer == _ANYWHERE:
                self._lose(value)
            elif pointer.kind == "stack" and leads:
                at = pointer.number + one.offset
                kept[at] = kept.get(at, _NOTHING) | leads
        if leads and not places:
            self._lose(leads)  # perhaps onto the stack of a function that called this one
        return state._replace(stack=tuple(sorted(kept.items())))

    def _call(self, position: int, one: Instruction, state: _State) -> _State:
        result: set[Pointer] = set()
        if one.source == SUBPROGRAM_CALL:
            start = position + 1 + one.immediate
            self._callers.setdefault(start, set()).add(position)
            self._hide_stack(state)
            arguments = [_without_stack(values) for values in state.registers]
            self._enter(start, tuple(arguments))
            result |= self._results.get(start, _NOTHING)
        else:
            helper = one.immediate if one.source == HELPER_CALL else 0
            self._check_helper(helper, state)
            if helper in _LOOKUP:
                maps = state.registers[1]
                # What was looked up in a map of maps is a map, and stands for the one that held it.
                is_named = bool(maps) and all(pointer.kind != "stack" for pointer in maps)
                self.may_write_any |= not is_named
                result |= {Pointer("value", pointer.number) for pointer in maps}
        registers = list(state.registers)
        registers[0] = frozenset(result)
        for number in _ARGUMENTS:
            registers[number] = _NOTHING
        return state._replace(registers=tuple(registers))

    def _check_helper(self, helper: int, state: _State) -> None:
        if helper in _WRITES_MAP:
            self._lose(state.registers[1])
        for number in _ARGUMENTS:
            for pointer in state.registers[number]:
                reads = _READS_MAP if pointer.kind == "map" else _READS_VALUE
                if pointer.kind != "stack" and helper not in reads:
                    self.written.add(pointer.number)
        if helper in _CALLS_BACK or not helper:
            self._hide_stack(state)

    def _hide_stack(self, state: _State) -> None:
        """Another function may follow pointers that are kept on this one's stack."""
        if any(_has_stack(state.registers[number]) for number in _ARGUMENTS):
            for _, values in state.stack:
                self._lose(values)

    def _lose(self, values: Iterable[Pointer]) -> None:
        self.written |= {pointer.number for pointer in values if pointer.kind != "stack"}

    def _return(self, function: int, values: _Values) -> None:
        known = self._results.get(function, _NOTHING)
        joined = known | _without_stack(values)
        if joined != known:
            self._results[function] = joined
            self._due.extend(self._callers.get(function, ()))


def written_maps(instructions: Sequence[Instruction]) -> MapWrites:
    """The maps that a program may write to.

    Args:
        instructions: Of the main function and its subprograms, verified, so that every pointer
            that is followed was made in one of the ways that the verifier knows.
    """
    return _Run(instructions).run()


def _loaded(one: Instruction) -> _Values:
    if one.source == MAP_DESCRIPTOR:
        return frozenset({Pointer("map", one.immediate)})
    if one.source == MAP_VALUE:
        return frozenset({Pointer("value", one.immediate)})
    return _NOTHING


def _calculated(one: Instruction, state: _State) -> _Values:
    """Adding to a pointer leaves it in its map; 32-bit arithmetic makes a number of it."""
    here = state.registers[one.destination]
    other = state.registers[one.source] if one.opcode & _BY_REGISTER else _NOTHING
    operation = one.opcode & 0xF0
    if operation == _MOVE:
        return other
    if operation in (_ADD, _SUBTRACT):
        return frozenset(_moved(one, here | other))
    return _NOTHING if not here | other else frozenset(_moved(one, here | other))


def _moved(one: Instruction, values: _Values) -> Iterator[Pointer]:
    is_constant = not one.opcode & _BY_REGISTER and one.opcode & 0xF0 in (_ADD, _SUBTRACT)
    sign = -1 if one.opcode & 0xF0 == _SUBTRACT else 1
    for pointer in values:
        if pointer.kind != "stack":
            yield pointer
        elif is_constant and pointer != _ANYWHERE and pointer.number + sign * one.immediate <= 0:
            yield Pointer("stack", pointer.number + sign * one.immediate)
        else:
            yield _ANYWHERE


def _with(state: _State, register: int, values: _Values) -> _State:
    if state.registers[register] == values:
        return state
    registers = list(state.registers)
    registers[register] = values
    return state._replace(registers=tuple(registers))


def _without_stack(values: _Values) -> _Values:
    return frozenset(pointer for pointer in values if pointer.kind != "stack")


def _has_stack(values: _Values) -> bool:
    return any(pointer.kind == "stack" for pointer in values)
