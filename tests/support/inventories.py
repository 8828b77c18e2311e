# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chain events of nodes as node executors make them, and what a log of them should answer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec

from services.auditor.inventory import StoredRun, StoredSighting, hook_runs
from services.auditor.sightings import Sighting, event_sightings
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Actor, Event
from shared.contracts.inventory import SNAPSHOT, HookPlace, HookReading, HookRun, RunningProgram
from shared.contracts.licences import ProgramLicence
from shared.moments import render_time
from tests.support.records import an_event

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_PUBLIC = frozenset({PUBLIC})
PLACES = (("eth0", "xdp"), ("eth0", "tc-ingress"), ("\N{PILE OF POO}' OR 1=1; --", "xdp"))
SPACE = "r_0123456789abcdef"
OUTCOMES = {
    "chain.attach": "succeeded",
    "chain.configure": "succeeded",
    "chain.detach": "succeeded",
}


def digest_of(text: str) -> str:
    """A digest for a name."""
    return hashlib.sha256(text.encode()).hexdigest()


def a_reading(
    *programs: str, place: tuple[str, str] = ("eth0", "xdp"), tag: str = ""
) -> HookReading:
    """A hook point that runs packages of these names (`name` or `name@version`), in this order."""
    running = tuple(
        RunningProgram(
            deployment=name.partition("@")[0],
            package=name.partition("@")[0],
            version=name.partition("@")[2] or "1.0.0",
            program="main",
            archive_sha256=digest_of(f"archive {name}"),
            object_sha256=digest_of(f"object {name}"),
            licence=ProgramLicence(declared="GPL-2.0-only", elf="GPL", gpl_compatible=True),
        )
        for name in programs
    )
    known = digest_of("|".join(programs))[:16]
    return HookReading(
        interface=place[0],
        hook=place[1],
        program_id=7 if programs else 0,
        program_tag=(tag or known) if programs else "",
        plan_sha256=digest_of(f"plan {programs}") if programs else "",
        running=running,
    )


def at(seconds: float) -> str:
    """A moment of the history, as events say it."""
    return render_time(EPOCH + timedelta(seconds=seconds))


def chain_event(
    action: str, reading: HookReading, *, node: str, sequence: int, seconds: float, **fields: Any
) -> Event:
    """What the node says of one hook point."""
    details = msgspec.to_builtins(reading)
    return an_event(
        sequence,
        emitter=f"node/{node}",
        action=action,
        outcome=OUTCOMES.get(action, "observed"),
        time=at(seconds),
        interface=details.pop("interface"),
        hook=details.pop("hook"),
        details=details,
        **{"actor": Actor(key="UALICE", role="operator", attested=True), **fields},
    )


def snapshot_event(
    *readings: HookReading, node: str, sequence: int, seconds: float, audience: str = PUBLIC
) -> Event:
    """What the node reads back of all its hook points."""
    return an_event(
        sequence,
        emitter=f"node/{node}",
        action=SNAPSHOT,
        outcome="observed",
        time=at(seconds),
        details={"hook_points": [msgspec.to_builtins(one) for one in readings]},
        audience=audience,
    )


