# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One hook point as it was read: what is on the hook, and what is pinned for it.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.node_executor.generation_record import record_number
from services.node_executor.generations import HEAD, MapKey, Standing
from shared.contracts.node import AttachmentKind


@dataclass(frozen=True, slots=True)
class PinnedGeneration:
    """What is pinned of one generation."""

    programs: Mapping[int, int] = field(default_factory=dict)
    """Segment to program id."""
    maps: Mapping[MapKey, int] = field(default_factory=dict)
    record: bytes = b""
    """What it is made of, as it was written; empty: there is none, or none that can be read."""


@dataclass(frozen=True, slots=True)
class ObservedHook:
    """One hook point as kernel and bpffs have it."""

    interface_index: int | None
    """None: there is no such interface now."""
    link_id: int = 0
    """Of our pinned link; 0: none."""
    link_program_id: int = 0
    """What our link runs; 0: none, or the link's interface is gone."""
    foreign_program_id: int = 0
    """A program on the hook that leaves no room for ours; 0: none."""
    attachment: AttachmentKind = ""
    """How our program is attached; empty: it is not."""
    displaced_program_id: int = 0
    """Another owner's program that was taken over and is kept to be put back; 0: none."""
    fits_better: bool = False
    """Whether packets are smaller than when the driver refused what is attached generic."""
    generations: Mapping[int, PinnedGeneration] = field(default_factory=dict)
    """By the name of their pins."""
    named: int = 0
    """The generation whose maps the hook point's path of maps leads to; 0: there is no path."""
    odd: tuple[str, ...] = ()
    """Paths in the hook point's pin directory that nothing of ours has."""

    @property
    def link_is_live(self) -> bool:
        """Whether our link is on an interface that exists."""
        return self.link_program_id != 0

    @property
    def link_is_dead(self) -> bool:
        """Whether a pin is left of what runs nothing of ours any more."""
        return bool(self.link_id or self.displaced_program_id) and self.link_program_id == 0

    @property
    def program_pins(self) -> dict[int, int]:
        """Generation to its head program's id."""
        return {
            number: pinned.programs[HEAD]
            for number, pinned in self.generations.items()
            if HEAD in pinned.programs
        }

    @property
    def running_pin(self) -> int:
        """Name of the pins of the generation that runs; 0: none, or nothing of it is pinned."""
        heads = self.program_pins.items()
        running = [number for number, head in heads if head == self.link_program_id]
        return max(running, key=self._age, default=0)

    @property
    def map_pins(self) -> Mapping[MapKey, int]:
        """The maps of the generation that runs; of the newest, if none does."""
        pin = self.running_pin or max(self.generations, key=self._age, default=0)
        return self.generations[pin].maps if pin in self.generations else {}

    @property
    def last_number(self) -> int:
        """Of the generation that runs, as far as its pins say; 0: they say nothing.

        A record that a killed executor left of what never ran does not count.
        """
        pin = self.running_pin
        return max(pin, record_number(self.generations[pin].record)) if pin else 0

    @property
    def standing(self) -> Standing:
        """What a writer compares, to know whether the hook point changed since it looked."""
        numbers = [record_number(pinned.record) for pinned in self.generations.values()]
        return Standing(max(numbers, default=0), self.link_id, self.link_program_id)

    def _age(self, pin: int) -> tuple[int, int]:
        return record_number(self.generations[pin].record), pin
