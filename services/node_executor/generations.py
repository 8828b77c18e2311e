# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a hook point: the generations put on it, and a change that is under way.

Pure.  The kernel says which program runs; this says what that program was linked from.

Rules:
 * A chain's plan digest covers what shapes the linked program and nothing else, so a new
   revision, new map entries or other metrics never make a new program necessary.
 * `number` goes up with every program put on the hook, also when an earlier one comes back.
 * A generation is a head program, the programs of further segments, the array that leads to them,
   the counters of its slots and the maps of its bodies: they are pinned and let go together.
 * A program instance has one counter slot for as long as a generation that has it is kept; one
   that was removed and deployed again is another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import count
from typing import Any, Final, Literal, NamedTuple

import msgspec

from services.node_executor.drift_record import DriftRecord
from services.node_executor.held_maps import HeldMap
from shared.canonical import canonical_digest
from shared.contracts.base import Message
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram, MapConfig
from shared.contracts.events import PUBLIC
from shared.contracts.inspection import ChainExplanation
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain, ObservedProgram
from shared.contracts.probes import ProbeTarget
from shared.errors import Refusal
from shared.identifiers import Digest, Hook, render_hook_point, render_place

ChangeKind = Literal["attach", "configure", "detach"]

HEAD: Final = 0
"""Number of the segment that is on the hook."""


class Point(NamedTuple):
    """A hook point of this node."""

    interface: str
    hook: Hook
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """The interface's written form."""
        return render_place(self.interface, self.netns)

    def __str__(self) -> str:
        """As people and the scheduler write it: `eth0/xdp`, `blue/eth0/xdp`."""
        return render_hook_point(self.interface, self.hook, self.netns)


class MapKey(NamedTuple):
    """A map of one instance: it keeps its content for as long as the instance is in the chain."""

    deployment: str
    name: str


class Standing(NamedTuple):
    """Where a hook point stands; two looks that give the same saw no change between them.

    The program alone does not tell: after A, B and A again (a rollback) it is as it was.
    """

    number: int
    """Of the newest generation ever recorded there; goes up with every change of the program."""
    link_id: int
    """Never used twice by one kernel."""
    program_id: int


COUNTERS: Final = MapKey("", "l3af_slots")
"""Packets and verdicts of every instance; one map for the life of a chain on its hook point."""
SEGMENTS: Final = MapKey("", "l3af_segments")
"""The array through which a chain of several kernel programs goes from one to the next."""


class ProgramPin(NamedTuple):
    """Name of a pinned kernel program of a linked chain."""

    generation: int
    segment: int = HEAD


class MapPin(NamedTuple):
    """Name of a pinned map; each generation pins the maps that it uses, shared or not."""

    generation: int
    key: MapKey


