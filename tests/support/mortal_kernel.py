# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A kernel and a journal whose process is killed at a chosen step."""

from __future__ import annotations

import os
import signal
from typing import Any

KERNEL_STEPS = frozenset(
    (
        *("pin_program", "unpin_program", "pin_map", "unpin_map", "write_record", "name_maps"),
        *("attach", "detach", "replace", "take_over", "drop_dead_link"),
        *("write_entries", "copy_counts"),
    )
)
JOURNAL_STEPS = frozenset({"journal"})


class Fate:
    """Counts steps; the process is killed before the k-th, or after the last."""

    def __init__(self, kills_at: int) -> None:
        """Nothing is counted before `begin`."""
        self._steps = -1
        self._kills_at = kills_at

    def begin(self) -> None:
        """Steps are counted from now."""
        self._steps = 0

    def reach(self) -> None:
        """A step is next."""
        if self._steps == self._kills_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._steps += self._steps >= 0

    def end(self) -> None:
        """All steps are done."""
        if self._steps == self._kills_at:
            os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """Its calls are steps if `counted` names them."""

    def __init__(self, target: Any, fate: Fate, counted: frozenset[str]) -> None:
        self._target, self._fate, self._counted = target, fate, counted

    def __getattr__(self, name: str) -> Any:
        method, fate = getattr(self._target, name), self._fate
        if name not in self._counted:
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            fate.reach()
            return method(*arguments, **options)

        return call
