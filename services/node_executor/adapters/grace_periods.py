# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Short waits of the kernel while the program of a hook changes.

Attaching, swapping and detaching an XDP program waits for an RCU grace period, as does the first
TCX program of an interface: 8 to 16 ms each.  With expedited grace periods it is under 1 ms; the
price is one interrupt on each processor.  The kernel has one switch for all of it
(Documentation/admin-guide/kernel-parameters.txt, rcupdate.rcu_expedited), so it is on for the
length of one change only, and an executor that was killed meanwhile turns it off at its next start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

SWITCH: Final = Path("/sys/kernel/rcu_expedited")
_ON, _OFF = "1", "0"


class ExpeditedGracePeriods:
    """The kernel's switch, as far as this process may use it."""

    def __init__(self, marker: Path, *, is_allowed: bool = True, switch: Path = SWITCH) -> None:
        """The switch is off if it was left on by a process that had the same `marker`.

        Args:
            marker: A file that exists while this process holds the switch on.
            is_allowed: Whether it may be turned on; otherwise every wait is as long as it is.
            switch: The kernel's file; one that cannot be written is left alone.
        """
        self._marker: Final = marker
        self._is_allowed: Final = is_allowed
        self._switch: Final = switch
        if marker.exists():
            self._turn_off()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Grace periods are expedited within the block, if they can be."""
        is_mine = self._turn_on()
        try:
            yield
        finally:
            if is_mine:
                self._turn_off()

    def _turn_on(self) -> bool:
        """Whether it is on now and was off before."""
        if not self._is_allowed:
            return False
        try:
            if self._switch.read_text().strip() != _OFF:
                return False  # somebody wants it on, so it stays on
            self._marker.touch()
        except OSError:
            return False
        try:
            self._switch.write_text(_ON)
        except OSError:
            self._marker.unlink(missing_ok=True)
            return False
        return True

    def _turn_off(self) -> None:
        with suppress(OSError):  # tried again at the next start, since the marker stays
            self._switch.write_text(_OFF)
            self._marker.unlink(missing_ok=True)
