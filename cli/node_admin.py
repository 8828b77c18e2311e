# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node add|revoke|rotate`: the credentials of nodes."""

from __future__ import annotations

from cli.console import JsonFlag
from cli.principal import ExpiresOption, InstallationOption, add_member, change_member


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
    add_member(name, "node", expires, installation, json=json)


def revoke(name: str, *, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Refuse a node's key from now on and cut its connection; its data path runs on.

    Parameters
    ----------
    name
        Which.
    """
    change_member("node", "revoke", name, None, installation, json=json)


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
    change_member("node", "rotate", name, expires, installation, json=json)
