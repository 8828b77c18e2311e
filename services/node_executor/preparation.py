# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be made ready before a hook point can change, and what was made ready.

Pure.  Preparing touches no hook: it may take long, fail and be thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from services.node_executor.generations import HeldMap, MapKey
from shared.contracts.node import MapConfig, ObservedProgram


class Linked(Protocol):
    """A chain linked into one program that is loaded and not attached."""

    @property
    def program_id(self) -> int:
        """Valid while this is held or the program is pinned."""

    @property
    def maps(self) -> tuple[HeldMap, ...]:
        """The maps of all its bodies."""

    @property
    def programs(self) -> tuple[ObservedProgram, ...]:
        """The bodies, in order."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be prepared before the change can be made."""

    configuration: Mapping[MapKey, MapConfig]
    """Entries that must become bytes."""
    link: bool
    """Whether a program must be linked."""
    carried: Mapping[MapKey, int]
    """Maps that its bodies take over, by id."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `Needs` asked for, made for exactly one desired chain."""

    entries: Mapping[MapKey, Mapping[bytes, bytes]] = field(default_factory=dict)
    linked: Linked | None = None
    duration_ms: Mapping[str, float] = field(default_factory=dict)
