# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile object files: headers, sections, symbols, relocations and code that lie."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from shared.bytecode.elf import MAX_INSTRUCTIONS, MAX_KERNEL_FUNCTIONS, MAX_PROGRAMS
from shared.bytecode.elf_sections import MAX_RELOCATIONS, MAX_SECTIONS, MAX_SYMBOLS
from tests.support.bpf_objects import bpf_object
from tests.support.elf_editor import ElfEditor, SectionHeader
from tests.support.hostile.publications import OBJECT, Kind, Publication, good_object, with_file

Change = Callable[[ElfEditor], object]
FAR: Final = 0x7FFFFFFF
_EXIT: Final = struct.pack("<BBhi", 0x95, 0, 0, 0)
_UNREADABLE: Final = "is not a readable ELF file"
_BEHIND: Final = "behind the end of the file"
_NO_NAME: Final = "has a name behind the end of its table"
_OVERLAP: Final = "overlap"


def _with_object(change: Change) -> Publication:
    editor = ElfEditor(good_object())
    change(editor)
    return with_file(OBJECT, bytes(editor))


def _with_bytes(damage: Callable[[bytes], bytes]) -> Publication:
    return with_file(OBJECT, damage(good_object()))


def _section(name: str, /, **fields: int) -> Change:
    return lambda elf: elf.set_section(elf.index_of(name), **fields)


def _symbol(name: str, /, **fields: int) -> Change:
    return lambda elf: elf.set_symbol(name, **fields)


def _again(name: str, content: bytes) -> Change:
    return lambda elf: elf.copy_section(name, content)


def _many_sections(elf: ElfEditor) -> None:
    """As many headers as fit, all of them of the whole file."""
    whole = elf.sections()[elf.index_of(".strtab")]
    for _ in range(200):
        elf.add_section(whole, b"")
    for index in range(elf.header("e_shnum") - 200, elf.header("e_shnum")):
        elf.set_section(index, offset=0, size=len(bytes(elf)))


def _too_many_sections(elf: ElfEditor) -> None:
    headers = b"".join(struct.pack("<IIQQQQIIQQ", *one) for one in elf.sections())
    count = MAX_SECTIONS + 1
    padding = bytes(64 * (count - elf.header("e_shnum")))
    names = elf.header("e_shstrndx")
    elf.add_section(SectionHeader(0, 1, 0, 0, 0, 0, 0, 0, 1, 0), headers + padding)
    elf.set_header("e_shoff", elf.sections()[-1].offset)
    elf.set_header("e_shnum", count).set_header("e_shstrndx", names)


def _symbols(count: int) -> Change:
    return lambda elf: elf.replace(".symtab", bytes(24 * count), info=1)


def _relocated(count: int) -> Change:
    return lambda elf: elf.replace(".relxdp", bytes(16 * count))


def _programs(count: int) -> Change:
    """Global functions of one instruction each."""

    def change(elf: ElfEditor) -> None:
        code = elf.index_of("xdp")
        entry = elf.symbols()[elf.symbol_index("one")]._replace(size=8, value=0, section=code)
        table = elf.content(elf.index_of(".symtab"))
        more = struct.pack("<IBBHQQ", *entry) * count
        elf.replace(".symtab", table + more)

    return change


def _without_relocations(elf: ElfEditor) -> None:
    """By symbols and by types."""
    elf.set_section(elf.index_of(".BTF.ext"), type=8)
    for index, section in enumerate(elf.sections()):
        if section.type == 9:
            elf.set_section(index, size=0)


def _code(count: int, instruction: bytes = _EXIT) -> Change:
    def change(elf: ElfEditor) -> None:
        elf.replace("xdp", instruction * count)
        _without_relocations(elf)
        elf.set_symbol("one", size=8 * count, value=0)

    return change


def _many_helpers(elf: ElfEditor) -> None:
    """Each of many calls is of another helper, behind a branch of its own."""
    branch = struct.pack("<BBhi", 0x15, 0, 0, 0)
    calls = (branch + struct.pack("<BBhi", 0x85, 0, 0, 5_000 + one) for one in range(30_000))
    _replace_code(elf, b"".join((*calls, _EXIT)))


