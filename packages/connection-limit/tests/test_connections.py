# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Real connections to a host of the lab: limited exactly, and counted without drifting."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lab.hosts import Host
from lab.measurement import send
from services.node_executor.adapters.network_namespaces import inside
from tests.support.connection_limits import (
    COUNT,
    PORT,
    LimitedHosts,
    limited_hosts,
    wait_until_taken,
)
from tests.support.probes import until

pytestmark = pytest.mark.kernel

LIMIT = 3
BUSY_SECONDS = 15.0 if "L3AF_SOAK_SECONDS" in os.environ else 1.5
HANDSHAKE_SECONDS = 3.0
"""At least so long a handshake has its place."""
REFUSED_SECONDS = 0.3
"""How long a connection is waited for that must not come about."""


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[LimitedHosts]:
    """A host whose connections are counted."""
    with limited_hosts(tmp_path) as made:
        made.count()
        yield made


@pytest.fixture
def host(limited: LimitedHosts) -> Host:
    """The host."""
    return limited.hosts[0]


def test_the_limit_is_exact(limited: LimitedHosts, host: Host) -> None:
    """So many connections come about and not one more; when one ends, one more can begin."""
    limited.limit(host, LIMIT)
    listener = limited.listen(host)

    clients = [limited.connect(host) for _ in range(LIMIT)]
    servers = [listener.accept()[0] for _ in clients]
    with pytest.raises(TimeoutError):
        limited.connect(host, REFUSED_SECONDS)
    assert limited.taken(host) == LIMIT
    clients[0].close()
    servers[0].close()
    wait_until_taken(limited, host, LIMIT - 1)
    limited.connect(host)

    with pytest.raises(TimeoutError):
        limited.connect(host, REFUSED_SECONDS)
    assert limited.taken(host) == LIMIT
    assert limited.counted(host, "cl_dropped") >= 2
    for one in servers:
        one.close()


def test_a_client_is_told_if_that_is_wanted(limited: LimitedHosts, host: Host) -> None:
    """A reset, which its kernel believes, instead of silence."""
    limited.limit(host, 1, "RESET")
    limited.listen(host)
    limited.connect(host)

    with pytest.raises(ConnectionRefusedError):
        limited.connect(host)

    assert limited.counted(host, "cl_reset") == 1
    assert limited.counted(host, "cl_dropped") == 0


@pytest.mark.parametrize("action", ["RESET", "DROP"])
def test_both_families_share_the_places_of_a_port(
    limited: LimitedHosts, host: Host, action: str
) -> None:
    """One connection over IPv4 and one over IPv6 are two; each family is refused the third."""
    limited.limit(host, 2, action)
    address = limited.give_ipv6(host)
    limited.listen(host)
    limited.connect(host)
    limited.connect(host, address=address)

    refused = ConnectionRefusedError if action == "RESET" else TimeoutError
    for to in ("", address):
        with pytest.raises(refused):
            limited.connect(host, 30.0 if action == "RESET" else REFUSED_SECONDS, address=to)

    assert limited.taken(host) == 2


def test_of_many_at_once_exactly_as_many_come_about(limited: LimitedHosts, host: Host) -> None:
    """Handshakes under way have places, so that a burst is limited as one after another is."""
    limited.limit(host, 20, "RESET")
    limited.listen(host)

    outcomes = _connect_at_once(host, 60)

    assert outcomes.count(0) == 20
    assert limited.taken(host) == 20
    assert limited.counted(host, "cl_reset") == 40


def test_what_never_becomes_a_connection_gives_its_place_back(
    limited: LimitedHosts, host: Host
) -> None:
    """Handshakes that nobody finishes hold a place for 3 seconds, and not longer."""
    limited.limit(host, LIMIT, "RESET")
    limited.listen(host)
    began = time.monotonic()
    send(host, ports=(PORT,), rate=10_000, count=LIMIT)
    until(lambda: limited.counted(host, "cl_received") == LIMIT)
    assert limited.taken(host) == LIMIT

    until(lambda: _comes_about(limited, host))

    assert time.monotonic() - began >= HANDSHAKE_SECONDS
    assert limited.taken(host) == 1


def test_nothing_drifts(limited: LimitedHosts, host: Host) -> None:
    """Connections of all ends, over restarts and upgrades of both programs: none is left."""
    limited.limit(host, 1000)
    listener = limited.listen(host)
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        clients = [limited.connect(host) for _ in range(12)]
        servers = [listener.accept()[0] for _ in clients]
        limited.restart()
        limited.count(version)
        limited.limit(host, 1000, version=version)
        assert (limited.taken(host), limited.sockets(host)) == (12, 12)
        for number, (client, server) in enumerate(zip(clients, servers, strict=True)):
            if number % 3 == 0:  # reset by the client
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            first, second = (client, server) if number % 2 else (server, client)
            first.close()
            second.close()

        wait_until_taken(limited, host, 0)

    assert limited.sockets(host) == 0
    assert limited.counted(host, "cl_uncounted") == 0


