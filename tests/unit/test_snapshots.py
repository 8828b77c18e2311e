# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a node says what all its hook points run, and in how many events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from services.auditor.sightings import readings
from services.node_executor.event_audiences import Entry, Said
from services.node_executor.generations import ChainMemory, Generation, Point
from services.node_executor.snapshots import (
    CHANGED_SECONDS,
    UNCHANGED_SECONDS,
    Snapshots,
    reading_of,
    snapshot_bodies,
)
from shared.canonical import canonical_bytes
from shared.contracts.desired import Cause, DesiredChain
from shared.contracts.events import MAX_EVENT_BYTES, PUBLIC, EventBody
from shared.contracts.licences import ProgramLicence
from shared.contracts.node import ObservedChain, ObservedProgram
from shared.errors import FaultError
from shared.event_size import fit_event_body

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


class Node:
    """One hook point, a journal, and a clock that is set."""

    def __init__(self) -> None:
        self.now = BEGUN
        self.program_id = 7
        self.is_readable = True
        self.settings: dict[str, str] = {}
        self.said: list[tuple[str, EventBody]] = []
        self.audiences: list[str] = []
        self.chain: DesiredChain | None = None
        """What the hook point runs, as it is remembered."""
        self.start()

    def start(self) -> None:
        """As the process starts."""
        self._snapshots = Snapshots(node="n1", points=self, store=self, now=lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        """Later; then a round."""
        self.now += timedelta(seconds=seconds)
        self._snapshots.take_if_due([self._chain()])

    def memories(self) -> list[ChainMemory]:
        """One hook point."""
        memory = ChainMemory(interface="eth0", hook="xdp")
        if self.chain is None:
            return [memory]
        current = Generation(
            number=1, pin=1, plan_sha256="", chain=self.chain, program_id=self.program_id
        )
        return [msgspec.structs.replace(memory, current=current)]

    def describe(
        self, point: Point, desired: DesiredChain | None, *, desired_generation: int
    ) -> ObservedChain:
        """As it is now."""
        assert (point, desired, desired_generation) == (Point("eth0", "xdp"), self.chain, 0)
        if not self.is_readable:
            raise FaultError("the kernel does not say")
        return self._chain()

    def setting(self, name: str) -> str:
        """As it was kept."""
        return self.settings.get(name, "")

    def keep_setting(self, name: str, value: str, entries: Iterable[Entry]) -> None:
        """Kept, and said."""
        self.settings[name] = value
        for entry in entries:
            self.said.append(entry[:2])
            self.audiences.append(entry.audience if isinstance(entry, Said) else PUBLIC)

    def _chain(self) -> ObservedChain:
        return ObservedChain(
            interface="eth0", hook="xdp", state="attached", program_id=self.program_id
        )


def a_program(number: int) -> ObservedProgram:
    """A program with all that is ever said of one."""
    return ObservedProgram(
        deployment=f"deployment-{number:050}",
        revision=number,
        package=f"package-{number:050}",
        version="10.20.30",
        archive_sha256="ab" * 32,
        object_sha256="cd" * 32,
        program="p" * 63,
        order=number,
        licence=ProgramLicence(declared="GPL-2.0-only OR BSD-2-Clause", elf="Dual BSD/GPL"),
    )


def test_what_changed_is_said_after_a_quarter_of_an_hour() -> None:
    """Not before, and not again while nothing changes."""
    node = Node()

    node.pass_time(CHANGED_SECONDS - 1)
    assert node.said == []
    node.pass_time(1)
    assert len(node.said) == 1
    node.pass_time(CHANGED_SECONDS)
    assert len(node.said) == 1
    node.program_id = 8
    node.pass_time(0)
    assert [reading.program_id for _, body in node.said for reading in readings(body)] == [7, 8]


def test_what_a_restricted_hook_point_runs_is_told_to_its_space() -> None:
    """Everybody is told of what everybody sees, also where that is nothing."""
    node = Node()
    node.chain = DesiredChain(
        interface="eth0",
        hook="xdp",
        programs=(),
        cause=Cause(command_id="command-0001"),
        audience="p_acme",
    )

    node.pass_time(CHANGED_SECONDS)

    told = {
        audience: [reading.program_id for reading in readings(body)]
        for audience, (_, body) in zip(node.audiences, node.said, strict=True)
    }
    assert told == {PUBLIC: [], "p_acme": [7]}
    assert len({event_id for event_id, _ in node.said}) == 2


def test_what_did_not_change_is_said_every_day() -> None:
    """Counted over restarts: the time is kept with what was said."""
    node = Node()
    node.pass_time(CHANGED_SECONDS)
    node.start()

    node.pass_time(UNCHANGED_SECONDS - 1)
    assert len(node.said) == 1
    node.pass_time(1)
    assert len(node.said) == 2
    assert len({event_id for event_id, _ in node.said}) == 2


def test_a_clock_that_was_set_back_does_not_silence_the_node() -> None:
    """Time that has passed backwards counts as long enough."""
    node = Node()
    node.pass_time(CHANGED_SECONDS)

    node.pass_time(-CHANGED_SECONDS)

    assert len(node.said) == 2


def test_nothing_is_claimed_of_what_cannot_be_read() -> None:
    """It is named instead."""
    node = Node()
    node.is_readable = False

    node.pass_time(CHANGED_SECONDS)

    ((_, body),) = node.said
    assert readings(body) == ()
    assert body.details["unreadable"] == [str(Point("eth0", "xdp"))]


def test_every_hook_point_is_said_whole_in_as_many_events_as_it_takes() -> None:
    """64 hook points with 64 programs each: nothing is left out of any event."""
    chains = [
        ObservedChain(
            interface=f"eth{number}",
            hook="xdp",
            state="attached",
            program_id=number,
            programs=tuple(map(a_program, range(64))),
        )
        for number in range(1, 65)
    ]

    bodies = snapshot_bodies("n1", chains, [])

    said = [reading for body in bodies for reading in readings(body)]
    assert said == [reading_of(chain) for chain in chains]
    assert [body.details["part"] for body in bodies] == list(range(1, len(bodies) + 1))
    for body in bodies:
        assert fit_event_body(body) == body
        assert len(canonical_bytes(body)) < MAX_EVENT_BYTES
