# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to a companion in whatever order: one run at a time, and never stuck."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.companions.deciding import RULES, Rules, new_life, step
from services.companions.life import (
    Began,
    Begin,
    Clear,
    Cleared,
    CommandEnded,
    Ended,
    Forget,
    Input,
    KillGroup,
    Life,
    Note,
    ProcessKilledForMemory,
    RestartAsked,
    RunCommand,
    SaidReady,
    Step,
    Terminate,
    TimePassed,
    Wanted,
)
from shared.contracts.companions import CompanionCommand, CompanionExit, CompanionSpec
from shared.contracts.package_manifest import CompanionReadiness

COMMAND = CompanionCommand(sha256="a" * 64, path="/x")
SPEC = CompanionSpec(id="one", name="one", start=COMMAND)

specs = st.builds(
    CompanionSpec,
    id=st.just("one"),
    name=st.just("one"),
    start=st.sampled_from([COMMAND, replace(COMMAND, arguments=("--port=2",))]),
    stop=st.sampled_from([None, COMMAND]),
    update=st.sampled_from([None, COMMAND]),
    readiness=st.sampled_from([CompanionReadiness(), CompanionReadiness(kind="notify")]),
    restart=st.sampled_from(["always", "on-failure", "never"]),
    maps=st.sampled_from([{}, {"packets": 1}]),
)
exits = st.builds(
    CompanionExit,
    reason=st.sampled_from(["status", "signal", "oom", "not-started"]),
    status=st.integers(0, 3),
)
inputs = st.one_of(
    st.builds(Wanted, st.one_of(st.none(), specs)),
    st.just(RestartAsked()),
    st.just(Began(7)),
    st.just(SaidReady()),
    st.builds(Ended, exits, st.booleans()),
    st.just(Cleared()),
    st.builds(CommandEnded, st.sampled_from(["stop", "update"]), st.sampled_from(["", "broke"])),
    st.just(ProcessKilledForMemory()),
    st.just(TimePassed()),
)


@dataclass
class World:
    """The machine's side: at most one run, and only inputs that can come."""

    life: Life
    now: float = 0.0
    runs: int = 0
    is_up: bool = False
    has_said: bool = False
    commands: set[str] = field(default_factory=set)
    is_clearing: bool = False
    is_forgotten: bool = False
    kinds: list[str] = field(default_factory=list)

    def take(self, taken: Step) -> None:
        """The actions are done, and each is one that can be done now."""
        self.life = taken.life
        self.kinds += [note.kind for note in taken.notes]
        for action in taken.actions:
            match action:
                case Begin():
                    assert not self.is_up
                    assert not self.is_clearing
                    self.runs += 1
                    self.is_up, self.has_said = True, False
                case Clear():
                    assert not self.is_up
                    assert not self.is_clearing
                    self.is_clearing = True
                case RunCommand(name, _):
                    assert self.is_up
                    self.commands.add(name)
                case Terminate() | KillGroup():
                    assert self.life.has_run
                case Forget():
                    assert not self.is_up
                    assert not self.is_clearing
                    self.is_forgotten = True

    def can(self, happened: Input) -> bool:
        """Whether the machine can say this now."""
        match happened:
            case Began():
                fits = self.is_up and not self.has_said
            case SaidReady() | ProcessKilledForMemory():
                fits = self.is_up and self.has_said
            case Ended(how, _):
                fits = self.is_up and (how.reason == "not-started") != self.has_said
            case Cleared():
                fits = self.is_clearing
            case CommandEnded(name, _):
                fits = name in self.commands
            case _:
                fits = True
        return fits and not self.is_forgotten

    def happen(self, happened: Input) -> None:
        """The world is as after it, and the decision is done."""
        match happened:
            case Began():
                self.has_said = True
            case Ended():
                self.is_up = False
            case Cleared():
                self.is_clearing = False
                self.commands.clear()
            case CommandEnded(name, _):
                self.commands.discard(name)
        self.take(step(self.life, happened, now=self.now))

    def drain(self) -> None:
        """Everything ends as fast as it can, and time passes."""
        for _ in range(20):
            if self.is_forgotten:
                return
            for happened in (
                Began(7),
                Ended(CompanionExit(reason="signal", signal="SIGTERM")),
                Cleared(),
            ):
                if self.can(happened):
                    self.happen(happened)


def a_world(spec: CompanionSpec) -> World:
    """A companion that was just asked for."""
    first = new_life(spec, now=0.0)
    world = World(first.life)
    world.take(first)
    return world


