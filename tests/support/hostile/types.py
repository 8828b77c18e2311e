# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile BTF and CO-RE relocations in an object that is otherwise good."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
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
    MAX_TYPES,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    VAR,
    VOLATILE,
)
from tests.support.btf_editor import BtfEditor
from tests.support.elf_editor import ElfEditor
from tests.support.hostile.publications import OBJECT, Kind, Publication, good_object, with_file

_NO_TYPE: Final = "which does not exist"
_ENDLESS: Final = "without end"
Change = Callable[[BtfEditor], object]
FAR: Final = 0x7FFFFFFF


def _editor() -> tuple[ElfEditor, BtfEditor]:
    elf = ElfEditor(good_object())
    return elf, BtfEditor(elf.content(elf.index_of(".BTF")))


def _with_types(change: Change) -> Publication:
    elf, btf = _editor()
    change(btf)
    return with_file(OBJECT, bytes(elf.replace(".BTF", bytes(btf))))


def _with_section(name: str, change: Callable[[bytes], bytes]) -> Publication:
    elf = ElfEditor(good_object())
    elf.set_section(elf.index_of(f".rel{name}"), size=0)
    return with_file(OBJECT, bytes(elf.replace(name, change(elf.content(elf.index_of(name))))))


def _itself(kind: int) -> Change:
    return lambda btf: btf.add(kind, len(btf.records) + 1)


def _each_other(kind: int) -> Change:
    return lambda btf: (btf.add(kind, len(btf.records) + 2), btf.add(kind, len(btf.records)))


def _struct_of_itself(btf: BtfEditor) -> None:
    btf.add(STRUCT, 8, btf.text(b"a"), len(btf.records) + 1, 0, name=b"loop", count=1)


def _chain(btf: BtfEditor) -> None:
    last = btf.find(INT)
    for _ in range(200):
        last = btf.add(TYPEDEF, last, name=b"t")


