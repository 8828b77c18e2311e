# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A new installation: every key, account, certificate and credential, written all or none."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from installation.adapters.directory import key_files, refuse_occupied, write_installation
from installation.certificates import CertifiedKey, issue_authority, issue_server
from installation.claims import ACCOUNT_NAMES
from installation.credentials import PublicFiles, issue_credentials
from installation.keys import InstallationKeys, RandomBytes, new_keys
from installation.layout import Layout
from installation.registry import SERVICE_ROLES, Registry, render_registry
from installation.server_config import (
    DEFAULT_LISTEN,
    DEFAULT_MAX_PAYLOAD_BYTES,
    Listener,
    ListenerError,
    ServerFiles,
    parse_listener,
    server_config,
)
from installation.verifier_key import log_origin, verifier_key
from shared.contracts.permissions import Role
from shared.dsse import public_key_of
from shared.identifiers import parse_token
from shared.installation_facts import (
    CHECKPOINT_KEY_FILE,
    Accounts,
    InstallationFacts,
    render_facts,
)
from shared.nkeys import SEED_BYTES

DEFAULT_NAME: Final = "l3af"
FIRST_ADMINISTRATOR: Final = "admin"
_SERIAL_BYTES: Final = 16


def create_installation(
    directory: Path,
    *,
    name: str = DEFAULT_NAME,
    listen: str = DEFAULT_LISTEN,
    hosts: Sequence[str] = (),
    administrator: str = FIRST_ADMINISTRATOR,
    nodes: Sequence[str] = (),
    now: datetime,
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    force_tls: bool = False,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> InstallationFacts:
    """The directory holds a complete installation; no server runs yet.

    Args:
        directory: Must not exist, or be empty.
        name: Of the installation; part of its log's origin.
        listen: `[host]:port`; port 0 or -1 picks a free one.  Anything but loopback gets TLS.
        hosts: Names and addresses that clients use for the server, the first one in its URL.
        administrator: Name of the first principal.
        nodes: Names of nodes to make credentials for at once.
        now: Aware; when it is created.
        max_payload_bytes: Longest message, headers included.
        force_tls: TLS on loopback too.
        random_bytes: Where secrets come from.

    Raises:
        RefusedError: A name is not a label, the listener cannot be, or the directory is occupied.
        FaultError: The disk failed.
    """
    root = directory.absolute()
    refuse_occupied(root)
    layout = Layout(root)
    for path, label in (("name", name), ("admin", administrator), *(("node", n) for n in nodes)):
        parse_token(label, path=path)
    listener = _with_port(parse_listener(listen, names=tuple(hosts), force_tls=force_tls))
    keys, checkpoint_seed = new_keys(random_bytes), random_bytes(SEED_BYTES)
    facts = _facts(keys, name, listener, checkpoint_seed, now)
    files = key_files(layout, keys)
    ca_certificate = None
    if listener.tls:
        authority = issue_authority(name=name, key=new_tls_key(), serial=new_serial(), now=now)
        server = issue_server(
            authority, hosts=listener.names, key=new_tls_key(), serial=new_serial(), now=now
        )
        files |= _tls_files(layout, authority, server)
        ca_certificate = authority.certificate
    encoded = render_facts(facts)
    public = PublicFiles(encoded, ca_certificate)
    registry = Registry()
    members: list[tuple[str, Role]] = [(administrator, "administrator")]
    members += SERVICE_ROLES.items()
    members += [(node, "node") for node in dict.fromkeys(nodes)]
    for member_name, role in members:
        issued = issue_credentials(
            keys, public, name=member_name, role=role, random_bytes=random_bytes, now=now
        )
        registry = Registry(members=(*registry.members, issued.member))
        place = layout.credentials(issued.member.kind, issued.member.name)
        files |= {place / file: data for file, data in issued.files.items()}
    auditor = layout.credentials("service", "auditor")
    files[auditor / CHECKPOINT_KEY_FILE] = checkpoint_seed.hex().encode() + b"\n"
    files[layout.facts] = encoded
    files[layout.registry] = render_registry(registry)
    files |= _server_files(
        layout, keys, name, listener, max_payload_bytes=max_payload_bytes, now=now
    )
    write_installation(root, files, directories=(layout.server / "jetstream",))
    return facts


def new_tls_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def new_serial() -> int:
    """A certificate's serial number: 127 random bits (RFC 5280 section 4.1.2.2)."""
    return int.from_bytes(secrets.token_bytes(_SERIAL_BYTES)) >> 1 | 1


def _facts(
    keys: InstallationKeys, name: str, listener: Listener, checkpoint_seed: bytes, now: datetime
) -> InstallationFacts:
    public, origin = keys.public, log_origin(name)
    return InstallationFacts(
        name=name,
        created_at=now.isoformat(),
        server_url=listener.url,
        operator_key=public.operator,
        accounts=Accounts(**{str(account): key for account, key in public.accounts.items()}),
        roles={key: role for role, key in public.roles.items()},
        trust_root=public_key_of(keys.trust_root).hex(),
        log_origin=origin,
        log_verifier_key=verifier_key(origin, public_key_of(checkpoint_seed)),
    )


def _server_files(
    layout: Layout,
    keys: InstallationKeys,
    name: str,
    listener: Listener,
    *,
    max_payload_bytes: int,
    now: datetime,
) -> dict[Path, bytes]:
    text = server_config(
        name=name,
        listener=listener,
        operator_jwt=keys.operator_jwt(name=name, now=now),
        files=ServerFiles(
            accounts_dir=str(layout.server_accounts),
            jetstream_dir=str(layout.server / "jetstream"),
            pid_file=str(layout.server / "nats-server.pid"),
            certificate=str(layout.server_certificate),
            key=str(layout.server_key),
        ),
        max_payload_bytes=max_payload_bytes,
    )
    files = {layout.server_config: text.encode()}
    for account in ACCOUNT_NAMES:
        jwt = keys.account_jwt(account, registry=Registry(), now=now)
        files[layout.account_jwt(keys.accounts[account].public)] = jwt.encode()
    return files


def _tls_files(layout: Layout, authority: CertifiedKey, server: CertifiedKey) -> dict[Path, bytes]:
    return {
        layout.ca_certificate: authority.certificate,
        layout.ca_key: authority.key,
        layout.server_certificate: server.certificate,
        layout.server_key: server.key,
    }


def _with_port(listener: Listener) -> Listener:
    """The listener with a port that was free a moment ago, if it had none."""
    if listener.port:
        return listener
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((listener.host, 0))
            port: int = probe.getsockname()[1]
    except OSError as error:
        raise ListenerError(f"listen: cannot bind {listener.host}: {error.strerror}") from error
    return replace(listener, port=port)
