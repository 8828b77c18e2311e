# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL server in a directory of its own: a socket, no port, no privileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

START_SECONDS: Final = 20.0
_NUMBERS: Final = count(1)


def newest_binaries() -> Path:
    """Where Debian's packages put the newest server."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[-2])
    )
    assert found, "PostgreSQL is not installed: deploy/install-system-packages test"
    return found[-1]


class PostgresServer:
    """One server; made, started, killed and started again as a test wants it."""

    def __init__(self, *, fsync: bool, parent: Path | None = None) -> None:
        self.directory: Final = Path(tempfile.mkdtemp(prefix="l3af-pg-", dir=parent))
        self._binaries: Final = newest_binaries()
        self._fsync: Final = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._user: Final = {} if os.geteuid() else _unprivileged()
        if self._user:
            os.chown(self.directory, self._user["user"], self._user["group"])
        self._run(
            "initdb", "-D", self.directory / "data", "-U", "auditor", "--no-sync", "-A", "trust",
            "--locale=C", "--encoding=UTF8",
        )  # fmt: skip

    def url(self, database: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql://auditor@/{database}?host={self.directory}"

    def start(self) -> None:
        """It answers when this returns."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.directory),
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "shared_buffers": "64MB",
            "max_connections": "40",
            "log_min_messages": "fatal",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.directory / "data", *options],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._user,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.directory / "log").read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL to all of its processes: nothing is finished, nothing is written."""
        assert self._process is not None
        children = _children(self._process.pid)
        self._process.send_signal(signal.SIGKILL)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        while any(Path(f"/proc/{child}/fd").exists() for child in children):
            time.sleep(0.01)

    def stop(self) -> None:
        """It does not run, and its directory is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
        shutil.rmtree(self.directory)

    async def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"log_{next(_NUMBERS)}"
        await self.execute(f"CREATE DATABASE {name}", database="postgres")
        return self.url(name)

    async def execute(self, statement: str, *, database: str) -> list[Any]:
        """Rows of one statement, in a session of its own."""
        return await run_statement(self.url(database), statement)

    def _is_ready(self) -> bool:
        done = self._try("pg_isready", "-q", "-h", self.directory)
        return done.returncode == 0

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = self._try(program, *arguments)
        assert done.returncode == 0, f"{program}: {done.stderr.decode()}"

    def _try(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._binaries / program, *arguments],
            check=False,
            capture_output=True,
            cwd="/",
            **self._user,
        )


async def run_statement(url: str, statement: str) -> list[Any]:
    """Rows of one statement among the log's tables, in a session of its own."""
    connection = await asyncpg.connect(url, server_settings={"search_path": "l3af_audit"})
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _unprivileged() -> dict[str, Any]:
    """The server refuses to run as root: as whom it runs instead."""
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for tests that are not about crashes: it does not wait for the disk."""
    server = PostgresServer(fsync=False)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def mortal_postgres() -> Iterator[PostgresServer]:
    """A server of the test's own that keeps what it promises, to be killed."""
    server = PostgresServer(fsync=True)
    try:
        server.start()
        yield server
    finally:
        server.stop()