_REFERENCES: Final[dict[str, Change]] = {
    "a pointer to a type that is not there": lambda btf: btf.add(PTR, FAR),
    "a typedef of a type that is not there": lambda btf: btf.add(TYPEDEF, FAR, name=b"t"),
    "a qualifier of a type that is not there": lambda btf: btf.add(CONST, FAR),
    "a function without its form": lambda btf: btf.add(FUNC, FAR, name=b"f"),
    "a function that returns what is not there": lambda btf: btf.add(FUNC_PROTO, FAR),
    "a parameter of a type that is not there": lambda btf: btf.add(FUNC_PROTO, 0, 0, FAR, count=1),
    "a variable of a type that is not there": lambda btf: btf.add(VAR, FAR, 1, name=b"v"),
    "an array of what is not there": lambda btf: btf.add(ARRAY, 0, FAR, btf.find(INT), 1),
    "an array counted by what is not there": lambda btf: btf.add(ARRAY, 0, btf.find(INT), FAR, 1),
    "a member of a type that is not there": lambda btf: btf.add(
        STRUCT, 4, btf.text(b"a"), FAR, 0, name=b"s", count=1
    ),
    "a member of a union that is not there": lambda btf: btf.add(
        UNION, 4, btf.text(b"a"), FAR, 0, name=b"u", count=1
    ),
    "a section of what is not there": lambda btf: btf.add(
        DATASEC, 4, FAR, 0, 4, name=b".data", count=1
    ),
    "a tag on what is not there": lambda btf: btf.add(DECL_TAG, FAR, 0xFFFFFFFF, name=b"tag"),
    "a map of a type that is not there": lambda btf: btf.change(btf.find(VAR, "limits"), size=FAR),
    "a map declaration's member not there": lambda btf: btf.numbers(
        btf.records[btf.find(VAR, "limits") - 1].size, 1, FAR
    ),
}
_CYCLES: Final[dict[str, Change]] = {
    "a typedef of itself": _itself(TYPEDEF),
    "a qualifier of itself": _itself(VOLATILE),
    "a pointer to itself": _itself(PTR),
    "typedefs of each other": _each_other(TYPEDEF),
    "typedefs one upon another": _chain,
    "a struct that holds itself": _struct_of_itself,
    "an array of itself": lambda btf: btf.add(ARRAY, 0, len(btf.records) + 1, btf.find(INT), 2),
    "a map whose value holds itself": lambda btf: btf.numbers(
        btf.find(STRUCT, "limit"), 1, btf.find(STRUCT, "limit")
    ),
}
_SHAPES: Final[dict[str, tuple[Change, str]]] = {
    "an unknown kind": (lambda btf: btf.add(20, 4), "unknown kind"),
    "the kind 0": (lambda btf: btf.add(0, 4), "unknown kind"),
    "the greatest kind": (lambda btf: btf.add(31, 4), "unknown kind"),
    "reserved bits": (lambda btf: btf.change(1, info=btf.records[0].info | 1 << 20), "reserved"),
    "members that are not there": (
        lambda btf: btf.records.append(
            btf.records[0]._replace(info=STRUCT << 24 | 0xFFFF, extra=b"")
        ),
        "points behind its end",
    ),
    "a record cut off": (
        lambda btf: btf.records.append(btf.records[0]._replace(info=INT << 24, extra=b"")),
        "points behind its end",
    ),
    "a name behind the strings": (lambda btf: btf.change(1, name=FAR), "behind the end"),
    "a member's name behind the strings": (
        lambda btf: btf.numbers(btf.find(STRUCT, "limit"), 0, FAR),
        "behind the end",
    ),
    "a name that is not UTF-8": (lambda btf: btf.add(INT, 4, 32, name=b"\xff\xfe"), "UTF-8"),
    "a name without end": (lambda btf: btf.add(INT, 4, 32, name=b"n" * 5_000), "longer than"),
    "a whole number of no size": (lambda btf: btf.add(INT, 0, 32, name=b"i"), "size"),
    "a whole number of 3 bytes": (lambda btf: btf.add(INT, 3, 24, name=b"i"), "size"),
    "a whole number larger than any": (lambda btf: btf.add(INT, 1 << 30, 32, name=b"i"), "size"),
    "a whole number of more bits than it has": (
        lambda btf: btf.add(INT, 4, 64, name=b"i"),
        "bits",
    ),
    "an enumeration of 3 bytes": (lambda btf: btf.add(ENUM, 3, name=b"e"), "size"),
    "a long enumeration of 3 bytes": (lambda btf: btf.add(ENUM64, 3, name=b"e"), "size"),
    "a float of 3 bytes": (lambda btf: btf.add(FLOAT, 3, name=b"f"), "size"),
    "an array larger than any memory": (
        lambda btf: btf.add(ARRAY, 0, btf.find(INT), btf.find(INT), 0xFFFFFFFF),
        "larger than",
    ),
    "arrays of arrays larger than any memory": (
        lambda btf: [
            btf.add(ARRAY, 0, len(btf.records) if step else btf.find(INT), btf.find(INT), 1 << 16)
            for step in range(5)
        ],
        "larger than",
    ),
    "an array counted by a struct": (
        lambda btf: btf.add(ARRAY, 0, btf.find(INT), btf.find(STRUCT), 1),
        "counted",
    ),
    "an array of nothing": (lambda btf: btf.add(ARRAY, 0, 0, btf.find(INT), 1), "no size"),
    "a member behind its struct": (
        lambda btf: btf.numbers(btf.find(STRUCT, "limit"), 2, 8 * 4096),
        "behind the end of its struct",
    ),
    "a member larger than its struct": (
        lambda btf: btf.change(btf.find(STRUCT, "limit"), size=2),
        "behind the end of its struct",
    ),
    "a member that is a function": (
        lambda btf: btf.numbers(btf.find(STRUCT, "limit"), 1, btf.find(FUNC)),
        "no size",
    ),
    "a section of what is no variable": (
        lambda btf: btf.numbers(btf.find(DATASEC, ".maps"), 0, btf.find(INT)),
        "no variable",
    ),
    "a function that is a number": (
        lambda btf: btf.change(btf.find(FUNC), size=btf.find(INT)),
        "no function",
    ),
    "more types than are read": (
        lambda btf: btf.records.extend([btf.records[0]] * MAX_TYPES),
        "more than",
    ),
    "a map that is a number": (
        lambda btf: btf.change(btf.find(VAR, "limits"), size=btf.find(INT)),
        "where a struct belongs",
    ),
    "a map whose type is a number": (
        lambda btf: btf.numbers(btf.records[btf.find(VAR, "limits") - 1].size, 1, btf.find(INT)),
        "no pointer",
    ),
    "a map whose type is no array": (
        lambda btf: btf.numbers(
            btf.records[btf.find(VAR, "limits") - 1].size, 1, btf.add(PTR, btf.find(INT))
        ),
        "no array",
    ),
    "a map of another name": (
        lambda btf: btf.change(btf.find(VAR, "limits"), name=btf.text(b"lim its")),
        "no identifier",
    ),
}
_HEADERS: Final[dict[str, tuple[int, int, str]]] = {
    "another byte order": (0, 0x9FEB, "magic"),
    "another version": (1, 2, "version"),
    "flags nobody knows": (2, 1, "flags"),
    "a header of no length": (3, 0, ""),
    "a header behind its section": (3, FAR, ""),
    "types behind the end": (4, FAR, "behind its end"),
    "types without end": (5, FAR, "behind its end"),
    "strings behind the end": (6, FAR, "behind its end"),
    "strings without end": (7, FAR, "behind its end"),
}


