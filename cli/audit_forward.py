# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit forward`: records as they come, to a file, a syslog receiver or a web server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Protocol
from urllib.parse import SplitResult

import msgspec
from cyclopts import Parameter
from rich.text import Text

from cli.audit_forms import FORMS, Form, LineFormName, line_form_name
from cli.audit_log import NO_FILTERS
from cli.audit_query import CHUNK_SCANNED, PATIENCE_SECONDS, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, refusing, run, say
from cli.forward_sinks import SYSLOG_PORT, FileSink, Held, Sink, SyslogSink, WebSink, parse_sink
from cli.forwarding import (
    Batch,
    ForwardState,
    as_found,
    as_said,
    batch_key,
    check_state,
    named,
    next_batch,
    next_question,
    question_digest,
    received,
)
from cli.people import read_names
from cli.raw_records import STREAM_RAW_RECORDS, RawChunk
from cli.session import connected
from services.auditor.adapters.durable_files import replace_file
from shared.contracts.audit import StreamRecords
from shared.contracts.base import Endpoint
from shared.errors import FaultError, Reason, RefusedError
from shared.validation import decode_document

FOLLOW_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 30.0
_CONTENT_TYPES: Final = {"ndjson": "application/x-ndjson", "ocsf": "application/x-ndjson"}


class Forwarded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `forward --json` prints when it ends."""

    sink: str
    records: int
    """Received from this command."""
    after: int
    """Every matching record up to this one was received."""


def forward(
    sink: str,
    /,
    *,
    state: Annotated[
        Path, Parameter(help="Where is kept how far the sink was fed; a file for each sink.")
    ],
    filters: Filters = NO_FILTERS,
    format: Annotated[  # noqa: A002 # the option is called so
        LineFormName | None,
        Parameter(help="Else syslog for syslog, for a file by its name, and NDJSON."),
    ] = None,
    after: Annotated[
        int | None, Parameter(help="Begin behind this record, if nothing was sent yet; else at 0.")
    ] = None,
    once: Annotated[
        bool, Parameter(negative=(), help="End when everything that there is was received.")
    ] = False,
    ca: Annotated[
        Path | None, Parameter(help="Certificates that the receiver's must lead to.")
    ] = None,
    cert: Annotated[
        Path | None, Parameter(help="Own certificate, for a receiver that asks.")
    ] = None,
    key: Annotated[Path | None, Parameter(help="The key of --cert.")] = None,
    token_file: Annotated[
        Path | None, Parameter(help="Holds a bearer token, for a web server that asks.")
    ] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Send every record that matches to a sink, oldest first, and go on with what comes.

    What was received is noted, so it may end at any moment and goes on where it was: nothing is
    left out.  A web server gets a batch that is sent again under the same Idempotency-Key; a file
    never has a record twice; syslog knows no receipt, and after a broken connection a receiver may
    see records again, by the same sequenceId.  A sink that is down or slow delays this command and
    nothing else.

    Parameters
    ----------
    sink
        A file, https://…, or syslog+tls://HOST[:6514]; http:// and syslog+tcp:// on this machine.
    """
    names = read_names()
    with refusing(json=json):
        address = parse_sink(sink)
        chosen = format or _usual(address, sink)
        question = _only(requests_of(filters, names, now=datetime.now(UTC), order="oldest"))
        tls = _tls(ca, cert, key)
        token = _token(token_file)
        place = _sink(address, sink, chosen, tls=tls, token=token)

    async def forwarded() -> Forwarded:
        with _held(state) as stored:
            begun = stored.read() or ForwardState(
                sink=sink,
                form=chosen,
                question=question_digest(question),
                after=-1 if after is None else after,
                begun_after=-1 if after is None else after,
            )
            check_state(begun, sink=sink, form=chosen, question=question_digest(question))
            work = Forwarding(place, FORMS[chosen], question, stored, begun)
            try:
                async with connected(credentials) as bus:
                    await work.run(bus, once=once)
            finally:
                await place.aclose()
            return Forwarded(sink=sink, records=work.count, after=work.state.after)

    emit(run(forwarded(), json=json), _render, json=json)


class StateFile:
    """The state of one sink, while nobody else has it."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    def read(self) -> ForwardState | None:
        """As it is on the disk; None: there is none yet."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return decode_document(data, ForwardState, what=str(self._path))

    def write(self, state: ForwardState) -> None:
        """On the disk when this returns; a reader sees the old or the new one."""
        try:
            replace_file(self._path, msgspec.json.encode(state) + b"\n")
        except OSError as error:
            raise FaultError(f"{self._path}: cannot be written: {error.strerror}") from error