class Generation(Message, frozen=True, kw_only=True):
    """One linked program, and what it was made of."""

    number: int
    pin: int
    """Name of its pins: the number under which it was first put on the hook."""
    plan_sha256: str
    chain: DesiredChain
    """The desired chain as last confirmed for this program."""
    program_id: int
    """Of the head."""
    segments: tuple[int, ...] = ()
    """Program ids of the segments behind the head, in order."""
    maps: tuple[HeldMap, ...] = ()
    programs: tuple[ObservedProgram, ...] = ()
    verified_instructions: int = 0
    explanation: ChainExplanation | None = None
    """Why it is linked as it is; None: a release that kept none linked it."""
    slots: dict[str, int] = {}
    """Deployment to its place in the counters."""
    warnings: tuple[str, ...] = ()
    put_at_seconds: float = 0.0
    """When it was put on the hook, in seconds since the kernel started."""
    interface_index: int = 0
    """Of the interface that its programs were loaded for; 0: not known."""

    @property
    def pinned_programs(self) -> dict[int, int]:
        """Segment to program id."""
        return dict(enumerate((self.program_id, *self.segments)))

    @property
    def pinned_maps(self) -> dict[MapKey, int]:
        """The maps that outlive it, by id."""
        return {
            MapKey(held.deployment, held.name): held.map_id for held in self.maps if held.is_pinned
        }


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
    refused_audience: str = PUBLIC
    """Who may know why."""
    touched: tuple[MapKey, ...] = ()
    """Maps that an interrupted change may have written to."""
    boot_id: str = ""
    """The run of the kernel in which the current generation was put on the hook."""
    drift: DriftRecord = DriftRecord()
    """What others changed here."""
    desired_generation: int = 0
    """Of the node's desired record that the current generation was last confirmed for."""
    is_found: bool = False
    """Whether only the pins told all this, and nobody has desired it since."""
    netns: str = ""

    @property
    def point(self) -> Point:
        """Whose memory it is."""
        return Point(self.interface, self.hook, self.netns)

    @property
    def kept(self) -> tuple[Generation, ...]:
        """The generations that are loaded and pinned, the current one first."""
        return tuple(one for one in (self.current, self.previous) if one is not None)

    @property
    def attached_with(self) -> LinkOptions:
        """What was asked for when that which runs was attached."""
        return self.current.chain.link if self.current else LinkOptions()

    @property
    def attached_to(self) -> ProbeTarget | None:
        """What the probe that runs was attached to; None: it is none."""
        return self.current.chain.target if self.current else None

    def generation_with(self, program_id: int) -> Generation | None:
        """The kept generation whose head is that program, the current one first."""
        return next((one for one in self.kept if one.program_id == program_id), None)

    def generation_of(self, plan_sha256: str) -> Generation | None:
        """The kept generation that was linked from this plan, the current one first."""
        return next((one for one in self.kept if one.plan_sha256 == plan_sha256), None)


def plan_digest(chain: DesiredChain) -> Digest:
    """Digest of everything that shapes the linked program; map configuration left out."""
    target = {} if chain.target is None else {"target": chain.target}
    return canonical_digest(
        {
            **target,
            "hook": chain.hook,
            "interface": chain.place,
            "link": _shaping_options(chain),
            "programs": [_shaping(program) for program in chain.programs],
        }
    )


def nothing_desired(point: Point) -> DesiredChain:
    """An empty chain, which nobody asked for."""
    return DesiredChain(**point._asdict(), programs=(), cause=Cause(command_id=""))


def point_of(chain: DesiredChain | ObservedChain) -> Point:
    """The hook point that the chain is for."""
    return Point(chain.interface, chain.hook, chain.netns)


def config_digest(chain: DesiredChain) -> Digest:
    """Digest of the maps and variables of all programs that can change while they run."""
    return canonical_digest(
        {
            one.deployment: one.config | ({".variables": one.variables} if one.variables else {})
            for one in chain.programs
        }
    )


def whole_digest(chain: DesiredChain) -> Digest:
    """Digest of all that is desired, its cause left out."""
    whole = [chain.place, chain.hook, chain.programs, chain.link]
    return canonical_digest(whole if chain.target is None else [*whole, chain.target])


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
    """The maps of the running generation that the desired chain may take over, by id.

    An instance that stays in the chain keeps its maps, whatever version it becomes, as far as their
    layouts agree; that is found out when the new version's declarations are there.  Global data
    (`.data`, `.bss`) has a layout that only the same code knows, so another archive gets its own.
    Maps of the chain itself, the counters, stay.
    """
    archives = _archives(memory.current.chain.programs if memory.current else ())
    staying = {
        program.deployment: archives.get(_instance(program)) == program.signed.archive_sha256
        for program in desired.programs
        if memory.current is None or _instance(program) in archives
    }
    return {
        key: map_id
        for key, map_id in pinned.items()
        if key == COUNTERS
        or (key.deployment in staying and (staying[key.deployment] or not key.name.startswith(".")))
    }


