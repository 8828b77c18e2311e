# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of a hook point: the kernel's own words first, then what they were made of.

Pure.  A program that the memory does not know is reported as it is, without bodies.
"""

from __future__ import annotations

import msgspec

from services.node_executor.attachment import Surroundings
from services.node_executor.generations import ChainMemory, Generation, plan_digest
from services.node_executor.kernel_types import HookOccupant, ProgramInfo
from services.node_executor.observed_hook import ObservedHook
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.events import PUBLIC
from shared.contracts.node import (
    ChainState,
    HookNeighbour,
    ObservedChain,
    ObservedProgram,
    ObservedSegment,
)
from shared.deployment_keys import space_of
from shared.errors import Refusal
from shared.redaction import redacted_refusal


def describe_chain(
    *,
    hook: ObservedHook,
    memory: ChainMemory,
    desired: DesiredChain | None,
    desired_generation: int,
    programs: tuple[ProgramInfo, ...],
    surroundings: Surroundings,
    damage: tuple[str, ...] = (),
) -> ObservedChain:
    """The hook point as the kernel has it now; `programs` are ours there, head first."""
    refusal = _told_refusal(memory, desired)
    if not programs:
        return ObservedChain(
            interface=memory.interface,
            hook=memory.hook,
            netns=memory.netns,
            state=_state_without_program(hook, desired, memory),
            generation=memory.last_number,
            desired_generation=desired_generation,
            cause=desired.cause if desired else None,
            refusal=refusal,
            warnings=damage,
            drift=memory.drift.seen,
        )
    program = programs[0]
    generation = memory.generation_with(program.id)
    return ObservedChain(
        interface=memory.interface,
        hook=memory.hook,
        netns=memory.netns,
        state="attached",
        generation=generation.number if generation else memory.last_number,
        desired_generation=desired_generation,
        plan_sha256=generation.plan_sha256 if generation else "",
        config_sha256=memory.config_sha256 if generation else "",
        program_id=program.id,
        program_tag=program.tag,
        link_id=hook.link_id,
        xdp_mode=hook.attachment.removeprefix("xdp-") if memory.hook == "xdp" else "",
        attachment=hook.attachment,
        attachment_reason=(
            memory.attachment_reason if surroundings.reason is None else surroundings.reason
        ),
        runs_after=tuple(_neighbour(one) for one in surroundings.runs_after),
        runs_before=tuple(_neighbour(one) for one in surroundings.runs_before),
        displaced=_neighbour(surroundings.displaced) if surroundings.displaced else None,
        gpl_compatible=program.gpl_compatible,
        verified_instructions=program.instructions_verified,
        jited_bytes=program.jited_bytes,
        map_ids=tuple(sorted(program.map_ids)),
        programs=_read_back(generation.programs, programs) if generation else (),
        segments=_segments(programs, generation),
        cause=_cause(generation, desired),
        refusal=refusal,
        warnings=(*(generation.warnings if generation else ()), *damage),
        drift=memory.drift.seen,
        target=generation.chain.target if generation else None,
        probe=surroundings.probe,
    )


def describe_unreadable(
    memory: ChainMemory, fault: Refusal, *, desired_generation: int
) -> ObservedChain:
    """A hook point of which the kernel says nothing now: nothing is claimed of what runs there."""
    return ObservedChain(
        interface=memory.interface,
        hook=memory.hook,
        netns=memory.netns,
        state="failed",
        generation=memory.last_number,
        desired_generation=desired_generation,
        refusal=fault,
        drift=memory.drift.seen,
    )


def describe_programs(
    chain: DesiredChain, linked: tuple[ObservedProgram, ...]
) -> tuple[ObservedProgram, ...]:
    """The bodies of a linked program, named as the chain names them now.

    Args:
        chain: Has the same plan as the program, perhaps newer revisions.
        linked: The bodies as they were when the program was linked; empty: not linked yet.
    """
    modes = {program.deployment: program for program in linked}
    return tuple(_describe(program, modes.get(program.deployment)) for program in chain.programs)


def _describe(program: DesiredProgram, linked: ObservedProgram | None) -> ObservedProgram:
    return ObservedProgram(
        deployment=program.deployment,
        revision=program.revision,
        package=program.package,
        version=program.version,
        archive_sha256=program.signed.archive_sha256,
        program=program.program,
        order=program.order,
        mode=linked.mode if linked else "inline",
        reason=linked.reason if linked else "",
        segment=linked.segment if linked else 0,
        slot=linked.slot if linked else 0,
        instructions=linked.instructions if linked else 0,
        object_sha256=linked.object_sha256 if linked else "",
        licence=linked.licence if linked else None,
        compilation=linked.compilation if linked else None,
        unverified=linked.unverified if linked else "",
    )


def _read_back(
    bodies: tuple[ObservedProgram, ...], programs: tuple[ProgramInfo, ...]
) -> tuple[ObservedProgram, ...]:
    """The bodies, each with what the kernel says of the licence of the program that it is in."""
    return tuple(
        msgspec.structs.replace(
            body,
            licence=msgspec.structs.replace(
                body.licence, gpl_compatible=programs[body.segment].gpl_compatible
            ),
        )
        if body.licence is not None and body.segment < len(programs)
        else body
        for body in bodies
    )


def _told_refusal(memory: ChainMemory, desired: DesiredChain | None) -> Refusal | None:
    """Why the newest chain does not run; of one that others were told of, that it does not."""
    audience = memory.refused_audience
    known = {PUBLIC} if desired is None else {PUBLIC, desired.audience}
    known |= {space_of(one.deployment) for one in (desired.programs if desired else ())}
    return memory.refusal if audience in known else redacted_refusal(memory.refusal)


def _neighbour(occupant: HookOccupant) -> HookNeighbour:
    return HookNeighbour(
        program_id=occupant.program_id,
        program_name=occupant.program_name,
        program_tag=occupant.program_tag,
        link_id=occupant.link_id,
    )


def _state_without_program(
    hook: ObservedHook, desired: DesiredChain | None, memory: ChainMemory
) -> ChainState:
    """Where nothing of ours runs: that it shall be so, cannot be otherwise, or was left so."""
    if desired is None or not desired.programs:
        return "absent"
    if hook.interface_index is None:
        return "waiting-for-interface"
    was_left = any(one.done.startswith("left") for one in memory.drift.seen)
    return "failed" if memory.refusal is not None or was_left else "absent"


def _segments(
    programs: tuple[ProgramInfo, ...], generation: Generation | None
) -> tuple[ObservedSegment, ...]:
    """The kernel's words; the licence strings, which it does not give back, are the plan's."""
    explanation = generation.explanation if generation else None
    planned = explanation.segments if explanation else ()
    return tuple(
        ObservedSegment(
            program_id=program.id,
            tag=program.tag,
            verified_instructions=program.instructions_verified,
            jited_bytes=program.jited_bytes,
            maps_used=len(set(program.map_ids)),
            licence=planned[number].licence if number < len(planned) else "",
            gpl_compatible=program.gpl_compatible,
        )
        for number, program in enumerate(programs)
    )


def _cause(generation: Generation | None, desired: DesiredChain | None) -> Cause | None:
    """Of what runs, which is not always what is desired."""
    if generation is None:
        return None
    if desired is not None and generation.plan_sha256 == plan_digest(desired):
        return desired.cause
    return generation.chain.cause
