# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where records are forwarded to: a file, a syslog receiver over TLS, a web server.

A sink takes a batch, or has a fault and is asked again; what it says it has received counts as
received.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import ssl
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.response import BaseHTTPResponse

from cli.audit_forms import Form
from cli.forwarding import Batch
from cli.http_connections import Connections
from cli.line_files import last_whole_record
from shared.errors import FaultError, Reason, RefusedError
from shared.oci.references import is_loopback

SYSLOG_PORT: Final = 6514
"""RFC 5425 section 4.1."""
ANSWER_SECONDS: Final = 30.0
"""Without anything having been taken."""
TAKEN_POLL_SECONDS: Final = 0.01
HELD_HEADER: Final = "L3AF-Received"
"""In a web server's answers: it holds every record that it was sent, up to this number."""
_AGAIN: Final = frozenset({408, 425, 429})
_SECURE: Final = ("https", "syslog+tls")
_LOCAL: Final = ("http", "syslog+tcp")


class Held(NamedTuple):
    """What a sink holds."""

    last: int
    """Every matching record up to this one; -1: none."""
    is_seen: bool
    """Whether we looked ourselves; else it is its word."""


class Sink(Protocol):
    """Takes batches in their order."""

    async def held(self) -> Held | None:
        """What it holds; None: that is not known.

        Raises:
            RefusedError: It is no place for records.
            FaultError: It cannot be asked now.
        """

    async def deliver(self, batch: Batch, *, key: str) -> int | None:
        """Received when this returns, unless the sink says that it holds less: up to which record.

        Raises:
            FaultError: It may not be; the same batch may be delivered again.
            RefusedError: It never will be.
        """

    async def aclose(self) -> None:
        """Let go of."""


def parse_sink(text: str) -> SplitResult:
    """The address of a sink.

    Raises:
        RefusedError: It is none, or would carry records over a network in clear text.
    """
    address = urlsplit(text)
    allowed = ["FILE", "https://…", "syslog+tls://HOST[:6514]"]
    if not address.scheme:
        return address
    rule = ""
    if address.scheme not in (*_SECURE, *_LOCAL):
        rule = "is no kind of sink"
    elif address.scheme in _LOCAL and not is_loopback(address.netloc):
        rule = "carries records in clear text, which is for this machine's own addresses alone"
    elif address.username or address.password:
        rule = "holds a name or a password: give it with --token-file"
    elif not address.hostname:
        rule = "names no host"
    if rule:
        raise RefusedError(
            f"{text}: {rule}", [Reason(path="SINK", rule=rule, got=text, allowed=allowed)]
        )
    return address


class FileSink:
    """A file that grows; every batch is on the disk before it counts."""

    def __init__(self, path: Path, form: Form) -> None:
        """Nothing is opened yet."""
        self._path: Final = path
        self._form: Final = form

    async def held(self) -> Held | None:
        """Up to the last whole line; what was torn is cut off.  None: it is new, or moved away."""
        last = await asyncio.to_thread(last_whole_record, self._path, self._form)
        return None if last is None else Held(last, is_seen=True)

    async def deliver(self, batch: Batch, *, key: str) -> int | None:  # noqa: ARG002 # lines have numbers
        """Appended and synchronised."""
        await asyncio.to_thread(self._append, batch.body)
        return batch.last

    async def aclose(self) -> None:
        """Nothing is held."""

    def _append(self, data: bytes) -> None:
        """All of it or nothing, as long as this process lives; else the next one looks."""
        try:
            with self._path.open("ab") as opened:
                before = opened.seek(0, os.SEEK_END)
                try:
                    opened.write((b"" if before else self._form.heading.encode()) + data)
                    opened.flush()
                    os.fsync(opened.fileno())
                except OSError:
                    os.truncate(self._path, before)
                    raise
        except OSError as error:
            raise FaultError(f"{self._path}: cannot be written: {error.strerror}") from error


