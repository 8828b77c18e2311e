# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The findings of a log that grows: records are read once, and gone through when somebody asks.

What is kept is in memory alone and follows from the records; a process that starts reads them anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from services.auditor.compliance.cases import Case
from services.auditor.compliance.facts import (
    COMPLIANCE_ACTIONS,
    ComplianceFact,
    read_fact,
)
from services.auditor.compliance.life_cycles import findings_at
from services.auditor.compliance.listing import FoundFindings
from services.auditor.disclosure import audience_of
from services.auditor.query import StoredRecord
from services.auditor.records import time_us_of
from shared.contracts.events import Audience
from shared.contracts.persons import ERASE_ACTION

RECORDS_AT_ONCE: Final = 16_384
"""Numbers of records that are looked through for such records at once."""
ANSWERS_KEPT: Final = 16
_ACTIONS: Final = tuple(sorted({one for some in COMPLIANCE_ACTIONS.values() for one in some}))


class ReadLog(Protocol):
    """The part of a log that is read."""

    @property
    def size(self) -> int:
        """Leaves in the tree."""

    async def of_actions(
        self, actions: Sequence[str], *, emitter: str = "", first: int = 0, stop: int | None = None
    ) -> list[StoredRecord]:
        """Believed records with one of the actions, oldest first."""


@dataclass(slots=True)
class _Answer:
    facts: int
    until_us: int
    cases: list[Case] = field(default_factory=list)


async def findings_of(
    log: ReadLog, audiences: frozenset[Audience], *, size: int, at_us: int
) -> FoundFindings:
    """Every finding in the first `size` records, as of a moment, of what these were told.

    Raises:
        StoreFaultError: The log cannot be read.
    """
    facts: list[ComplianceFact] = []
    unread = 0
    for first in range(0, size, RECORDS_AT_ONCE):
        stop = min(first + RECORDS_AT_ONCE, size)
        found = await log.of_actions(_ACTIONS, first=first, stop=stop)
        read, gone = await asyncio.to_thread(_read, found)
        facts += (one for one in read if one.audience in audiences)
        unread += sum(one in audiences for one in gone)
    cases, _ = await asyncio.to_thread(findings_at, facts, at_us=at_us)
    return FoundFindings(cases, at_us, size, unread)


class ComplianceLog:
    """The records of a log that say something about compliance."""

    def __init__(self, log: ReadLog, *, now: Callable[[], datetime]) -> None:
        """Nothing is read yet."""
        self._log: Final = log
        self._now: Final = now
        self._facts: Final[list[ComplianceFact]] = []
        self._unread: Final[list[Audience]] = []
        self._position = 0
        self._began = 0
        """Size of the log when its first records were read: who was erased before was gone."""
        self._answers: Final[dict[tuple[frozenset[Audience], int | None], _Answer]] = {}
        self._turn: Final = asyncio.Lock()

    async def findings(
        self, audiences: frozenset[Audience], *, at_us: int | None = None
    ) -> FoundFindings:
        """Every finding in what was told to these audiences.

        Args:
            audiences: It is as if nothing else had been said.
            at_us: As of this moment by the emitters' clocks, microseconds since 1970; None: now.

        Raises:
            StoreFaultError: The log cannot be read.
        """
        async with self._turn:
            await self._read_on()
            now_us = time_us_of(self._now())
            cases = await self._cases(audiences, at_us, now_us)
            unread = sum(one in audiences for one in self._unread)
            moment = now_us if at_us is None else at_us
            return FoundFindings(cases, moment, self._position, unread)

    async def _read_on(self) -> None:
        while self._position < (size := self._log.size):
            if not self._position:
                self._began = size
            stop = min(self._position + RECORDS_AT_ONCE, size)
            if await self._erased(stop):
                self._forget()
                continue
            found = await self._log.of_actions(_ACTIONS, first=self._position, stop=stop)
            if found:
                facts, unread = await asyncio.to_thread(_read, found)
                self._facts.extend(facts)
                self._unread.extend(unread)
            self._position = stop

    async def _erased(self, stop: int) -> bool:
        """Whether the next records say that a person was erased since the first ones were read."""
        first = max(self._position, self._began)
        if first >= stop:
            return False
        return bool(
            await self._log.of_actions((ERASE_ACTION,), emitter="auditor", first=first, stop=stop)
        )

    def _forget(self) -> None:
        """Everything is read anew, without the words of whoever was erased."""
        self._position = 0
        for kept in (self._facts, self._unread, self._answers):
            kept.clear()

    async def _cases(
        self, audiences: frozenset[Audience], at_us: int | None, now_us: int
    ) -> list[Case]:
        key = audiences, at_us
        known = self._answers.pop(key, None)
        if known is None or known.facts != len(self._facts) or now_us >= known.until_us:
            seen = [one for one in self._facts if one.audience in audiences]
            moment = now_us if at_us is None else at_us
            cases, until_us = await asyncio.to_thread(findings_at, seen, at_us=moment)
            # What was at a moment that is past does not change by itself.
            until_us = until_us if at_us is None else now_us + (1 << 62)
            known = _Answer(len(self._facts), until_us, cases)
        self._answers[key] = known
        while len(self._answers) > ANSWERS_KEPT:
            del self._answers[next(iter(self._answers))]
        return known.cases


def _read(found: list[StoredRecord]) -> tuple[list[ComplianceFact], list[Audience]]:
    facts: list[ComplianceFact] = []
    unread: list[Audience] = []
    for stored in found:
        fact = read_fact(stored)
        if fact is None:
            unread.append(audience_of(stored.leaf))
        elif fact.action in COMPLIANCE_ACTIONS.get(fact.emitter, ()):
            facts.append(fact)
    return facts, unread
