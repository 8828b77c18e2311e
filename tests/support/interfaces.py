# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A veth pair for one test, and counts of kernel objects that must be the same before and after."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import (
    LINK_NEXT_ID,
    MAP_NEXT_ID,
    PROGRAM_NEXT_ID,
    ids,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from tests.support.executors import a_wire

DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Veth:
    """Two ends; what one sends the other receives."""

    name: str
    index: int
    peer: str


@contextmanager
def a_veth() -> Iterator[Veth]:
    """A silent veth pair in this network namespace, gone afterwards."""
    with a_wire() as wire:
        yield Veth(wire.name, socket.if_nametoindex(wire.name), wire.peer)


def own_objects() -> dict[str, int]:
    """How many descriptors of programs, maps, links and BTF this process holds."""
    gc.collect()
    counts = dict.fromkeys(("bpf-prog", "bpf-map", "bpf-link", "bpf_link", "btf"), 0)
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # because the listing itself opened one that is closed again
            target = str(entry.readlink())
            for kind in counts:
                counts[kind] += target == f"anon_inode:{kind}"
    return counts


def program_exists(program_id: int) -> bool:
    """Whether the kernel still has the program."""
    return program_id in ids(PROGRAM_NEXT_ID)


def wait_until_gone(
    *, programs: tuple[int, ...] = (), maps: tuple[int, ...] = (), links: tuple[int, ...] = ()
) -> None:
    """All of these kernel objects are gone; the kernel frees them a moment after the last hold."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    wanted = {PROGRAM_NEXT_ID: programs, MAP_NEXT_ID: maps, LINK_NEXT_ID: links}
    while any(set(known) & set(ids(command)) for command, known in wanted.items()):
        assert time.monotonic() < deadline, f"still there, of {wanted}"
        time.sleep(0.005)


def map_exists(map_id: int) -> bool:
    """Whether the kernel still has the map."""
    try:
        kernel_info.map_by_id(map_id).close()
    except KernelFaultError:
        return False
    return True
