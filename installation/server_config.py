# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where the server listens, whether that needs TLS, and the text of its configuration.

Pure.  Format: docs.nats.io, "NATS Server configuration".

Rules:
 * Only a loopback listener may go without TLS; an address that is not known to be loopback is not.
 * TLS is 1.2 or newer.
 * A record that was acknowledged is on disk (`sync_interval: always`).
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import Final

from shared.errors import Reason, RefusedError

DEFAULT_LISTEN: Final = "127.0.0.1:4222"
DEFAULT_MAX_PAYLOAD_BYTES: Final = 1024 * 1024
LARGEST_PORT: Final = 65535
TLS_HANDSHAKE_SECONDS: Final = 5

_ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 because it is compared and written, never bound here


class ListenerError(RefusedError):
    """The listener cannot be what was asked for."""


@dataclass(frozen=True, slots=True)
class Listener:
    """One client listener."""

    host: str
    port: int
    """1 to 65535; 0 before a free one was picked."""
    tls: bool
    names: tuple[str, ...]
    """Host names and addresses clients use, the first one in the server's URL."""

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"{'tls' if self.tls else 'nats'}://{_bracketed(self.names[0])}:{self.port}"

    @property
    def address(self) -> str:
        """`host:port` as the server's configuration takes it."""
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Absolute paths that the configuration names."""

    accounts_dir: str
    jetstream_dir: str
    pid_file: str
    certificate: str
    key: str


def is_loopback(host: str) -> bool:
    """Whether nothing outside this host can reach an address; a name other than localhost is not.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback(""), is_loopback("10.0.0.1")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listener(
    listen: str, *, names: tuple[str, ...] = (), force_tls: bool = False
) -> Listener:
    """The listener for `[host]:port`.

    Args:
        listen: Without a host: every address, so TLS.  Port 0 or -1: a free one, picked later.
        names: What clients will call this host; needed for a listener on every address.
        force_tls: TLS on loopback too.

    Raises:
        ListenerError: No port, port out of range, or a listener on every address without a name.
    """
    host, colon, port_text = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port_text.removeprefix("-").isdecimal():
        raise _refused("listen", "must be [host]:port", listen, DEFAULT_LISTEN)
    port = max(int(port_text), 0)
    if port > LARGEST_PORT:
        raise _refused("listen", "the port is out of range", listen, "0 to 65535")
    everywhere = host in {"", _ANY_ADDRESS, "::", "*"}
    if everywhere and not names:
        rule = "a listener on every address needs the names that clients use"
        raise _refused("hosts", rule, list(names), ["bus.example.org"])
    host = _ANY_ADDRESS if host in {"", "*"} else host
    return Listener(
        host=host,
        port=port,
        tls=force_tls or not is_loopback(host),
        names=names if everywhere else tuple(dict.fromkeys((*names, host))),
    )


def server_config(
    *,
    name: str,
    listener: Listener,
    operator_jwt: str,
    files: ServerFiles,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
) -> str:
    """The text of nats.conf."""
    lines = [
        "# Written by `l3af init`.  Accounts live in the resolver's directory; changes to them are",
        "# pushed to the running server, so this file need not be touched.",
        f"server_name: {_quoted(f'l3af-{name}')}",
        f"listen: {_quoted(listener.address)}",
        f"pid_file: {_quoted(files.pid_file)}",
        f"max_payload: {max_payload_bytes}",
        "# Clients read acknowledgement subjects of the first form.",
        "feature_flags { js_ack_fc_v2: false }",
        f"operator: {_quoted(operator_jwt)}",
        "resolver {",
        "  type: full",
        f"  dir: {_quoted(files.accounts_dir)}",
        "  allow_delete: false",
        "}",
        "jetstream {",
        f"  store_dir: {_quoted(files.jetstream_dir)}",
        "  sync_interval: always",
        "}",
    ]
    if listener.tls:
        lines += [
            "tls {",
            f"  cert_file: {_quoted(files.certificate)}",
            f"  key_file: {_quoted(files.key)}",
            '  min_version: "1.2"',
            f"  timeout: {TLS_HANDSHAKE_SECONDS}",
            "}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _refused(path: str, rule: str, got: object, allowed: object) -> ListenerError:
    return ListenerError(
        f"{path}: {rule}", [Reason(path=path, rule=rule, got=got, allowed=allowed)]
    )