def random_events(count: int, *, seed: int) -> list[Event]:
    """What nodes tell two audiences, with clocks that jump, in an order that is not theirs."""
    rng = random.Random(seed)
    events = []
    sequences = dict.fromkeys(product(("n1", "n2", "n3"), (PUBLIC, SPACE)), 0)
    for number in range(count):
        node, audience = rng.choice(sorted(sequences))
        sequences[node, audience] += 1
        sequence = sequences[node, audience]
        seconds = number * 10 + rng.choice([0, 0, 0, -300, 300])
        told: dict[str, Any] = {"node": node, "sequence": sequence, "audience": audience}
        told["seconds"] = seconds
        programs = [f"p{one}" for one in rng.sample(range(4), rng.choice([0, 1, 1, 2, 3]))]
        reading = a_reading(*programs, place=rng.choice(PLACES))
        kind = rng.choice(["change", "change", "change", "sight", "snapshot", "other", "rebuilt"])
        if kind == "change":
            action = "chain.attach" if programs else "chain.detach"
            events.append(chain_event(action, reading, **told))
        elif kind == "sight":
            events.append(chain_event("chain.drift", reading, **told))
        elif kind == "snapshot":
            events.append(snapshot_event(reading, a_reading("p0", place=PLACES[1]), **told))
        else:
            action = "node.register" if kind == "other" or rng.random() < 0.5 else "state.rebuild"
            events.append(
                an_event(
                    sequence,
                    emitter=f"node/{node}",
                    action=action,
                    outcome="observed",
                    time=at(seconds),
                    audience=audience,
                )
            )
    late = rng.sample(range(count), count // 5)
    prompt = [event for number, event in enumerate(events) if number not in late]
    return prompt + [events[number] for number in rng.sample(late, len(late))]


def time_us(event: Event) -> int:
    """The event's time, microseconds since 1970."""
    return (datetime.fromisoformat(event.time) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


class ModelIndex:
    """The index of sightings in its plainest form: everything is kept, and looked through."""

    def __init__(self, events: Iterable[Event], audiences: frozenset[str] = _PUBLIC) -> None:
        self.events = list(events)
        self._known: dict[tuple[Any, int, int], int] = {}
        self.sightings: list[Sighting] = [
            sighting
            for record, event in enumerate(self.events)
            for sighting in event_sightings(event, index=record, time_us=time_us(event))
            if event.audience in audiences
        ]

    def inventory(self, at_us: int) -> list[HookRun]:
        """What ran at a moment."""
        return hook_runs(self.newest(at_us))

    def newest(self, at_us: int) -> list[StoredSighting]:
        """The newest words of each kind on each place, up to a moment."""
        told: dict[tuple[Any, bool, str], StoredSighting] = {}
        for one in sorted(self.sightings, key=lambda one: (one.sequence, one.record)):
            if self.from_us(one) <= at_us:
                told[key_of(one.place), one.is_observed, one.audience] = StoredSighting(
                    one.place,
                    one.audience,
                    one.is_observed,
                    one.sequence,
                    one.record,
                    self.from_us(one),
                    canonical_bytes(self.events[one.record]),
                )
        newest: dict[tuple[Any, bool], StoredSighting] = {}
        for word in sorted(told.values(), key=lambda word: (word.from_us, word.audience)):
            newest[key_of(word.place), word.is_observed] = word
        return [newest[key] for key in sorted(newest)]

    def runs(self, digest: str) -> list[StoredRun]:
        """Every sighting of a digest, with the one after it."""
        found = []
        for one in sorted(self.sightings, key=lambda one: (key_of(one.place), one.sequence)):
            if digest in one.digests:
                since = self.from_us(one)
                ends = [(max(self.from_us(end), since), end) for end in self._ends(one)]
                ends.sort(key=lambda end: (end[0], *self._order(end[1])[1:]))
                following = (ends[0][1].sequence, ends[0][1].record, ends[0][0]) if ends else None
                found.append(
                    StoredRun(
                        one.place,
                        one.audience,
                        one.sequence,
                        one.record,
                        since,
                        following,
                    )
                )
        return found

    def _ends(self, one: Sighting) -> Iterator[Sighting]:
        """What was said after it of its place or of the whole node, the first of each audience."""
        later: dict[str, list[Sighting]] = {}
        for other in self.sightings:
            if other.place not in (one.place, HookPlace(node=one.place.node)):
                continue
            if other.audience == one.audience:
                is_later = (other.sequence, other.record) > (one.sequence, one.record)
            else:
                is_later = self._order(other)[:2] > self._order(one)[:2]
            if is_later:
                later.setdefault(other.audience, []).append(other)
        for audience, found in later.items():
            if audience == one.audience:
                yield min(found, key=lambda other: (other.sequence, other.record))
            else:
                yield min(found, key=self._order)

    def _order(self, one: Sighting) -> tuple[int, str, int, int]:
        return self.from_us(one), one.audience, one.sequence, one.record

    def from_us(self, sighting: Sighting) -> int:
        """From when on a word holds."""
        key = (key_of(sighting.place), sighting.sequence, sighting.record)
        if key not in self._known:
            self._known[key] = min(
                other.time_us
                for other in self.sightings
                if (other.place, other.audience) == (sighting.place, sighting.audience)
                and (other.sequence > sighting.sequence or other.record == sighting.record)
            )
        return self._known[key]


def key_of(place: HookPlace) -> tuple[str, str, str, str]:
    """By which places are ordered."""
    return place.node, place.netns, place.interface, place.hook


def deployed(runs: Sequence[HookRun]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Node and interface to what ran there, as `package@version`."""
    return {
        (run.place.node, run.place.interface): tuple(
            f"{one.package}@{one.version}" for one in run.reading.running or ()
        )
        for run in runs
    }
