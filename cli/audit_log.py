# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit log`: what happened, newest first, all of it, or as it goes on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console

from cli.audit_query import SCAN_LIMIT, Advance, Answer, Filters, requests_of
from cli.audit_view import render_list, render_records
from cli.console import CredentialsOption, JsonFlag, emit, progress, refusing, run, say
from cli.people import Names, read_names
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.audit import AuditRecord, RecordList, StreamRecords
from shared.errors import FaultError, Reason, RefusedError

FOLLOW_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 30.0
AT_ONCE: Final = 500
"""Records that are printed together."""
NO_FILTERS: Final = Filters()
PERMILLE: Final = 1000

LimitOption = Annotated[int, Parameter(help="Records at most.")]
BeforeOption = Annotated[
    int | None, Parameter(help="Only records with a smaller number: where an answer stopped.")
]
AfterOption = Annotated[
    int | None, Parameter(help="Only records with a greater number: where an answer stopped.")
]
ScanLimitOption = Annotated[
    int, Parameter(help="Records that are looked at for --where and --text, at most.")
]


class ListedRecords(RecordList, frozen=True, kw_only=True):
    """What `log --json` prints."""

    scanned: int = 0
    """Records that were looked at."""
    position: int | None = None
    """Where the answer stopped: `--before` goes on there.  None: at its end."""


def log(
    *,
    filters: Filters = NO_FILTERS,
    limit: LimitOption = 50,
    everything: Annotated[
        bool, Parameter(name="--all", negative=(), help="Every record that matches, no limit.")
    ] = False,
    before: BeforeOption = None,
    after: AfterOption = None,
    scan_limit: ScanLimitOption = SCAN_LIMIT,
    follow: Annotated[
        bool, Parameter(negative=(), help="Go on with what is recorded from now on.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What happened, newest first; reading it is recorded too.

    With --all or --follow, --json prints one document a line.
    """
    names = read_names()
    with refusing(json=json):
        requests = requests_of(
            filters, names, now=datetime.now(UTC), before_index=before, after_index=after
        )
        _check_positive({"--limit": limit, "--scan-limit": scan_limit})
        most = None if everything else limit

    async def listed() -> ListedRecords:
        async with connected(credentials) as bus:
            return await ask(bus, requests, most, scan_limit=scan_limit)

    async def all_of_it() -> None:
        async with connected(credentials) as bus:
            answer = Answer(bus, requests, scan_limit=scan_limit)
            await Printer(names, json=json).print_all(answer.records())
        say(stopping_line(answer, "--before"), json=json)

    async def followed() -> None:
        printer = Printer(names, json=json)
        async with connected(credentials) as bus:
            async for records in _follow(bus, requests, most or sys.maxsize):
                printer.print_now(records)

    if follow:
        run(followed(), json=json)
    elif everything:
        run(all_of_it(), json=json)
    else:
        found = run(listed(), json=json)
        emit(found, lambda one: render_list(one, names), json=json)
        if found.position is not None and any(one.where or one.text for one in requests):
            say(f"looked at {found.scanned} records; --before {found.position} goes on", json=json)


async def ask(
    bus: Bus,
    requests: Sequence[StreamRecords],
    limit: int | None,
    *,
    scan_limit: int = SCAN_LIMIT,
) -> ListedRecords:
    """Up to `limit` matching records, in the order that is asked for."""
    with searching() as advance:
        answer = Answer(bus, requests, limit=limit, scan_limit=scan_limit, advance=advance)
        records = tuple([record async for record in answer.records()])
    return ListedRecords(
        records=records,
        tree_size=answer.tree_size,
        more=answer.position is not None,
        scanned=answer.scanned,
        position=answer.position,
    )


@contextmanager
def searching() -> Iterator[Advance]:
    """A block during which a person sees how much of the log was passed."""
    with progress("searching the log", total=PERMILLE) as show:
        yield lambda done, total: show(done * PERMILLE // max(total, 1))


def stopping_line(answer: Answer, option: str) -> str:
    """How much was given, and where to go on."""
    given = (
        f"{answer.count} records given, {answer.scanned} looked at, {answer.tree_size} in the log"
    )
    return given if answer.position is None else f"{given}; {option} {answer.position} goes on"


class Printer:
    """Prints records as they come: lines of a table, or one JSON document a line."""

    def __init__(self, names: Names, *, json: bool) -> None:
        self._names: Final = names
        self._json: Final = json
        self._has_heading = True

    async def print_all(self, records: AsyncIterator[AuditRecord]) -> None:
        """Each record, AT_ONCE at a time."""
        waiting: list[AuditRecord] = []
        async for record in records:
            waiting.append(record)
            if len(waiting) == AT_ONCE:
                self.print_now(waiting)
                waiting.clear()
        if waiting:
            self.print_now(waiting)

    def print_now(self, records: Sequence[AuditRecord]) -> None:
        """These records, at once."""
        if self._json:
            lines = b"\n".join(msgspec.json.encode(record) for record in records)
            sys.stdout.write(lines.decode() + "\n")
            sys.stdout.flush()
            return
        Console(markup=False, highlight=False, emoji=False).print(
            render_records(records, self._names, has_heading=self._has_heading)
        )
        self._has_heading = False


def _check_positive(options: Mapping[str, int]) -> None:
    reasons = [
        Reason(path=name, rule="must be at least 1", got=number)
        for name, number in options.items()
        if number < 1
    ]
    if reasons:
        raise RefusedError("nothing can be shown", reasons)


async def _follow(
    bus: Bus, requests: Sequence[StreamRecords], limit: int
) -> AsyncIterator[tuple[AuditRecord, ...]]:
    """The newest records, then whatever comes, oldest first; a fault is waited out."""
    found = await ask(bus, requests, limit)
    if found.records:
        yield found.records[::-1]
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        later = [
            msgspec.structs.replace(
                request, order="oldest", before_index=None, after_index=found.tree_size - 1
            )
            for request in requests
        ]
        found = await _patiently(bus, later)
        if found.records:
            yield found.records


async def _patiently(bus: Bus, requests: Sequence[StreamRecords]) -> ListedRecords:
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return await ask(bus, requests, None)
        except FaultError:
            if loop.time() > gives_up_at:
                raise
            await asyncio.sleep(FOLLOW_SECONDS)
