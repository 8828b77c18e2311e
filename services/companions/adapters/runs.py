# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One run of a companion: begun in a group of its own, listened to, ended with all it left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from services.companions.adapters.control_groups import Group, clear_group
from services.companions.adapters.reaping import Child
from services.companions.adapters.sandbox import (
    NOTIFY_SOCKET,
    Identity,
    Program,
    Sandbox,
    become_command,
    become_companion,
)
from services.companions.adapters.streams import PipeReader, ReadinessSocket
from services.companions.adapters.surroundings import Surroundings
from services.companions.life import (
    Began,
    Cleared,
    CommandEnded,
    CommandName,
    Ended,
    Input,
    ProcessKilledForMemory,
    SaidReady,
)
from services.companions.said_lines import Stream
from shared.contracts.companions import (
    MAPS_DIR,
    CompanionCommand,
    CompanionExit,
    CompanionSpec,
    CompanionUsage,
)
from shared.errors import FaultError, RefusedError

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_DIGEST_LETTERS: Final = 16
_GROUP_NAME: Final = re.compile(rf"[0-9a-f]{{{_DIGEST_LETTERS}}}-[0-9a-f]{{8}}")

OnInput = Callable[[Input], None]
OnData = Callable[[Stream, bytes], None]
"""Called with nothing when the stream has ended."""


def group_prefix(companion: str) -> str:
    """How the groups of this companion's runs begin."""
    return hashlib.sha256(companion.encode()).hexdigest()[:_DIGEST_LETTERS]


def is_run_group(name: str) -> bool:
    """Whether a run has a group of such a name: others are somebody else's."""
    return _GROUP_NAME.fullmatch(name) is not None


