# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real installation with its real nats-server, and connections as anybody in it."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client

from installation.adapters.directory import read_facts, read_registry
from installation.adapters.server_binary import find_server_binary
from installation.layout import Layout
from installation.registry import MemberKind, find_member
from shared.adapters.connection import Connection, open_connection
from shared.adapters.ordered_client import OrderedClient
from shared.contracts.permissions import inbox_prefix
from shared.installation_facts import AUTHORITY_FILE, CREDENTIALS_FILE
from shared.nkeys import parse_credentials

START_SECONDS = 60.0


def utc_now() -> datetime:
    """The present, for what takes it as an argument."""
    return datetime.now(UTC)


@contextmanager
def running_server(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The installation's nats-server accepts connections for the length of the block."""
    layout = Layout(directory)
    address = urlsplit(read_facts(layout).server_url)
    command = [str(find_server_binary(None).path), "-c", str(layout.server_config)]
    log_path = layout.server / "test.log"
    with log_path.open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _accepts(address.hostname or "", address.port or 0):
                assert server.poll() is None, log_path.read_text()
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.01)
            yield server
        finally:
            server.terminate()


@asynccontextmanager
async def connected(directory: Path, kind: MemberKind, name: str) -> AsyncIterator[Connection]:
    """A connection of the product's own kind."""
    async with open_connection(Layout(directory).credentials(kind, name)) as connection:
        yield connection


@asynccontextmanager
async def bare_client(
    directory: Path, kind: MemberKind, name: str, **options: Any
) -> AsyncIterator[Client]:
    """A plain nats-py client with a member's credentials: what an attacker would use."""
    layout = Layout(directory)
    place = layout.credentials(kind, name)
    credentials = parse_credentials((place / CREDENTIALS_FILE).read_text())
    if (place / AUTHORITY_FILE).exists():
        authority = str(place / AUTHORITY_FILE)
        options.setdefault("tls", ssl.create_default_context(cafile=authority))

    def signed(nonce: str) -> bytes:
        return base64.b64encode(credentials.key.sign(nonce.encode()))

    async def ignored(_: Exception) -> None:
        return

    role = find_member(read_registry(layout), kind, name).role
    client = OrderedClient()
    settings = {
        "user_jwt_cb": credentials.jwt.encode,
        "signature_cb": signed,
        "inbox_prefix": inbox_prefix(role, name),
        "allow_reconnect": False,
        "error_cb": ignored,
        **options,
    }
    try:
        await client.connect(read_facts(layout).server_url, **settings)
        yield client
    finally:
        await client.close()
        transport: Any = client._transport
        if transport is not None:  # because nats-py leaves a refused one open
            transport.close()


def _accepts(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0
