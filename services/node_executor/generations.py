# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a hook point: the generations put on it, and a change that is under way.

Pure.  The kernel says which program runs; this says what that program was linked from.

Rules:
 * A chain's plan digest covers what shapes the linked program and nothing else, so a new
   revision, new map entries or other metrics never make a new program necessary.
 * `number` goes up with every program put on the hook, also when an earlier one comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from shared.canonical import canonical_digest
from shared.contracts.base import Message
from shared.contracts.inspection import ChainExplanation
from shared.contracts.node import Cause, DesiredChain, DesiredProgram, MapConfig, ObservedProgram
from shared.errors import Refusal
from shared.identifiers import Digest, Hook

ChangeKind = Literal["attach", "configure", "detach"]


class Point(NamedTuple):
    """A hook point of this node."""

    interface: str
    hook: Hook


class MapKey(NamedTuple):
    """A map of one instance: it keeps its content for as long as the instance is in the chain."""

    deployment: str
    name: str


class HeldMap(Message, frozen=True, kw_only=True):
    """A map that a generation's program uses."""

    deployment: str
    name: str
    map_id: int
    is_pinned: bool = True
    """Whether the map outlives the program; constants do not, they belong to the code."""


class Generation(Message, frozen=True, kw_only=True):
    """One linked program, and what it was made of."""

    number: int
    pin: int
    """Name of its pin: the number under which it was first put on the hook."""
    plan_sha256: str
    chain: DesiredChain
    """The desired chain as last confirmed for this program."""
    program_id: int
    maps: tuple[HeldMap, ...] = ()
    programs: tuple[ObservedProgram, ...] = ()
    verified_instructions: int = 0
    explanation: ChainExplanation | None = None
    """Why it is linked as it is; None: a release that kept none linked it."""


class Pending(Message, frozen=True, kw_only=True):
    """A change that was journaled and may have reached the kernel."""

    kind: ChangeKind
    generation: Generation | None = None
    """What will be current; None for a detach."""
    desired_generation: int
    cause: Cause


class ChainMemory(Message, frozen=True, kw_only=True):
    """One hook point."""

    interface: str
    hook: Hook
    last_number: int = 0
    current: Generation | None = None
    """On the hook, unless the kernel says otherwise."""
    previous: Generation | None = None
    """Still loaded and pinned: going back is one link update."""
    pending: Pending | None = None
    config_sha256: str = ""
    """Of the configuration last written; empty: not known."""
    attachment_reason: str = ""
    """Why it is attached as it is, in the words of the moment when it was attached."""
    refusal: Refusal | None = None
    """Why the newest desired chain does not run."""
    refused_sha256: str = ""
    """Digest of the desired chain that was refused, configuration included."""
    touched: tuple[MapKey, ...] = ()
    """Maps that an interrupted change may have written to."""
    boot_id: str = ""
    """The run of the kernel in which the current generation was put on the hook."""

    def generation_of(self, plan_sha256: str) -> Generation | None:
        """The kept generation that was linked from this plan, the current one first."""
        for kept in (self.current, self.previous):
            if kept is not None and kept.plan_sha256 == plan_sha256:
                return kept
        return None


def plan_digest(chain: DesiredChain) -> Digest:
    """Digest of everything that shapes the linked program; map configuration left out."""
    return canonical_digest(
        {
            "hook": chain.hook,
            "interface": chain.interface,
            "link": _shaping_options(chain),
            "programs": [_shaping(program) for program in chain.programs],
        }
    )


def config_digest(chain: DesiredChain) -> Digest:
    """Digest of the map configuration of all programs."""
    return canonical_digest({program.deployment: program.config for program in chain.programs})


def whole_digest(chain: DesiredChain) -> Digest:
    """Digest of all that is desired, its cause left out."""
    return canonical_digest([chain.interface, chain.hook, chain.programs, chain.link])


def map_configs(chain: DesiredChain) -> dict[MapKey, MapConfig]:
    """The configuration of every map that the chain names."""
    return {
        MapKey(program.deployment, name): config
        for program in chain.programs
        for name, config in program.config.items()
    }


def carried_maps(
    pinned: Mapping[MapKey, int], memory: ChainMemory, desired: DesiredChain
) -> dict[MapKey, int]:
    """The pinned maps that the desired chain's programs take over, by id.

    An instance that stays in the chain keeps its maps, whatever version it becomes.  Global data
    (`.data`, `.bss`) has a layout that only the same code knows, so another archive gets its own.
    """
    archives = (
        {one.deployment: one.signed.archive_sha256 for one in memory.current.chain.programs}
        if memory.current is not None
        else {}
    )
    staying = {
        program.deployment: archives.get(program.deployment) == program.signed.archive_sha256
        for program in desired.programs
        if memory.current is None or program.deployment in archives
    }
    return {
        key: map_id
        for key, map_id in pinned.items()
        if key.deployment in staying and (staying[key.deployment] or not key.name.startswith("."))
    }


def configured_maps(memory: ChainMemory, desired: DesiredChain) -> dict[MapKey, MapConfig]:
    """Every map whose entries this executor decides, with the entries it shall have.

    That is what is desired, and nothing for what an earlier chain configured and this one does
    not name.
    """
    deployments = {program.deployment for program in desired.programs}
    earlier = [
        key
        for kept in (memory.current, memory.previous)
        if kept is not None
        for key in map_configs(kept.chain)
    ]
    nothing: dict[MapKey, MapConfig] = {
        key: {} for key in (*earlier, *memory.touched) if key.deployment in deployments
    }
    return {**nothing, **map_configs(desired)}


def _shaping_options(chain: DesiredChain) -> list[Any]:
    """The link options that another program comes of; how XDP is attached is not one of them."""
    link = chain.link
    options = [link.frags, link.counters, link.time_sample_period, link.end_verdict]
    return options if chain.hook == "xdp" else [*options, link.attach]


def _shaping(program: DesiredProgram) -> dict[str, Any]:
    return {
        "archive": program.signed.archive_sha256,
        "deployment": program.deployment,
        "function": program.function,
        "object": program.object,
        "package": program.package,
        "proceed_on": sorted(program.proceed_on),
        "program": program.program,
        "version": program.version,
    }
