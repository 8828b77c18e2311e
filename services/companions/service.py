# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The companion supervisor: gathers what happened, asks what follows, does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, assert_never

import structlog

from services.companions.adapters.event_store import EventStore
from services.companions.adapters.runs import Run, group_prefix, is_run_group
from services.companions.adapters.surroundings import Surroundings
from services.companions.deciding import RULES, Rules, new_life, step
from services.companions.life import (
    Action,
    Begin,
    Clear,
    Forget,
    Input,
    KillGroup,
    Life,
    RestartAsked,
    RunCommand,
    Step,
    Terminate,
    TimePassed,
    Wanted,
)
from services.companions.said_lines import SaidLines, Splitter, Stream
from services.companions.user_ids import user_id
from services.companions.views import companion_event, companion_state
from shared.contracts.companions import (
    Applied,
    ApplyCompanions,
    AskEvents,
    AskLines,
    AskStates,
    CompanionEvent,
    CompanionExit,
    CompanionReply,
    CompanionRequest,
    CompanionState,
    CompanionUsage,
    Events,
    Lines,
    RestartCompanion,
    Restarted,
    States,
)
from shared.errors import FaultError, Reason, RefusedError

LOOK_SECONDS: Final = 1.0
"""How often memory kills and ends of processes beside the first are looked for."""
STOP_SECONDS: Final = 7.0
"""What companions have to end by themselves when the supervisor ends."""

KILL_SECONDS: Final = 2.0
"""What the kernel has after that."""

log = structlog.get_logger()


class StoppingError(FaultError):
    """It takes nothing on any more."""


@dataclass(slots=True)
class _Companion:
    """One companion with what belongs to it."""

    life: Life
    lines: SaidLines = field(default_factory=SaidLines)
    run: Run | None = None
    user_id: int = 0
    timer: asyncio.TimerHandle | None = None


