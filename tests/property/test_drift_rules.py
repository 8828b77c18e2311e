# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever others change at a hook point is found, said once, and handled as the policy says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.actions import WriteMapEntries
from services.node_executor.drift import Drift, Judged, Look, base_entries, detect, judge
from services.node_executor.drift_record import DriftRecord
from services.node_executor.generation_record import encode_record
from services.node_executor.generations import (
    SEGMENTS,
    ChainMemory,
    Generation,
    MapKey,
    config_digest,
)
from services.node_executor.held_maps import HeldMap
from services.node_executor.observed_hook import ObservedHook, PinnedGeneration
from services.node_executor.reconciliation import plan_entries
from shared.contracts.desired import DesiredChain
from shared.contracts.drift import DriftPolicy
from shared.contracts.link_options import LinkOptions
from tests.unit.test_reconciliation import a_chain, a_program

LIMITS = MapKey("one", "limits")
CONFIGURED = {b"\x50\0": b"\5\0\0\0", b"\xbb\1": b"\7\0\0\0"}
CONFIG = {"80": 5, "443": 7}
POLICIES: tuple[DriftPolicy, ...] = get_args(DriftPolicy)
ENTRIES = st.dictionaries(
    st.sampled_from([*CONFIGURED, b"\1\0"]), st.binary(min_size=4, max_size=4), max_size=3
)


def a_generation(segments: int) -> Generation:
    """A chain of several kernel programs with one configured map."""
    chain = a_chain(a_program(config={"limits": CONFIG}))
    maps = [HeldMap(deployment="one", name="limits", map_id=500, is_watched=True)]
    if segments:
        maps.append(HeldMap(deployment="", name=SEGMENTS.name, map_id=501))
    return Generation(
        number=3,
        pin=3,
        plan_sha256="",
        chain=chain,
        program_id=11,
        segments=tuple(range(12, 12 + segments)),
        maps=tuple(maps),
    )


def a_memory(segments: int) -> ChainMemory:
    """It was put there, beside two others."""
    current = a_generation(segments)
    return ChainMemory(
        interface="data0",
        hook="tc-ingress",
        last_number=3,
        current=current,
        config_sha256=config_digest(current.chain),
        drift=DriftRecord(neighbours=(90, 91), interface_index=7),
    )


def as_left(memory: ChainMemory) -> Look:
    """Nobody was there."""
    current = memory.current
    assert current is not None
    pinned = PinnedGeneration(current.pinned_programs, current.pinned_maps, encode_record(current))
    hook = ObservedHook(7, 40, 11, attachment="tcx", generations={3: pinned}, named=3)
    return Look(
        hook,
        segments=dict(enumerate(current.segments, start=1)) if current.segments else None,
        writes={LIMITS: plan_entries(500, present=CONFIGURED, wanted=CONFIGURED, blank=None)},
        neighbours=(90, 91),
    )


@dataclass(frozen=True)
class Doings:
    """What others do between two looks."""

    link: str
    removed_pins: frozenset[str]
    moved: frozenset[int]
    """Places in the array that lead elsewhere or nowhere."""
    entries: dict[bytes, bytes]
    neighbours: frozenset[int]

    def done_to(self, memory: ChainMemory) -> Look:
        """What is found then."""
        look, current = as_left(memory), memory.current
        assert current is not None
        pinned = look.hook.generations[3]
        programs = {
            number: one
            for number, one in pinned.programs.items()
            if f"program {number}" not in self.removed_pins
        }
        maps = {key: one for key, one in pinned.maps.items() if key.name not in self.removed_pins}
        record = b"" if "record" in self.removed_pins else pinned.record
        links = {
            "as left": (40, 11, 0),
            "gone": (0, 0, 0),
            "detached": (40, 0, 0),
            "exchanged": (40, 77, 0),
            "taken": (0, 0, 78),
        }
        link_id, program_id, foreign = links[self.link]
        hook = replace(
            look.hook,
            link_id=link_id,
            link_program_id=program_id,
            foreign_program_id=foreign,
            generations={3: PinnedGeneration(programs, maps, record)},
        )
        if self.link != "as left":
            return Look(hook)
        segments = look.segments and {
            place: 99 for place, one in look.segments.items() if place in self.moved
        } | {place: one for place, one in look.segments.items() if place not in self.moved}
        return Look(
            hook,
            segments=segments,
            writes={LIMITS: self.writes(memory)},
            neighbours=tuple(sorted({90, 91} | self.neighbours)),
        )

    def writes(self, memory: ChainMemory) -> WriteMapEntries:
        """What the map would need to be as it shall be."""
        wanted = base_entries(memory.drift, LIMITS, map_id=500, config=CONFIG, entries=CONFIGURED)
        return plan_entries(500, present=self.entries, wanted=wanted, blank=None)

    def kinds(self, memory: ChainMemory) -> set[str]:
        """What has to be found."""
        found = {
            "gone": {"link-gone"},
            "detached": {"link-detached"},
            "exchanged": {"program-replaced"},
            "taken": {"hook-taken"},
            "as left": set[str](),
        }[self.link]
        current = memory.current
        assert current is not None
        names = {"record", "limits", *(f"program {number}" for number in current.pinned_programs)}
        names |= {SEGMENTS.name} if current.segments else set()
        found = found | ({"pin-gone"} if names & self.removed_pins else set())
        if self.link != "as left":
            return found
        moved = {place for place in self.moved if place <= len(current.segments)}
        found |= {"segment-replaced"} if moved else set()
        found |= {"map-changed"} if self.entries != CONFIGURED else set()
        return found | ({"neighbour-came"} if self.neighbours - {90, 91} else set())


