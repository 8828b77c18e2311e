# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Accounts of the node, and what this process may do."""

from __future__ import annotations

import os
import pwd
import resource
from pathlib import Path
from typing import Final

from services.companions.adapters.sandbox import Identity
from shared.errors import FaultError, RefusedError

_STATUS: Final = Path("/proc/self/status")


class AccountMissingError(FaultError):
    """The node has no account of that name."""


class AccountRefusedError(RefusedError):
    """The account may not run companions."""


def account(name: str, *, capabilities: int) -> Identity:
    """The account of that name, with the groups it belongs to.

    Raises:
        AccountMissingError: There is none.
        AccountRefusedError: It is root, who reads every file whatever capabilities are given up.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError as error:
        raise AccountMissingError(f"this node has no account {name}") from error
    if found.pw_uid == 0:
        raise AccountRefusedError(f"account {name} is root; companions need another one")
    others = [number for number in os.getgrouplist(name, found.pw_gid) if number != found.pw_gid]
    return Identity(found.pw_uid, (found.pw_gid, *others), capabilities)


def take_open_files() -> None:
    """This process may open as many files as it could allow itself: each companion takes a dozen.

    Companions have limits of their own.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def held_capabilities() -> int:
    """What this process has and can pass on, one bit for each."""
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapPrm":
            return int(value.strip(), 16)
    return 0