class CompanionSupervisor:
    """All companions of one node."""

    def __init__(
        self,
        *,
        around: Surroundings,
        store: EventStore,
        user_ids: range,
        boot_id: str,
        clock: Callable[[], float],
        moment: Callable[[float], str],
        tasks: asyncio.TaskGroup,
        rules: Rules = RULES,
    ) -> None:
        self._around: Final = around
        self._store: Final = store
        self._user_ids: Final = user_ids
        self._boot_id: Final = boot_id
        self._clock: Final = clock
        self._moment: Final = moment
        self._tasks: Final = tasks
        self._rules: Final = rules
        self._companions: Final[dict[str, _Companion]] = {}
        self._happened = asyncio.Event()
        self._is_stopping = False

    async def recover(self) -> None:
        """What a predecessor left is ended, and what it ran runs again.

        After a start of the machine nothing is begun before the executor asks: the ids of maps that
        are remembered mean other maps now, or none.
        """
        wanted, is_same_boot = self._store.remembered(boot_id=self._boot_id)
        left = tuple(filter(is_run_group, self._around.groups.leftovers()))
        lost = CompanionExit(reason="lost")
        self._add(
            CompanionEvent(number=0, time=self._time(), id=spec.id, kind="exit", exit=lost)
            for spec in wanted.instances
            if any(name.startswith(group_prefix(spec.id)) for name in left)
        )
        if left:
            log.info("left_groups_found", groups=len(left))
        await self._around.clear_left(left)
        if is_same_boot:
            self._apply(wanted)

    async def watch(self) -> None:
        """Looks for what the kernel tells nobody, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._around.reaper.reap()
            for companion in tuple(self._companions.values()):
                if companion.run is not None:
                    companion.run.look()

    async def stop(self) -> None:
        """Every companion is ended; what was wanted stays remembered."""
        self._is_stopping = True
        for name in tuple(self._companions):
            self._feed(name, Wanted(None))
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._none_left()
        for companion in self._companions.values():
            if companion.run is not None:
                companion.run.kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_SECONDS):
                await self._none_left()

    async def _none_left(self) -> None:
        while self._companions:
            await self._happened.wait()

    async def answer(self, request: CompanionRequest) -> CompanionReply:
        """One request from the executor.

        Raises:
            RefusedError: It names what is not known.
            FaultError: It cannot be done now.
        """
        reply: CompanionReply
        match request:
            case ApplyCompanions():
                reply = self._take(request)
            case AskStates():
                reply = States(
                    companions=tuple(self._states()),
                    controllers=self._around.groups.controllers,
                    control_groups=self._around.groups.layout.mode,
                )
            case AskEvents(since=since, wait_seconds=seconds):
                reply = Events(events=await self._events(since, seconds))
            case AskLines(id=name, lines=count):
                reply = Lines(lines=self._known(name).lines.last(count))
            case RestartCompanion(id=name):
                self._known(name)
                self._feed(name, RestartAsked())
                reply = Restarted()
            case _:
                assert_never(request)
        return reply

    def _take(self, wanted: ApplyCompanions) -> Applied:
        if self._is_stopping:
            raise StoppingError("the companion supervisor is stopping")
        names = [spec.id for spec in wanted.instances]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            reasons = [Reason(path=name, rule="is there more than once") for name in twice]
            raise RefusedError("companions: ids are not unique", reasons)
        self._store.remember(wanted, boot_id=self._boot_id)
        problems = {
            spec.id: problem
            for spec in wanted.instances
            if (problem := self._around.problem(spec, self._user_ids))
        }
        self._apply(wanted)
        return Applied(problems=problems)

    def _apply(self, wanted: ApplyCompanions) -> None:
        named = {spec.id: spec for spec in wanted.instances}
        for name in tuple(self._companions):
            if name not in named:
                self._feed(name, Wanted(None))
        for name, spec in named.items():
            if name in self._companions:
                self._feed(name, Wanted(spec))
            else:
                begun = new_life(spec, now=self._clock())
                self._companions[name] = _Companion(begun.life)
                self._do(name, begun)
        self._around.executables.keep_only(set(self._digests()))

    def _digests(self) -> Iterator[str]:
        for companion in self._companions.values():
            for spec in (companion.life.wanted, companion.life.spec):
                commands = () if spec is None else (spec.start, spec.stop, spec.update)
                yield from (command.sha256 for command in commands if command is not None)

    def _feed(self, name: str, happened: Input) -> None:
        companion = self._companions.get(name)
        if companion is not None:
            self._do(name, step(companion.life, happened, now=self._clock(), rules=self._rules))

    def _do(self, name: str, taken: Step) -> None:
        companion = self._companions[name]
        companion.life = taken.life
        time = self._time()
        self._add(companion_event(name, taken.life, note, time=time) for note in taken.notes)
        for note in taken.notes:
            log.info("companion_event", companion=name, kind=note.kind, pid=note.pid)
        self._set_timer(name, companion)
        for action in taken.actions:
            self._perform(name, companion, action)
        self._tell()

    def _perform(self, name: str, companion: _Companion, action: Action) -> None:
        if isinstance(action, Forget):
            del self._companions[name]
            return
        if isinstance(action, Begin):
            companion.run = self._run(name, companion)
            companion.run.begin(name, action.spec, user_id=self._user_id(name, companion))
            return
        run = companion.run
        if run is None:
            raise AssertionError("unreachable")
        match action:
            case Terminate():
                run.terminate()
            case KillGroup():
                run.kill()
            case RunCommand(command, spec):
                run.run_command(command, spec)
            case Clear():
                self._tasks.create_task(run.clear())
            case _:
                assert_never(action)

    def _run(self, name: str, companion: _Companion) -> Run:
        splitters: dict[Stream, Splitter] = {"stdout": Splitter(), "stderr": Splitter()}

        def on_data(stream: Stream, data: bytes) -> None:
            lines, time = companion.lines, self._time()
            most = lines.room(now=self._clock())
            splitter = splitters[stream]
            whole, more = splitter.feed(data, most=most) if data else splitter.end(most=most)
            for text, is_cut in whole:
                lines.keep(stream, text, is_cut=is_cut, time=time)
                log.info("companion_said", companion=name, stream=stream, text=text)
            lines.leave_out(more)

        return Run(self._around, on_input=partial(self._feed, name), on_data=on_data)

    def _user_id(self, name: str, companion: _Companion) -> int | None:
        taken = {other.user_id for other in self._companions.values() if other is not companion}
        found = user_id(name, taken, self._user_ids)
        companion.user_id = found or 0
        return found

    def _set_timer(self, name: str, companion: _Companion) -> None:
        if companion.timer is not None:
            companion.timer.cancel()
            companion.timer = None
        deadline = companion.life.deadline
        if deadline is not None:
            wait = max(0.0, deadline - self._clock())
            loop = asyncio.get_running_loop()
            companion.timer = loop.call_later(wait, self._feed, name, TimePassed())

    def _states(self) -> Iterator[CompanionState]:
        for name, companion in sorted(self._companions.items()):
            run = companion.run
            has_run = run is not None and companion.life.has_run
            yield companion_state(
                name,
                companion.life,
                companion.lines,
                usage=run.usage() if run is not None and has_run else CompanionUsage(),
                user_id=0 if run is None else run.user_id,
                missing_limits=self._around.missing_limits,
                moment=self._moment,
            )

    async def _events(self, since: int, seconds: float) -> tuple[CompanionEvent, ...]:
        events = self._store.after(since)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not events and seconds:
                    await self._happened.wait()
                    events = self._store.after(since)
        return events

    def _known(self, name: str) -> _Companion:
        companion = self._companions.get(name)
        if companion is None:
            reason = Reason(path=name, rule="is no companion of this node")
            raise RefusedError("there is no such companion", [reason], code="not_found")
        return companion

    def _add(self, events: Iterable[CompanionEvent]) -> None:
        self._store.add(events)

    def _tell(self) -> None:
        """Whoever waits looks again."""
        self._happened.set()
        self._happened = asyncio.Event()

    def _time(self) -> str:
        return self._moment(self._clock())
