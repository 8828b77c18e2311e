# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""TLS where the installation has it: the right authority, the right name, and no way around."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from installation.certificates import issue_authority, issue_server
from shared.adapters.connection import open_connection
from shared.errors import FaultError
from shared.installation_facts import AUTHORITY_FILE
from tests.support.operator_mode import OperatorModeServer
from tests.support.raw_nats import raw_client


def certified(directory: Path, hosts: tuple[str, ...]) -> tuple[Path, Path, Path]:
    """Authority, certificate and key for a server of those names."""
    now = datetime.now(UTC)
    keys = [generate_private_key(SECP256R1()) for _ in range(2)]
    authority = issue_authority(name="test", key=keys[0], serial=1, now=now)
    server = issue_server(authority, hosts=hosts, key=keys[1], serial=2, now=now)
    paths = [directory / name for name in ("ca.pem", "cert.pem", "key.pem")]
    contents = (authority.certificate, server.certificate, server.key)
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths[0], paths[1], paths[2]


async def test_certified_server_is_connected_to(tmp_path: Path) -> None:
    """The installation's own authority is the only one that counts."""
    authority, certificate, key = certified(tmp_path, ("127.0.0.1",))
    server = OperatorModeServer(tmp_path / "nats", certificate=(certificate, key))
    server.start()
    try:
        directory = server.credentials("viewer", "alice")
        (directory / AUTHORITY_FILE).write_bytes(authority.read_bytes())
        async with open_connection(directory) as connection:
            assert connection.is_connected
    finally:
        server.stop()


async def test_server_of_another_name_is_not(tmp_path: Path) -> None:
    """A certificate of the right authority for another host does not help."""
    authority, certificate, key = certified(tmp_path, ("192.0.2.1",))
    server = OperatorModeServer(tmp_path / "nats", certificate=(certificate, key))
    server.start()
    try:
        directory = server.credentials("viewer", "alice")
        (directory / AUTHORITY_FILE).write_bytes(authority.read_bytes())
        with pytest.raises(FaultError, match="no bus answers there"):
            async with open_connection(directory):
                raise AssertionError("must not be reached")
    finally:
        server.stop()


async def test_server_without_tls_gets_no_answer_to_its_challenge(
    tmp_path: Path, nats_server: OperatorModeServer
) -> None:
    """nats-py goes on in the clear when a server behind a `tls://` address offers no TLS."""
    authority, _, _ = certified(tmp_path, ("127.0.0.1",))
    directory = nats_server.credentials("viewer", "alice")
    facts = directory / "installation.json"
    facts.write_text(facts.read_text().replace("nats://", "tls://"))
    (directory / AUTHORITY_FILE).write_bytes(authority.read_bytes())
    async with raw_client(directory, nats_server.url.replace("nats://", "tls://")) as raw:
        assert raw.is_connected

    with pytest.raises(FaultError, match="offers no TLS"):
        async with open_connection(directory):
            raise AssertionError("must not be reached")