class WebSink:
    """A web server that takes batches by POST, and knows one that comes again by its key."""

    def __init__(self, url: str, tls: ssl.SSLContext, *, content_type: str, token: str) -> None:
        """Nothing is connected yet."""
        self._url: Final = url
        self._connections: Final = Connections(tls)
        self._headers: Final = {
            "Content-Type": content_type,
            **({"Authorization": f"Bearer {token}"} if token else {}),
        }

    async def held(self) -> Held | None:
        """What it says when it is asked by HEAD; most say nothing."""
        last = await asyncio.to_thread(self._ask)
        return None if last is None else Held(last, is_seen=False)

    async def deliver(self, batch: Batch, *, key: str) -> int | None:
        """Received when it answers with a status of 200 to 299 and does not say that it is less."""
        return await asyncio.to_thread(self._post, batch, key)

    async def aclose(self) -> None:
        """Every connection is closed."""
        self._connections.close()

    def _ask(self) -> int | None:
        answer = self._answer("HEAD", self._headers, None)
        return _said(answer) if 200 <= answer.status < 300 else None  # noqa: PLR2004

    def _post(self, batch: Batch, key: str) -> int | None:
        headers = {
            **self._headers,
            "Idempotency-Key": f'"{key}"',
            "L3AF-Records": f"{batch.first}-{batch.last}",
        }
        answer = self._answer("POST", headers, batch.body)
        if 200 <= answer.status < 300:  # noqa: PLR2004 # RFC 9110 section 15.3
            return _said(answer)
        said = f"{self._url} answers {answer.status} to records {batch.first} to {batch.last}"
        if answer.status >= 500 or answer.status in _AGAIN:  # noqa: PLR2004 # section 15.6
            raise FaultError(said)
        raise RefusedError(said, [Reason(path="SINK", rule="refuses it", got=answer.status)])

    def _answer(
        self, method: str, headers: Mapping[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        """The answer, read to its end."""
        try:
            answer = self._connections.request(method, self._url, headers=headers, body=body)
            answer.read()
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise FaultError(f"{self._url}: {error}") from error
        return answer


def _said(answer: BaseHTTPResponse) -> int | None:
    """Up to which record the receiver says that it holds them; None: it does not say."""
    text = answer.headers.get(HELD_HEADER, "")
    try:
        return max(-1, int(text))
    except ValueError:
        return None


class SyslogSink:
    """A syslog receiver: octet-counted frames over TLS (RFC 5425).

    The protocol knows no receipt: what the receiver's machine acknowledged counts as received.  If
    the connection breaks before, the whole batch is sent again, so a receiver may see records
    twice, by the same `sequenceId`.
    """

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Nothing is connected yet; without `tls` in clear text."""
        self._host: Final = host
        self._port: Final = port
        self._tls: Final = tls
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def held(self) -> Held | None:
        """It cannot say."""
        return None

    async def deliver(self, batch: Batch, *, key: str) -> int | None:  # noqa: ARG002 # lines have numbers
        """Sent, over a connection that stands afterwards."""
        frames = b"".join(_frame(line) for line in batch.lines)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = self._open = self._open or await self._connect()
            writer.write(frames)
            await _taken(writer)
            if await _is_closed(reader):
                raise ConnectionResetError("the receiver has closed the connection")
        except (OSError, TimeoutError) as error:
            await self.aclose()
            said = str(error) or "no answer in time"
            raise FaultError(f"syslog receiver {self._host}:{self._port}: {said}") from error
        return None

    async def aclose(self) -> None:
        """The connection is closed."""
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self._host if self._tls is not None else None
        return await asyncio.open_connection(
            self._host, self._port, ssl=self._tls, server_hostname=name
        )


def _frame(line: bytes) -> bytes:
    message = line.removesuffix(b"\n")
    return b"%d %b" % (len(message), message)


async def _taken(writer: asyncio.StreamWriter) -> None:
    """The receiver's machine has acknowledged everything, however slowly it took it.

    Raises:
        OSError: The connection broke.
        TimeoutError: It took nothing for ANSWER_SECONDS.
    """
    loop = asyncio.get_running_loop()
    least, moved_at = sys.maxsize, loop.time()
    while left := _untaken_bytes(writer):
        if left < least:
            least, moved_at = left, loop.time()
        elif loop.time() - moved_at > ANSWER_SECONDS:
            raise TimeoutError
        await asyncio.sleep(TAKEN_POLL_SECONDS)


def _untaken_bytes(writer: asyncio.StreamWriter) -> int:
    """Of what was written: waiting here, or sent and not acknowledged (tcp(7), SIOCOUTQ)."""
    if writer.transport.is_closing():
        raise ConnectionResetError("the receiver has closed the connection")
    waiting: int = writer.transport.get_write_buffer_size()
    unacknowledged = array.array("i", [0])
    fcntl.ioctl(writer.get_extra_info("socket").fileno(), termios.TIOCOUTQ, unacknowledged)
    return waiting + unacknowledged[0]


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has ended the connection; it says nothing otherwise."""
    await asyncio.sleep(0)
    return reader.at_eof()
