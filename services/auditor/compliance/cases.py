# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One finding while its history is gone through: what it is about, and each change of its state.

Pure but for the case itself, which grows.

Rules:
 * It opens before anything else, is waived or resolved from there, and opens again from either.
   From one waiver to another it is waived without opening between.
 * A state that it has already is no change; the record is added to what proves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from services.auditor.compliance.facts import ComplianceFact
from services.auditor.records import render_time_us
from shared.canonical import canonical_digest
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.findings import (
    MAX_EVIDENCE,
    MAX_HISTORY,
    Finding,
    FindingCause,
    FindingChange,
    FindingKind,
    FindingNote,
    FindingState,
)

NODES_TOLD: Final = 80
_ID_DIGITS: Final = 16
_MICROSECONDS: Final = 1_000_000
LAWFUL: Final[frozenset[tuple[FindingState | None, FindingState]]] = frozenset(
    {
        (None, "open"),
        ("open", "waived"),
        ("open", "resolved"),
        ("waived", "open"),
        ("waived", "waived"),
        ("waived", "resolved"),
        ("resolved", "open"),
    }
)
"""From which state to which."""


@dataclass(frozen=True, slots=True)
class About:
    """What makes a finding the same finding."""

    kind: FindingKind
    rule: str = ""
    package: str = ""
    version: str = ""
    deployment: str = ""
    archive_sha256: str = ""
    home: Audience = PUBLIC
    """Of a version: the space in which it was published."""

    @property
    def id(self) -> str:
        """Short enough to be written by hand; who does not know the names cannot guess them."""
        parts = [
            self.kind,
            self.home,
            self.package,
            self.version,
            self.deployment,
            self.rule,
            self.archive_sha256,
        ]
        return f"f-{canonical_digest(parts)[:_ID_DIGITS]}"


@dataclass(slots=True)
class Case:
    """A finding, as far as the records tell until now."""

    id: str
    about: About
    audience: Audience
    outcome: str = ""
    package: str = ""
    version: str = ""
    archive_sha256: str = ""
    nodes: tuple[str, ...] = ()
    node_count: int = 0
    paths: tuple[str, ...] = ()
    history: list[FindingChange] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)
    """When each change was."""
    notes: list[FindingNote] = field(default_factory=list)

    @property
    def state(self) -> FindingState | None:
        """None: it was not opened yet."""
        return self.history[-1].state if self.history else None

    @property
    def cause(self) -> FindingCause | None:
        """Why it is in that state."""
        return self.history[-1].cause if self.history else None

    @property
    def waivers(self) -> tuple[str, ...]:
        """By whose grace it is waived now."""
        return self.history[-1].waivers if self.state == "waived" else ()

    def move(
        self,
        state: FindingState,
        cause: FindingCause,
        at_us: int,
        records: Iterable[int],
        **more: Any,
    ) -> None:
        """The state is this one from then on."""
        proof = tuple(dict.fromkeys(records))[:MAX_EVIDENCE]
        is_other_waiver = state == "waived" and more.get("waivers") != self.waivers
        if state == self.state and not is_other_waiver:
            self.prove(proof)
            return
        if (self.state, state) not in LAWFUL:
            raise AssertionError(f"a finding that is {self.state} does not become {state}")
        at = render_time_us(at_us)
        self.history.append(FindingChange(state=state, cause=cause, at=at, records=proof, **more))
        self.times_us.append(at_us)

    def prove(self, records: Iterable[int]) -> None:
        """These records show the last change too."""
        last = self.history[-1]
        proof = tuple(dict.fromkeys((*last.records, *records)))[:MAX_EVIDENCE]
        self.history[-1] = msgspec.structs.replace(last, records=proof)

    def note(self, fact: ComplianceFact, at_us: int) -> None:
        """Somebody said something of it."""
        self.notes.append(
            FindingNote(
                at=render_time_us(at_us),
                record=fact.index,
                actor_key=fact.actor_key,
                actor_role=fact.actor_role,
                reason=fact.reason,
                evidence=fact.details.evidence,
            )
        )

    def place(self, nodes: tuple[str, ...], count: int) -> None:
        """It was found there."""
        if nodes or count:
            self.nodes, self.node_count = nodes[:NODES_TOLD], max(count, len(nodes))

    def seconds_in(self, state: FindingState, *, until_us: int) -> float:
        """How long it was in a state, all times together, up to a moment that is not before."""
        ends = [*self.times_us[1:], until_us]
        spans = zip(self.history, self.times_us, ends, strict=True)
        total_us = sum(end - begin for one, begin, end in spans if one.state == state)
        return total_us / _MICROSECONDS

    def touched_since(self, since_us: int) -> bool:
        """Whether it was open or waived at some time from then on, or changed."""
        return self.state != "resolved" or self.times_us[-1] >= since_us

    def shown(self, *, at_us: int, history: int = MAX_HISTORY) -> Finding:
        """The finding as it is told.

        Args:
            at_us: The moment up to which records were gone through.
            history: How many changes, the newest, are told.
        """
        if self.state is None:
            raise AssertionError("a finding that never opened is none")
        about, told = self.about, self.history[-history:]
        return Finding(
            id=self.id,
            kind=about.kind,
            rule=about.rule,
            outcome=self.outcome,
            package=self.package,
            version=self.version,
            archive_sha256=self.archive_sha256,
            deployment=about.deployment,
            audience=self.audience,
            nodes=self.nodes,
            node_count=self.node_count,
            paths=self.paths,
            state=self.state,
            opened_at=self.history[0].at,
            state_since=self.history[-1].at,
            open_seconds=self.seconds_in("open", until_us=at_us),
            waived_seconds=self.seconds_in("waived", until_us=at_us),
            times_opened=sum(one.state == "open" for one in self.history),
            history=tuple(told),
            more_history=len(self.history) - len(told),
            notes=tuple(self.notes[-history:]),
        )
