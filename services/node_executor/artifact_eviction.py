# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which cached artifacts make room for another, and which ones may never go.

Pure.

Rules:
 * What runs, what is staged, what is desired and what could be rolled back to is held, and stays.
 * Of the rest, what was not used for longest goes first, and no more than is needed.
 * What does not fit is refused before anything is removed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from services.node_executor.generations import ChainMemory
from shared.contracts.desired import DesiredChain
from shared.contracts.events import PUBLIC, Audience
from shared.deployment_keys import space_of
from shared.errors import FaultError, Reason

OFF_DISK: Final = "does not fit on the disk of the state directory"
_OVER_LIMIT: Final = (
    "does not fit into the cache beside what runs, is staged or can be gone back to"
    " (NODE_EXECUTOR_CACHE_BYTES)"
)


class NoRoomError(FaultError):
    """An artifact does not fit: into the limit of the cache, or on its disk."""


@dataclass(frozen=True, slots=True)
class CachedArtifact:
    """One artifact on the disk, whole or in part."""

    sha256: str
    size_bytes: int
    """What it takes on the disk."""
    used_ns: int
    """When it was last used, on any clock that does not go back much."""


@dataclass(frozen=True, slots=True)
class Room:
    """What there is room for."""

    limit_bytes: int
    """All artifacts together."""
    free_bytes: int
    """What the disk still takes."""
    reserved_bytes: int = 0
    """What has to stay free on the disk for the journal and for everything else on it."""


def chain_archives(chains: Iterable[DesiredChain]) -> frozenset[str]:
    """Digests of all archives that the chains are made of."""
    return frozenset(
        program.signed.archive_sha256 for chain in chains for program in chain.programs
    )


def archive_audience(sha256: str, memories: Iterable[ChainMemory]) -> Audience:
    """Who may know of the archive: everybody, unless only programs of a space are made of it."""
    told = {
        chain.audience if space_of(program.deployment) == chain.audience else PUBLIC
        for chain in _remembered_chains(memories)
        for program in chain.programs
        if program.signed.archive_sha256 == sha256
    }
    return PUBLIC if PUBLIC in told else min(told, default=PUBLIC)


def remembered_archives(memories: Iterable[ChainMemory]) -> frozenset[str]:
    """Digests of what runs, of what a change under way leads to, of what can be gone back to."""
    return chain_archives(_remembered_chains(memories))


def _remembered_chains(memories: Iterable[ChainMemory]) -> Iterator[DesiredChain]:
    return (
        generation.chain
        for memory in memories
        for generation in (
            memory.current,
            memory.previous,
            memory.pending.generation if memory.pending else None,
        )
        if generation is not None
    )


def plan_eviction(
    artifacts: Sequence[CachedArtifact],
    *,
    wanted: str,
    size_bytes: int,
    held: AbstractSet[str],
    room: Room,
) -> tuple[str, ...]:
    """Digests to remove, first to go first, so that `wanted` fits.

    Args:
        artifacts: Everything in the cache; `wanted` itself may be there in part.
        wanted: Its digest.
        size_bytes: What it takes.
        held: What must stay.
        room: What there is.

    Raises:
        NoRoomError: It would not fit even if everything were removed that may go.
    """
    there_bytes = sum(one.size_bytes for one in artifacts if one.sha256 == wanted)
    others = [one for one in artifacts if one.sha256 != wanted]
    total_bytes = sum(one.size_bytes for one in others)
    over_limit_bytes = total_bytes + size_bytes - room.limit_bytes
    off_disk_bytes = size_bytes - there_bytes - (room.free_bytes - room.reserved_bytes)
    evictable = sorted(
        (one for one in others if one.sha256 not in held),
        key=lambda one: (one.used_ns, one.sha256),
    )
    evictable_bytes = sum(one.size_bytes for one in evictable)
    reasons = [
        Reason(path=f"archive {wanted}", rule=rule, got=size_bytes, allowed=max(allowed_bytes, 0))
        for rule, missing_bytes, allowed_bytes in (
            (
                _OVER_LIMIT,
                over_limit_bytes,
                room.limit_bytes - total_bytes + evictable_bytes,
            ),
            (
                OFF_DISK,
                off_disk_bytes,
                room.free_bytes - room.reserved_bytes + there_bytes + evictable_bytes,
            ),
        )
        if missing_bytes > evictable_bytes
    ]
    if reasons:
        raise NoRoomError(f"{reasons[0].path} {reasons[0].rule}", reasons)
    return tuple(_oldest(evictable, max(over_limit_bytes, off_disk_bytes)))


def _oldest(evictable: Iterable[CachedArtifact], missing_bytes: int) -> Iterable[str]:
    for one in evictable:
        if missing_bytes <= 0:
            return
        missing_bytes -= one.size_bytes
        yield one.sha256