def type_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, change in _REFERENCES.items():
        yield Kind(f"types: {name}", partial(_with_types, change), OBJECT, _NO_TYPE)
    for name, change in _CYCLES.items():
        yield Kind(f"types: {name}", partial(_with_types, change), OBJECT, _ENDLESS)
    for name, (change, rule) in _SHAPES.items():
        yield Kind(f"types: {name}", partial(_with_types, change), OBJECT, rule)
    for name, (field, value, rule) in _HEADERS.items():
        other = partial(_other_header, field, value)
        yield Kind(f"types: {name}", partial(_with_section, ".BTF", other), OBJECT, rule)
    strings = "begin and end with a zero byte"
    for name, damage, rule in (
        ("an empty section", lambda _: b"", "shorter than its header"),
        ("half a header", lambda data: data[:12], "shorter than its header"),
        ("a section cut off", lambda data: data[:-40], "behind its end"),
        ("strings without their end", lambda data: data[:-1] + b"x", strings),
        ("strings without their beginning", _without_first_string, strings),
        ("bytes behind the strings", lambda data: data + b"hidden", "bytes that belong to nothing"),
    ):
        yield Kind(f"types: {name}", partial(_with_section, ".BTF", damage), OBJECT, rule)
    yield from _relocations()


def _other_header(field: int, value: int, section: bytes) -> bytes:
    header = list(struct.unpack_from("<HBBIIIII", section))
    header[field] = value
    return struct.pack("<HBBIIIII", *header) + section[24:]


def _without_first_string(section: bytes) -> bytes:
    *_, string_offset, _ = struct.unpack_from("<HBBIIIII", section)
    start = 24 + string_offset
    return section[:start] + b"x" + section[start + 1 :]


_CORE: Final[dict[str, tuple[int, int, str]]] = {
    "records of no length": (0, 0, "too short"),
    "records without end": (0, FAR, "cut off"),
    "records of an odd length": (0, 17, ""),
    "a section name behind the strings": (1, FAR, "behind the end"),
    "more records than there are": (2, FAR, "cut off"),
    "an instruction behind the code": (3, 8 * 4096, "behind the code"),
    "half an instruction": (3, 4, "no instruction"),
    "a type that is not there": (4, FAR, _NO_TYPE),
    "a path behind the strings": (5, FAR, "behind the end"),
    "a kind nobody knows": (6, 4096, "unknown kind"),
}
"""Number of the 32-bit field among the CO-RE relocations, what it becomes, words of the reason."""


def _relocations() -> Iterator[Kind]:
    for name, (field, value, rule) in _CORE.items():
        other = partial(_other_relocation, field, value)
        make = partial(_with_section, ".BTF.ext", other)
        yield Kind(f"relocated by types: {name}", make, OBJECT, rule)
    for name, damage, rule in (
        ("another byte order", lambda data: b"\xeb\x9f" + data[2:], "unknown magic"),
        ("another version", lambda data: data[:2] + b"\x02" + data[3:], "unknown magic"),
        ("a section cut off", lambda data: data[:-4], "behind the end"),
        ("a path that is none", _other_path, "path"),
        ("code that is not there", _other_section, "no section"),
    ):
        make = partial(_with_section, ".BTF.ext", damage)
        yield Kind(f"relocated by types: {name}", make, OBJECT, rule)
    without = partial(_with_section, ".BTF", lambda _: b"")
    yield Kind("relocated by types: no types", without, OBJECT, "shorter than its header")


def _core_start(section: bytes) -> int:
    header = struct.unpack_from("<HBBIIIIIII", section)
    place: int = header[3] + header[8]
    return place


def _other_relocation(field: int, value: int, section: bytes) -> bytes:
    place = _core_start(section) + 4 * field
    return section[:place] + struct.pack("<I", value) + section[place + 4 :]


def _other_path(section: bytes) -> bytes:
    """The path of members is the name of the section of code."""
    name = section[_core_start(section) + 4 :][:4]
    return _other_relocation(5, int.from_bytes(name, "little"), section)


def _other_section(section: bytes) -> bytes:
    """The name of the section of code is a path of members."""
    path = section[_core_start(section) + 20 :][:4]
    return _other_relocation(1, int.from_bytes(path, "little"), section)
