# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The node's companions: the supervisor is told what shall run, and the node says what does.

Rules:
 * The supervisor is told the whole set, when it changed and whenever it was away; what it does
   with it goes on without this process.
 * Before the chains of a former run are known it is told nothing, so that no start stops anything.
 * What it saw is journaled before it is acknowledged.
 * An executable that cannot be taken out of its archive keeps no other companion waiting, and so do
   companions that are more than the supervisor takes: those that run go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_line import Supervisor
from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.companion_events import companion_entries, observed_companion
from services.node_executor.companion_set import (
    TOO_MANY,
    CompanionNode,
    WantedCompanion,
    companions_told,
    wanted_companions,
)
from services.node_executor.event_audiences import Entry
from services.node_executor.generations import ChainMemory, point_of
from services.node_executor.staging import Thread
from shared.archive_files import ArchiveBytes
from shared.contracts.catalog import SignedPackage
from shared.contracts.companions import (
    Applied,
    ApplyCompanions,
    AskEvents,
    AskStates,
    CompanionSpec,
    CompanionState,
    Events,
    States,
)
from shared.contracts.node import ObservedChain, ObservedNode
from shared.contracts.node_companions import ObservedCompanion
from shared.contracts.package_manifest import COMPANIONS, PackageManifest
from shared.dsse import signed_manifest
from shared.errors import FaultError, RefusedError

LOOK_SECONDS: Final = 5.0
"""How often states are asked for without a reason: memory and processor time have no events."""
EVENT_SECONDS: Final = 20.0
"""How long the supervisor waits for an event before it answers that there is none."""
ASKED_SECONDS: Final = 2.0
"""How long a node waits with its first registration for a supervisor that does not answer."""
FIRST_RETRY_SECONDS: Final = 0.2
LAST_RETRY_SECONDS: Final = 5.0
"""Doubled each time that the supervisor did not answer."""
MAX_KNOWN: Final = 512
"""Companions and manifests that are remembered after nobody wants them any more."""
NOT_SET: Final = "NODE_EXECUTOR_COMPANIONS_SOCKET is not set"

log = structlog.get_logger()


class Points(Protocol):
    """Hook points."""

    def memories(self) -> list[ChainMemory]:
        """What is remembered of every hook point."""


class Archives(Protocol):
    """Packages on disk."""

    def take(self, sha256: str) -> Awaitable[ArchiveBytes]:
        """The archive, with this digest."""


class Journal(Protocol):
    """Where events go."""

    def journal(self, entries: Iterable[Entry]) -> None:
        """Durable; an id that is known changes nothing."""


