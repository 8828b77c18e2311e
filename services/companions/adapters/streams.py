# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pipes and sockets of companions, read by the loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_BLOCK_BYTES: Final = 64 << 10
_PAUSE_SECONDS: Final = 0.02
"""After every block and every datagram.  So a flood of lines is read at 3 MiB a second, and who
floods waits."""
_LAST_BLOCKS: Final = 16
_EVERYBODY: Final = 0o666


class PipeReader:
    """What comes through one pipe until it is closed."""

    def __init__(
        self, on_data: Callable[[bytes], None], on_end: Callable[[], None] | None = None
    ) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._on_data: Final = on_data
        self._on_end: Final = on_end
        self._reading, self.writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        self._again: asyncio.TimerHandle | None = None
        self._taken = 0
        self._loop.add_reader(self._reading, self._read)

    def close_writing(self) -> None:
        """The other end is the child's alone."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def _read(self) -> None:
        data = self._block()
        if data is None:
            return
        if not data:
            self._loop.remove_reader(self._reading)
            if self._on_end is not None:
                self._on_end()
            return
        self._on_data(data)
        self._taken += len(data)
        if self._taken >= _BLOCK_BYTES:
            self._taken = 0
            self._loop.remove_reader(self._reading)
            self._again = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._again = None
        self._loop.add_reader(self._reading, self._read)

    def _block(self) -> bytes | None:
        try:
            return os.read(self._reading, _BLOCK_BYTES)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """What was said and not yet read is read, within bounds; a second call does nothing."""
        if self._reading < 0:
            return
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._reading)
        self.close_writing()
        for _ in range(_LAST_BLOCKS):
            data = self._block()
            if not data:
                break
            self._on_data(data)
        os.close(self._reading)
        self._reading = -1


class ReadinessSocket:
    """Where a companion says READY=1 (sd_notify(3))."""

    def __init__(
        self, path: Path, on_ready: Callable[[], None], *, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        """Made so that its companion may write, in a folder that only root enters.

        Args:
            path: Of the socket; not there yet.
            on_ready: Called whenever it says so.
            pause_seconds: After every datagram.
        """
        self.path: Final = path
        self._pause_seconds: Final = pause_seconds
        self._loop: Final = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._on_ready: Final = on_ready
        self._socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            # Paths of sockets may have 107 bytes (unix(7)); this one always has few.
            self._socket.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)
        path.chmod(_EVERYBODY)
        self._resume()

    def _resume(self) -> None:
        self._again = None
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            message = self._socket.recv(_BLOCK_BYTES)
            self._loop.remove_reader(self._socket.fileno())
            self._again = self._loop.call_later(self._pause_seconds, self._resume)
            if b"READY=1" in message.split(b"\n"):
                self._on_ready()

    def close(self) -> None:
        """Nobody can say anything any more; a second call does nothing."""
        if self._socket.fileno() >= 0:
            if self._again is not None:
                self._again.cancel()
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self.path.unlink(missing_ok=True)
