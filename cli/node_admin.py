# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node add|revoke|rotate`: the credentials of nodes."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.console import JsonFlag, refusing
from cli.principal import (
    ExpiresOption,
    InstallationOption,
    chosen,
    in_utc,
    revoke_member,
    rotate_member,
    show_change,
)
from installation import members


def add(
    name: str,
    *,
    expires: ExpiresOption = None,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Give a node a key; copy the printed directory to the node.

    Parameters
    ----------
    name
        Lower-case letters, digits and '-'; it is the node's name everywhere.
    """
    with refusing(json=json):
        change = members.add(
            chosen(installation),
            name=name,
            role="node",
            now=datetime.now(UTC),
            expires_at=in_utc(expires),
        )
    show_change(change, json=json)


def revoke(name: str, *, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Refuse a node's key from now on and cut its connection; its data path runs on.

    Parameters
    ----------
    name
        Which.
    """
    revoke_member(chosen(installation), "node", name, json=json)


def rotate(
    name: str,
    *,
    expires: ExpiresOption = None,
    installation: InstallationOption = None,
    json: JsonFlag = False,
) -> None:
    """Give a node a new key; the old one is refused from now on.

    Parameters
    ----------
    name
        Which.
    """
    rotate_member(chosen(installation), "node", name, in_utc(expires), json=json)
