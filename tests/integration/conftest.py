# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real nats-server in operator mode for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from shared.adapters.bus import Bus, connect
from shared.adapters.provisioning import provision
from shared.contracts.permissions import ControlRole, Role
from tests.support.log_stores import LogPlace, PostgresPlace, SqlitePlace
from tests.support.operator_mode import OperatorModeServer
from tests.support.postgres import PostgresServer, mortal_postgres, postgres

__all__ = ["mortal_postgres", "postgres"]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[OperatorModeServer]:
    """Running, with nothing provisioned."""
    server = OperatorModeServer(tmp_path / "nats")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def provisioned(nats_server: OperatorModeServer) -> OperatorModeServer:
    """Running, with every stream and bucket of the contract."""
    async with connect(nats_server.credentials("provisioner")) as bus:
        await provision(bus.connection)
    return nats_server


class Buses:
    """Opens connections of any role and closes them after the test."""

    def __init__(self, server: OperatorModeServer, stack: AsyncExitStack) -> None:
        self.server = server
        self._stack = stack

    async def open(self, role: Role, name: str | None = None) -> Bus:
        """A bus of a user of that role."""
        return await self._stack.enter_async_context(connect(self.server.credentials(role, name)))

    async def open_lesser(self, role: ControlRole, *, hears_no: str) -> Bus:
        """A bus of a service that may not yet listen to that subject."""
        lesser = self.server.lesser_credentials(role, hears_no=hears_no)
        return await self._stack.enter_async_context(connect(lesser, role=role))


@pytest.fixture
async def buses(provisioned: OperatorModeServer) -> AsyncIterator[Buses]:
    """Connections to a provisioned server."""
    async with AsyncExitStack() as stack:
        yield Buses(provisioned, stack)


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> LogPlace:
    """A place for a log, of each kind, with nothing in it yet."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "log")
    return PostgresPlace(await postgres.new_database())
