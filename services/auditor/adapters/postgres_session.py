# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may write the log in PostgreSQL: one session at a time, and a number that proves it.

The session holds an advisory lock, which ends with it.  Whoever takes the lock counts `log.fence`
up and keeps the number; every transaction that writes demands that the number is still its own.
So a process that was stopped, cut off or taken for dead commits nothing once another one went on,
whatever became of its lock.

Rules:
 * A holder that was silent for `lapse_seconds`, by the database's clock, is put out.
 * A process that comes back and finds another number is superseded, for good.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog
from asyncpg import Connection, Record

from services.auditor.adapters.postgres_schema import NAMESPACE, prepare
from services.auditor.merkle import EMPTY_ROOT
from services.auditor.store import DamagedLogError, StoreFaultError, SupersededError
from shared.adapters.lifecycle import StoppedError
from shared.errors import Reason, RefusedError

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
"""A statement that takes longer has lost its server."""
LOOK_SECONDS: Final = 0.5
"""Between two looks at whether the log is free."""
LOCK: Final = (0x6C336166, 1)
"""The advisory lock, of the database: one log each."""

_FAULTS: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
)
_DAMAGE: Final = (asyncpg.DataCorruptedError, asyncpg.IndexCorruptedError)

_PUT_OUT: Final = """
SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND database = datid AND datname = current_database()
AND classid = $1::int8::oid AND objid = $2::int8::oid
AND NOT (state = 'active' AND wait_event_type IS DISTINCT FROM 'Client')
"""
"""Ends the session that has the lock, unless the server itself is busy for it: with a migration."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Address:
    """Where the log is."""

    url: str
    """May hold a password: never shown."""
    connection_class: type[Connection[Record]] = Connection
    """Which the sessions that write are made of."""
    lapse_seconds: float = 20.0


@dataclass(frozen=True, slots=True)
class Session:
    """The session that may write."""

    connection: Connection[Record]
    fence: int


@contextmanager
def translated() -> Iterator[None]:
    """What PostgreSQL and the network say, in the service's words; a misuse stays a bug."""
    try:
        yield
    except _DAMAGE as error:
        raise DamagedLogError(f"the log's database is damaged: {error}") from error
    except _FAULTS as error:
        why = str(error) or type(error).__name__
        raise StoreFaultError(f"the log's database cannot be used: {why}") from error


async def connect(address: Address) -> Connection[Record]:
    """A connection that commits to disk before it says so.

    Raises:
        RefusedError: The URL is none, or has settings that there are not.
    """
    try:
        return await asyncpg.connect(
            address.url,
            timeout=CONNECT_SECONDS,
            command_timeout=ANSWER_SECONDS,
            connection_class=address.connection_class,
            server_settings=settings(is_writing=True),
        )
    except OSError:
        raise  # among them certificates that do not hold, which are ValueErrors too
    except ValueError:
        rule = "is no URL that PostgreSQL's clients read (it may hold a password: not shown)"
        reason = Reason(path="AUDITOR_STORE", rule=rule)
        raise RefusedError("configuration: AUDITOR_STORE", [reason]) from None


def settings(*, is_writing: bool) -> dict[str, str]:
    """Of a session."""
    common = {
        "application_name": "l3af-auditor" if is_writing else "l3af-auditor-reader",
        "search_path": NAMESPACE,
        "jit": "off",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    own = {"synchronous_commit": "on"} if is_writing else {"default_transaction_read_only": "on"}
    return common | own


async def begin(address: Address, *, origin: str, stop: asyncio.Event | None = None) -> Session:
    """The log is this process's, once nobody else has it.

    Args:
        address: Where it is.
        origin: Whose log it must be.
        stop: Set: waiting ends.

    Raises:
        RefusedError: The tables are another log's or a later release's, or the database does not
            keep Unicode.
        StoppedError: `stop` was set meanwhile.
    """
    connection = await connect(address)
    with ExitStack() as undo:
        undo.callback(connection.terminate)
        await _check_server(connection)
        has_said = False
        while not await _take_lock(connection, address):
            if not has_said:
                _log.warning("log_held_elsewhere", holder=await _holder(connection))
                has_said = True
            await _pause(stop)
        await prepare(connection, origin, empty_root=EMPTY_ROOT)
        fence = await connection.fetchval(
            "UPDATE log SET fence = fence + 1, holder = $1, seen_at = clock_timestamp() "
            "RETURNING fence",
            f"process {os.getpid()} on {socket.gethostname()}",
        )
        undo.pop_all()
    return Session(connection, fence)


async def resume(address: Address, *, fence: int) -> Session:
    """The log is this process's again, after its session was lost.

    Raises:
        StoreFaultError: The lost session still has the lock; it will not for long.
        SupersededError: Another process went on meanwhile.
    """
    connection = await connect(address)
    with ExitStack() as undo:
        undo.callback(connection.terminate)
        is_taken = await _take_lock(connection, address)
        if await connection.fetchval("SELECT fence FROM log") != fence:
            raise SupersededError(f"{await _holder(connection)} has taken the log over")
        if not is_taken:
            raise StoreFaultError("the session that was lost still has the log")
        await connection.execute("UPDATE log SET seen_at = clock_timestamp()")
        undo.pop_all()
    return Session(connection, fence)


@asynccontextmanager
async def committing(session: Session) -> AsyncIterator[Connection[Record]]:
    """All or nothing of what is written inside, and nothing if the log is another's by then."""
    async with session.connection.transaction():
        yield session.connection
        demand_own(
            await session.connection.fetchval(
                "UPDATE log SET seen_at = clock_timestamp() WHERE fence = $1 RETURNING true",
                session.fence,
            )
        )


def demand_own(is_own: object) -> None:
    """The row `log` still had this session's number, and is locked until the transaction ends.

    Raises:
        SupersededError: It had not: nothing of the transaction may be kept.
    """
    if not is_own:
        raise SupersededError("another auditor has taken the log over")


async def _take_lock(connection: Connection[Record], address: Address) -> bool:
    if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *LOCK):
        return True
    if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.log") is None:
        return False
    silent_seconds = await connection.fetchval(
        "SELECT extract(epoch FROM clock_timestamp() - seen_at)::float8 FROM log"
    )
    if silent_seconds >= address.lapse_seconds:
        holder = await _holder(connection)
        if await connection.fetchval(_PUT_OUT, *LOCK):
            _log.warning("log_taken_over", holder=holder, silent_seconds=silent_seconds)
    return bool(await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *LOCK))


async def _holder(connection: Connection[Record]) -> str:
    if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.log") is None:
        return "another process"
    return str(await connection.fetchval("SELECT holder FROM log"))


async def _check_server(connection: Connection[Record]) -> None:
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise RefusedError(f"the log's database has encoding {encoding}; it must be UTF8")
    if await connection.fetchval("SHOW fsync") != "on":
        _log.warning("database_does_not_sync", why="fsync is off: a power cut loses records")


async def _pause(stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(LOOK_SECONDS)
        return
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            await stop.wait()
    except TimeoutError:
        return
    raise StoppedError
