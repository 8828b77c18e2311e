# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af up`: nats-server and the services on this machine, kept running until told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter, validators
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.console import JsonFlag, plain, refusing, run, say
from cli.principal import InstallationOption, chosen
from installation.adapters.directory import read_facts, write_private
from installation.adapters.server_binary import ServerBinary, find_server_binary
from installation.create import create_installation
from installation.layout import Layout
from installation.processes import (
    NATS_SERVER,
    NodePlace,
    node_label,
    parse_node_place,
    refuse_unreachable_server,
)
from installation.server_config import DEFAULT_LISTEN
from installation.supervision import ProcessStatus, is_telling, status_line
from installation.supervisor import OnChange
from installation.system import READY_SECONDS, System, certificate_warnings, running_system

ProcessName = Literal[
    "nats-server",
    "provisioner",
    "catalog",
    "scheduler",
    "auditor",
    "companions",
    "node_executor",
]


class SystemReady(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints and `--ready-file` holds, once every process answers."""

    installation: str
    server_url: str
    processes: dict[str, int]
    """Name to process id."""
    nats_server: str
    """Path of the binary."""
    nats_server_origin: str
    nats_server_sha256: str


def up(
    *,
    installation: InstallationOption = None,
    only: tuple[ProcessName, ...] = (),
    node: tuple[str, ...] = (),
    no_node: Annotated[bool, Parameter(name="--no-node", negative=())] = False,
    schedulers: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=8))] = 1,
    nats_server: Path | None = None,
    listen: str = DEFAULT_LISTEN,
    host: tuple[str, ...] = (),
    ready_file: Path | None = None,
    ready_seconds: float = READY_SECONDS,
    json: JsonFlag = False,
) -> None:
    """Start nats-server and the services, restart what ends, stop all on SIGINT or SIGTERM.

    Parameters
    ----------
    only
        Run this process alone; may be given several times.
    node
        A node to run an executor for, as NAME or NAME@NETWORK-NAMESPACE; may be given several
        times.  Default: this host's name.
    no_node
        Run no executor.
    schedulers
        How many schedulers to run: one leads, another takes over if it is gone or stands still.
    nats_server
        Another nats-server than the one that was installed with this product.
    listen
        If an installation has to be made first: where its server listens.
    host
        If an installation has to be made first: a name or address that clients use.
    ready_file
        Written once every process answers.
    ready_seconds
        How long they may take.
    """
    root = chosen(installation)
    with refusing(json=json):
        binary = find_server_binary(nats_server)
        nodes = _places(node, no_node=no_node)
        if not Layout(root).facts.exists():
            create_installation(root, listen=listen, hosts=host, now=datetime.now(UTC))
            say(f"new installation in {root}", json=json)
        url = read_facts(Layout(root)).server_url
        refuse_unreachable_server(url, nodes)
    if not only or NATS_SERVER in only:
        say(f"nats-server: {binary.path} ({binary.origin})\n  sha256 {binary.sha256}", json=json)
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)

    async def kept_running(on_change: OnChange) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with running_system(
            root,
            nats_server=binary.path,
            nodes=nodes,
            schedulers=schedulers,
            only=only,
            environ=os.environ,
            on_change=on_change,
        ) as system:
            if await system.wait_until_ready(stop, seconds=ready_seconds):
                _announce(system, url, binary, ready_file, json=json)
            async for warning in certificate_warnings(root, stop):
                say(f"warning: {warning}", json=json)

    with _shown(json=json) as on_change:
        run(kept_running(on_change), json=json)


def _places(node: tuple[str, ...], *, no_node: bool) -> tuple[NodePlace, ...]:
    if no_node:
        return ()
    names = node or (node_label(socket.gethostname()),)
    return tuple(parse_node_place(name) for name in names)


def _announce(
    system: System, url: str, binary: ServerBinary, ready_file: Path | None, *, json: bool
) -> None:
    ready = SystemReady(
        installation=str(system.layout.root),
        server_url=url,
        processes={status.name: status.pid for status in system.supervisor.statuses},
        nats_server=str(binary.path),
        nats_server_origin=binary.origin,
        nats_server_sha256=binary.sha256,
    )
    line = msgspec.json.encode(ready) + b"\n"
    if ready_file is not None:
        write_private(ready_file.absolute(), line)
    if json:
        sys.stdout.write(line.decode())
        sys.stdout.flush()
    say(f"ready: {url}", json=json)


@contextmanager
def _shown(*, json: bool) -> Iterator[OnChange]:
    """Changes as one line on stderr; on a terminal the line is replaced."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if json:
        yield lambda _: None
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda statuses: live.update(_line(statuses), refresh=True)
    else:
        yield lambda statuses: console.print(_line(statuses)) if is_telling(statuses) else None


def _line(statuses: tuple[ProcessStatus, ...]) -> Text:
    return Text(plain(status_line(statuses)))
