# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What has to be made ready before a hook point can change, and what was made ready.

Pure.  Preparing touches no hook: it may take long, fail and be thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from services.node_executor.generations import HeldMap, MapKey
from shared.contracts.errors import ErrorCode
from shared.contracts.inspection import ChainExplanation
from shared.contracts.node import ObservedProgram
from shared.errors import RefusedError


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

    @property
    def verified_instructions(self) -> int:
        """How many instructions the verifier walked; 0 on kernels before 5.16."""

    @property
    def explanation(self) -> ChainExplanation | None:
        """Why it is linked as it is."""

    def close(self) -> None:
        """What is neither pinned nor attached is given up."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be prepared before the change can be made."""

    link: bool
    """Whether a program must be linked."""
    carried: Mapping[MapKey, int]
    """Maps that its bodies take over, by id."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A chain that loads here."""

    linked: Linked
    duration_ms: Mapping[str, float]
    """By phase."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `Needs` asked for, made for exactly one desired chain."""

    linked: Linked | None = None
    duration_ms: Mapping[str, float] = field(default_factory=dict)
    """By phase."""


class MapMismatchError(RefusedError):
    """A new version declares a map in another shape than the instance's map has."""

    code: ClassVar[ErrorCode] = "conflict"