DOINGS = st.builds(
    Doings,
    link=st.sampled_from(["as left", "as left", "gone", "detached", "exchanged", "taken"]),
    removed_pins=st.frozensets(
        st.sampled_from(["record", "limits", SEGMENTS.name, "program 0", "program 1", "program 2"]),
        max_size=3,
    ),
    moved=st.frozensets(st.integers(1, 3), max_size=2),
    entries=st.one_of(st.just(CONFIGURED), ENTRIES),
    neighbours=st.frozensets(st.integers(90, 94), max_size=2),
)


def wanting(memory: ChainMemory, policy: DriftPolicy) -> DesiredChain:
    """What runs, with this policy."""
    assert memory.current is not None
    return msgspec.structs.replace(memory.current.chain, link=LinkOptions(drift=policy))


def judged(look: Look, memory: ChainMemory, desired: DesiredChain | None) -> Judged:
    """One look's outcome."""
    found = detect(look, memory)
    return judge(found, look, memory, desired, event_id=_event_id)


def _event_id(drift: Drift, number: int) -> str:
    return f"{drift.kind} {drift.subject} {number}"


def remembered(memory: ChainMemory, outcome: Judged) -> ChainMemory:
    """The memory before the next look."""
    return msgspec.structs.replace(memory, drift=outcome.record)


@given(segments=st.integers(0, 2), policy=st.sampled_from(POLICIES))
def test_what_nobody_touched_is_no_drift(segments: int, policy: DriftPolicy) -> None:
    """Nothing is found, said or held."""
    memory = a_memory(segments)

    outcome = judged(as_left(memory), memory, wanting(memory, policy))

    assert (outcome.news, outcome.holds, outcome.record) == ((), False, memory.drift)


@settings(max_examples=300)
@given(doings=DOINGS, segments=st.integers(0, 2))
def test_every_doing_is_found_by_its_kind(doings: Doings, segments: int) -> None:
    """Nothing is missed, and nothing else is found."""
    memory = a_memory(segments)

    found = detect(doings.done_to(memory), memory)

    assert {one.kind for one in found} == doings.kinds(memory)
    assert len({(one.kind, one.subject) for one in found}) == len(found)


@settings(max_examples=300)
@given(
    doings=st.lists(DOINGS, min_size=1, max_size=4),
    policy=st.sampled_from(POLICIES),
    segments=st.integers(0, 2),
)
def test_each_occurrence_is_said_once(
    doings: list[Doings], policy: DriftPolicy, segments: int
) -> None:
    """A second look at the same says nothing; ids are used once, whatever happens after what."""
    memory = a_memory(segments)
    desired = wanting(memory, policy)
    ids: list[str] = []
    for one in doings:
        outcome = judged(one.done_to(memory), memory, desired)
        ids += [news.seen.event_id for news in outcome.news]
        memory = remembered(memory, outcome)
        again = judged(one.done_to(memory), memory, desired)
        assert again.news == ()
        assert again.record.known == outcome.record.known
        memory = remembered(memory, again)

    assert len(ids) == len(set(ids)) == memory.drift.count
    assert judged(as_left(memory), memory, desired).record.known == ()


@settings(max_examples=300)
@given(doings=DOINGS, policy=st.sampled_from(POLICIES), segments=st.integers(0, 2))
def test_a_policy_holds_for_what_was_confirmed_alone(
    doings: Doings, policy: DriftPolicy, segments: int
) -> None:
    """`repair` touches everything, the others nothing that drifted; a new wish is always done."""
    memory = a_memory(segments)
    look = doings.done_to(memory)
    kinds = doings.kinds(memory)
    new = msgspec.structs.replace(
        wanting(memory, policy), programs=(a_program(config={"limits": {"80": 6}}),)
    )

    outcome = judged(look, memory, wanting(memory, policy))

    accepted = {"neighbour-came"} | ({"map-changed"} if policy == "adopt" else set())
    assert outcome.holds == (policy != "repair" and bool(kinds - accepted))
    assert not judged(look, memory, new).holds
    assert not judged(look, memory, None).holds
    dones = {one.seen.done for one in outcome.news}
    allowed = {"repair": {"repair", "left-to-owner"}, "alarm": {"left"}, "adopt": {"adopted"}}
    assert dones <= allowed[policy]


@settings(max_examples=200)
@given(rounds=st.lists(ENTRIES, min_size=1, max_size=4))
def test_adopted_entries_are_what_the_map_shall_have(rounds: list[dict[bytes, bytes]]) -> None:
    """After each adoption nothing would be written; another configuration ends it."""
    memory = a_memory(0)
    desired = wanting(memory, "adopt")
    for entries in rounds:
        doings = Doings("as left", frozenset(), frozenset(), entries, frozenset())
        memory = remembered(memory, judged(doings.done_to(memory), memory, desired))
        assert doings.writes(memory).changes == ()
        assert detect(doings.done_to(memory), memory) == ()

    other = base_entries(
        memory.drift, LIMITS, map_id=500, config={"80": 5}, entries={b"\x50\0": b"\5\0\0\0"}
    )
    elsewhere = base_entries(memory.drift, LIMITS, map_id=502, config=CONFIG, entries=CONFIGURED)
    assert (other, elsewhere) == ({b"\x50\0": b"\5\0\0\0"}, CONFIGURED)


@given(doings=DOINGS, lost=st.booleans())
def test_what_ended_with_interface_or_kernel_is_nobodys_doing(doings: Doings, lost: bool) -> None:
    """No interface, another one of that name, or a change under way: nothing is said."""
    memory = a_memory(1)
    look = replace(doings, link="gone" if doings.link == "as left" else doings.link).done_to(memory)
    hook = replace(look.hook, interface_index=None if lost else 8)

    assert detect(replace(look, hook=hook), memory) == ()
