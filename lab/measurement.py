# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One measurement: send from a host's peer, count in the host, both exactly.

::

    with counting(host) as arrivals:
        sent = send(host, port=80, rate=1000, count=2000)
    passed = arrivals.result()
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab.hosts import DATA_INTERFACE, PEER_INTERFACE, Host, LabError
from lab.traffic import READY, Counted, Sent

FINISH_SECONDS: Final = 10.0
_WITHOUT_END: Final = 10**9
"""Packets; a sender is ended before."""


class Arrivals:
    """A counter that runs in a namespace, and then its result."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._result: Counted | None = None

    def stop(self) -> Counted:
        """Everything that had arrived when this was called."""
        if self._result is None:
            self._process.send_signal(signal.SIGTERM)
            output, _ = self._process.communicate(timeout=FINISH_SECONDS)
            self._result = _counted(output)
        return self._result

    def result(self) -> Counted:
        """The counts; call it after the block that counted."""
        if self._result is None:
            raise LabError("the counter still runs")
        return self._result


@contextmanager
def counting(
    host: Host, *, ports: tuple[int, ...] = (), in_peer: bool = False
) -> Iterator[Arrivals]:
    """SYNs that reach the host (or its peer, for what the host sends) while the block runs."""
    interface = PEER_INTERFACE if in_peer else DATA_INTERFACE
    wanted = [argument for port in ports for argument in ("--port", str(port))]
    arguments = _module("count", "--interface", interface, "--seconds", "3600", *wanted)
    command = host.peer_command(*arguments) if in_peer else host.command(*arguments)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        if first != READY:
            process.kill()
            raise LabError(f"the counter did not start: {first}{process.stderr.read()}")
        arrivals = Arrivals(process)
        try:
            yield arrivals
        finally:
            arrivals.stop()


@contextmanager
def sending(host: Host, *, port: int = 80, rate: float = 1000.0) -> Iterator[None]:
    """SYNs flow from the peer to the host, at most so many a second, while the block runs."""
    options = ("--to", host.data_address, "--rate", str(rate), "--count", str(_WITHOUT_END))
    command = host.peer_command(*_module("syn", *options, "--port", str(port)))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def send(
    host: Host,
    *,
    ports: tuple[int, ...] = (80,),
    rate: float = 1000.0,
    count: int = 1000,
    from_host: bool = False,
) -> Sent:
    """`count` SYNs go from the peer to the host's data address (or from the host to its peer)."""
    to = host.peer_address if from_host else host.data_address
    wanted = [argument for port in ports for argument in ("--port", str(port))]
    options = ("--to", to, "--rate", str(rate), "--count", str(count), *wanted)
    arguments = _module("syn", *options)
    command = host.command(*arguments) if from_host else host.peer_command(*arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"the sender failed: {done.stderr}")
    said = json.loads(done.stdout)
    by_port = {int(port): number for port, number in said["sent_by_port"].items()}
    return Sent(sent=said["sent"], seconds=said["seconds"], sent_by_port=by_port)


def _module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "lab.traffic", *arguments)


def _counted(output: str) -> Counted:
    said = json.loads(output)
    by_port = {int(port): number for port, number in said["counted_by_port"].items()}
    return Counted(
        counted=said["counted"],
        counted_by_port=by_port,
        lost_in_socket=said["lost_in_socket"],
        buckets=said["buckets"],
    )
