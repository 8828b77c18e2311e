# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why chains are linked as they are: of what runs, and of what was staged for a plan.

Touches nothing itself: hook points and what is staged are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Final

import msgspec

from services.node_executor.changes import HookPoints
from services.node_executor.disclosure import EVERYBODY, Reader
from services.node_executor.drafts import Drafts
from services.node_executor.generations import Point
from services.node_executor.staging import Staging
from shared.contracts.desired import DesiredChain
from shared.contracts.inspection import (
    ChainExplained,
    ChainsExplained,
    ExplainChain,
    PlaceExplained,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import render_place

MAX_REPLY_BYTES: Final = 600 * 1024
"""What comes behind that is left out of a reply for many hook points."""

_TOO_MUCH: Final = "the reply would be too large; ask for this hook point alone"
_NOT_KEPT: Final = (
    "the program on the hook was linked by a release that kept no explanation; it has one once the"
    " chain is linked again"
)
_NOT_OURS: Final = "the program on the hook is not one that is remembered here"
_NOT_LINKED: Final = "the chain needs no new program: only map entries or variables change"


class Inspection:
    """Explains the chains of one node."""

    def __init__(
        self,
        *,
        node: str,
        points: HookPoints,
        staging: Staging,
        drafts: Drafts,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is remembered; `clock` counts seconds and never goes back."""
        self._node = node
        self._points = points
        self._staging = staging
        self._drafts = drafts
        self._clock = clock

    def remember(self, chains: Iterable[DesiredChain]) -> None:
        """Chains that were just staged can be explained and tried for some minutes."""
        for chain in chains:
            if chain.programs:
                explanation = self._staging.explanation(chain)
                self._drafts.keep(chain, explanation, now=self._clock())

    def explain(self, request: ExplainChain, reader: Reader = EVERYBODY) -> ChainsExplained:
        """What was asked for, by hook point, as far as it is seen.

        Raises:
            RefusedError: There is no such draft, or no chain where one was asked for.
        """
        if request.draft is not None:
            return ChainsExplained(node=self._node, chains=(self._draft(request.draft, reader),))
        points = [
            point
            for point in sorted(self._points.points())
            if request.interface in (None, point.interface)
            and request.hook in (None, point.hook)
            and request.netns in (None, point.netns)
        ]
        explained = [one for point in points if (one := self._running(point, reader)) is not None]
        sizes = accumulate(len(msgspec.json.encode(one)) for one in explained)
        explained = [
            one if size <= MAX_REPLY_BYTES else _too_much(one)
            for one, size in zip(explained, sizes, strict=True)
        ]
        if not explained and (request.interface, request.hook, request.netns) != (None,) * 3:
            place = render_place(request.interface or "*", request.netns or "")
            place = f"{place}/{request.hook or '*'}"
            reason = Reason(path="interface", rule="has no chain of ours", got=place)
            raise RefusedError(f"{place} runs no chain of ours", [reason], code="not_found")
        return ChainsExplained(node=self._node, chains=tuple(explained))

    def _draft(self, digest: str, reader: Reader) -> ChainExplained:
        kept = self._drafts.get(digest, now=self._clock())
        explained = ChainExplained(
            interface=kept.chain.interface,
            hook=kept.chain.hook,
            netns=kept.chain.netns,
            source="draft",
            explanation=kept.explanation,
            places=_places(kept.chain),
            problem="" if kept.explanation is not None else _NOT_LINKED,
        )
        return reader.explained(explained, kept.chain)

    def _running(self, point: Point, reader: Reader) -> ChainExplained | None:
        """What is on the hook now, whatever is remembered of other generations."""
        memory = self._points.memory(point)
        seen = self._points.describe(point, None, desired_generation=0)
        if not seen.program_id:
            return None
        generation = memory.generation_with(seen.program_id)
        if generation is None:
            return reader.unremembered(point, problem=_NOT_OURS)
        explained = ChainExplained(
            **point._asdict(),
            generation=generation.number,
            explanation=generation.explanation,
            places=_places(generation.chain),
            problem="" if generation.explanation is not None else _NOT_KEPT,
        )
        return reader.explained(explained, generation.chain)


def _places(chain: DesiredChain) -> tuple[PlaceExplained, ...]:
    return tuple(
        PlaceExplained(
            deployment=program.deployment,
            order=program.order,
            has_packages_order=program.has_packages_order,
        )
        for program in chain.programs
    )


def _too_much(explained: ChainExplained) -> ChainExplained:
    return msgspec.structs.replace(explained, explanation=None, problem=_TOO_MUCH)
