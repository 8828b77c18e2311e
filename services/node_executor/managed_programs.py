# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which programs of the kernel are this executor's, and what they are to it.

Pure.  Program ids begin anew with each boot, so what is remembered of an earlier one says nothing;
a pin below the executor's own directory always does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from services.node_executor.disclosure import Reader
from services.node_executor.generations import ChainMemory, Generation, Point
from shared.contracts.desired import DesiredChain


def program_roles(
    memories: Iterable[ChainMemory], staged: Mapping[Point, Iterable[int]], *, boot_id: str
) -> dict[int, str]:
    """Program id to its role, as `eth0/xdp current`."""
    roles: dict[int, str] = {}
    for point, program_ids in staged.items():
        roles |= dict.fromkeys(program_ids, f"{point} staged")
    for memory in memories:
        if memory.boot_id not in ("", boot_id):
            continue
        pending = memory.pending.generation if memory.pending else None
        kept = {"coming": pending, "previous": memory.previous, "current": memory.current}
        for word, generation in kept.items():
            if generation is not None:
                role = f"{memory.point} {word}"
                roles |= dict.fromkeys(_programs(generation), role)
    return roles


def unseen_programs(
    memories: Iterable[ChainMemory],
    staged: Mapping[Point, Iterable[int]],
    chains: Mapping[Point, DesiredChain],
    reader: Reader,
) -> frozenset[int]:
    """Ids of the programs of chains that are not seen whole.

    Args:
        memories: Of hook points.
        staged: What is loaded and waits.
        chains: What that was linked from.
        reader: Who asks.
    """
    found: set[int] = set()
    for point, program_ids in staged.items():
        if not reader.sees_all([chains.get(point)]):
            found.update(program_ids)
    for memory in memories:
        pending = memory.pending.generation if memory.pending else None
        for generation in (*memory.kept, pending):
            if generation is not None and not reader.sees_all([generation.chain]):
                found.update(_programs(generation))
    return frozenset(found)


def role_of(
    program_id: int, pins: Iterable[str], roles: Mapping[int, str], *, base: PurePosixPath
) -> str:
    """The role of a program; empty: it is somebody else's.

    Args:
        program_id: Its id.
        pins: Its names in bpffs.
        roles: What is remembered.
        base: The executor's own directory in bpffs.
    """
    role = roles.get(program_id, "")
    is_pinned = any(PurePosixPath(pin).is_relative_to(base) for pin in pins)
    if role.endswith(" previous") and not is_pinned:
        return ""  # of an earlier boot: the kernel gave the number to another program
    return role or ("pinned" if is_pinned else "")


def _programs(generation: Generation) -> tuple[int, ...]:
    return (generation.program_id, *generation.segments)
