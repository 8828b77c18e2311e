# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One byte of one value changed, and what `verify` must name for it."""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

SEED = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
PARTS = {
    "records": {"record"},
    "tiles": {"tile"},
    "checkpoints": {"checkpoint"},
    "channels": {"channel"},
    "gaps": {"gap"},
    "log": {"log"},
    "receipts": {"receipt"},
    "spans": {"span"},
    "inventory": {"inventory"},
    "hook_points": {"hook point", "sighting"},
    "sightings": {"sighting"},
    "sighted_digests": {"digest"},
    "ran_chains": {"chain", "sighting", "chain span"},
    "chain_spans": {"chain span"},
    "sealed": {"record", "words"},
    "event_ids": {"event id"},
    "prunings": {"pruning"},
}
"""Of each table; a table that is not here is one that `verify` does not look at."""
NOT_SAID = "erasures"
"""Has no rows but between an erasure and its record: each of them is a problem by itself."""


ROWS = {"records": "records WHERE body IS NOT NULL AND action <> 'log.prune'"}
"""Of a table the rows that are changed and taken away alone; what remains of pruned records, and by
whose word, is changed in `test_log_pruning`."""


def changed(value: Any, choice: random.Random) -> Any:
    """The value with one byte changed, or with one if it had none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + choice.choice([-1, 1, 256, 1 << 20])
    raw = bytearray(value.encode() if isinstance(value, str) else value or b"")
    if not raw:
        return b"x"
    raw[choice.randrange(len(raw))] ^= choice.randrange(1, 256)
    return bytes(raw)