@given(specs, st.lists(st.tuples(inputs, st.floats(0, 700)), max_size=40))
def test_there_is_one_run_at_a_time_and_an_end(
    spec: CompanionSpec, story: list[tuple[Input, float]]
) -> None:
    """No run beside another, none before the last was cleared; unwanted, it is always forgotten."""
    world = a_world(spec)
    for happened, seconds in story:
        world.now += seconds
        if world.is_forgotten:
            break
        if world.can(happened):
            world.happen(happened)

    if not world.is_forgotten:
        world.happen(Wanted(None))
        world.drain()
    assert world.is_forgotten
    assert world.kinds[-1] == "stopped"


@given(specs, st.lists(st.tuples(inputs, st.floats(0, 700)), max_size=40))
def test_what_waits_has_a_time(spec: CompanionSpec, story: list[tuple[Input, float]]) -> None:
    """Every state that only time ends has a deadline, and after it something was decided."""
    world = a_world(spec)
    for happened, seconds in story:
        world.now += seconds
        if world.is_forgotten:
            return
        if world.can(happened):
            world.happen(happened)
        if world.life.doing in {"waiting", "starting"}:
            assert world.life.deadline is not None
    before = world.life
    if before.deadline is not None:
        world.now = before.deadline
        world.happen(TimePassed())
        assert world.life != before


@given(specs, st.lists(st.tuples(inputs, st.floats(0, 700)), max_size=40))
def test_every_run_that_was_said_to_start_is_said_to_end(
    spec: CompanionSpec, story: list[tuple[Input, float]]
) -> None:
    """Starts and ends alternate, so nobody counts a companion twice."""
    world = a_world(spec)
    for happened, seconds in story:
        world.now += seconds
        if not world.is_forgotten and world.can(happened):
            world.happen(happened)
    if not world.is_forgotten:
        world.happen(Wanted(None))
        world.drain()

    depth = 0
    for kind in world.kinds:
        if kind == "start":
            assert depth == 0
            depth = 1
        elif kind in {"exit", "stopped"}:
            depth = 0
    assert depth == 0


def crash(world: World, *, after_seconds: float) -> list[Note]:
    """The run begins, lasts, ends with status 1 and is cleared; what was said of the clearing."""
    world.happen(Began(7))
    world.now += after_seconds
    world.happen(Ended(CompanionExit(reason="status", status=1)))
    world.is_clearing = False
    cleared = step(world.life, Cleared(), now=world.now)
    world.take(cleared)
    return list(cleared.notes)


def test_one_that_crashes_at_once_is_given_up() -> None:
    """The waits double to their cap, and after the tries of the window there is one alarm."""
    world, waits = a_world(SPEC), []
    while world.life.doing != "gave-up":
        (note,) = crash(world, after_seconds=0.0)
        if note.kind == "backoff":
            waits.append(note.wait_seconds)
            world.now += note.wait_seconds
            world.happen(TimePassed())

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert world.kinds.count("gave-up") == 1
    assert world.life.problem == "it ended 10 times within 10 minutes"


def test_one_that_crashes_after_an_hour_is_started_again_for_ever() -> None:
    """A stable run makes the next failure a first one."""
    world = a_world(SPEC)
    for _ in range(200):
        (note,) = crash(world, after_seconds=3600.0)
        assert (note.kind, note.wait_seconds, note.count) == ("backoff", 1.0, 1)
        world.now += note.wait_seconds
        world.happen(TimePassed())

    assert world.runs == 201


def test_one_that_was_given_up_comes_back_when_asked() -> None:
    """Another wish or a restart begins anew, with all its tries; the same wish does not."""
    for again in (RestartAsked(), Wanted(replace(SPEC, maps={"packets": 2}))):
        world = a_world(SPEC)
        world.happen(Ended(CompanionExit(reason="not-started", problem="no"), is_final=True))
        world.happen(Cleared())
        world.happen(Wanted(SPEC))
        assert (world.life.phase, world.runs) == ("gave-up", 1)

        world.happen(again)

        assert (world.runs, world.life.failures) == (2, 0)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_waits_never_shrink_and_have_a_cap(first: int, second: int) -> None:
    """More failures, a longer wait, and never longer than the longest."""
    rules: Rules = RULES
    low, high = sorted((first, second))

    assert rules.wait_seconds(low) <= rules.wait_seconds(high) <= rules.longest_wait_seconds
