# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which user id a companion runs that declares no account."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from shared.errors import Reason, RefusedError

LOWEST, HIGHEST = 1_000, (1 << 32) - 3


def parse_user_ids(text: str) -> range:
    """The ids that `FIRST-LAST` names.

    Raises:
        RefusedError: It names none, or ids of the system.
    """
    first, _, last = text.partition("-")
    if first.isdecimal() and last.isdecimal() and LOWEST <= int(first) <= int(last) <= HIGHEST:
        return range(int(first), int(last) + 1)
    reason = Reason(
        path="COMPANIONS_USER_IDS",
        rule="must be <first>-<last>",
        got=text,
        allowed=f"ids from {LOWEST} to {HIGHEST}",
    )
    raise RefusedError(f"configuration: {reason.path} {reason.rule}", [reason])


def user_id(companion: str, taken: Collection[int], ids: range) -> int | None:
    """An id that no other companion has: the same one as the last time, as a rule.

    None: all are taken.
    """
    start = int.from_bytes(hashlib.sha256(companion.encode()).digest()[:8], "big")
    tried = (ids[(start + step) % len(ids)] for step in range(min(len(ids), len(taken) + 1)))
    return next((number for number in tried if number not in taken), None)
