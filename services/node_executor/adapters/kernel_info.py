# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel says about programs, links and maps (BPF_OBJ_GET_INFO_BY_FD)."""

from __future__ import annotations

import errno
import struct
from typing import Final, Literal

from services.node_executor.adapters.bpf_syscall import (
    BTF_BY_ID,
    LINK_BY_ID,
    MAP_BY_ID,
    MAP_LOOKUP,
    PROGRAM_BY_ID,
    Descriptor,
    Memory,
    bpf,
    bpf_attempt,
    info_by_fd,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import (
    HookOccupant,
    LinkInfo,
    MapInfo,
    ProgramInfo,
    RunTime,
)
from shared.bytecode.btf import Btf, parse_btf
from shared.bytecode.map_declarations import MapDeclaration

_PROGRAM_INFO_BYTES: Final = 224
_LINK_INFO_BYTES: Final = 56
_MAP_INFO_BYTES: Final = 80
_BTF_INFO_BYTES: Final = 32
_LINK_KINDS: Final[dict[int, Literal["xdp", "tcx"]]] = {6: "xdp", 11: "tcx"}
_MAX_PROGRAM_ARRAY: Final = 4096
_UNCLONE: Final = ((0x71, 0x16), (0x54, 0x06), (0x15, 0x06))
"""Opcodes and registers: load a byte into r6 from r1, mask it, jump if it is 0."""


def program_info(fd: int) -> ProgramInfo:
    """Facts about the program behind a descriptor."""
    action = "reading a program's information"
    raw = info_by_fd(fd, _PROGRAM_INFO_BYTES, action=action)
    count = struct.unpack_from("<I", raw, 52)[0]
    map_ids: tuple[int, ...] = ()
    if count:
        memory = Memory()
        address, read = memory.space(4 * count)
        given = bytearray(_PROGRAM_INFO_BYTES)
        struct.pack_into("<IQ", given, 52, count, address)
        raw = info_by_fd(fd, _PROGRAM_INFO_BYTES, action=action, given=bytes(given))
        map_ids = struct.unpack(f"<{count}I", read())
    _, program_id, tag, jited, xlated = struct.unpack_from("<II8sII", raw)
    name, _, gpl = struct.unpack_from("<16sII", raw, 64)
    return ProgramInfo(
        id=program_id,
        name=_text(name),
        tag=tag.hex(),
        gpl_compatible=bool(gpl & 1),
        instructions_verified=struct.unpack_from("<I", raw, 216)[0],
        xlated_bytes=xlated,
        jited_bytes=jited,
        map_ids=map_ids,
    )


def run_time(fd: int) -> RunTime:
    """What the kernel counted of the program while `kernel.bpf_stats_enabled` was on."""
    raw = info_by_fd(fd, _PROGRAM_INFO_BYTES, action="reading a program's run time")
    nanoseconds, runs = struct.unpack_from("<QQ", raw, 192)
    return RunTime(runs=runs, nanoseconds=nanoseconds)


def makes_packets_writable(fd: int, code: bytes) -> bool:
    """Whether the kernel put code before a TC program that makes each packet writable.

    It does so for programs that write into packets directly (net/core/filter.c,
    bpf_unclone_prologue): r6 = skb->cloned, masked, and a jump over the helper's call.

    Args:
        fd: The loaded program.
        code: Its instructions as they were loaded.
    """
    memory = Memory()
    address, read = memory.space(len(_UNCLONE) * 8)
    given = bytearray(_PROGRAM_INFO_BYTES)
    struct.pack_into("<I8xQ", given, 20, len(_UNCLONE) * 8, address)
    info_by_fd(fd, _PROGRAM_INFO_BYTES, action="reading a program's code", given=bytes(given))
    return _opens_with_unclone(read()) and not _opens_with_unclone(code)


def link_info(fd: int) -> LinkInfo:
    """Facts about the link behind a descriptor."""
    raw = info_by_fd(fd, _LINK_INFO_BYTES, action="reading a link's information")
    kind_number, link_id, program_id, _, interface_index, attach_type = struct.unpack_from(
        "<6I", raw
    )
    kind = _LINK_KINDS.get(kind_number)
    if kind is None:
        return LinkInfo(link_id, "other", program_id, 0)
    return LinkInfo(
        link_id, kind, program_id, interface_index, attach_type if kind == "tcx" else 37
    )


def map_info(fd: int) -> MapInfo:
    """Facts about the map behind a descriptor."""
    raw = info_by_fd(fd, _MAP_INFO_BYTES, action="reading a map's information")
    kind, map_id, key, value, entries, flags, name = struct.unpack_from("<6I16s", raw)
    return MapInfo(map_id, _text(name), kind, key, value, entries, flags)


def program_by_id(program_id: int) -> Descriptor:
    """A hold on the program with that id.

    Raises:
        KernelFaultError: it is gone (`number` is ENOENT).
    """
    request = struct.pack("<III", program_id, 0, 0)
    return Descriptor(bpf(PROGRAM_BY_ID, request, action=f"finding program {program_id}"))


def link_by_id(link_id: int) -> Descriptor:
    """A hold on the link with that id.

    Raises:
        KernelFaultError: it is gone (`number` is ENOENT).
    """
    return Descriptor(
        bpf(LINK_BY_ID, struct.pack("<III", link_id, 0, 0), action=f"finding link {link_id}")
    )


def map_by_id(map_id: int) -> Descriptor:
    """A hold on the map with that id.

    Raises:
        KernelFaultError: it is gone (`number` is ENOENT).
    """
    request = struct.pack("<III", map_id, 0, 0)
    return Descriptor(bpf(MAP_BY_ID, request, action=f"finding map {map_id}"))


def map_declaration(fd: int) -> tuple[MapDeclaration, Btf | None]:
    """A map as it would be declared, and the BTF that its type ids refer to."""
    raw = info_by_fd(fd, _MAP_INFO_BYTES, action="reading a map's information")
    kind, _, key, value, entries, flags, name = struct.unpack_from("<6I16s", raw)
    btf_id, key_type, value_type = struct.unpack_from("<III", raw, 64)
    declared = MapDeclaration(_text(name), kind, key, value, entries, flags, key_type, value_type)
    return declared, _btf(btf_id) if btf_id else None


def _btf(btf_id: int) -> Btf:
    action = f"reading BTF {btf_id}"
    request = struct.pack("<III", btf_id, 0, 0)
    with Descriptor(bpf(BTF_BY_ID, request, action=action)) as opened:
        _, size = struct.unpack_from("<QI", info_by_fd(opened.fd, _BTF_INFO_BYTES, action=action))
        memory = Memory()
        address, read = memory.space(size)
        given = struct.pack("<QI", address, size)
        info_by_fd(opened.fd, _BTF_INFO_BYTES, action=action, given=given)
    return parse_btf(read())


def occupant(program_id: int, link_id: int = 0) -> HookOccupant:
    """The program with that id, named; nameless if it went away meanwhile."""
    try:
        with program_by_id(program_id) as program:
            info = program_info(program.fd)
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        return HookOccupant(program_id, "", "", link_id)
    return HookOccupant(program_id, info.name, info.tag, link_id)


def program_array_is_empty(fd: int) -> bool:
    """Whether no slot of a program array holds a program; very long arrays count as used."""
    entries = map_info(fd).max_entries
    if entries > _MAX_PROGRAM_ARRAY:
        return False
    memory = Memory()
    value, _ = memory.space(4)
    for slot in range(entries):
        key = memory.of(struct.pack("<I", slot))
        _, failure, _ = bpf_attempt(MAP_LOOKUP, struct.pack("<I4xQQQ", fd, key, value, 0))
        if failure != errno.ENOENT:
            return False
    return True


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def _opens_with_unclone(code: bytes) -> bool:
    return tuple((code[at], code[at + 1]) for at in range(0, len(_UNCLONE) * 8, 8)) == _UNCLONE
