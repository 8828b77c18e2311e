# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package with a companion, chains that have it, and a supervisor that starts nothing."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec

from services.node_executor.companion_set import CompanionNode, WantedCompanion, wanted_companions
from services.node_executor.generations import (
    ChainMemory,
    Generation,
    plan_digest,
)
from services.node_executor.held_maps import HeldMap
from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    Applied,
    ApplyCompanions,
    AskEvents,
    AskLines,
    AskStates,
    CompanionEvent,
    CompanionEventKind,
    CompanionExit,
    CompanionLine,
    CompanionPhase,
    CompanionRequest,
    CompanionSpec,
    CompanionState,
    CompanionUsage,
    Events,
    Lines,
    RestartCompanion,
    Restarted,
    States,
)
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.events import PUBLIC
from shared.contracts.node_companions import ArgumentValue, DesiredCompanion
from shared.contracts.package_manifest import (
    CompanionArgument,
    CompanionEntry,
    CompanionReadiness,
    PackageManifest,
)
from shared.dsse import signed_manifest
from shared.errors import FaultError, RefusedError
from shared.package_archive import write_archive
from tests.package_builders import FILES, a_manifest, sign

BOOT = "this-boot"
HERE: Any = f"linux-{platform.machine()}"
EXECUTABLE = b"#!/bin/sh\nexec sleep 1000000\n"
PACKED: Mapping[str, bytes] = {**FILES, "bin/exporter": EXECUTABLE}
ENTRY = CompanionEntry(
    executables={HERE: "bin/exporter"},
    arguments={"port": CompanionArgument(type="integer", default=9100)},
    update=("update",),
    readiness=CompanionReadiness(kind="notify"),
)
NODE = CompanionNode("n1", HERE, PurePosixPath("/state/companions"))
NOW = "2026-03-01T12:00:00.000000Z"
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)


def a_companion_manifest(**changes: Any) -> PackageManifest:
    """`one` with the companion `exporter`."""
    entry = changes.pop("entry", ENTRY)
    files = changes.pop("files", PACKED)
    return a_manifest(files, companions={"exporter": entry}, **changes)


def companion_archive(files: Mapping[str, bytes] = PACKED) -> bytes:
    """The package's bytes."""
    return write_archive(files)


def a_companion_program(
    deployment: str = "edge", *, manifest: PackageManifest | None = None, **changes: Any
) -> DesiredProgram:
    """A program of that package in a chain."""
    files = changes.pop("files", PACKED)
    arguments: dict[str, ArgumentValue] = changes.pop("arguments", {"port": 9100})
    fields: dict[str, Any] = {
        "deployment": deployment,
        "revision": 1,
        "package": "one",
        "version": "1.0.0",
        "program": "one",
        "function": "one",
        "object": "one.bpf.o",
        "order": 10,
        "proceed_on": ("pass",),
        "companions": {"exporter": DesiredCompanion(arguments=arguments)},
        "signed": sign(manifest or a_companion_manifest(), archive=companion_archive(files)),
    }
    return DesiredProgram(**{**fields, **changes})


def a_companion_memory(
    *programs: DesiredProgram,
    interface: str = "eth0",
    audience: str = PUBLIC,
    boot_id: str = BOOT,
    maps: Iterable[HeldMap] | None = None,
) -> ChainMemory:
    """A hook point whose chain of these programs is confirmed."""
    chain = DesiredChain(
        interface=interface,
        hook="xdp",
        programs=programs,
        cause=Cause(command_id="command-0001"),
        audience=audience,
    )
    held = [
        HeldMap(deployment=one.deployment, name="limits", map_id=500 + index)
        for index, one in enumerate(programs)
    ]
    current = Generation(
        number=1,
        pin=1,
        plan_sha256=plan_digest(chain),
        chain=chain,
        program_id=11,
        maps=tuple(held if maps is None else maps),
    )
    return ChainMemory(interface=interface, hook="xdp", current=current, boot_id=boot_id)


def wanted_by(*memories: ChainMemory) -> dict[str, WantedCompanion]:
    """What runs on `n1` beside these chains."""
    return wanted_companions(NODE, memories, manifest_of=signed_manifest, boot_id=BOOT)


