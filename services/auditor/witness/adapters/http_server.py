# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The witness behind HTTP: one path, one request at a time decided, remembered and then signed."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import structlog

from services.auditor.checkpoint import CheckpointError, split_note
from services.auditor.cosignature import cosign
from services.auditor.witness.adapters.witness_directory import WitnessDirectory
from services.auditor.witness.exchange import (
    CONFLICT,
    MALFORMED,
    MAX_REQUEST_BYTES,
    OK,
    PATH,
    SIZE_TYPE,
    TEXT_TYPE,
    UNKNOWN,
    Verdict,
    judge,
    origin_of,
    parse_request,
)
from shared.errors import FaultError

MAX_CONNECTIONS: Final = 64
SILENCE_SECONDS: Final = 30.0
"""How long a connection may say nothing."""
_FAULT: Final = 503

_log = structlog.get_logger()


class Witness:
    """Decides, remembers, and then signs."""

    def __init__(self, directory: WitnessDirectory) -> None:
        self._directory: Final = directory
        self._lock: Final = threading.Lock()

    def answer(self, data: bytes) -> tuple[int, str, str]:
        """Status, content type and body for the body of a request."""
        try:
            with self._lock:
                return self._answer(data)
        except CheckpointError as error:
            return MALFORMED, TEXT_TYPE, f"{error.message}\n"
        except FaultError as fault:
            _log.error("witness_failed", why=fault.message)
            return _FAULT, TEXT_TYPE, "the witness cannot use its disk\n"

    def _answer(self, data: bytes) -> tuple[int, str, str]:
        request = parse_request(data)
        origin = origin_of(request.note)
        is_known = origin in self._directory.log_keys
        verdict = judge(
            request,
            keys=self._directory.log_keys,
            known=self._directory.head(origin) if is_known else None,
        )
        if verdict.is_contradiction:
            kept = self._directory.keep_evidence(request.note)
            _log.error("log_contradicts_itself", log=origin, why=verdict.why, kept=str(kept))
        if verdict.status != OK:
            return self._refused(verdict)
        self._directory.remember(origin, request.note)
        line = cosign(
            split_note(request.note)[0],
            name=self._directory.key.name,
            seed=self._directory.seed,
            time=int(datetime.now(UTC).timestamp()),
        )
        return OK, TEXT_TYPE, f"{line}\n"

    def _refused(self, verdict: Verdict) -> tuple[int, str, str]:
        _log.info("checkpoint_refused", status=verdict.status, why=verdict.why)
        if verdict.status == CONFLICT:
            return CONFLICT, SIZE_TYPE, f"{verdict.known_size}\n"
        return verdict.status, TEXT_TYPE, f"{verdict.why}\n"


class WitnessServer(ThreadingHTTPServer):
    """Listens as soon as it is made; `serve_forever` answers, `shutdown` ends it."""

    daemon_threads = True

    def __init__(self, host: str, port: int, witness: Witness) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.witness: Final = witness
        self._room: Final = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """One connection more, if there is room."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's fault."""
        _log.debug("connection_ended", client=str(client_address), request=str(request))


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    protocol_version = "HTTP/1.1"
    server_version = "l3af-witness"
    sys_version = ""
    timeout = SILENCE_SECONDS

    def do_POST(self) -> None:
        """`add-checkpoint`."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True
            self._send(MALFORMED, TEXT_TYPE, f"a request has at most {MAX_REQUEST_BYTES} bytes\n")
            return
        data = self.rfile.read(int(length))
        if self.path != PATH:
            self._send(UNKNOWN, TEXT_TYPE, f"there is only {PATH}\n")
            return
        self._send(*self.server.witness.answer(data))

    def log_message(self, *_: Any) -> None:
        """What matters was said."""

    def _send(self, status: int, content_type: str, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
