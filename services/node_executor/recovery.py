# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of a hook point after a crash, after a change, or after the memory was lost.

Pure.

Rules:
 * The kernel says how far an interrupted change came; the journal says what it was.
 * What is pinned beside a program says what it was linked from, so a lost memory costs nothing.
 * Of memory and pins the one with the higher number is newer, and is believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from services.node_executor.generation_record import MalformedRecordError, decode_record
from services.node_executor.generations import (
    ChainMemory,
    Generation,
    Point,
    config_digest,
    map_configs,
    point_of,
    whole_digest,
)
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from shared.contracts.desired import DesiredChain, DesiredNode

OrphanPolicy = Literal["remove", "report"]
"""What happens to pins that nobody remembers or desires; they are said in any case."""


def recover(observed: ObservedHook, memory: ChainMemory) -> tuple[ChainMemory, bool]:
    """The memory once the kernel has said how far an interrupted change came.

    Returns the memory without a pending change, and whether that change is done in the kernel and
    only its journal entry is missing.  A change that is not done is simply decided anew.
    """
    pending = memory.pending
    if pending is None:
        return memory, False
    match pending.kind:
        case "attach":
            assert pending.generation is not None
            is_done = observed.link_program_id == pending.generation.program_id
        case "detach":
            is_done = not observed.link_is_live
        case _:
            is_done = False
    return (confirmed(memory), True) if is_done else (abandoned(memory), False)


def confirmed(memory: ChainMemory) -> ChainMemory:
    """The memory after the pending change was read back from the kernel."""
    pending = memory.pending
    assert pending is not None
    generation = pending.generation
    if generation is None:
        return ChainMemory(
            interface=memory.interface,
            hook=memory.hook,
            netns=memory.netns,
            last_number=memory.last_number,
        )
    is_same = memory.current is not None and memory.current.program_id == generation.program_id
    return ChainMemory(
        interface=memory.interface,
        hook=memory.hook,
        netns=memory.netns,
        last_number=max(memory.last_number, generation.number),
        current=generation,
        previous=memory.previous if is_same else memory.current,
        config_sha256=config_digest(generation.chain),
        desired_generation=pending.desired_generation,
    )


def confirmed_node(node: str, memories: Iterable[ChainMemory]) -> DesiredNode:
    """What is desired as long as nobody says it: the chains that were last confirmed here.

    A chain that only its pins tell of runs on; it may be an orphan.
    """
    known = [one for one in memories if one.current is not None and not one.is_found]
    return DesiredNode(
        node=node,
        generation=max((memory.desired_generation for memory in known), default=0),
        chains=tuple(memory.current.chain for memory in known if memory.current is not None),
    )


def abandoned(memory: ChainMemory) -> ChainMemory:
    """The memory after the pending change did not happen.

    Map entries may have been half written, so the configuration counts as not known.
    """
    pending = memory.pending
    touched = {*memory.touched}
    if pending is not None and pending.generation is not None:
        touched |= set(map_configs(pending.generation.chain))
    return msgspec.structs.replace(
        memory, pending=None, config_sha256="", touched=tuple(sorted(touched))
    )


def learned(observed: ObservedHook, memory: ChainMemory) -> ChainMemory | None:
    """The memory as the pins tell it, if they are newer than `memory`; else None.

    They are newer when the state directory was lost or comes from a backup, and when another
    executor changed the hook point.  The generation on the hook is current; of the others the one
    with the highest number was before it.
    """
    if observed.standing.number <= memory.last_number:
        return None
    if observed.link_is_dead and memory.current is not None:
        return None  # what has no interface was changed by nobody
    told = _told(observed)
    current = _current(observed, told)
    if current is None or current.number <= memory.last_number:
        return None
    others = [one for one in told if one.pin != current.pin and one.number < current.number]
    unfinished = [one for one in told if one.number > current.number]
    return ChainMemory(
        interface=memory.interface,
        hook=memory.hook,
        netns=memory.netns,
        last_number=max(one.number for one in told),
        current=current,
        previous=max(others, key=lambda one: one.number, default=None),
        config_sha256="" if unfinished else config_digest(current.chain),
        touched=tuple(sorted({key for one in unfinished for key in map_configs(one.chain)})),
        refusal=memory.refusal,
        refused_sha256=memory.refused_sha256,
        is_found=memory.is_found or memory.last_number == 0,
    )


def is_orphan(observed: ObservedHook, memory: ChainMemory, desired: DesiredChain | None) -> bool:
    """Whether what is pinned for the hook point is desired by nobody, and nothing remembers it.

    What the pins told of themselves is no memory of having put it there.
    """
    is_wanted = desired is not None and bool(desired.programs)
    is_unknown = memory.is_found or (memory.last_number == 0 and memory.pending is None)
    return is_unknown and not is_wanted and bool(observed.link_id or observed.generations)


def is_repair(memory: ChainMemory, desired: DesiredChain) -> bool:
    """Whether the change leads to exactly what was confirmed on the hook point last."""
    current = memory.current
    is_same = current is not None and whole_digest(current.chain) == whole_digest(desired)
    return is_same and bool(desired.programs)


def settled(memory: ChainMemory, wanted: DesiredChain) -> ChainMemory:
    """The memory once the hook point runs what is wanted: it is no orphan, and nothing refused.

    Who may know of it is said by what is wanted now, whoever that was when it was put there.
    """
    is_found = memory.is_found and not wanted.programs
    current = memory.current
    if current is not None and wanted.programs == current.chain.programs:
        cause = msgspec.structs.replace(current.chain.cause, audience=wanted.cause.audience)
        told = msgspec.structs.replace(current.chain, audience=wanted.audience, cause=cause)
        current = msgspec.structs.replace(current, chain=told)
    return msgspec.structs.replace(memory, refusal=None, is_found=is_found, current=current)


def damage(observed: ObservedHook, *, point: Point) -> tuple[str, ...]:
    """What is wrong with the pins of a hook point, one sentence each."""
    found = [f"{path} in the pin directory is not ours and is left alone" for path in observed.odd]
    for number, pinned in sorted(observed.generations.items()):
        problem = _problem(number, pinned, point)
        if problem:
            found.append(f"the pins of generation {number} are damaged: {problem}")
    return tuple(found)


def _told(observed: ObservedHook) -> list[Generation]:
    """The generations whose record is whole and whose pins are what it says."""
    told = []
    for number, pinned in observed.generations.items():
        if not _problem(number, pinned):
            told.append(decode_record(pinned.record))
    return told


def _current(observed: ObservedHook, told: list[Generation]) -> Generation | None:
    if observed.link_is_live:
        return next((one for one in told if one.program_id == observed.link_program_id), None)
    if observed.link_is_dead:
        return max(told, key=lambda one: one.number, default=None)
    return None


def _problem(number: int, pinned: PinnedGeneration, point: Point | None = None) -> str:
    """Why the record and the pins of a generation are not to be believed; empty: they are."""
    if not pinned.record:
        return "there is no record"
    try:
        generation = decode_record(pinned.record)
    except MalformedRecordError as error:
        return error.message
    chain = generation.chain
    is_elsewhere = point not in (None, point_of(chain))
    differences = (
        (generation.pin != number, "the record is of another generation"),
        (is_elsewhere, f"the record is of {point_of(chain)}"),
        (
            dict(pinned.programs) != generation.pinned_programs,
            "the programs are not those of the record",
        ),
        (dict(pinned.maps) != generation.pinned_maps, "the maps are not those of the record"),
    )
    return next((problem for is_so, problem in differences if is_so), "")
