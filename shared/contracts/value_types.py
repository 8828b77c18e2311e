# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How values of maps and global variables lie in memory, as BTF tells it.

Sizes and offsets are those of the object file; typedefs and qualifiers are taken away.
"""

from __future__ import annotations

import msgspec


class IntegerType(msgspec.Struct, frozen=True, omit_defaults=True, tag="integer"):
    """A whole number, a boolean or a character."""

    size_bytes: int
    is_signed: bool = False
    name: str = ""


class EnumType(msgspec.Struct, frozen=True, omit_defaults=True, tag="enum"):
    """A whole number whose values have names."""

    size_bytes: int
    is_signed: bool = False
    name: str = ""
    values: tuple[tuple[str, int], ...] = ()


class ArrayType(msgspec.Struct, frozen=True, omit_defaults=True, tag="array"):
    """A fixed number of elements, one behind the other."""

    element: Layout
    count: int

    @property
    def size_bytes(self) -> int:
        """Of all elements together."""
        return self.element.size_bytes * self.count


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member of a struct or union, or one variable of a data section."""

    name: str
    """Empty: a union without a name, whose members stand where it stands."""
    offset_bits: int
    layout: Layout
    bitfield_bits: int = 0
    """0: not a bit field."""


class StructType(msgspec.Struct, frozen=True, omit_defaults=True, tag="struct"):
    """A struct; padding between members belongs to no member.

    Members of a struct without a name are members of the one that it stands in.
    """

    name: str
    size_bytes: int
    members: tuple[Member, ...] = ()


class UnionType(msgspec.Struct, frozen=True, omit_defaults=True, tag="union"):
    """Members that share their bytes."""

    name: str
    size_bytes: int
    members: tuple[Member, ...] = ()


class OpaqueType(msgspec.Struct, frozen=True, omit_defaults=True, tag="opaque"):
    """Bytes that have no text form: a pointer, a float, an object of the kernel."""

    kind: str
    size_bytes: int


Layout = IntegerType | EnumType | ArrayType | StructType | UnionType | OpaqueType


class InnerMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """What each of the maps is that a map of maps holds."""

    type: str
    """Kernel name in lower case, as `hash`."""
    key: Layout
    value: Layout
    max_entries: int
    flags: int = 0
    """As the kernel takes them (enum in include/uapi/linux/bpf.h, BPF_F_NO_PREALLOC and others)."""


def is_within(layout: Layout, most: int) -> bool:
    """Whether the type has at most so many parts, each counted as often as it is used."""
    return _spent(layout, most) <= most


def _spent(layout: Layout, most: int) -> int:
    """Parts, counted until there are too many."""
    if isinstance(layout, ArrayType):
        return 1 + _spent(layout.element, most)
    if isinstance(layout, EnumType):
        return 1 + len(layout.values)
    spent = 1
    if isinstance(layout, StructType | UnionType):
        for member in layout.members:
            spent += _spent(member.layout, most - spent)
            if spent > most:
                break
    return spent
