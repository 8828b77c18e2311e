# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where the server listens, and when that needs TLS."""

from __future__ import annotations

import pytest

from installation.server_config import (
    Listener,
    ListenerError,
    ServerFiles,
    parse_listener,
    server_config,
)

FILES = ServerFiles(
    accounts_dir='/srv/with "quotes"/jwt',
    jetstream_dir="/srv/jetstream",
    pid_file="/srv/pid",
    certificate="/srv/server.crt",
    key="/srv/server.key",
)


def config(listener: Listener) -> str:
    """The text for a listener."""
    return server_config(name="test", listener=listener, operator_jwt="e30.e30.e30", files=FILES)


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("127.8.9.1:4222", "nats://127.8.9.1:4222"),
        ("localhost:4222", "nats://localhost:4222"),
        ("[::1]:4222", "nats://[::1]:4222"),
        ("198.18.0.1:4222", "tls://198.18.0.1:4222"),
        ("[2001:db8::1]:4222", "tls://[2001:db8::1]:4222"),
        ("bus.example.org:4222", "tls://bus.example.org:4222"),
    ],
)
def test_only_loopback_goes_without_tls(listen: str, url: str) -> None:
    """An address that is not known to be loopback gets TLS."""
    assert parse_listener(listen).url == url


@pytest.mark.parametrize("listen", [":4222", "0.0.0.0:4222", "[::]:4222", "*:4222"])
def test_every_address_means_tls_and_needs_a_name(listen: str) -> None:
    """A listener written as a port alone is not plain, and clients must be told a name."""
    with pytest.raises(ListenerError, match="needs the names"):
        parse_listener(listen)

    listener = parse_listener(listen, names=("bus.example.org", "198.18.0.1"))

    assert listener.url == "tls://bus.example.org:4222"
    assert listener.names == ("bus.example.org", "198.18.0.1")


def test_the_listeners_own_address_is_in_the_certificate() -> None:
    """Names that were given come first, the address that is listened on is added."""
    listener = parse_listener("198.18.0.1:4222", names=("bus",))

    assert listener.names == ("bus", "198.18.0.1")


@pytest.mark.parametrize("listen", ["4222", "localhost", "localhost:", "localhost:http", "a:70000"])
def test_what_is_no_listener_is_refused(listen: str) -> None:
    """A port is needed and has to be one."""
    with pytest.raises(ListenerError):
        parse_listener(listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.1:-1"])
def test_a_port_can_be_left_open(listen: str) -> None:
    """0 and -1 ask for a free one."""
    assert parse_listener(listen).port == 0


def test_tls_can_be_had_on_loopback() -> None:
    """There is a flag to add it, and none to take it away."""
    assert parse_listener("127.0.0.1:1", force_tls=True).tls


def test_what_is_acknowledged_is_on_disk() -> None:
    """Every write is synced, and accounts are pushed, not read from the file."""
    text = config(parse_listener("127.0.0.1:4222"))

    assert "sync_interval: always" in text
    assert "type: full" in text
    assert "js_ack_fc_v2: false" in text
    assert "tls {" not in text


def test_paths_are_quoted() -> None:
    """A directory's name cannot end the string it stands in."""
    assert r'dir: "/srv/with \"quotes\"/jwt"' in config(parse_listener("127.0.0.1:4222"))


def test_tls_states_its_minimum() -> None:
    """Nothing older than 1.2."""
    text = config(parse_listener("198.18.0.1:4222"))

    assert 'min_version: "1.2"' in text
    assert 'cert_file: "/srv/server.crt"' in text
