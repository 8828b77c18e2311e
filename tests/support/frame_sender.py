# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that go on and on, sent by a process of its own, and a count of those that got through.

Frames carry a protocol that nobody answers.  The receiver asks for that protocol alone, so it gets
a frame after XDP and after TC ingress let it pass.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.interfaces import DEADLINE_SECONDS

PROTOCOL: Final = 0x88B5
FRAME: Final = bytes.fromhex("ffffffffffff020000000001") + b"\x88\xb5" + bytes(50)
PAUSE_SECONDS: Final = 0.0002
_GOES_ON, _IS_PAUSED = 1, 2


class FrameSender:
    """Sends until told to pause; starts paused."""

    def __init__(self, interface: str) -> None:
        """The process runs."""
        self._shared = mmap.mmap(-1, 16)
        self._interface = interface
        self._process = os.fork()
        if self._process == 0:
            self._send_until_killed()

    def go_on(self) -> None:
        """Frames are on their way until `pause`, as far as the interface takes them."""
        self._shared[0] = _GOES_ON
        self._await(_GOES_ON)

    def pause(self) -> None:
        """No frame is sent any more."""
        self._shared[0] = _IS_PAUSED
        self._await(_IS_PAUSED)

    def stop(self) -> None:
        """The process is gone."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)

    def _await(self, state: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._shared[1] != state:
            assert time.monotonic() < deadline
            time.sleep(PAUSE_SECONDS)

    def _send_until_killed(self) -> None:
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        parent = os.getppid()
        while os.getppid() == parent:
            if self._shared[0] == _GOES_ON:
                try:
                    sender.send(FRAME)
                except OSError:  # the interface is down, gone or another one by now
                    with suppress(OSError):
                        sender.bind((self._interface, 0))
            self._shared[1] = self._shared[0]
            time.sleep(PAUSE_SECONDS)
        os._exit(0)


def arrived(interface: str) -> int:
    """Frames that reached the interface so far, dropped or not."""
    return int(Path(f"/sys/class/net/{interface}/statistics/rx_packets").read_text())


class FrameReceiver:
    """Counts frames that no program dropped."""

    def __init__(self, interface: str) -> None:
        """Counting."""
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(PROTOCOL)
        )
        self._socket.bind((interface, PROTOCOL))

    def close(self) -> None:
        """Not counting any more."""
        self._socket.close()

    def drain(self) -> int:
        """How many came since the last call."""
        count = 0
        while True:
            try:
                self._socket.recv(128)
            except BlockingIOError:
                return count
            except OSError:  # said once after the interface went down
                continue
            count += 1