class FakeSupervisor:
    """Does what it is told in no time; what companions do, the test says."""

    def __init__(self) -> None:
        self.applied: list[tuple[str, ...]] = []
        """Ids of every set that it was told."""
        self.specs: dict[str, CompanionSpec] = {}
        self.states: dict[str, CompanionState] = {}
        self.kept: list[CompanionEvent] = []
        """Events that were not acknowledged."""
        self.ever: list[CompanionEvent] = []
        self.lines: dict[str, list[str]] = {}
        self.is_away = False
        self.last_number = 0
        self.asked_for_events = 0
        self._has_news = asyncio.Event()

    async def ask(
        self, request: CompanionRequest, reply: type[ReplyT], *, wait_seconds: float = 0.0
    ) -> ReplyT:
        """As the real one answers."""
        await asyncio.sleep(0)
        self._refuse_if_away()
        answer: msgspec.Struct
        match request:
            case ApplyCompanions():
                answer = self._apply(request)
            case AskStates():
                answer = States(
                    companions=tuple(self.states[one] for one in sorted(self.states)),
                    control_groups="unified",
                )
            case AskEvents():
                self.asked_for_events += 1
                answer = await self._events(request, wait_seconds)
            case AskLines():
                answer = Lines(
                    lines=tuple(
                        CompanionLine(time=NOW, stream="stdout", text=one)
                        for one in self.lines.get(request.id, ())[-request.lines :]
                    )
                )
            case RestartCompanion():
                answer = self._restart(request.id)
        assert isinstance(answer, reply)
        return answer

    async def close(self) -> None:
        """Nothing is open."""

    def happens(
        self,
        companion: str,
        kind: CompanionEventKind,
        phase: CompanionPhase,
        *,
        ended: CompanionExit | None = None,
        problem: str = "",
    ) -> None:
        """Something becomes of a companion."""
        state = self.states[companion]
        self.states[companion] = msgspec.structs.replace(
            state, phase=phase, last_exit=ended or state.last_exit, problem=problem
        )
        self._say(companion, kind, ended=ended, problem=problem)

    def _say(self, companion: str, kind: CompanionEventKind, **fields: Any) -> None:
        self.last_number += 1
        exit_ = fields.pop("ended", None)
        event = CompanionEvent(
            number=self.last_number, time=NOW, id=companion, kind=kind, exit=exit_, **fields
        )
        self.kept.append(event)
        self.ever.append(event)
        self._has_news.set()

    def _apply(self, request: ApplyCompanions) -> Applied:
        specs = {one.id: one for one in request.instances}
        self.applied.append(tuple(specs))
        for gone in self.states.keys() - specs.keys():
            del self.states[gone]
            self._say(gone, "stopped", ended=CompanionExit(reason="stopped"))
        for companion, spec in specs.items():
            if self.specs.get(companion) != spec:
                self._start(companion, spec)
        self.specs = specs
        return Applied()

    def _start(self, companion: str, spec: CompanionSpec) -> None:
        before = self.states.get(companion)
        self.states[companion] = CompanionState(
            id=companion,
            phase="starting",
            since=NOW,
            spec_sha256=spec_digest(spec),
            pid=1000 + self.last_number,
            starts=before.starts + 1 if before else 1,
            usage=CompanionUsage(cpu_seconds=0.5, memory_bytes=1 << 20, processes=1),
        )
        self._say(companion, "start")
        if spec.readiness.kind == "started":
            self.happens(companion, "ready", "ready")

    def _restart(self, companion: str) -> Restarted:
        if companion not in self.specs:
            raise RefusedError(f"there is no companion {companion}", code="not_found")
        self._start(companion, self.specs[companion])
        return Restarted()

    async def _events(self, request: AskEvents, wait_seconds: float) -> Events:
        self.kept = [one for one in self.kept if one.number > request.since]
        if not self.kept:
            self._has_news.clear()
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._has_news.wait()
            except TimeoutError:
                return Events()
        self._refuse_if_away()
        return Events(events=tuple(self.kept))

    def _refuse_if_away(self) -> None:
        if self.is_away:
            raise FaultError("the companion supervisor does not answer")

    def goes_away(self) -> None:
        """Whoever waits for it is told at once."""
        self.is_away = True
        self._has_news.set()
