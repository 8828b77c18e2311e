# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Listeners that are not loopback, and certificates that come to their end."""

from __future__ import annotations

import asyncio
import socket
import ssl
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from installation.adapters.directory import read_authority, read_facts, write_private
from installation.certificates import days_left, hosts_of, issue_server
from installation.create import create_installation, new_serial, new_tls_key
from installation.layout import Layout
from installation.members import revoke
from installation.renewal import renew_server_certificate
from installation.system import certificate_warnings
from shared.adapters.bus_errors import NobodyAnswersError
from shared.contracts.scheduler import LIST_DEPLOYMENTS
from tests.support.installations import connected, running_server, utc_now

SECONDS = 5.0


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """Listens on every address of this machine, so with TLS; reached by a loopback name."""
    directory = tmp_path / "installation"
    create_installation(directory, listen=":0", hosts=["localhost", "127.0.0.1"], now=utc_now())
    return directory


@pytest.fixture
def running(installation: Path) -> Iterator[Path]:
    """With its server."""
    with running_server(installation):
        yield installation


def _address(directory: Path) -> tuple[str, int]:
    url = urlsplit(read_facts(Layout(directory)).server_url)
    return "127.0.0.1", url.port or 0


def _presented(
    directory: Path, context: ssl.SSLContext, *, name: str = "localhost"
) -> tuple[bytes, str]:
    """The certificate (DER) and the protocol that the server agrees to."""
    with socket.create_connection(_address(directory), SECONDS) as plain:
        plain.recv(4096)
        with context.wrap_socket(plain, server_hostname=name) as secured:
            return secured.getpeercert(binary_form=True) or b"", secured.version() or ""


def _trusting(directory: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(Layout(directory).ca_certificate))


async def _works(directory: Path) -> bool:
    async with connected(directory, "principal", "admin") as connection:
        try:
            await connection.ask(LIST_DEPLOYMENTS.subject, b"", timeout_seconds=SECONDS)
        except NobodyAnswersError:
            return True
    return False


async def test_the_default_outside_loopback_is_tls_and_works(running: Path) -> None:
    """What `init` writes lets its own principals in at once, through TLS (W16)."""
    facts = read_facts(Layout(running))

    assert facts.server_url.startswith("tls://localhost:")
    assert await _works(running)


async def test_plain_text_is_refused(running: Path) -> None:
    """A listener written as `:port` speaks nothing but TLS (W16)."""
    reader, writer = await asyncio.open_connection(*_address(running))
    assert b'"tls_required":true' in await reader.readline()

    writer.write(b'CONNECT {"verbose":true}\r\nPING\r\n')
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), SECONDS + SECONDS)

    assert b"PONG" not in answer
    assert b"+OK" not in answer
    writer.close()


def test_a_protocol_below_the_minimum_is_refused(running: Path) -> None:
    """TLS 1.1 is refused and 1.2 agreed to: the stated minimum is enforced (W16)."""
    old = _trusting(running)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    modern = _trusting(running)
    modern.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError):
        _presented(running, old)

    assert _presented(running, modern)[1] == "TLSv1.2"


def test_another_authority_is_not_trusted(running: Path, tmp_path: Path) -> None:
    """A client with another installation's authority does not talk to this server."""
    other = tmp_path / "other"
    create_installation(other, name="other", listen=":0", hosts=["localhost"], now=utc_now())

    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        _presented(running, _trusting(other))


def test_a_certificate_of_another_name_is_not_accepted(running: Path) -> None:
    """A client that asks for another host than the certificate names does not go on."""
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        _presented(running, _trusting(running), name="bus.example.org")


async def test_a_loopback_listener_is_reached_by_nobody_else(tmp_path: Path) -> None:
    """Without TLS the server listens on loopback alone."""
    directory = tmp_path / "installation"
    facts = create_installation(directory, listen="127.0.0.1:0", now=utc_now())
    assert facts.server_url.startswith("nats://127.0.0.1:")

    with running_server(directory):
        listening = {
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[3] == "0A"
        }

    port = urlsplit(facts.server_url).port or 0
    assert [entry for entry in listening if entry.endswith(f":{port:04X}")] == [
        f"0100007F:{port:04X}"
    ]


def _expire_at(directory: Path, days: int) -> None:
    """The server's certificate was issued so long ago that it ends in `days` days."""
    layout = Layout(directory)
    authority = read_authority(layout)
    assert authority is not None
    issued = issue_server(
        authority,
        hosts=("localhost",),
        key=new_tls_key(),
        serial=new_serial(),
        now=utc_now() - timedelta(days=10),
        days=10 + days,
    )
    write_private(layout.server_key, issued.key)
    write_private(layout.server_certificate, issued.certificate)


async def test_nothing_exits_because_a_certificate_nears_its_end(installation: Path) -> None:
    """A certificate in its last day gives a warning and full service (W17)."""
    _expire_at(installation, 1)
    stop = asyncio.Event()
    warned = []

    with running_server(installation) as server:
        works = await _works(installation)
        async for warning in certificate_warnings(installation, stop, pause_seconds=0.01):
            warned.append(warning)
            if len(warned) == 3:
                stop.set()

        assert works
        assert server.poll() is None
    assert (
        warned
        == ["the server's certificate ends in 1 days: run `l3af init --renew-certificates`"] * 3
    )


async def test_a_certificate_that_ended_keeps_connections_and_is_renewed_in_place(
    installation: Path,
) -> None:
    """Connections outlive the certificate; a renewal lets new ones in without a restart (W17)."""
    with running_server(installation) as server:
        async with connected(installation, "principal", "admin") as connection:
            _expire_at(installation, -1)
            expired = Layout(installation).server_certificate.read_bytes()
            assert days_left(expired, now=utc_now()) < 0

            renewed = await renew_server_certificate(installation, hosts=("bus",), now=utc_now())

            assert renewed.is_in_force
            with pytest.raises(NobodyAnswersError):
                await connection.ask(LIST_DEPLOYMENTS.subject, b"", timeout_seconds=SECONDS)
        assert server.poll() is None
        presented, _ = _presented(installation, _trusting(installation))
        stored = Layout(installation).server_certificate.read_bytes()
        assert ssl.DER_cert_to_PEM_cert(presented).split() == stored.decode().split()
        assert hosts_of(stored) == ("localhost", "bus")
        assert await _works(installation)


def test_a_server_that_presents_an_ended_certificate_keeps_running(
    installation: Path,
) -> None:
    """New clients are refused by their own check; the server does not exit (W17)."""
    _expire_at(installation, -1)

    with running_server(installation) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            _presented(installation, _trusting(installation))

        assert server.poll() is None


async def test_keys_are_revoked_through_tls_too(running: Path) -> None:
    """The push of account claims trusts the installation's own authority."""
    change = await revoke(running, kind="principal", name="admin", now=utc_now())

    assert change.is_in_force
