# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers questions about the companions of this node, as far as whoever asks sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog

from services.node_executor.adapters.companion_keeper import CompanionKeeper, Journal
from services.node_executor.adapters.companion_line import Supervisor, SupervisorAwayError
from services.node_executor.companion_events import (
    left_over,
    restart_entry,
    shown_companion,
)
from services.node_executor.companion_set import CompanionPlace, parse_place
from services.node_executor.disclosure import Reader, Readers
from services.node_executor.generations import Point
from services.node_executor.staging import Thread
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts import companions
from shared.contracts.base import Endpoint
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor
from shared.contracts.node_companions import (
    LIST_COMPANIONS,
    READ_COMPANION_LOG,
    RESTART_COMPANION,
    CompanionAddress,
    CompanionLine,
    CompanionLog,
    CompanionRestarted,
    CompanionShown,
    CompanionsListed,
    ListCompanions,
    ReadCompanionLog,
    RestartCompanion,
)
from shared.deployment_keys import space_of
from shared.errors import Reason, RefusedError

NAMED: Final = 20
"""Companions that a refusal names."""

log = structlog.get_logger()


class CompanionDesk:
    """List, log, restart."""

    def __init__(
        self,
        *,
        node: str,
        keeper: CompanionKeeper,
        supervisor: Supervisor | None,
        readers: Readers,
        journal: Journal,
        thread: Thread,
        new_id: Callable[[], str],
    ) -> None:
        """`new_id` gives one that was never given."""
        self._node = node
        self.keeper: Final = keeper
        self._supervisor = supervisor
        self._readers = readers
        self._journal = journal
        self._thread = thread
        self._new_id = new_id

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What it answers."""
        return {
            LIST_COMPANIONS: self.list,
            READ_COMPANION_LOG: self.read_log,
            RESTART_COMPANION: self.restart,
        }

    async def list(self, request: ListCompanions, caller: Caller) -> CompanionsListed:
        """The companions that are wanted, and those that have not ended yet."""
        await self.keeper.try_refresh()
        reader = self._readers.of(caller.name)
        return CompanionsListed(
            node=self._node,
            companions=tuple(
                one
                for one in self.shown(reader)
                if request.deployment in (None, one.companion.deployment)
            ),
            problem=self.keeper.problem,
        )

    def shown(self, reader: Reader) -> tuple[CompanionShown, ...]:
        """All that the reader sees, by place, as the supervisor said last."""
        keeper = self.keeper
        found: list[CompanionShown] = []
        for companion in sorted({*keeper.wanted, *keeper.states}):
            one, state = keeper.wanted.get(companion), keeper.states.get(companion)
            place = parse_place(companion)
            if place is None or not reader.sees(space_of(place.deployment)):
                continue
            if one is not None:
                observed = keeper.observed(companion, one)
            elif state is not None and state.phase != "stopped":
                observed = left_over(place, state)
            else:
                continue
            found.append(shown_companion(place, observed, one, state))
        return tuple(found)

    def usage(self) -> tuple[CompanionShown, ...]:
        """What everybody sees, as the supervisor said last."""
        return self.shown(self._readers.of(""))

    async def read_log(self, request: ReadCompanionLog, caller: Caller) -> CompanionLog:
        """What a companion wrote last."""
        place, _ = self._find(request, caller)
        asked = companions.AskLines(id=str(place), lines=request.lines)
        reply = await self._line().ask(asked, companions.Lines)
        return CompanionLog(
            node=self._node,
            **place.point._asdict(),
            deployment=place.deployment,
            companion=place.companion,
            lines=tuple(
                CompanionLine(
                    at=one.time,
                    stream=one.stream,
                    text=one.text,
                    is_cut=one.is_cut,
                    left_out=one.left_out,
                )
                for one in reply.lines
            ),
        )

    async def restart(self, request: RestartCompanion, caller: Caller) -> CompanionRestarted:
        """A companion is being stopped and started anew; who asked is in the journal."""
        place, shown = self._find(request, caller)
        line = self._line()
        entry = restart_entry(
            self._node,
            place,
            self.keeper.wanted,
            actor=Actor(
                key=caller.key,
                role=caller.role,
                attested=caller.attested,
                address=caller.address,
                through=f"node/{self._node}",
            ),
            reason=request.reason,
            occasion=self._new_id(),
        )
        await self._thread(self._journal.journal, [entry])
        await line.ask(companions.RestartCompanion(id=str(place)), companions.Restarted)
        log.info("companion_restarted", companion=str(place), caller=caller.key)
        return CompanionRestarted(node=self._node, companion=shown)

    def _line(self) -> Supervisor:
        if self._supervisor is None:
            raise SupervisorAwayError(self.keeper.problem)
        return self._supervisor

    def _find(
        self, address: CompanionAddress, caller: Caller
    ) -> tuple[CompanionPlace, CompanionShown]:
        """The one that is meant.

        Raises:
            RefusedError: It is none that the caller sees, or several.
        """
        seen = [(_place(one), one) for one in self.shown(self._readers.of(caller.name))]
        found = [
            (place, one)
            for place, one in seen
            if (place.deployment, place.companion) == (address.deployment, address.companion)
            and address.interface in (None, place.point.interface)
            and address.hook in (None, place.point.hook)
            and (address.interface is None or address.netns == place.point.netns)
        ]
        if len(found) == 1:
            return found[0]
        rule = "is on several hook points" if found else "this node has no such companion"
        reason = Reason(
            path="interface" if found else "companion",
            rule=f"{rule}; one must be named" if found else rule,
            got=f"{address.deployment}/{address.companion}",
            allowed=[str(place) for place, _ in found] or [str(place) for place, _ in seen][:NAMED],
        )
        code: ErrorCode = "invalid_request" if found else "not_found"
        raise RefusedError(f"{reason.got} {rule}", [reason], code=code)


def _place(one: CompanionShown) -> CompanionPlace:
    point = Point(one.interface, one.hook, one.netns)
    return CompanionPlace(point, one.companion.deployment, one.companion.companion)
