# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The inventory of all eBPF programs of this host, read when somebody asks.

In a thread of its own, so that a long search holds up neither the bus nor a change of a hook; one
search at a time, however many ask.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import PROGRAM_NEXT_ID, ids, info_by_fd
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.link_targets import attachments
from services.node_executor.adapters.program_holders import (
    MAX_DESCRIPTORS,
    MAX_PINS,
    PinnedPrograms,
    Search,
    program_owners,
)
from services.node_executor.adapters.program_probe import PROGRAM_TYPES
from services.node_executor.disclosure import EVERYBODY, Reader, without_kernels_words
from services.node_executor.generations import ChainMemory, Point
from services.node_executor.managed_programs import program_roles, role_of, unseen_programs
from shared.contracts.desired import DesiredChain
from shared.contracts.ebpf import (
    MAX_NAME_CHARACTERS,
    MAX_PARTS,
    EbpfAttachment,
    EbpfListed,
    EbpfOwner,
    EbpfProgram,
    ListEbpf,
)

_INFO_BYTES: Final = 88
_TYPES: Final = {kind.number: kind.name for kind in PROGRAM_TYPES}
_NANOSECONDS: Final = 1_000_000_000


class Points(Protocol):
    """What is remembered of hook points."""

    def points(self) -> set[Point]:
        """Hook points that have or had a chain."""

    def memory(self, point: Point) -> ChainMemory:
        """What is remembered of the point."""


class Staged(Protocol):
    """What is loaded and not attached."""

    def program_ids(self) -> Mapping[Point, Iterable[int]]:
        """Programs that wait to be put on their hooks."""

    def chains(self) -> Mapping[Point, DesiredChain]:
        """What they were linked from."""


class HostPrograms:
    """Lists programs of one node."""

    def __init__(
        self, *, node: str, base: PurePosixPath, boot_id: str, points: Points, staged: Staged
    ) -> None:
        """Nothing is read yet; `base` is this executor's own directory in bpffs."""
        self._node = node
        self._base = base
        self._boot_id = boot_id
        self._points = points
        self._staged = staged
        self._one_at_a_time = asyncio.Lock()
        self._pinned = PinnedPrograms(first=base)

    async def list(self, request: ListEbpf, reader: Reader = EVERYBODY) -> EbpfListed:
        """One page, read from the kernel now, as far as it is seen.

        Raises:
            KernelFaultError: The kernel does not say which programs there are.
        """
        staged = self._staged.program_ids()
        roles = self._roles(staged)
        unseen = unseen_programs(self._memories(), staged, self._staged.chains(), reader)
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._list, request, roles, unseen)

    def own_programs(self) -> Collection[int]:
        """Ids of the programs that this executor is known to have put on hooks in this boot."""
        return self._roles({}).keys()

    def _roles(self, staged: Mapping[Point, Iterable[int]]) -> dict[int, str]:
        return program_roles(self._memories(), staged, boot_id=self._boot_id)

    def _memories(self) -> Sequence[ChainMemory]:
        return [self._points.memory(point) for point in self._points.points()]

    def _list(
        self, request: ListEbpf, roles: Mapping[int, str], unseen: Collection[int]
    ) -> EbpfListed:
        processes = Search("descriptors", MAX_DESCRIPTORS)
        names = Search("names in bpffs", MAX_PINS)
        owners = program_owners(processes)
        pins = self._pinned.find(names)
        attached = attachments()
        found = {
            one: role_of(one, pins[one], roles, base=self._base) for one in ids(PROGRAM_NEXT_ID)
        }
        wanted = [
            one
            for one, role in found.items()
            if one > request.after_id and not (request.only_unmanaged and role)
        ]
        read = (
            _program(one, found[one], owners.get(one, {}), pins.get(one, ()), attached.get(one, ()))
            for one in wanted[: request.limit]
        )
        return EbpfListed(
            node=self._node,
            programs=tuple(
                without_kernels_words(one) if one.id in unseen or _is_under_way(one) else one
                for one in read
                if one is not None
            ),
            has_more=len(wanted) > request.limit,
            total=len(found),
            managed_total=sum(bool(role) for role in found.values()),
            notes=(*processes.notes(), *names.notes()),
        )


def _program(
    program_id: int,
    role: str,
    owners: Mapping[int, EbpfOwner],
    pins: Iterable[str],
    attached: Iterable[EbpfAttachment],
) -> EbpfProgram | None:
    """The program; None if it went away meanwhile."""
    try:
        with kernel_info.program_by_id(program_id) as program:
            action = f"reading program {program_id}"
            raw = info_by_fd(program.fd, _INFO_BYTES, action=action)
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        return None
    # struct bpf_prog_info in include/uapi/linux/bpf.h
    kind, _, tag, jited, translated = struct.unpack_from("<II8sII", raw)
    loaded_ns, user_id, map_count = struct.unpack_from("<QII", raw, 40)
    name, _, flags = struct.unpack_from("<16sII", raw, 64)
    holders, paths, places = sorted(owners.items()), sorted(pins), list(attached)
    return EbpfProgram(
        id=program_id,
        type=_TYPES.get(kind, str(kind)),
        name=name.split(b"\0", 1)[0].decode(errors="replace"),
        tag=tag.hex(),
        gpl_compatible=bool(flags & 1),
        managed=bool(role),
        role=role[:MAX_NAME_CHARACTERS],
        loaded_at=_moment(loaded_ns),
        user_id=user_id,
        translated_bytes=translated,
        jited_bytes=jited,
        map_count=map_count,
        owners=tuple(owner for _, owner in holders[:MAX_PARTS]),
        owner_count=len(holders),
        pins=tuple(paths[:MAX_PARTS]),
        pin_count=len(paths),
        attachments=tuple(places[:MAX_PARTS]),
        attachment_count=len(places),
    )


def _is_under_way(program: EbpfProgram) -> bool:
    """Whether this executor, or a process of its own, tries it just now: for whom is not known."""
    if program.role or not program.owners or program.pins:
        return False
    return all(_is_own(owner.pid) for owner in program.owners)


def _is_own(pid: int) -> bool:
    """Whether the process is this one, or a child of it."""
    if pid == os.getpid():
        return True
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # because processes come and go
        return False
    return f"\nPPid:\t{os.getpid()}\n" in status


def _moment(since_boot_ns: int) -> str:
    """The kernel counts from its start, sleep included."""
    started_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    seconds = round((started_ns + since_boot_ns) / _NANOSECONDS)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