def same_code(memory: ChainMemory, desired: DesiredChain) -> frozenset[str]:
    """The instances whose archive is the one that runs already."""
    running = _archives(memory.current.chain.programs if memory.current else ())
    common = running.items() & _archives(desired.programs).items()
    return frozenset(deployment for (deployment, _), _ in common)


def map_policies(chain: DesiredChain) -> dict[str, dict[str, str]]:
    """What happens to maps whose layout changes, by deployment and map."""
    return {one.deployment: one.map_policies for one in chain.programs if one.map_policies}


def assign_slots(memory: ChainMemory, programs: Iterable[DesiredProgram]) -> dict[str, int]:
    """The counter slot of each instance: its own for life, a new one gets the lowest free.

    A slot is free when no generation that is kept has an instance in it.
    """
    owned = _owned_slots(memory)
    free = (number for number in count() if number not in owned.values())
    return {
        one.deployment: owned[instance] if (instance := _instance(one)) in owned else next(free)
        for one in programs
    }


def new_slots(memory: ChainMemory, slots: Mapping[str, int]) -> tuple[int, ...]:
    """The slots that no kept generation has an instance in, ascending: they begin at zero."""
    return tuple(sorted(set(slots.values()) - set(_owned_slots(memory).values())))


def retired(
    memory: ChainMemory, *, pinned: Collection[int], keep_seconds: int, now_seconds: float
) -> ChainMemory:
    """The memory without the generation before, once it was kept for long enough or is lost.

    Args:
        memory: Of one hook point.
        pinned: Generations whose head is pinned; after a reboot those before it are not.
        keep_seconds: Counted from when the current generation was put on the hook.
        now_seconds: Since the kernel started.
    """
    current = memory.current
    if memory.previous is None or memory.pending is not None or current is None:
        return memory
    is_due = now_seconds - current.put_at_seconds >= keep_seconds
    if memory.previous.pin in pinned and not is_due:
        return memory
    return msgspec.structs.replace(memory, previous=None)


def configured_maps(memory: ChainMemory, desired: DesiredChain) -> dict[MapKey, MapConfig]:
    """Every map whose entries this executor decides, with the entries it shall have.

    That is what is desired, and nothing for what an earlier chain configured and this one does
    not name.
    """
    deployments = {program.deployment for program in desired.programs}
    earlier = [key for kept in memory.kept for key in map_configs(kept.chain)]
    nothing: dict[MapKey, MapConfig] = {
        key: {} for key in (*earlier, *memory.touched) if key.deployment in deployments
    }
    return {**nothing, **map_configs(desired)}


def _instance(program: DesiredProgram) -> tuple[str, int]:
    return program.deployment, program.instance


def _archives(programs: Iterable[DesiredProgram]) -> dict[tuple[str, int], str]:
    """Instances, and the archive of each."""
    return {_instance(one): one.signed.archive_sha256 for one in programs}


def _owned_slots(memory: ChainMemory) -> dict[tuple[str, int], int]:
    """The instances of all kept generations, and where each is counted."""
    return {
        _instance(program): generation.slots[program.deployment]
        for generation in reversed(memory.kept)
        for program in generation.chain.programs
        if program.deployment in generation.slots
    }


def _shaping_options(chain: DesiredChain) -> list[Any]:
    """The link options that another program comes of; how XDP is attached is not one of them."""
    link = chain.link
    options = [link.frags, link.counters, link.time_sample_period, link.end_verdict]
    return options if chain.hook == "xdp" else [*options, link.attach]


def _shaping(program: DesiredProgram) -> dict[str, Any]:
    # 0 is left out, so that digests of what earlier releases linked stay.
    begun: dict[str, Any] = {"instance": program.instance} if program.instance else {}
    if program.constants:
        begun["constants"] = program.constants
    return {
        "archive": program.signed.archive_sha256,
        "deployment": program.deployment,
        "function": program.function,
        "object": program.object,
        "package": program.package,
        "proceed_on": sorted(program.proceed_on),
        "program": program.program,
        "version": program.version,
        **begun,
    }
