# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An object file out of what bcc compiled, laid out as clang would lay it out.

Pure.  So the loader for object files loads it, carries its maps over and configures them, and no
second way into the kernel exists.  Format: ELF-64, machine 247 (EM_BPF); map declarations in BTF
(libbpf, BTF-defined maps).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from services.node_executor.bcc_compiler.messages import (
    CompiledFunction,
    CompiledMap,
    CompiledSource,
)
from services.node_executor.bcc_compiler.type_records import TypeRecords, UnknownTypeError
from shared.bytecode.map_declarations import map_type_name
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_PROGBITS, _SYMTAB, _STRTAB, _REL = 1, 2, 3, 9
_WRITABLE, _ALLOCATED, _EXECUTABLE = 1, 2, 4
_GLOBAL_OBJECT, _GLOBAL_FUNCTION = 0x11, 0x12
_MAP_RELOCATION: Final = 1
"""R_BPF_64_64."""
_MACHINE: Final = 247
_MAPS_OF_MAPS: Final = ("array_of_maps", "hash_of_maps")
_WITHOUT_ENTRIES: Final = ("sk_storage", "inode_storage", "task_storage", "cgrp_storage")
_INSTRUCTION_BYTES: Final = 8


class NotInSourceError(RefusedError):
    """The source compiled, and does not hold what the package says, or more than can be taken."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int = 0
    data: bytes = b""
    link: int = 0
    info: int = 0
    entry_bytes: int = 0


def function_of(compiled: CompiledSource, name: str, *, source: str) -> CompiledFunction:
    """The function of that name.

    Raises:
        NotInSourceError: There is none, or the source declares maps that cannot be carried.
    """
    inner = [one for one in compiled.maps if map_type_name(one.type_number) in _MAPS_OF_MAPS]
    if inner:
        raise NotInSourceError(
            f"{source}: maps of maps cannot be taken from C source for bcc",
            [
                Reason(
                    path=f"{source}.{one.name}",
                    rule="bcc does not tell what the inner maps are",
                    got=map_type_name(one.type_number),
                )
                for one in inner
            ],
        )
    for function in compiled.functions:
        if function.name == name:
            return function
    known = sorted(one.name for one in compiled.functions)
    reason = Reason(path=source, rule="must hold the function", got=name, allowed=known)
    raise NotInSourceError(f"{source} has no function '{name}' after compilation", [reason])


def make_object(compiled: CompiledSource, function: CompiledFunction, hook: Hook) -> bytes:
    """An ELF file with one program, `function` for `hook`, and every map of the source.

    The same input gives the same bytes.
    """
    types = TypeRecords()
    section = "xdp" if hook == "xdp" else "tc"
    function_type = types.function(
        function.name, context="xdp_md" if hook == "xdp" else "__sk_buff"
    )
    sizes = _declare_maps(types, compiled.maps)
    offsets = [sum(sizes[:index]) for index in range(len(sizes))]
    names = _Names()
    symbols = [_SYMBOL.pack(0, 0, 0, 0, 0, 0)]
    symbols.append(
        _SYMBOL.pack(names.offset(function.name), _GLOBAL_FUNCTION, 0, 1, 0, len(function.code))
    )
    numbers: dict[str, int] = {}
    for declared, offset, size in zip(compiled.maps, offsets, sizes, strict=True):
        numbers[declared.name] = len(symbols)
        name = names.offset(declared.name)
        symbols.append(_SYMBOL.pack(name, _GLOBAL_OBJECT, 0, 3, offset, size))
    relocations = b"".join(
        struct.pack(
            "<QQ",
            reference.position * _INSTRUCTION_BYTES,
            numbers[reference.map] << 32 | _MAP_RELOCATION,
        )
        for reference in function.references
    )
    extension = _function_record(types, section, function_type)
    code_flags = _ALLOCATED | _EXECUTABLE
    sections = [
        _Section(section, _PROGBITS, code_flags, function.code),
        _Section(f".rel{section}", _REL, 0, relocations, link=7, info=1, entry_bytes=16),
        _Section(".maps", _PROGBITS, _ALLOCATED | _WRITABLE, bytes(sum(sizes))),
        _Section("license", _PROGBITS, _ALLOCATED, compiled.licence.encode() + b"\0"),
        _Section(".BTF", _PROGBITS, 0, types.encode()),
        _Section(".BTF.ext", _PROGBITS, 0, extension),
        _Section(
            ".symtab", _SYMTAB, 0, b"".join(symbols), link=8, info=1, entry_bytes=_SYMBOL.size
        ),
        _Section(".strtab", _STRTAB),
    ]
    return _assemble(sections, names)


class _Names:
    """The string table of symbols and sections."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def offset(self, name: str) -> int:
        """Where the name begins."""
        offset = len(self.data)
        self.data += name.encode() + b"\0"
        return offset


def _declare_maps(types: TypeRecords, maps: Sequence[CompiledMap]) -> list[int]:
    """Every map is declared in `.maps`; the sizes of the declarations, in order."""
    variables: list[tuple[int, int, int]] = []
    offset = 0
    for declared in maps:
        members = [("type", types.number(declared.type_number))]
        if map_type_name(declared.type_number) not in _WITHOUT_ENTRIES:
            members.append(("max_entries", types.number(declared.max_entries)))
        for what, described, size_bytes in (
            ("key", declared.key, declared.key_size_bytes),
            ("value", declared.value, declared.value_size_bytes),
        ):
            if size_bytes:
                members.append(_typed(types, what, described, size_bytes))
        if declared.flags:
            members.append(("map_flags", types.number(declared.flags)))
        size_bytes = 8 * len(members)
        shape = types.structure(
            "", size_bytes, [(name, kind, 64 * place) for place, (name, kind) in enumerate(members)]
        )
        variables.append((types.variable(declared.name, shape), offset, size_bytes))
        offset += size_bytes
    if variables:
        types.section(".maps", variables)
    return [size for _, _, size in variables]


def _typed(types: TypeRecords, what: str, described: object, size_bytes: int) -> tuple[str, int]:
    try:
        return what, types.pointer(types.described(described, size_bytes))
    except UnknownTypeError:
        return f"{what}_size", types.number(size_bytes)


def _function_record(types: TypeRecords, section: str, function_type: int) -> bytes:
    """`.BTF.ext` with the type of the one function."""
    records = struct.pack("<IIIII", 8, types.string(section), 1, 0, function_type)
    header = struct.pack(
        "<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, len(records), len(records), 0, len(records), 0
    )
    return header + records


def _assemble(sections: Sequence[_Section], names: _Names) -> bytes:
    labels = [names.offset(section.name) for section in sections]
    body = bytearray()
    headers = bytearray(_SECTION.size)
    for section, label in zip(sections, labels, strict=True):
        body += bytes(-len(body) % _INSTRUCTION_BYTES)
        data = bytes(names.data) if section.kind == _STRTAB else section.data
        place = _HEADER.size + len(body)
        headers += _SECTION.pack(
            label,
            section.kind,
            section.flags,
            0,
            place,
            len(data),
            section.link,
            section.info,
            _INSTRUCTION_BYTES if section.kind != _STRTAB else 1,
            section.entry_bytes,
        )
        body += data
    body += bytes(-len(body) % _INSTRUCTION_BYTES)
    identity = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = _HEADER.pack(
        identity,
        *(1, _MACHINE, 1, 0, 0, _HEADER.size + len(body), 0),
        *(_HEADER.size, 0, 0, _SECTION.size, len(sections) + 1, len(sections)),
    )
    return header + bytes(body) + bytes(headers)
