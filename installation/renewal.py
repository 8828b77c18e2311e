# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A new certificate for the server, taken up while it runs; no connection is cut."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from installation.adapters.directory import (
    InstallationDirectoryError,
    exclusive,
    read_authority,
    read_bytes,
    read_facts,
    read_keys,
    write_private,
)
from installation.adapters.running_server import ServerNotRunningError, reload_server
from installation.certificates import SERVER_DAYS, hosts_of, issue_server
from installation.create import new_serial, new_tls_key
from installation.layout import Layout
from shared.errors import Reason


class CertificateRenewed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the server's certificate."""

    hosts: tuple[str, ...]
    valid_until: str
    """RFC 3339 UTC."""
    is_in_force: bool
    """Whether the running server presents it; else it will from its next start."""


async def renew_server_certificate(
    directory: Path, *, hosts: Sequence[str] = (), now: datetime, days: int = SERVER_DAYS
) -> CertificateRenewed:
    """The server has a new key and certificate by the same authority, valid for `days`.

    Args:
        directory: Of the installation.
        hosts: Names and addresses to add to those of the present certificate.
        now: Aware.
        days: Of validity.

    Raises:
        RefusedError: The installation has no TLS listener.
        FaultError: The disk failed, or the server runs but did not take it up.
    """
    layout = Layout(directory)
    facts = read_facts(layout)
    authority = read_authority(layout)
    if authority is None:
        rule = "has no TLS listener, so there is no certificate to renew"
        reason = Reason(path="directory", rule=rule, got=str(directory))
        raise InstallationDirectoryError(f"{directory}: {rule}", [reason])
    with exclusive(layout):
        names = (*hosts_of(read_bytes(layout.server_certificate)), *hosts)
        renewed = issue_server(
            authority,
            hosts=tuple(dict.fromkeys(names)),
            key=new_tls_key(),
            serial=new_serial(),
            now=now,
            days=days,
        )
        write_private(layout.server_key, renewed.key)
        write_private(layout.server_certificate, renewed.certificate)
        is_in_force = True
        try:
            await reload_server(
                facts.server_url,
                system=read_keys(layout).accounts["system"],
                ca_pem=authority.certificate.decode(),
                now=now,
            )
        except ServerNotRunningError:
            is_in_force = False
    return CertificateRenewed(
        hosts=hosts_of(renewed.certificate),
        valid_until=(now + timedelta(days=days)).isoformat(),
        is_in_force=is_in_force,
    )