class Run:
    """The processes, group and streams of one run."""

    def __init__(self, around: Surroundings, *, on_input: OnInput, on_data: OnData) -> None:
        self._around: Final = around
        self._on_input: Final = on_input
        self._on_data: Final = on_data
        self._held: Final = ExitStack()
        self._group: Group | None = None
        self._child: Child | None = None
        self._commands: Final[dict[CommandName, Child]] = {}
        self._commands_over: Final = asyncio.Event()
        self._commands_over.set()
        self._sandbox: Sandbox | None = None
        self._report: PipeReader | None = None
        self._problem: Final = bytearray()
        self._notify = ""
        self._mounts = -1
        self._has_begun = False
        self._memory_kills = 0
        self._unsaid_kills = 0
        self.user_id = 0

    def begin(self, companion: str, spec: CompanionSpec, *, user_id: int | None) -> None:
        """Starts it; what comes of that is said later, and at once if nothing could be started.

        Args:
            companion: Its id.
            spec: What to run.
            user_id: Where the spec names no account; None: there is none left.
        """
        around = self._around
        try:
            around.check(spec)
            identity = around.identity(spec, user_id)
            copy = around.executables.copy(spec.start)
            name = f"{group_prefix(companion)}-{secrets.token_hex(4)}"
            self._group = around.groups.group(name)
            self._group.make(spec.limits)
            self._sandbox = self._surround(spec, identity, name)
            program = self._program(spec, spec.start, copy)
            body = partial(become_companion, self._sandbox, program)
            self._child = around.reaper.start(body, self._ended)
        except (FaultError, RefusedError, OSError) as error:
            failed = CompanionExit(reason="not-started", problem=str(error))
            self._on_input(Ended(failed, is_final=isinstance(error, RefusedError)))
            return
        self.user_id = identity.user_id
        self._close_writing()

    def _surround(self, spec: CompanionSpec, identity: Identity, name: str) -> Sandbox:
        if self._group is None:
            raise AssertionError("unreachable")
        readiness = ReadinessSocket(self._around.sockets / name, self._say_ready)
        self._held.callback(readiness.close)
        self._notify = str(readiness.path)
        output = PipeReader(lambda data: self._on_data("stdout", data))
        errors = PipeReader(lambda data: self._on_data("stderr", data))
        self._report = PipeReader(self._problem.extend, self._begun)
        for pipe in (output, errors, self._report):
            self._held.callback(pipe.close)
        for pipe in (output, errors):
            # Programs open /dev/stderr anew, under their own user.
            os.fchown(pipe.writing, identity.user_id, identity.group_ids[0])
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._held.callback(os.close, nothing)
        return self._around.sandbox(
            spec,
            identity,
            doors=self._group.doors,
            streams=(nothing, output.writing, errors.writing),
            report=self._report.writing,
            held=self._held,
        )

    def _say_ready(self) -> None:
        self._on_input(SaidReady())

    def _program(self, spec: CompanionSpec, command: CompanionCommand, copy: Path) -> Program:
        environment = {
            "PATH": SEARCH_PATH,
            "HOME": "/",
            **spec.environment,
            "NOTIFY_SOCKET": NOTIFY_SOCKET,
            "L3AF_MAPS": MAPS_DIR,
        }
        if self._child is not None:
            environment["L3AF_PID"] = str(self._child.pid)
        return Program(spec.name, str(copy), self._notify, command.arguments, environment)

    def _close_writing(self) -> None:
        """The report ends when the child has become another program."""
        if self._report is not None:
            self._report.close_writing()

    def _begun(self) -> None:
        if self._child is None or self._has_begun or self._problem:
            return
        self._has_begun = True
        try:
            self._mounts = os.open(f"/proc/{self._child.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            self._held.callback(os.close, self._mounts)
        except OSError:
            self._mounts = -1  # It is gone already, and its end is told next.
        self._on_input(Began(self._child.pid))

    def _ended(self, status: int) -> None:
        if self._child is None or self._report is None:
            raise AssertionError("unreachable")
        self._report.close()
        if self._problem:
            problem = self._problem.decode("utf-8", "replace")
            self._on_input(Ended(CompanionExit(reason="not-started", problem=problem)))
            return
        self._begun()
        code = os.waitstatus_to_exitcode(status)
        self._on_input(Ended(self._exit(code)))

    def _exit(self, code: int) -> CompanionExit:
        if code >= 0:
            return CompanionExit(reason="status", status=code)
        name = _signal_name(-code)
        kills = self._new_memory_kills() + self._unsaid_kills
        was_memory = -code == signal.SIGKILL and kills > 0
        return CompanionExit(reason="oom" if was_memory else "signal", signal=name)

    def terminate(self) -> None:
        """SIGTERM to its first process."""
        if self._child is not None:
            self._child.send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        if self._child is not None:
            # It may be on its way into the group.
            self._child.send(signal.SIGKILL)
        for child in self._commands.values():
            child.send(signal.SIGKILL)
        if self._group is not None:
            self._group.kill()

    def run_command(self, name: CommandName, spec: CompanionSpec) -> None:
        """Runs its stop or update command beside it; how that ended is said later."""
        command = spec.stop if name == "stop" else spec.update
        sandbox = self._sandbox
        if command is None or sandbox is None or self._mounts < 0 or name in self._commands:
            self._on_input(CommandEnded(name, "could not be run"))
            return
        said = bytearray()
        report = PipeReader(said.extend)
        with ExitStack() as held:
            held.callback(report.close_writing)
            try:
                copy = self._around.executables.copy(command)
                around = replace(sandbox, report=report.writing)
                if name == "update":
                    maps, pinning = self._around.open_maps(spec, held)
                    around = replace(around, maps=maps, pinning=pinning)
                program = self._program(spec, command, copy)
                body = partial(
                    become_command,
                    around,
                    program,
                    mounts=self._mounts,
                    has_maps=name == "update" and around.pinning is not None,
                )
                ended = partial(self._command_ended, name, report, said)
                self._commands[name] = self._around.reaper.start(body, ended)
                self._commands_over.clear()
            except (FaultError, RefusedError, OSError) as error:
                report.close()
                self._on_input(CommandEnded(name, str(error)))

    def _command_ended(
        self, name: CommandName, report: PipeReader, said: bytearray, status: int
    ) -> None:
        del self._commands[name]
        if not self._commands:
            self._commands_over.set()
        report.close()
        problem = said.decode("utf-8", "replace")
        code = os.waitstatus_to_exitcode(status)
        if code and not problem:
            how = f"exited with {code}" if code > 0 else f"was ended by {_signal_name(-code)}"
            problem = f"the {name} command {how}"
        self._on_input(CommandEnded(name, problem))

    def look(self) -> None:
        """Says it if the kernel ended one of its processes for memory.

        One look late: if it was the first process, its end says so.
        """
        unsaid, self._unsaid_kills = self._unsaid_kills, self._new_memory_kills()
        if unsaid:
            self._on_input(ProcessKilledForMemory())

    def _new_memory_kills(self) -> int:
        if self._group is None:
            return 0
        before, self._memory_kills = self._memory_kills, self._group.memory_kills()
        return self._memory_kills - before

    def usage(self) -> CompanionUsage:
        """What it uses now."""
        return CompanionUsage() if self._group is None else self._group.usage()

    async def clear(self) -> None:
        """Returns when nothing of it is left, and says that."""
        for child in self._commands.values():
            child.send(signal.SIGKILL)
        if self._group is not None:
            await clear_group(self._group)
        # Those whose parents have ended are the supervisor's children now.
        self._around.reaper.reap()
        await self._commands_over.wait()
        self._held.close()
        self._on_data("stdout", b"")
        self._on_data("stderr", b"")
        self._on_input(Cleared())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
