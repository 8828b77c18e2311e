# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where each body's instructions, functions and source lines lie in a linked program.

A body's main function stands inline or becomes a function; its other functions lie behind, in
their order.  Only distances to functions, exits of inline main functions and indexes of kernel
modules change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from services.node_executor.linking.assembly import Assembler, Label
from services.node_executor.linking.body import Body
from services.node_executor.linking.linked_program import LINKER, PlacedFunction, PlacedLine
from services.node_executor.linking.plan import Segment

_NAME_CHARACTERS: Final = 63


class Placement:
    """Places the bodies of one segment."""

    def __init__(self, code: Assembler, segment: Segment, first: int) -> None:
        """`first` is the position in the chain of the segment's first body."""
        self._code: Final = code
        self._bodies: Final = segment.bodies
        self._first: Final = first
        self._mains: Final[dict[int, int]] = {}
        self._behind: Final[dict[int, int]] = {}
        self._functions: Final[list[PlacedFunction]] = []
        self._notes: Final[dict[int, str]] = {}
        self._modules: Final[list[int]] = [0]

    @property
    def module_types_fds(self) -> tuple[int, ...]:
        """Descriptors of the BTF of all modules whose functions are called, the first unused."""
        return tuple(self._modules) if len(self._modules) > 1 else ()

    def note(self, text: str) -> None:
        """The instructions from here on are the linker's own, and what they are for."""
        self._notes[self._code.position] = text

    def begin_function(self, name: str, linkage: Literal["static", "global"]) -> None:
        """A function of the linker's own begins here; it takes the context."""
        self._functions.append(
            PlacedFunction(self._code.position, LINKER, 0, name, linkage, takes_context=True)
        )

    def write_inline(self, number: int, check: Label | None) -> None:
        """The main function of a body; its exits go to `check`, or stay exits."""
        body = self._bodies[number].body
        at = self._mains[number] = self._code.position
        self._note_start(number)
        self._code.extend(body.instructions[: body.main_length])
        if check is not None:
            for position in body.code.exits:
                if position < body.main_length:
                    self._code.turn_into_jump(at + position, check)
        self._adapt(number, 0, body.main_length, at)

    def write_functions(self, mode_linkage: Literal["static", "global"]) -> None:
        """All that is left: functions of inline bodies, and bodies that are called."""
        for number, planned in enumerate(self._bodies):
            body = planned.body
            is_called = planned.mode != "inline"
            skipped = 0 if is_called else body.main_length
            at = self._behind[number] = self._code.position
            for start in body.starts:
                if start < skipped:
                    continue
                position = at + start - skipped
                self._code.place_at((number, start), position)
                self._functions.append(self._function(number, start, position, mode_linkage))
            if is_called:
                self._mains[number] = at
                self._note_start(number)
            self._code.extend(body.instructions[skipped:])
            self._adapt(number, skipped, len(body.instructions), at)

    def functions(self) -> tuple[PlacedFunction, ...]:
        """Every function of the program, ascending."""
        return tuple(self._typed_main(sorted(self._functions)))

    def lines(self) -> tuple[PlacedLine, ...]:
        """Source lines, ascending, with one at each function's start."""
        end = self._code.position
        placed = {
            position: PlacedLine(position, LINKER, text=text)
            for position, text in self._notes.items()
            if position < end
        }
        for function in self._functions:
            if function.position not in placed:
                text = function.name or self._bodies[function.body - self._first].body.name
                placed[function.position] = PlacedLine(function.position, LINKER, text=text)
        for number, planned in enumerate(self._bodies):
            if not planned.body.has_types:
                continue
            index, length = self._first + number, planned.body.main_length
            main = self._mains[number]
            behind = self._behind[number] - (length if planned.mode == "inline" else 0)
            for own, file, text_at, line in planned.body.lines:
                position = own + (main if own < length else behind)
                placed[position] = PlacedLine(position, index, file, text_at, line)
        return tuple(placed[position] for position in sorted(placed))

    def _note_start(self, number: int) -> None:
        """A body without a source line at its first instruction gets its name there."""
        self._notes[self._mains[number]] = self._bodies[number].body.name

    def _function(
        self, number: int, start: int, position: int, linkage: Literal["static", "global"]
    ) -> PlacedFunction:
        body, index = self._bodies[number].body, self._first + number
        if start == 0:
            name = identifier(f"{body.name}_{body.function}" if body.function else body.name)
            return PlacedFunction(position, index, 0, name, linkage, takes_context=True)
        if body.has_types:
            type_id = body.functions[body.starts.index(start)].type_id
            return PlacedFunction(position, index, type_id)
        return PlacedFunction(position, index, 0, identifier(f"{body.name}_at_{start}"))

    def _typed_main(self, functions: list[PlacedFunction]) -> Iterator[PlacedFunction]:
        """The main function has the type of an inline body that throws: it names the handler."""
        for function in functions:
            thrower = self._thrower() if function.position == 0 else None
            if thrower is None:
                yield function
            else:
                number, body = thrower
                yield PlacedFunction(0, self._first + number, body.functions[0].type_id)

    def _thrower(self) -> tuple[int, Body] | None:
        for number, planned in enumerate(self._bodies):
            if planned.mode == "inline" and planned.body.throws and planned.body.has_types:
                return number, planned.body
        return None

    def _adapt(self, number: int, begin: int, end: int, at: int) -> None:
        """Let calls, callbacks and module indexes of instructions now at `at` fit their place."""
        body = self._bodies[number].body
        for position in body.code.references:
            if begin <= position < end:
                target = position + body.instructions[position].immediate + 1
                self._code.refer(at + position - begin, (number, target))
        for position in body.code.kernel_calls:
            call = body.instructions[position]
            if begin <= position < end and call.offset:
                here = at + position - begin
                self._code.code[here] = call._replace(offset=self._module(body, call.offset))

    def _module(self, body: Body, index: int) -> int:
        descriptor = body.module_types_fds[index]
        if descriptor not in self._modules:
            self._modules.append(descriptor)
        return self._modules.index(descriptor)


def identifier(name: str) -> str:
    """`name` as C and BTF allow it."""
    cleaned = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_NAME_CHARACTERS]
    return cleaned if cleaned and not cleaned[0].isdigit() else f"_{cleaned}"[:_NAME_CHARACTERS]
