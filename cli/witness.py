# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af witness init|serve|trust|show`: another process that watches that logs only ever grow."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.text import Text

from cli.console import JsonFlag, emit, plain, refusing, say
from services.auditor.checkpoint import render_verifier_key
from services.auditor.witness.adapters.http_server import Witness, WitnessServer
from services.auditor.witness.adapters.witness_directory import WitnessDirectory, trust_logs
from shared.adapters.logs import configure_logs
from shared.errors import FaultError, Reason, RefusedError

DEFAULT_LISTEN: Final = "127.0.0.1:8085"

app = cyclopts.App(
    name="witness", help="Run a witness: it cosigns the head of a log that only grew."
)

LogsOption = Annotated[
    tuple[str, ...],
    Parameter(name="--log", negative=(), help="Verifier key of a log to cosign; repeat for more."),
]


class WitnessedLog(msgspec.Struct, frozen=True, kw_only=True):
    """How far a witness has seen one log."""

    origin: str
    verifier_keys: tuple[str, ...]
    tree_size: int | None = None
    """None: never cosigned."""
    root: str = ""
    checkpoint: str = ""
    """As the log signed it."""


class WitnessShown(msgspec.Struct, frozen=True, kw_only=True):
    """A witness and what it has seen."""

    name: str
    verifier_key: str
    logs: tuple[WitnessedLog, ...]


@app.command
def init(directory: Path, *, name: str, log: LogsOption = (), json: JsonFlag = False) -> None:
    """Make a witness with a key of its own, and print the key that logs and verifiers trust.

    Parameters
    ----------
    directory
        Where it keeps its key and what it has seen: not on the log's machine, not in its backups.
    name
        What it signs as, by custom a URL without a scheme, as witness.example.org/w1.
    """
    with refusing(json=json):
        made = WitnessDirectory.create(directory, name=name, logs=log)
        shown = _shown(made)
    emit(shown, lambda one: Text(one.verifier_key), json=json)


@app.command
def trust(directory: Path, *, log: LogsOption, json: JsonFlag = False) -> None:
    """Cosign for further log keys; a log that rotated its key is named by both.

    A witness that runs must be started again to know them.
    """
    with refusing(json=json):
        trust_logs(directory, log)
        shown = _shown(WitnessDirectory.read(directory))
    emit(shown, _render, json=json)


@app.command
def show(directory: Path, *, json: JsonFlag = False) -> None:
    """The witness's key, and the newest head of each log that it cosigned."""
    with refusing(json=json):
        shown = _shown(WitnessDirectory.read(directory))
    emit(shown, _render, json=json)


@app.command
def serve(
    directory: Path,
    *,
    listen: Annotated[
        str, Parameter(help="Address and port; port 0 takes a free one.")
    ] = DEFAULT_LISTEN,
    ready_file: Annotated[
        Path | None, Parameter(help="Written with the address once it listens.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Cosign until told to stop; put TLS in front of it if it is not on this machine."""
    configure_logs(service="witness", level="info")
    with refusing(json=json):
        host, port = _address(listen)
        witness = WitnessDirectory.read(directory)
        with witness.locked():
            try:
                server = WitnessServer(host, port, Witness(witness))
            except OSError as error:
                raise FaultError(f"{listen}: cannot listen: {error.strerror}") from error
            _serve(server, ready_file, json=json)


def _serve(server: WitnessServer, ready_file: Path | None, *, json: bool) -> None:
    """Until SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        serving.start()
        host, port = server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        address = f"http://{shown}:{port}"
        try:
            if ready_file is not None:
                try:
                    ready_file.write_text(f"{address}\n", encoding="utf-8")
                except OSError as error:
                    raise FaultError(f"{ready_file}: cannot be written") from error
            say(f"witnessing at {address}", json=json)
            stop.wait()
        finally:
            server.shutdown()
            serving.join()


def _address(listen: str) -> tuple[str, int]:
    try:
        place = urlsplit(f"//{listen}")
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or port is None:
        reason = Reason(path="--listen", rule="is not an address and a port", got=listen)
        raise RefusedError("there is nowhere to listen", [reason])
    return host, port


def _shown(witness: WitnessDirectory) -> WitnessShown:
    return WitnessShown(
        name=witness.key.name,
        verifier_key=render_verifier_key(witness.key),
        logs=tuple(_log(witness, origin) for origin in sorted(witness.log_keys)),
    )


def _log(witness: WitnessDirectory, origin: str) -> WitnessedLog:
    keys = tuple(render_verifier_key(key) for key in witness.log_keys[origin])
    head = witness.head(origin)
    if head is None:
        return WitnessedLog(origin=origin, verifier_keys=keys)
    return WitnessedLog(
        origin=origin,
        verifier_keys=keys,
        tree_size=head.size,
        root=head.root.hex(),
        checkpoint=witness.note(origin) or "",
    )


def _render(shown: WitnessShown) -> Text:
    lines = [shown.verifier_key]
    for log in shown.logs:
        seen = "nothing cosigned yet" if log.tree_size is None else f"{log.tree_size} records"
        lines += [f"{log.origin}: {seen}", *(f"  {key}" for key in log.verifier_keys)]
    return Text(plain("\n".join(lines)))
