# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a hook point that was just observed, with the programs on it looked up.

Touches nothing itself: the kernel is given.
"""

from __future__ import annotations

from contextlib import suppress

from services.node_executor.attachment import Surroundings
from services.node_executor.generations import ChainMemory
from services.node_executor.hook_access import HookReader
from services.node_executor.kernel_types import ProgramInfo
from services.node_executor.observation import describe_chain
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.recovery import damage
from shared.contracts.desired import DesiredChain
from shared.contracts.node import ObservedChain
from shared.errors import FaultError


def describe_hook(
    kernel: HookReader,
    hook: ObservedHook,
    memory: ChainMemory,
    desired: DesiredChain | None,
    desired_generation: int,
) -> ObservedChain:
    """The hook point as it was observed."""
    programs = _programs(kernel, hook, memory)
    return describe_chain(
        hook=hook,
        memory=memory,
        desired=desired,
        desired_generation=desired_generation,
        programs=programs,
        surroundings=kernel.surroundings(memory.point) if programs else Surroundings(),
        damage=damage(hook, point=memory.point),
    )


def _programs(
    kernel: HookReader, hook: ObservedHook, memory: ChainMemory
) -> tuple[ProgramInfo, ...]:
    """Our kernel programs on the hook, head first; those that are gone end it."""
    if not hook.link_is_live:
        return ()
    found = [kernel.program(hook.link_program_id)]
    generation = memory.generation_with(hook.link_program_id)
    with suppress(FaultError):
        found += map(kernel.program, generation.segments if generation else ())
    return tuple(found)
