# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether types mean something: every reference leads somewhere, nothing contains itself.

The rules are the kernel's (kernel/bpf/btf.c, the `check_meta` and `resolve` of each kind), as far
as they hold for every type whoever uses it.  BTF that breaks one is refused at publication instead
of on each node, and nothing that reads types later can be led astray by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shared.bytecode.btf import (
    ARRAY,
    CONST,
    DATASEC,
    DECL_TAG,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC,
    FUNC_PROTO,
    INT,
    MAX_DEPTH,
    PTR,
    RESTRICT,
    STRUCT,
    TYPE_TAG,
    TYPEDEF,
    UNION,
    VAR,
    VOLATILE,
    Btf,
    BtfType,
    MalformedBtfError,
    numbers_of,
)

MAX_SIZE_BYTES: Final = 0xFFFFFFFF
_IDENTIFIER: Final = re.compile(r"[A-Za-z_.][A-Za-z0-9_.]*")
_SIZES: Final = {
    INT: (1, 2, 4, 8, 16),
    ENUM: (1, 2, 4, 8),
    ENUM64: (1, 2, 4, 8),
    FLOAT: (2, 4, 8, 12, 16),
}
_ALIASES: Final = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG})
_REFERRING: Final = _ALIASES | {PTR, FUNC, VAR, DECL_TAG, FUNC_PROTO}
_POINTER_BYTES: Final = 8


def type_problems(btf: Btf) -> Iterator[str]:
    """Every rule that a type breaks; sizes are looked at once all references lead somewhere."""
    found = False
    for type_id in range(1, len(btf) + 1):
        for problem in _own_problems(btf, type_id, btf.type(type_id)):
            found = True
            yield problem
    if not found:
        yield from _pointer_loops(btf)
        yield from _Sizes(btf).problems()


def _own_problems(btf: Btf, type_id: int, record: BtfType) -> Iterator[str]:
    """What is wrong with one record, whatever the others are."""
    try:
        referred = _references(btf, type_id, record)
    except MalformedBtfError as error:
        yield error.message
        return
    for other in referred:
        if other > len(btf):
            yield f"BTF refers to type {other}, which does not exist"
            return
    kinds = {btf.type(other).kind if other else 0 for other in referred}
    if record.kind in _SIZES and record.size_or_type not in _SIZES[record.kind]:
        yield f"BTF type {type_id} is a number with a size of {record.size_or_type} bytes"
    elif record.kind == INT and _bits(record) > 8 * record.size_or_type:
        yield f"BTF type {type_id} is a whole number of more bits than it has"
    if record.kind == FUNC and kinds != {FUNC_PROTO}:
        yield f"BTF type {type_id} is a function whose type is no function"
    if record.kind == DATASEC and not kinds <= {VAR, FUNC}:
        yield f"BTF type {type_id} is a section of what is no variable"
    if record.kind in (VAR, FUNC) and not _IDENTIFIER.fullmatch(record.name):
        yield f"BTF type {type_id} has a name that is no identifier"


def _bits(integer: BtfType) -> int:
    """Where its last bit ends."""
    encoding = numbers_of(integer)[0]
    return (encoding & 0xFF) + (encoding >> 16 & 0xFF)


def _references(btf: Btf, type_id: int, record: BtfType) -> list[int]:
    """Ids of all types that the record names; 0 is void."""
    if record.kind in (STRUCT, UNION):
        return [member for _, member, _, _ in btf.members(type_id)]
    numbers = numbers_of(record)
    if record.kind == ARRAY:
        return [*numbers[:2]]
    if record.kind == DATASEC:
        return [*numbers[::3]]
    if record.kind == FUNC_PROTO:
        return [record.size_or_type, *numbers[1::2]]
    return [record.size_or_type] if record.kind in _REFERRING else []


def _pointer_loops(btf: Btf) -> Iterator[str]:
    """Pointers and aliases that lead to one another and never to anything."""
    done: set[int] = set()
    for start in range(1, len(btf) + 1):
        way: set[int] = set()
        type_id = start
        while type_id and type_id not in done and btf.type(type_id).kind in _ALIASES | {PTR}:
            if type_id in way:
                yield f"BTF type {type_id} points to itself without end"
                break
            way.add(type_id)
            type_id = btf.type(type_id).size_or_type
        done |= way


class _Sizes:
    """How large every type is, found from the innermost outwards."""

    def __init__(self, btf: Btf) -> None:
        self._btf: Final = btf
        self._sizes: Final[dict[int, int | None]] = {0: None}
        """None: it has no size, as a function."""
        self._heights: Final[dict[int, int]] = {0: 0}

    def problems(self) -> Iterator[str]:
        """What cannot have a size, or has another one than it says."""
        for type_id in range(1, len(self._btf) + 1):
            if (problem := self._resolve(type_id)) is not None:
                yield problem
                return
            yield from self._misfits(type_id)

    def _resolve(self, type_id: int) -> str | None:
        """The sizes of the type and of all that it holds are known, or why they are not."""
        entered: set[int] = set()
        waiting = [type_id]
        while waiting:
            current = waiting[-1]
            if current in self._sizes:
                waiting.pop()
                continue
            held = self._held(current)
            missing = [one for one in held if one not in self._sizes]
            if missing and current not in entered:
                entered.add(current)
                waiting += missing
                continue
            if missing:
                return f"BTF type {current} contains itself without end"
            waiting.pop()
            height = 1 + max((self._heights[one] for one in held), default=0)
            if height > MAX_DEPTH:
                return f"BTF type {current} nests types without end"
            self._heights[current] = height
            size = self._size(current)
            if size is not None and size > MAX_SIZE_BYTES:
                return f"BTF type {current} is larger than {MAX_SIZE_BYTES} bytes"
            self._sizes[current] = size
        return None

    def _held(self, type_id: int) -> list[int]:
        """Ids of the types whose values are part of a value of this one."""
        record = self._btf.type(type_id)
        if record.kind in (STRUCT, UNION):
            return [member for _, member, _, _ in self._btf.members(type_id)]
        if record.kind == ARRAY:
            return [numbers_of(record)[0]]
        return [record.size_or_type] if record.kind in _ALIASES else []

    def _size(self, type_id: int) -> int | None:
        record = self._btf.type(type_id)
        if record.kind in (STRUCT, UNION, INT, ENUM, ENUM64, FLOAT):
            return record.size_or_type
        if record.kind == PTR:
            return _POINTER_BYTES
        if record.kind == ARRAY:
            element, _, count = numbers_of(record)
            return (self._sizes[element] or 0) * count
        return self._sizes[record.size_or_type] if record.kind in _ALIASES else None

    def _misfits(self, type_id: int) -> Iterator[str]:
        record = self._btf.type(type_id)
        if record.kind == ARRAY:
            element, index, _ = numbers_of(record)
            if self._sizes[element] is None:
                yield f"BTF type {type_id} is an array of what has no size"
            if self._btf.strip(index) == 0 or self._btf.type(self._btf.strip(index)).kind != INT:
                yield f"BTF type {type_id} is an array that is counted by no whole number"
        elif record.kind in (STRUCT, UNION):
            for _, member, offset, width in self._btf.members(type_id):
                size = self._sizes[member]
                if size is None:
                    yield f"BTF type {type_id} has a member that has no size"
                elif offset + (width or 8 * size) > 8 * record.size_or_type:
                    yield f"BTF type {type_id} has a member behind the end of its struct"