def _many_kernel_functions(elf: ElfEditor) -> None:
    """Each of many calls is of another function of the kernel."""
    count = MAX_KERNEL_FUNCTIONS + 1
    call = struct.pack("<BBhi", 0x85, 2 << 4, 0, -1)
    names = elf.content(elf.index_of(".strtab"))
    table = elf.content(elf.index_of(".symtab"))
    _replace_code(elf, call * count + _EXIT)
    elf.replace(".strtab", names + b"".join(b"k%03d\0" % one for one in range(count)))
    entries = ((len(names) + 5 * one, 0x10, 0, 0, 0, 0) for one in range(count))
    elf.replace(
        ".symtab",
        elf.content(elf.index_of(".symtab"))
        + b"".join(struct.pack("<IBBHQQ", *entry) for entry in entries),
    )
    first = len(table) // 24
    places = (struct.pack("<QQ", 8 * one, (first + one) << 32 | 10) for one in range(count))
    elf.replace(".relxdp", b"".join(places))


def _replace_code(elf: ElfEditor, code: bytes) -> None:
    _without_relocations(elf)
    elf.replace("xdp", code)
    elf.set_symbol("one", size=len(code), value=0)


def _shared_code(elf: ElfEditor) -> None:
    """Each of many programs calls the same long function."""
    length, count = 20_000, 60
    call = struct.pack("<BBhi", 0x85, 1 << 4, 0, 0)
    programs = b"".join(
        call[:4] + struct.pack("<i", 2 * (count - index) - 1) + _EXIT for index in range(count)
    )
    elf.replace("xdp", programs + _EXIT * length)
    _without_relocations(elf)
    names = elf.content(elf.index_of(".strtab"))
    elf.replace(".strtab", names + b"".join(b"p%03d\0" % index for index in range(count)))
    entry = elf.symbols()[elf.symbol_index("one")]
    elf.set_symbol("one", size=16, value=0)
    table = elf.content(elf.index_of(".symtab"))
    more = [
        entry._replace(name=len(names) + 5 * index, size=16, value=16 * index)
        for index in range(1, count)
    ]
    local = entry._replace(info=2, size=8 * length, value=16 * count)
    packed = b"".join(struct.pack("<IBBHQQ", *one) for one in (*more, local))
    elf.replace(".symtab", table + packed)


def _with_a_long_name(elf: ElfEditor) -> None:
    """The names of sections end with one of a thousand letters, and the code has it."""
    table = elf.content(elf.header("e_shstrndx"))
    code = elf.index_of("xdp")
    symbols = elf.sections()[elf.index_of(".symtab")]
    assert symbols.link == elf.header("e_shstrndx")
    elf.replace(".strtab", table + b"x" * 1000 + b"\0")
    elf.set_section(code, name=len(table))