@contextmanager
def _held(path: Path) -> Iterator[StateFile]:
    """The state, held so that no other command feeds the sink.

    Raises:
        RefusedError: Another one does, or it cannot be opened.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RefusedError(f"{lock}: cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(f"{path}: another command feeds this sink") from error
        yield StateFile(path)
    finally:
        os.close(descriptor)


class Asked(Protocol):
    """Where the auditor is asked."""

    async def request(
        self,
        endpoint: Endpoint[StreamRecords, RawChunk],
        request: StreamRecords,
        *,
        timeout_seconds: float,
    ) -> RawChunk:
        """The next chunk."""


class Forwarding:
    """One sink being fed."""

    def __init__(
        self,
        sink: Sink,
        form: Form,
        question: StreamRecords,
        stored: StateFile,
        state: ForwardState,
        *,
        pause_seconds: float = FIRST_RETRY_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is sent yet; `pause_seconds` is the first pause after a fault."""
        self._pause_seconds: Final = pause_seconds
        self._next_pause_seconds = pause_seconds
        self._sleep: Final = sleep
        self._sink: Final = sink
        self._form: Final = form
        self._question: Final = question
        self._stored: Final = stored
        self.state = state
        self.count = 0

    async def run(self, bus: Asked, *, once: bool) -> None:
        """Everything is received, and what comes; with `once` only what there is."""
        held = await self._held()
        if held is not None:
            change = as_found if held.is_seen else as_said
            self.state = change(self.state, last=held.last)
        self._stored.write(self.state)
        while True:
            is_again = self.state.sending is not None
            chunk = await (self._all_of_it(bus) if is_again else self._next(bus))
            batch = next_batch(chunk.records, self._form, is_again=is_again)
            if batch is not None:
                await self._send(batch)
                continue
            passed = chunk.tree_size - 1 if chunk.position is None else chunk.position
            if is_again or passed > self.state.after:
                sending = self.state.sending
                end = sending.last if sending is not None else passed
                self.state = received(self.state, last=end)
                self._stored.write(self.state)
            if chunk.position is None and not is_again:
                if once:
                    return
                await self._sleep(FOLLOW_SECONDS)

    async def _held(self) -> Held | None:
        """What the sink holds, if that can be known; it is waited for."""
        while True:
            try:
                return await self._sink.held()
            except FaultError as fault:
                await self._pause(fault.message)

    async def _send(self, batch: Batch) -> None:
        """The batch was received; or the sink says what it holds, and that is gone on behind."""
        if self.state.sending is None:
            self.state = named(self.state, batch)
            self._stored.write(self.state)
        key = batch_key(self.state, batch)
        last = await self._delivered(batch, key)
        if last is not None and last < batch.last:
            self.state = as_found(self.state, last=last)
            self._stored.write(self.state)
            again = f"what is behind record {self.state.after} is sent again"
            await self._pause(f"the sink takes {batch.last} and holds {last}; {again}")
            return
        self._next_pause_seconds = self._pause_seconds
        sending = self.state.sending
        self.state = received(self.state, last=max(batch.last, sending.last if sending else 0))
        self._stored.write(self.state)
        self.count += len(batch.lines)

    async def _delivered(self, batch: Batch, key: str) -> int | None:
        """What the sink says that it holds, if it says so; it is waited for."""
        while True:
            try:
                return await self._sink.deliver(batch, key=key)
            except FaultError as fault:
                await self._pause(f"{fault.message}; records from {batch.first} on wait for it")

    async def _pause(self, why: str) -> None:
        """A while, and each time a longer one, until something was received."""
        say(why, json=False)
        await self._sleep(self._next_pause_seconds)
        self._next_pause_seconds = min(LAST_RETRY_SECONDS, self._next_pause_seconds * 2)

    async def _next(self, bus: Asked) -> RawChunk:
        """What comes next."""
        return await self._ask(bus, next_question(self.state, self._question))

    async def _all_of_it(self, bus: Asked) -> RawChunk:
        """The batch that may have been received, however many chunks it is in."""
        question = next_question(self.state, self._question)
        chunk = await self._ask(bus, question)
        records = list(chunk.records)
        while chunk.position is not None:
            question = msgspec.structs.replace(question, after_index=chunk.position)
            chunk = await self._ask(bus, question)
            records += chunk.records
        return msgspec.structs.replace(chunk, records=tuple(records))

    async def _ask(self, bus: Asked, question: StreamRecords) -> RawChunk:
        """The answer; the auditor is waited for."""
        asked = msgspec.structs.replace(question, scan_limit=CHUNK_SCANNED)
        while True:
            try:
                return await bus.request(
                    STREAM_RAW_RECORDS, asked, timeout_seconds=PATIENCE_SECONDS
                )
            except FaultError as fault:
                await self._pause(f"{fault.message}; it is asked again")


def _usual(address: SplitResult, sink: str) -> LineFormName:
    if address.scheme.startswith("syslog"):
        return "syslog"
    return "ndjson" if address.scheme else line_form_name(Path(sink))


def _only(questions: list[StreamRecords]) -> StreamRecords:
    """The one question; a name that had several keys makes several, which no position is of."""
    if len(questions) != 1:
        rule = "had several keys: name one"
        raise RefusedError(f"--actor {rule}", [Reason(path="--actor", rule=rule)])
    return questions[0]


def _token(file: Path | None) -> str:
    try:
        return file.read_text().strip() if file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{file}: no token can be read") from error


def _tls(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    if (cert is None) != (key is None):
        raise RefusedError(
            "--cert and --key go together", [Reason(path="--cert", rule="needs --key")]
        )
    try:
        tls = ssl.create_default_context(cafile=ca)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None:
            tls.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise RefusedError(f"certificates cannot be read: {error}") from error
    return tls


def _sink(
    address: SplitResult, text: str, form: LineFormName, *, tls: ssl.SSLContext, token: str
) -> Sink:
    if not address.scheme:
        return FileSink(Path(text), FORMS[form])
    if address.scheme.startswith("syslog"):
        is_secure = address.scheme == "syslog+tls"
        host = address.hostname or ""
        return SyslogSink(host, address.port or SYSLOG_PORT, tls if is_secure else None)
    return WebSink(
        text, tls, content_type=_CONTENT_TYPES.get(form, "text/plain; charset=utf-8"), token=token
    )


def _render(done: Forwarded) -> Text:
    return Text(f"{done.records} records received; everything up to record {done.after} was")
