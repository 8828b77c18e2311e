# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Names of the kernel functions (kfuncs) that programs may call, out of the kernel's own BTF.

pahole 1.27 marks each with a declaration tag `bpf_kfunc`.  The image has more than a hundred
thousand types, so it is walked in pieces and only what is needed is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

KERNEL_TYPES: Final = Path("/sys/kernel/btf/vmlinux")
PIECE: Final = 8192
"""Types looked at in one piece, about 8 ms."""
_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_TYPE: Final = struct.Struct("<III")
_FUNCTION, _TAG = 12, 17
_FIXED_BYTES: Final = {1: 4, 3: 12, 14: 4, 17: 4}
_MEMBER_BYTES: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
"""Documentation/bpf/btf.rst: what follows a type of each kind, once and for each of its members."""


class UnreadableTypesError(ValueError):
    """This is no BTF."""


def kernel_function_names(data: bytes) -> Iterator[tuple[str, ...] | None]:
    """None after each piece, at last the names, sorted; empty if none is marked.

    Raises:
        UnreadableTypesError: `data` is no BTF of this processor's byte order.
    """
    types, names = _sections(data)
    wanted = names.find(b"\0bpf_kfunc\0") + 1
    functions: dict[int, int] = {}
    tagged: list[int] = []
    try:
        for count, (kind, name, referred) in enumerate(_walk(types), start=1):
            if kind == _FUNCTION:
                functions[count] = name
            elif kind == _TAG and name == wanted:
                tagged.append(referred)
            if count % PIECE == 0:
                yield None
    except struct.error as error:
        raise UnreadableTypesError("the BTF ends within a type") from error
    offsets = (functions[number] for number in tagged if number in functions)
    yield tuple(sorted({_name(names, offset) for offset in offsets})) if wanted else ()


def _sections(data: bytes) -> tuple[memoryview, bytes]:
    """Types and names."""
    if len(data) < _HEADER.size:
        raise UnreadableTypesError("the BTF has no header")
    magic, _, _, header, type_at, type_bytes, name_at, name_bytes = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise UnreadableTypesError("the BTF has no magic number")
    types = memoryview(data)[header + type_at : header + type_at + type_bytes]
    return types, data[header + name_at : header + name_at + name_bytes]


def _walk(types: memoryview) -> Iterator[tuple[int, int, int]]:
    """Kind, name's offset and last word of each type, in order of their ids from 1."""
    position, end, unpack = 0, len(types), _TYPE.unpack_from
    fixed, members = _FIXED_BYTES.get, _MEMBER_BYTES.get
    while position < end:
        name, information, referred = unpack(types, position)
        kind = information >> 24 & 0x1F
        yield kind, name, referred
        position += 12 + fixed(kind, 0) + members(kind, 0) * (information & 0xFFFF)


def _name(names: bytes, offset: int) -> str:
    return names[offset : names.index(b"\0", offset)].decode(errors="replace")
