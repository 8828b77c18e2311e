# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node's memory and journal, kept in a dictionary."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from services.node_executor.event_audiences import Entry, Said
from services.node_executor.generations import ChainMemory, Point
from shared.contracts.events import Audience, EventBody


@dataclass
class FakeStore:
    """Journal and memory of one node."""

    events: dict[str, EventBody] = field(default_factory=dict)
    audiences: dict[str, Audience] = field(default_factory=dict)
    memories: dict[Point, ChainMemory] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)

    def together(self) -> AbstractContextManager[None]:
        """Every call is durable at once."""
        return nullcontext()

    def has_published(self, event_id: str) -> bool:
        """As a test says."""
        return event_id in self.published

    def journal(self, entries: Iterable[Entry], memory: ChainMemory | None = None) -> None:
        """Ids that are known change nothing."""
        for entry in entries:
            self.events.setdefault(entry[0], entry[1])
            self.audiences.setdefault(entry[0], Said(*entry).audience)
        if memory is not None:
            self.memories[Point(memory.interface, memory.hook)] = memory

    def remembered(self) -> dict[Point, ChainMemory]:
        """A copy."""
        return dict(self.memories)

    def actions(self, audience: Audience = "") -> list[str]:
        """What was said, oldest first; to this audience, or to all."""
        return [self.events[one].action for one, to in self.audiences.items() if audience in to]
