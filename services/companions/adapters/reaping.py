# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that are made and waited for: no child stays a zombie, whoever's child it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from services.companions.adapters import kernel_calls

OnEnd = Callable[[int], None]
"""Called with the wait status."""


class Child:
    """A process that this one has started and not yet waited for, so its id is nobody else's."""

    def __init__(self, pid: int) -> None:
        self.pid: Final = pid
        self.descriptor = os.pidfd_open(pid)
        """Readable when the process has ended; -1 when that was waited for."""

    def send(self, number: signal.Signals) -> None:
        """The signal, if the process is there."""
        if self.descriptor >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.descriptor, number)

    def close(self) -> None:
        """Give the descriptor up; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Reaper:
    """Waits for every process that ends below this one."""

    def __init__(self) -> None:
        """From here on orphans of companions are children of this process."""
        self._watched: Final[dict[int, tuple[Child, OnEnd]]] = {}
        self._loop: Final = asyncio.get_running_loop()
        kernel_calls.adopt_orphans()

    def start(self, body: Callable[[], NoReturn], on_end: OnEnd) -> Child:
        """A process that does `body`.

        Raises:
            OSError: There can be no more processes.
        """
        # A signal that the child takes before it has its own handlers would be taken for ours.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                body()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        child = Child(pid)
        self._watched[pid] = child, on_end
        self._loop.add_reader(child.descriptor, self.reap)
        return child

    def reap(self) -> None:
        """Every process that has ended is waited for, and who watches it is told.

        Ends of children call it; orphans have nobody, so it is called from time to time too.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            watched = self._watched.pop(pid, None)
            if watched is not None:
                child, on_end = watched
                self._loop.remove_reader(child.descriptor)
                child.close()
                on_end(status)
