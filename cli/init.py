# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af init`: write an installation, or renew what an existing one can renew."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, plain, refusing, run, say
from cli.session import installation_dir
from installation import members
from installation.create import DEFAULT_NAME, FIRST_ADMINISTRATOR, create_installation
from installation.renewal import CertificateRenewed, renew_server_certificate
from installation.server_config import DEFAULT_LISTEN, DEFAULT_MAX_PAYLOAD_BYTES
from shared.errors import Reason, RefusedError
from shared.installation_facts import InstallationFacts


class InstallationCreated(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    directory: str
    facts: InstallationFacts


class AccountsUpdated(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    directory: str
    is_in_force: bool


def init(
    directory: Path | None = None,
    *,
    name: str = DEFAULT_NAME,
    listen: str = DEFAULT_LISTEN,
    host: tuple[str, ...] = (),
    admin: str = FIRST_ADMINISTRATOR,
    node: tuple[str, ...] = (),
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
    tls: Annotated[bool, Parameter(negative=())] = False,
    renew_certificates: Annotated[bool, Parameter(negative=())] = False,
    update_accounts: Annotated[bool, Parameter(negative=())] = False,
    json: JsonFlag = False,
) -> None:
    """Write an installation: keys, accounts, certificates, credentials.  An existing one stays.

    Parameters
    ----------
    directory
        Where; it must not exist or be empty.  Default: L3AF_INSTALLATION or ~/.local/share/l3af.
    name
        Of the installation; part of its audit log's origin.
    listen
        Where nats-server listens, as [HOST]:PORT; port 0 picks a free one.  Anything but
        loopback gets TLS.
    host
        A name or address that clients use for this machine; may be given several times.
    admin
        Name of the first administrator.
    node
        Name of a node to make credentials for; may be given several times.
    max_payload_bytes
        Longest message, headers included.
    tls
        TLS on loopback too.
    renew_certificates
        Give an existing installation's server a new certificate; it takes it up while it runs.
    update_accounts
        Put this release's permission table and all revocations in force again.
    """
    root = directory.expanduser() if directory else installation_dir()
    now = datetime.now(UTC)
    if renew_certificates and update_accounts:
        reason = Reason(path="--update-accounts", rule="one renewal at a time")
        with refusing(json=json):
            raise RefusedError(
                "--renew-certificates and --update-accounts: one at a time", [reason]
            )
    if renew_certificates:
        renewed = run(renew_server_certificate(root, hosts=host, now=now), json=json)
        emit(renewed, _render_renewed, json=json)
    elif update_accounts:
        _update(root, now, json=json)
    else:
        with refusing(json=json):
            facts = create_installation(
                root,
                name=name,
                listen=listen,
                hosts=host,
                administrator=admin,
                nodes=node,
                now=now,
                max_payload_bytes=max_payload_bytes,
                force_tls=tls,
            )
        emit(InstallationCreated(directory=str(root), facts=facts), _render_created, json=json)


def _update(root: Path, now: datetime, *, json: bool) -> None:
    is_in_force = run(members.update_accounts(root, now=now), json=json)
    if not is_in_force:
        say("nats-server does not run; it will know from its next start", json=json)
    emit(AccountsUpdated(directory=str(root), is_in_force=is_in_force), _render_updated, json=json)


def _render_created(created: InstallationCreated) -> RenderableType:
    facts = created.facts
    table = Table.grid(padding=(0, 2))
    table.add_row("installation", plain(created.directory))
    table.add_row("server", facts.server_url)
    table.add_row("audit log", facts.log_verifier_key)
    table.add_row("keep safe", plain(f"{created.directory}/operator (makes and revokes keys)"))
    return table


def _render_updated(updated: AccountsUpdated) -> RenderableType:
    return Text(f"accounts updated in {plain(updated.directory)}")


def _render_renewed(renewed: CertificateRenewed) -> RenderableType:
    names = ", ".join(renewed.hosts)
    taken = "nats-server uses it" if renewed.is_in_force else "for nats-server's next start"
    return Text(f"certificate for {names} valid until {renewed.valid_until}; {taken}")