def test_no_end_is_missed_however_busy_the_kernel_is(limited: LimitedHosts, host: Host) -> None:
    """Packets interrupt processes that close sockets and that read maps; all places are free."""
    limited.limit(host, 10, "RESET")
    listener = limited.listen(host)
    listener.settimeout(REFUSED_SECONDS)
    stop = threading.Event()
    most = 0

    with ThreadPoolExecutor(5) as threads:
        server = threads.submit(_serve, listener, stop)
        clients = [threads.submit(_come_and_go, host, stop) for _ in range(4)]
        until_seconds = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < until_seconds:
            most = max(most, limited.taken(host))
        stop.set()
        came_about = sum(client.result() for client in clients)
        server.result()
    listener.close()

    until(lambda: limited.sockets(host) == 0)
    assert came_about > 0
    assert most <= 10
    until(lambda: _taken_after_another(limited, host) == 1)


def test_hosts_of_one_kernel_are_told_apart(tmp_path: Path) -> None:
    """The same port in another network namespace has places of its own."""
    with limited_hosts(tmp_path, hosts=2) as limited:
        limited.count()
        one, other = limited.hosts
        for host in limited.hosts:
            limited.limit(host, 1, "RESET")
            limited.listen(host)

        for host in limited.hosts:
            limited.connect(host)
            with pytest.raises(ConnectionRefusedError):
                limited.connect(host)

        assert (limited.taken(one), limited.taken(other)) == (1, 1)


@pytest.mark.parametrize("is_counted_first", [True, False])
def test_the_order_in_which_both_are_deployed_is_free(
    tmp_path: Path, *, is_counted_first: bool
) -> None:
    """Whoever comes second finds the maps of the first; and a lower limit holds at once."""
    with limited_hosts(tmp_path) as limited:
        (host,) = limited.hosts
        steps = [limited.count, lambda: limited.limit(host, 5)]
        for step in steps if is_counted_first else reversed(steps):
            step()
        limited.listen(host)
        for _ in range(3):
            limited.connect(host)

        limited.limit(host, 2)

        shared = {"cl_ports", "cl_handshakes", "cl_sockets"}
        own = {key.name: found for key, found in limited.maps(limited.point(host)).items()}
        counts = {key.name: found for key, found in limited.maps(COUNT).items()}
        assert {name for name in own.keys() & counts.keys() if own[name] == counts[name]} == shared
        with pytest.raises(TimeoutError):
            limited.connect(host, REFUSED_SECONDS)
        assert limited.taken(host) == 3


def _serve(listener: socket.socket, stop: threading.Event) -> None:
    """Accepts, and closes connections some time later."""
    held: list[socket.socket] = []
    while not stop.is_set():
        with suppress(TimeoutError):
            held.append(listener.accept()[0])
        if len(held) > 4:
            held.pop(0).close()
    for one in held:
        one.close()


def _come_and_go(host: Host, stop: threading.Event) -> int:
    """How many connections came about."""
    count = 0
    with inside(host.peer_namespace):
        while not stop.is_set():
            with suppress(OSError), socket.socket() as client:
                client.settimeout(1.0)
                client.connect((host.data_address, PORT))
                count += 1
    return count


def _taken_after_another(limited: LimitedHosts, host: Host) -> int:
    """Places of handshakes that came to nothing are given back when the next one begins."""
    send(host, ports=(PORT,), count=1)
    return limited.taken(host)


def _comes_about(limited: LimitedHosts, host: Host) -> bool:
    try:
        limited.connect(host)
    except ConnectionRefusedError:
        return False
    return True


def _connect_at_once(host: Host, count: int) -> list[int]:
    """What became of so many connections that begin together: 0, or errno."""
    outcomes = []
    with selectors.DefaultSelector() as waiting, inside(host.peer_namespace):
        clients = [socket.socket() for _ in range(count)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((host.data_address, PORT))
            waiting.register(client, selectors.EVENT_WRITE)
        while waiting.get_map():
            for key, _ in waiting.select():
                client = key.fileobj
                assert isinstance(client, socket.socket)
                outcomes.append(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                waiting.unregister(client)
        for client in clients:
            client.close()
    return outcomes
