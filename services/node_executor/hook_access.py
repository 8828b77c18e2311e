# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a change needs of the kernel: looking, and having a plan performed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from services.node_executor.actions import Action
from services.node_executor.attachment import Surroundings
from services.node_executor.configuration import MapReader
from services.node_executor.generations import ChainMemory, Point, plan_digest
from services.node_executor.kernel_types import ProgramInfo
from services.node_executor.observed_hook import ObservedHook
from services.node_executor.reconciliation import attaches_anew
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.probes import ProbeTarget
from shared.errors import RefusedError


class HookReader(MapReader, Protocol):
    """What can be read from the kernel."""

    def points(self) -> set[Point]:
        """Hook points that have pins."""

    def observe(self, point: Point) -> ObservedHook:
        """The hook point as kernel and bpffs have it now."""

    def exclusively(self, point: Point) -> AbstractContextManager[None]:
        """No other executor changes the hook point within the block; a killed one holds nothing.

        Raises:
            GenerationConflictError: Another one changes it for longer than a change takes.
        """

    def program(self, program_id: int) -> ProgramInfo:
        """What the kernel says about a loaded program."""

    def is_loaded(self, program_id: int) -> bool:
        """Whether the kernel has the program."""

    def segments(self, map_id: int, count: int) -> dict[int, int]:
        """Places 1 to `count` of an array of segments, by the id of the program that is there."""

    def wait(self, seconds: float) -> None:
        """Give the kernel's own workers time for what they do later."""

    def holders(self, program_id: int) -> dict[str, Any]:
        """Who holds the program: its name, tag, pins, and processes."""

    def surroundings(self, point: Point) -> Surroundings:
        """What else is to be said of our program on the hook."""

    def owner(self, point: Point, program_id: int, *, hint: str = "") -> RefusedError:
        """A refusal that names whoever holds the hook with that program."""

    def check(self, point: Point, options: LinkOptions, target: ProbeTarget | None = None) -> None:
        """Nothing, if a new attachment with these options is not known to fail."""


def check_way(
    kernel: HookReader, hook: ObservedHook, memory: ChainMemory, desired: DesiredChain
) -> None:
    """Nothing, unless the chain would have to be attached anew in a way known to be refused.

    Raises:
        AttachmentRefusedError: The driver or the kernel has no such way.
        AnchorMissingError: The program to stand beside is not on the hook.
        TargetMissingError: There is nothing that a probe could be attached to.
    """
    is_new = not hook.link_is_live or attaches_anew(hook, desired.link, memory.attached_with)
    runs = memory.current.plan_sha256 if memory.current else ""
    # Another program of a probe takes a new link to the target, except where links take updates.
    is_remade = desired.target is not None and plan_digest(desired) != runs
    if desired.programs and (is_new or is_remade):
        kernel.check(memory.point, desired.link, desired.target)


class Steps(Protocol):
    """Performs plans."""

    def run(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is performed; or what was done is undone and the first failure raised."""

    def try_each(self, actions: Iterable[Action], point: Point) -> None:
        """Every action is tried."""
