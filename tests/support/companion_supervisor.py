# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A companion supervisor as a process, with groups of its own, asked over its socket."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from services.companions.adapters.control_groups import read_layout
from shared.contracts.companions import (
    Applied,
    ApplyCompanions,
    AskEvents,
    AskLines,
    AskStates,
    CompanionCommand,
    CompanionEvent,
    CompanionReply,
    CompanionRequest,
    CompanionSpec,
    CompanionState,
    Events,
    Lines,
    RestartCompanion,
    Restarted,
    States,
    encode_line,
)
from tests.support.other_owners import wait_for

ID: Final = "default/lan1/xdp/guard/helper"
DEADLINE_SECONDS: Final = 30.0


class SupervisorProcess:
    """`python -m services.companions`, and its executor's end of the socket."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.place: Final = f"l3af-test/{uuid4().hex[:12]}"
        self.environment: dict[str, str] = {}
        self.before: tuple[str, ...] = ()
        """A command that becomes the supervisor's."""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._rest = b""
        self.seen: list[CompanionEvent] = []
        self._since = 0

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """It answers."""
        environment = {
            **os.environ,
            "COMPANIONS_STATE_DIR": str(self.folder / "state"),
            "COMPANIONS_SOCKET": str(self.folder / "socket"),
            "COMPANIONS_CGROUP": self.place,
            **self.environment,
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "services.companions"],
                env=environment,
                stderr=log,
            )
        wait_for(self._connects, what="a companion supervisor that answers")

    def _connects(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-3000:]
        connecting = socket.socket(socket.AF_UNIX)
        try:
            connecting.connect(str(self.folder / "socket"))
        except OSError:
            connecting.close()
            return False
        connecting.settimeout(DEADLINE_SECONDS)
        self._socket, self._rest = connecting, b""
        return True

    def ask(self, request: CompanionRequest) -> CompanionReply:
        """What it answers."""
        return self.say(encode_line(request))

    def send(self, request: CompanionRequest) -> None:
        """The request is on its way."""
        assert self._socket is not None
        self._socket.sendall(encode_line(request))

    def say(self, line: bytes) -> CompanionReply:
        """What it answers to any line."""
        assert self._socket is not None
        self._socket.sendall(line)
        while b"\n" not in self._rest:
            data = self._socket.recv(1 << 16)
            assert data, "the supervisor hung up"
            self._rest += data
        reply, _, self._rest = self._rest.partition(b"\n")
        decoded: CompanionReply = msgspec.json.decode(reply, type=CompanionReply)
        return decoded

    def apply(self, *specs: CompanionSpec) -> Applied:
        """These are to run, and no others."""
        reply = self.ask(ApplyCompanions(instances=specs))
        assert isinstance(reply, Applied), reply
        return reply

    def states(self) -> States:
        """All that it says of companions."""
        reply = self.ask(AskStates())
        assert isinstance(reply, States)
        return reply

    def state(self, companion: str = ID) -> CompanionState:
        """Of one companion."""
        return next(one for one in self.states().companions if one.id == companion)

    def restart(self, companion: str = ID) -> None:
        """Asks for it."""
        assert isinstance(self.ask(RestartCompanion(id=companion)), Restarted)

    def lines(self, companion: str = ID) -> list[str]:
        """What the companion said last."""
        reply = self.ask(AskLines(id=companion, lines=1000))
        assert isinstance(reply, Lines)
        return [line.text for line in reply.lines]

    def fetch(self) -> list[CompanionEvent]:
        """Every event up to now; those seen before are acknowledged."""
        reply = self.ask(AskEvents(since=self._since))
        assert isinstance(reply, Events)
        self.seen += reply.events
        if reply.events:
            self._since = reply.events[-1].number
        return self.seen

    def clear(self) -> None:
        """Nothing runs and nothing has happened, for the next test."""
        self.apply()
        nothing_is_left(self)
        wait_for(lambda: not self.states().companions, what="the end of all companions")
        self.fetch()
        self.seen.clear()

    def until(self, *kinds: str, companion: str = ID) -> list[CompanionEvent]:
        """The companion's events, when they are of these kinds in this order to begin with."""

        def of_it() -> list[CompanionEvent]:
            return [event for event in self.fetch() if event.id == companion]

        def is_so() -> bool:
            found = [event.kind for event in of_it()]
            assert found[: len(kinds)] == list(kinds)[: len(found)], found
            return len(found) >= len(kinds)

        wait_for(is_so, what=f"{kinds} and not {[event.kind for event in self.seen]}")
        return of_it()

    def until_said(self, text: str, companion: str = ID) -> list[str]:
        """The companion's lines, when one is this."""
        wait_for(lambda: text in self.lines(companion), what=f"the line {text}")
        return self.lines(companion)

    def until_state(
        self, is_so: Callable[[CompanionState], bool], companion: str = ID
    ) -> CompanionState:
        """The state, when it is so."""
        wait_for(lambda: is_so(self.state(companion)), what=f"not {self.states()}")
        return self.state(companion)

    def groups(self) -> dict[str, list[str]]:
        """Names of the groups of runs by hierarchy."""
        return {
            str(one.mount): sorted(
                path.name for path in Path(one.mount, self.place).glob("*") if path.is_dir()
            )
            for one in read_layout().hierarchies
        }

    def members(self) -> set[int]:
        """Ids of all processes in its groups."""
        accounting = read_layout().hierarchies[0]
        doors = Path(accounting.mount, self.place).glob("*/cgroup.procs")
        return {int(pid) for door in doors for pid in door.read_text().split()}

    def zombies(self) -> list[str]:
        """Children of the supervisor that nobody waits for."""
        return [
            path.name for path in Path("/proc").glob("[0-9]*") if f" Z {self.pid} " in _stat(path)
        ]

    def kill(self) -> None:
        """SIGKILL to the supervisor alone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)
        self._hang_up()

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(DEADLINE_SECONDS)
        self._hang_up()
        return status

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def end(self) -> None:
        """Nothing is left, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self._hang_up()
        for one in read_layout().hierarchies:
            base = Path(one.mount, self.place)
            if (base / "cgroup.kill").exists():
                (base / "cgroup.kill").write_text("1")
        wait_for(lambda: not self.members(), what="the end of all companions")
        for one in read_layout().hierarchies:
            base = Path(one.mount, self.place)
            for path in (*base.glob("*/"), base):
                if path.is_dir():
                    path.rmdir()


def _stat(process: Path) -> str:
    try:
        text = (process / "stat").read_text()
    except OSError:
        return ""
    return f" {text.rpartition(') ')[2]}"


@contextmanager
def a_supervisor() -> Iterator[SupervisorProcess]:
    """A supervisor that was not started yet, in a folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="l3af-companions-"))
    made = SupervisorProcess(folder)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)


def nothing_is_left(supervisor: SupervisorProcess) -> None:
    """No process, no group, nobody who was not waited for."""
    wait_for(lambda: not any(supervisor.groups().values()), what="groups that are gone")
    wait_for(lambda: not supervisor.zombies(), what="children that were waited for")


def a_command(folder: Path, text: str, *arguments: str) -> CompanionCommand:
    """A script of a shell, or of what its first line says."""
    if not text.startswith("#!"):
        text = f"#!/bin/sh\n{text}\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = folder / digest[:16]
    path.write_text(text)
    return CompanionCommand(sha256=digest, path=str(path), arguments=arguments)


def a_spec(folder: Path, text: str, *arguments: str, **fields: Any) -> CompanionSpec:
    """A companion that does what the script says."""
    start = a_command(folder, text, *arguments)
    return CompanionSpec(**{"id": ID, "name": "helper", "start": start, **fields})