class CompanionKeeper:
    """Keeps the supervisor informed, and knows what it does."""

    def __init__(
        self,
        *,
        node: CompanionNode,
        boot_id: str,
        supervisor: Supervisor | None,
        listener: Supervisor | None,
        archives: Archives,
        files: CompanionFiles,
        points: Points,
        journal: Journal,
        thread: Thread,
        disk: Thread,
    ) -> None:
        """Nobody is asked yet.

        Args:
            node: This one.
            boot_id: Names this run of the kernel.
            supervisor: Takes requests; None: this node runs no companions.
            listener: The same, for requests that wait.
            archives: Where executables come from.
            files: Where they lie; used in `disk` alone.
            points: What is confirmed on hooks; used in `thread` alone.
            journal: Takes events; used in `thread` alone.
            thread: The kernel's.
            disk: Waits for the disk.
        """
        self._node = node
        self._boot_id = boot_id
        self._supervisor = supervisor
        self._listener = listener
        self._archives = archives
        self._files = files
        self._points = points
        self._journal = journal
        self._thread = thread
        self._disk = disk
        self._report: Callable[[ObservedNode], None] = _nobody
        self._register: Callable[[], None] = _nobody
        self._has_news = asyncio.Event()
        self._has_begun = asyncio.Event()
        self._was_asked = asyncio.Event()
        self._applied: tuple[CompanionSpec, ...] | None = None
        self._manifests: dict[str, PackageManifest] = {}
        self._known: dict[str, WantedCompanion] = {}
        self._observed: ObservedNode | None = None
        self.wanted: Mapping[str, WantedCompanion] = {}
        """What shall run, by id."""
        self.states: Mapping[str, CompanionState] = {}
        """What the supervisor said last, by id."""
        self.remarks: Mapping[str, str] = {}
        """By id: why the supervisor was not told of a companion."""
        self.problem = NOT_SET if supervisor is None else "the companion supervisor was not asked"
        """Why the supervisor cannot be asked; empty: it answers."""

    def tell(self, *, report: Callable[[ObservedNode], None], register: Callable[[], None]) -> None:
        """These are told from now on.

        Args:
            report: What the node runs, whenever that may have changed.
            register: That the node can run companions, or cannot any more.
        """
        self._report, self._register = report, register

    def features(self) -> tuple[dict[str, bool], dict[str, str]]:
        """Whether the node can run companions, and why not; both by the feature's name."""
        notes = {COMPANIONS: self.problem} if self.problem else {}
        return {COMPANIONS: not self.problem}, notes

    async def asked(self) -> None:
        """The supervisor was asked once, or is silent: who registers says at once what is so."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ASKED_SECONDS):
                await self._was_asked.wait()

    async def follow(self) -> None:
        """What is confirmed on hooks by now has its companions, soon."""
        try:
            wanted = await self._thread(self._decide)
        except StateStoreError:
            raise
        except (RefusedError, FaultError) as error:
            log.warning("companions_not_decided", why=error.message)
            return
        self._known = dict(list({**self._known, **wanted}.items())[-MAX_KNOWN:])
        if wanted != self.wanted or not self._has_begun.is_set():
            self.wanted = wanted
            self._has_news.set()
        self._has_begun.set()

    def observe(self, observed: ObservedNode) -> None:
        """This is what the node's hooks run; it is reported with their companions."""
        self._observed = observed
        self._report(self._with_companions(observed))

    def observed(self, companion: str, one: WantedCompanion) -> ObservedCompanion:
        """A companion that shall run, as the supervisor said last."""
        return observed_companion(
            one,
            self.states.get(companion),
            problem=self.problem,
            remark=self.remarks.get(companion, ""),
        )

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """What never ends by itself."""
        return (self.applying(), self.listening())

    async def applying(self) -> None:
        """The supervisor works towards what is wanted, and it is known how far; never ends."""
        retry_seconds = FIRST_RETRY_SECONDS
        while True:
            self._has_news.clear()
            pause_seconds = LOOK_SECONDS
            try:
                if not await self.apply():
                    pause_seconds = retry_seconds
            except StateStoreError:
                raise
            except (RefusedError, FaultError) as error:
                self._lose(error.message)
                pause_seconds = retry_seconds
            self._was_asked.set()
            is_well = pause_seconds == LOOK_SECONDS
            retry_seconds = FIRST_RETRY_SECONDS if is_well else _doubled(retry_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._has_news.wait()

    async def listening(self) -> None:
        """What the supervisor saw is in the journal; never ends."""
        if self._listener is None:
            await asyncio.Event().wait()
            return
        await self._has_begun.wait()  # whom it is told is known by then
        since, retry_seconds = 0, FIRST_RETRY_SECONDS
        while True:
            try:
                since = await self._take_events(self._listener, since)
            except StateStoreError:
                raise
            except (RefusedError, FaultError) as error:
                log.debug("companion_events_not_taken", why=error.message)
                since = 0  # another supervisor may count anew; what is known is not said twice
                await asyncio.sleep(retry_seconds)
                retry_seconds = _doubled(retry_seconds)
            else:
                retry_seconds = FIRST_RETRY_SECONDS

    async def apply(self) -> bool:
        """Whether the supervisor was told everything that is wanted, and was asked how it is.

        Raises:
            FaultError: It is away.
            RefusedError: It does not take what is wanted.
        """
        supervisor = self._supervisor
        if supervisor is None:
            return True
        is_whole = True
        if self._has_begun.is_set():
            if self._applied is None:
                await self.refresh()  # what runs already goes on
            wanted = self.wanted
            lost = await self._provide(wanted)
            is_whole = not lost
            told = companions_told(wanted, lost, self.states)
            self.remarks = {name: lost.get(name, TOO_MANY) for name in wanted if name not in told}
            specs = tuple(one.spec for name, one in wanted.items() if name in told)
            if specs != self._applied:
                applied = await supervisor.ask(ApplyCompanions(instances=specs), Applied)
                self._applied = specs
                await self._disk(self._files.keep_only, _executables(wanted))
                log.info("companions_applied", companions=len(specs), problems=applied.problems)
        await self.refresh()
        return is_whole

    async def refresh(self) -> None:
        """What companions do is known as it is now.

        Raises:
            FaultError: The supervisor is away.
        """
        if self._supervisor is None:
            return
        states = await self._supervisor.ask(AskStates(), States)
        self.states = {one.id: one for one in states.companions}
        if self.problem:
            log.info("companions_supervised", control_groups=states.control_groups)
            self.problem = ""
            self._register()
        self._say()

    async def try_refresh(self) -> None:
        """The same; if the supervisor is away, that is known."""
        try:
            await self.refresh()
        except (RefusedError, FaultError) as error:
            self._lose(error.message)

    def _decide(self) -> dict[str, WantedCompanion]:
        return wanted_companions(
            self._node,
            self._points.memories(),
            manifest_of=self._manifest,
            boot_id=self._boot_id,
        )

    def _manifest(self, signed: SignedPackage) -> PackageManifest:
        """Decoded once for each archive."""
        found = self._manifests.get(signed.archive_sha256)
        if found is None:
            if len(self._manifests) >= MAX_KNOWN:
                self._manifests.clear()
            found = self._manifests[signed.archive_sha256] = signed_manifest(signed)
        return found

    async def _provide(self, wanted: Mapping[str, WantedCompanion]) -> dict[str, str]:
        """Every executable is on the disk; returns the companions whose is not, and why."""
        missing = set(await self._disk(self._files.missing, _executables(wanted)))
        lost: dict[str, str] = {}
        for companion, one in wanted.items():
            sha256 = one.spec.start.sha256
            if sha256 not in missing:
                continue
            try:
                archive = await self._archives.take(one.archive_sha256)
                manifest = signed_manifest(one.signed)
                await self._disk(self._files.take_out, archive, manifest, one.executable)
            except (RefusedError, FaultError) as error:
                log.warning("companion_not_provided", companion=companion, why=error.message)
                lost[companion] = error.message
            else:
                missing.discard(sha256)
        return lost

    async def _take_events(self, listener: Supervisor, since: int) -> int:
        """The number of the newest event that is in the journal."""
        asked = AskEvents(since=since, wait_seconds=EVENT_SECONDS)
        reply = await listener.ask(asked, Events, wait_seconds=EVENT_SECONDS)
        if not reply.events:
            return since
        entries = list(companion_entries(self._node.name, reply.events, self._known))
        await self._thread(self._journal.journal, entries)
        self._has_news.set()
        return reply.events[-1].number

    def _lose(self, why: str) -> None:
        """The supervisor is away; what it was told, it is told again when it is back."""
        self._applied = None
        if self.problem == why or self._supervisor is None:
            return
        log.warning("companions_not_supervised", why=why)
        was_there = not self.problem
        self.problem = why
        if was_there:
            self._register()
        self._say()

    def _say(self) -> None:
        if self._observed is not None:
            self.observe(self._observed)

    def _with_companions(self, observed: ObservedNode) -> ObservedNode:
        chains = tuple(map(self._with_its_companions, observed.chains))
        return msgspec.structs.replace(observed, chains=chains)

    def _with_its_companions(self, chain: ObservedChain) -> ObservedChain:
        point = point_of(chain)
        found = tuple(
            self.observed(companion, one)
            for companion, one in self.wanted.items()
            if one.place.point == point
        )
        return msgspec.structs.replace(chain, companions=found) if found else chain


def _nobody(*_told: object) -> None:
    """Until it is known who is to be told."""


def _executables(wanted: Mapping[str, WantedCompanion]) -> set[str]:
    return {one.spec.start.sha256 for one in wanted.values()}


def _doubled(seconds: float) -> float:
    return min(2 * seconds, LAST_RETRY_SECONDS)
