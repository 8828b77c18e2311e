# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the environment may say to a companion supervisor.

Pure: `shared.config.load_config` fills it from variables that begin with `COMPANIONS_`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import msgspec
from msgspec import Meta

from shared.config import LogLevel
from shared.contracts.companions import Controller
from shared.errors import Reason, RefusedError


class CompanionsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One companion supervisor.  It has no credentials: it speaks to its node's executor alone."""

    state_dir: Path
    """Kept between starts; created if it does not exist, for root alone."""
    socket: Path
    """Where the executor reaches it; made with mode 0600."""
    log_level: LogLevel = "info"
    cgroup: Annotated[str, Meta(pattern=r"^(own|[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)(?!\n)$")] = (
        "l3af"
    )
    """Where its control groups lie below the root of each hierarchy; `own`: below the group that it
    was started in, which is then its own to divide.  Two supervisors never share one."""
    user_ids: str = "1900000000-1900065535"
    """User and group ids for companions that declare no account."""
    may_lack: str = ""
    """Limits (`cpu`, `memory`, `pids`, by comma) without which companions run all the same where
    the control groups have no such controller; empty: they are refused there, by name."""
    event_bytes: Annotated[int, Meta(ge=64 * 1024)] = 16 * 1024 * 1024
    """What events may take on the disk until they are fetched; then the oldest make room."""


def check_may_lack(text: str) -> frozenset[str]:
    """The controllers that `text` names.

    Raises:
        RefusedError: It names something else.
    """
    names = frozenset(name for name in text.split(",") if name)
    known = get_args(Controller)
    reasons = [
        Reason(path="COMPANIONS_MAY_LACK", rule="is no limit", got=name, allowed=sorted(known))
        for name in sorted(names - set(known))
    ]
    if reasons:
        raise RefusedError("configuration: COMPANIONS_MAY_LACK", reasons)
    return names
