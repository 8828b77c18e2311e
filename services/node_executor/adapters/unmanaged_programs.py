# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Watches the host for eBPF programs that nobody manages.

A look reads ids and moments of loading, which is cheap; owners and names are searched for only
when something new is there, and still there a second later.  What was there before the first look
of a boot is the inventory's, not news.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import msgspec
import structlog

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import PROGRAM_NEXT_ID, ids, info_by_fd
from services.node_executor.adapters.host_programs import HostPrograms
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.staging import Thread
from services.node_executor.unmanaged import (
    KnownPrograms,
    Loaded,
    UnmanagedPolicy,
    arrivals,
    drift_body,
    drift_id,
    is_nobodys,
)
from shared.contracts.ebpf import EbpfProgram, ListEbpf
from shared.contracts.events import EventBody
from shared.errors import FaultError, RefusedError

LOOK_SECONDS: Final = 14.0
"""With what follows, a program is said 15 s after it came."""
STAY_SECONDS: Final = 1.0
"""A program that is gone again after this, as those that others try the kernel with, is no news."""
_INFO_BYTES: Final = 48
_MAX_PAGES: Final = 16
_MODULE: Final = b"services.node_executor"
"""How an executor is started."""

log = structlog.get_logger()


class Journal(Protocol):
    """Where events go first."""

    def journal(self, entries: Iterable[tuple[str, EventBody]]) -> None:
        """Ids that are known change nothing."""


class UnmanagedPrograms:
    """Of one node."""

    def __init__(
        self,
        *,
        node: str,
        boot_id: str,
        base: PurePosixPath,
        path: Path,
        host: HostPrograms,
        journal: Journal,
        thread: Thread,
        policy: UnmanagedPolicy,
        look_seconds: float = LOOK_SECONDS,
        stay_seconds: float = STAY_SECONDS,
    ) -> None:
        """Nothing is read yet; `path` keeps what is known, `base` is this executor's in bpffs."""
        self._node = node
        self._boot_id = boot_id
        self._base = base
        self._path = path
        self._host = host
        self._journal = journal
        self._thread = thread
        self._policy = policy
        self._look_seconds = look_seconds
        self._stay_seconds = stay_seconds
        self._known: set[Loaded] | None = None

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Within the block whatever comes is said once."""
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self.watching())
            yield
            watching.cancel()

    async def watching(self) -> None:
        """Whatever comes is said once; never ends by itself, unless nothing shall be said."""
        while self._policy == "report":
            try:
                await self.look()
            except (FaultError, RefusedError) as fault:
                log.warning("looking_for_programs_failed", why=fault.message)
            await asyncio.sleep(self._look_seconds)

    async def look(self) -> None:
        """What came since the last look is in the journal."""
        present = await asyncio.to_thread(_present)
        if self._known is None:
            self._known = await asyncio.to_thread(self._read)
        if self._known is None:
            await self._keep(present)
            return
        news = arrivals(self._known, present)
        if not news:
            self._known &= present
            return
        await asyncio.sleep(self._stay_seconds)
        found = await self._unmanaged(news)
        entries = [
            (drift_id(self._node, self._boot_id, one), drift_body(self._node, program))
            for one in news
            if (program := found.get(one.program_id)) is not None
        ]
        if entries:
            await self._thread(self._journal.journal, entries)
        await self._keep((self._known | set(news)) & present)

    async def _unmanaged(self, news: Iterable[Loaded]) -> dict[int, EbpfProgram]:
        """Those that are still there and nobody's."""
        wanted = {one.program_id for one in news}
        after_id, found = min(wanted) - 1, dict[int, EbpfProgram]()
        for _ in range(_MAX_PAGES):
            page = await self._host.list(ListEbpf(after_id=after_id, only_unmanaged=True))
            found |= {
                one.id: one
                for one in page.programs
                if one.id in wanted
                and is_nobodys(one, executors=_executors(one), family=self._base.parent)
            }
            if not page.has_more or page.programs[-1].id >= max(wanted):
                break
            after_id = page.programs[-1].id
        return found

    async def _keep(self, known: set[Loaded]) -> None:
        self._known = known
        await asyncio.to_thread(self._write, known)

    def _read(self) -> set[Loaded] | None:
        """What was known in this boot; None: nothing was."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=KnownPrograms)
        except (OSError, msgspec.DecodeError):
            return None
        return set(kept.programs) if kept.boot_id == self._boot_id else None

    def _write(self, known: set[Loaded]) -> None:
        """Without the file the next start says nothing of what came meanwhile; that is all."""
        fresh = self._path.with_suffix(".new")
        kept = KnownPrograms(boot_id=self._boot_id, programs=tuple(sorted(known)))
        try:
            fresh.write_bytes(msgspec.json.encode(kept))
            fresh.rename(self._path)
        except OSError as error:
            log.warning("known_programs_not_kept", why=str(error))


def _executors(program: EbpfProgram) -> set[int]:
    """Owners of the program that are executors of this host, or processes that try for one."""
    return {one.pid for one in program.owners if one.pid == os.getpid() or _is_executor(one.pid)}


def _is_executor(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # because processes come and go
        return False
    return any(word == _MODULE or word.startswith(_MODULE + b".") for word in words)


def _present() -> set[Loaded]:
    """Every program of the kernel now."""
    found = set()
    for program_id in ids(PROGRAM_NEXT_ID):
        try:
            with kernel_info.program_by_id(program_id) as program:
                raw = info_by_fd(program.fd, _INFO_BYTES, action=f"reading program {program_id}")
        except KernelFaultError as error:
            if error.number != errno.ENOENT:  # programs come and go while they are listed
                raise
            continue
        # struct bpf_prog_info in include/uapi/linux/bpf.h
        found.add(Loaded(program_id, struct.unpack_from("<Q", raw, 40)[0]))
    return found