_HEADERS: Final[dict[str, tuple[str, int, str]]] = {
    "of another machine": ("e_machine", 62, "made for eBPF"),
    "that is a program to execute": ("e_type", 2, "to be linked"),
    "that is a shared library": ("e_type", 3, "to be linked"),
    "with headers of no length": ("e_shentsize", 0, ""),
    "with headers too short": ("e_shentsize", 40, ""),
    "with headers too long": ("e_shentsize", 0xFFFF, ""),
    "with headers behind the end": ("e_shoff", FAR, _UNREADABLE),
    "with headers beyond all memory": ("e_shoff", 2**64 - 1, ""),
    "with headers at its start": ("e_shoff", 0, ""),
    "without headers": ("e_shnum", 0, ""),
    "with more headers than it has": ("e_shnum", 4000, _UNREADABLE),
    "without names of sections": ("e_shstrndx", 0, ""),
    "with names of sections elsewhere": ("e_shstrndx", 0xFFF0, ""),
}
_BYTES: Final[dict[str, tuple[Callable[[bytes], bytes], str]]] = {
    "that is empty": (lambda _: b"", _UNREADABLE),
    "of one byte": (lambda _: b"\x7f", _UNREADABLE),
    "of four bytes": (lambda data: data[:4], _UNREADABLE),
    "cut within its header": (lambda data: data[:40], _UNREADABLE),
    "cut behind its header": (lambda data: data[:64], _UNREADABLE),
    "cut in its middle": (lambda data: data[: len(data) // 2], ""),
    "cut at its end": (lambda data: data[:-1], _UNREADABLE),
    "with other magic": (lambda data: b"\x7fFLE" + data[4:], _UNREADABLE),
    "of 32 bits": (lambda data: data[:4] + b"\x01" + data[5:], ""),
    "of an unknown class": (lambda data: data[:4] + b"\x07" + data[5:], ""),
    "of the other byte order": (lambda data: data[:5] + b"\x02" + data[6:], ""),
    "that is a text": (lambda _: b"int one;\n", _UNREADABLE),
    "that is a script": (lambda _: b"#!/bin/sh\nreboot\n", _UNREADABLE),
    "that is for Windows": (lambda _: b"MZ" + bytes(600), _UNREADABLE),
    "that is LLVM bitcode": (lambda _: b"BC\xc0\xde" + bytes(600), _UNREADABLE),
    "of zeros": (lambda data: bytes(len(data)), _UNREADABLE),
}
_SECTIONS: Final[dict[str, tuple[Change, str]]] = {
    "a section behind the end": (_section("xdp", offset=FAR), _BEHIND),
    "a section longer than the file": (_section("xdp", size=FAR), _BEHIND),
    "a section beyond all memory": (_section("xdp", size=2**64 - 8), _BEHIND),
    "a section that wraps around": (_section("xdp", offset=2**64 - 8, size=16), _BEHIND),
    "a section over the header": (_section("xdp", offset=0), _OVERLAP),
    "two sections in one place": (
        lambda elf: elf.set_section(
            elf.index_of("license"), offset=elf.sections()[elf.index_of("xdp")].offset
        ),
        _OVERLAP,
    ),
    "sections that are the whole file": (_many_sections, _OVERLAP),
    "more sections than are read": (_too_many_sections, "sections"),
    "a compressed section": (_section("xdp", flags=0x806), "compressed sections"),
    "a section's name behind the names": (_section("xdp", name=FAR), _NO_NAME),
    "a section's name that is not UTF-8": (
        lambda elf: elf.rename(b"license", b"licens\xff"),
        "UTF-8",
    ),
    "a section's name that moves the cursor": (
        lambda elf: elf.rename(b"license", b"lic\x1b[2J"),
        "cannot be shown",
    ),
    "a section's name without end": (_with_a_long_name, "longer than"),
    "two licences": (_again("license", b"GPL\0"), "two sections license"),
    "two tables of types": (_again(".BTF", b"\0" * 24), "two sections .BTF"),
    "two tables of relocations by types": (_again(".BTF.ext", b"\0" * 24), "two sections .BTF.ext"),
    "two declarations of maps": (_again(".maps", b"\0" * 32), "two sections .maps"),
    "two tables of symbols": (_again(".symtab", b"\0" * 24), "two"),
    "a licence that is not UTF-8": (
        lambda elf: elf.replace("license", b"G\xffL\0"),
        "license",
    ),
    "a licence without end": (lambda elf: elf.replace("license", b"GPL" * 40), "license"),
    "a licence with a line feed": (lambda elf: elf.replace("license", b"GPL\nMIT\0"), "license"),
    "code that is cut off": (_code(1, _EXIT[:7]), "multiple of 8 bytes"),
    "code without end": (_code(MAX_INSTRUCTIONS + 1), "instructions"),
    "code that many programs share": (_shared_code, "instructions"),
    "thirty thousand helpers": (_many_helpers, "which no kernel has"),
    "more kernel functions than a program has": (_many_kernel_functions, "kernel functions"),
}
_SYMBOLS: Final[dict[str, tuple[Change, str]]] = {
    "10^6 symbols": (_symbols(1_000_000), f"at most {MAX_SYMBOLS}"),
    "one symbol too many": (_symbols(MAX_SYMBOLS + 1), f"at most {MAX_SYMBOLS}"),
    "half a symbol": (lambda elf: elf.replace(".symtab", bytes(36)), "whole symbols"),
    "symbols of another length": (_section(".symtab", entry_size=16), "of another length"),
    "symbols without names": (_section(".symtab", link=FAR), "without a table of names"),
    "symbols named by code": (
        lambda elf: elf.set_section(elf.index_of(".symtab"), link=elf.index_of("xdp")),
        "without a table of names",
    ),
    "a symbol's name behind the names": (_symbol("one", name=FAR), _NO_NAME),
    "a symbol's name that is not UTF-8": (lambda elf: elf.rename(b"weigh", b"we\xffgh"), "UTF-8"),
    "a symbol's name that moves the cursor": (
        lambda elf: elf.rename(b"weigh", b"w\x1b[2J"),
        "cannot be shown",
    ),
    "a symbol in no section": (_symbol("limits", section=0xFE00), "no section"),
    "a symbol in a section that is not there": (_symbol("limits", section=4000), "no section"),
    "a function behind its section": (_symbol("one", value=FAR & ~7), "outside its section"),
    "a function longer than its section": (_symbol("one", size=FAR & ~7), "outside its section"),
    "a function beyond all memory": (_symbol("one", size=2**64 - 8), "outside its section"),
    "a function within an instruction": (_symbol("one", value=4, size=8), "outside its section"),
    "a function of half an instruction": (_symbol("one", size=12), "outside its section"),
    "a function of no length": (_symbol("one", size=0), "of no length"),
    "more programs than are read": (_programs(MAX_PROGRAMS), f"at most {MAX_PROGRAMS}"),
    "two programs of one name": (_programs(1), "twice"),
}
_RELOCATIONS: Final[dict[str, tuple[Change, str]]] = {
    "10^6 relocations and one": (_relocated(MAX_RELOCATIONS + 1), f"at most {MAX_RELOCATIONS}"),
    "half a relocation": (lambda elf: elf.replace(".relxdp", bytes(24)), "cut off"),
    "relocations of another length": (_section(".relxdp", entry_size=24), "of another length"),
    "relocations with addends": (_section(".relxdp", type=4), "addends"),
    "relocations of no section": (_section(".relxdp", info=FAR), "of no section"),
    "relocations by other symbols": (_section(".relxdp", link=1), "other symbols"),
    "a relocation by a symbol that is not there": (
        lambda elf: elf.set_relocation(".relxdp", offset=0, symbol=9_999),
        "unknown symbol",
    ),
    "a relocation behind the code": (
        lambda elf: elf.set_relocation(".relxdp", offset=FAR & ~7, symbol=1),
        "behind the end of its section",
    ),
    "a relocation beyond all memory": (
        lambda elf: elf.set_relocation(".relxdp", offset=2**64 - 8, symbol=1),
        "behind the end of its section",
    ),
    "a relocation within an instruction": (
        lambda elf: elf.set_relocation(".relxdp", offset=3, symbol=1),
        "of no instruction",
    ),
    "relocations of one place by two tables": (
        lambda elf: elf.copy_section(".relxdp", elf.content(elf.index_of(".relxdp"))),
        "two tables of relocations",
    ),
}


def object_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, (field, value, rule) in _HEADERS.items():
        other = partial(ElfEditor.set_header, field=field, value=value)
        yield Kind(f"object {name}", partial(_with_object, other), OBJECT, rule)
    for name, (damage, rule) in _BYTES.items():
        yield Kind(f"object {name}", partial(_with_bytes, damage), OBJECT, rule)
    for group, kinds in (
        ("sections", _SECTIONS),
        ("symbols", _SYMBOLS),
        ("relocations", _RELOCATIONS),
    ):
        for name, (change, rule) in kinds.items():
            yield Kind(f"{group}: {name}", partial(_with_object, change), OBJECT, rule)
    foreign = partial(with_file, OBJECT, bpf_object("metadata"))
    path = "manifest.programs[0].function"
    yield Kind("object of another package", foreign, path, "has no such program")
