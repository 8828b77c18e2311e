# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains that were proved to load here, kept for a minute so that what follows only has to swap.

Touches nothing itself: kernel thread, hook points and preparation are given.  A request is
refused with every problem of every chain, in the words that the change itself would be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from services.node_executor.changes import HookPoints
from services.node_executor.configuration import MapReader, check_metrics, encode_configuration
from services.node_executor.generations import Point, plan_digest, point_of
from services.node_executor.held_maps import HeldMap
from services.node_executor.observation import describe_programs
from services.node_executor.preparation import Linked, Needs, Prepared, Ready
from shared.contracts.desired import DesiredChain
from shared.contracts.inspection import ChainExplanation
from shared.contracts.node import ChainsStaged, StageChains, StagedChain
from shared.errors import Reason, RefusedError

STAGED_SECONDS: Final = 60.0

ResultT = TypeVar("ResultT")


class Thread(Protocol):
    """Runs blocking calls one after another."""

    async def __call__(
        self, call: Callable[..., ResultT], *arguments: Any, **options: Any
    ) -> ResultT:
        """What the call returns."""


class Preparer(Protocol):
    """Fetches, verifies and links."""

    def check(self, desired: DesiredChain) -> Awaitable[None]:
        """Every program is what its publisher signed; refused with every difference."""

    def link(self, point: Point, desired: DesiredChain, needs: Needs) -> Awaitable[Ready]:
        """The chain as one loaded program, of archives that are on the disk."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """One linked chain that waits to be put on its hook."""

    chain: DesiredChain
    plan_sha256: str
    needs: Needs
    ready: Ready
    expires_at: float


class Staging:
    """Makes chains ready, ahead of the desired record or when it is there."""

    def __init__(
        self,
        *,
        points: HookPoints,
        reader: MapReader,
        preparer: Preparer,
        thread: Thread,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is staged; `clock` counts seconds and never goes back."""
        self._points = points
        self._reader = reader
        self._preparer = preparer
        self._thread = thread
        self._clock = clock
        self._kept: dict[Point, _Kept] = {}

    async def stage(self, request: StageChains) -> ChainsStaged:
        """All chains load here and are kept; one that is kept already is only checked again.

        Raises:
            RefusedError: With every problem of every chain.
            FaultError: The catalog or the kernel failed.
        """
        staged: list[StagedChain] = []
        problems: list[RefusedError] = []
        durations: Counter[str] = Counter()
        for chain in request.chains:
            try:
                described, phases = await self._stage(chain)
            except RefusedError as error:
                problems.append(error)
            else:
                staged.append(described)
                durations.update(phases)
        if problems:
            raise merge(problems)
        return ChainsStaged(
            chains=tuple(staged),
            duration_ms={phase: round(ms, 3) for phase, ms in durations.items()},
        )

    async def prepare(self, point: Point, desired: DesiredChain, needs: Needs) -> Prepared:
        """What the change needs, taken from what was staged if it still fits.

        Whoever gets it closes its program.

        Raises:
            RefusedError: It cannot be made.
            FaultError: The catalog or the kernel failed.
        """
        await self._preparer.check(desired)
        if not needs.link:
            return Prepared()
        kept = self._kept.pop(point, None)
        if kept is not None:
            if self._still_fits(kept, desired, needs):
                return Prepared(linked=kept.ready.linked, duration_ms=kept.ready.duration_ms)
            await self._thread(kept.ready.linked.close)
        ready = await self._preparer.link(point, desired, needs)
        return Prepared(linked=ready.linked, duration_ms=ready.duration_ms)

    async def put_by(
        self, point: Point, desired: DesiredChain, needs: Needs, prepared: Prepared
    ) -> None:
        """What was prepared waits for the next attempt, as if it had been staged."""
        if prepared.linked is not None:
            ready = Ready(prepared.linked, prepared.duration_ms)
            await self._keep(point, desired, needs, ready)

    def explanation(self, chain: DesiredChain) -> ChainExplanation | None:
        """Why the chain is linked as it is, if it was staged or is on the hook; else None."""
        point, plan_sha256 = point_of(chain), plan_digest(chain)
        kept = self._kept.get(point)
        if kept is not None and kept.plan_sha256 == plan_sha256:
            return kept.ready.linked.explanation
        generation = self._points.memory(point).generation_of(plan_sha256)
        return generation.explanation if generation is not None else None

    def program_ids(self) -> dict[Point, tuple[int, ...]]:
        """Programs that are loaded and wait to be put on their hooks."""
        kept = {point: one.ready.linked for point, one in self._kept.items()}
        return {point: (one.program_id, *one.segments) for point, one in kept.items()}

    def chains(self) -> dict[Point, DesiredChain]:
        """What these programs were linked from."""
        return {point: one.chain for point, one in self._kept.items()}

    async def let_go(self, *, everything: bool = False) -> None:
        """What was staged more than a minute ago is given up, or all of it."""
        now = self._clock()
        for point, kept in list(self._kept.items()):
            if everything or kept.expires_at <= now:
                del self._kept[point]
                await self._thread(kept.ready.linked.close)

    async def _stage(self, chain: DesiredChain) -> tuple[StagedChain, Mapping[str, float]]:
        point = point_of(chain)
        if not chain.programs:
            return _nothing(chain), {}
        problems: list[RefusedError] = []
        checks: tuple[Callable[[], Awaitable[None]], ...] = (
            lambda: self._preparer.check(chain),
            lambda: self._thread(self._points.admit, point, chain),
        )
        for check in checks:
            try:
                await check()
            except RefusedError as error:
                problems.append(error)
        if problems:
            raise merge(problems)
        needs = await self._thread(self._points.needs, point, chain)
        if needs is None or not needs.link:
            described = await self._thread(self._describe_kept, point, chain)
            return described, {}
        kept = self._kept_longer(point, chain, needs)
        if kept is not None:
            await self._thread(self._check_maps, point, chain, kept.maps)
            return _describe(chain, kept), {}
        ready = await self._preparer.link(point, chain, needs)
        try:
            await self._thread(self._check_maps, point, chain, ready.linked.maps)
        except RefusedError:
            await self._thread(ready.linked.close)
            raise
        await self._keep(point, chain, needs, ready)
        return _describe(chain, ready.linked), ready.duration_ms

    def _kept_longer(self, point: Point, chain: DesiredChain, needs: Needs) -> Linked | None:
        """What was staged for the same plan and maps; its minute begins anew."""
        kept = self._kept.get(point)
        if kept is None or not self._still_fits(kept, chain, needs):
            return None
        self._kept[point] = replace(kept, expires_at=self._clock() + STAGED_SECONDS)
        return kept.ready.linked

    def _still_fits(self, kept: _Kept, chain: DesiredChain, needs: Needs) -> bool:
        return (
            kept.expires_at > self._clock()
            and kept.plan_sha256 == plan_digest(chain)
            and kept.needs == needs
        )

    async def _keep(self, point: Point, chain: DesiredChain, needs: Needs, ready: Ready) -> None:
        before = self._kept.get(point)
        self._kept[point] = _Kept(
            chain=chain,
            plan_sha256=plan_digest(chain),
            needs=needs,
            ready=ready,
            expires_at=self._clock() + STAGED_SECONDS,
        )
        if before is not None:
            await self._thread(before.ready.linked.close)

    def _describe_kept(self, point: Point, chain: DesiredChain) -> StagedChain:
        """A chain whose program is loaded already, on the hook or as the previous generation."""
        generation = self._points.memory(point).generation_of(plan_digest(chain))
        assert generation is not None
        self._check_maps(point, chain, generation.maps)
        return StagedChain(
            interface=point.interface,
            hook=point.hook,
            netns=point.netns,
            plan_sha256=generation.plan_sha256,
            verified_instructions=self._points.verified_instructions(generation),
            programs=describe_programs(chain, generation.programs),
        )

    def _check_maps(self, point: Point, chain: DesiredChain, maps: tuple[HeldMap, ...]) -> None:
        memory = self._points.memory(point)
        problems: list[RefusedError] = []
        try:
            encode_configuration(self._reader, memory, chain, maps)
        except RefusedError as error:
            problems.append(error)
        try:
            check_metrics(self._reader, chain, maps)
        except RefusedError as error:
            problems.append(error)
        if problems:
            raise merge(problems)


def merge(problems: Iterable[RefusedError]) -> RefusedError:
    """One refusal that says all: the first one's code, every message, every reason."""
    errors = list(problems)
    if len(errors) == 1:
        return errors[0]
    reasons = [
        reason
        for error in errors
        for reason in (error.reasons or (Reason(path="", rule=error.message),))
    ]
    messages = "; ".join(dict.fromkeys(error.message for error in errors))
    return RefusedError(messages, reasons, code=errors[0].refusal_code)


def _nothing(chain: DesiredChain) -> StagedChain:
    """An empty chain needs nothing to be ready."""
    return StagedChain(
        interface=chain.interface,
        hook=chain.hook,
        netns=chain.netns,
        plan_sha256=plan_digest(chain),
        verified_instructions=0,
        programs=(),
    )


def _describe(chain: DesiredChain, linked: Linked) -> StagedChain:
    return StagedChain(
        interface=chain.interface,
        hook=chain.hook,
        netns=chain.netns,
        plan_sha256=plan_digest(chain),
        verified_instructions=linked.verified_instructions,
        programs=describe_programs(chain, linked.programs),
    )
