# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""All that a node says in the audit log."""

from __future__ import annotations

from typing import Final, Literal, get_args

from shared.contracts.inventory import SNAPSHOT
from shared.contracts.node_companions import COMPANION_ACTIONS

ChainAction = Literal[
    "chain.request",
    "chain.attach",
    "chain.configure",
    "chain.detach",
    "chain.change",
    "chain.adopt",
    "chain.drift",
    "chain.orphan",
]
NODE_ACTIONS: Final = (
    *get_args(ChainAction),
    "node.register",
    "node.drift",
    "node.mode",
    SNAPSHOT,
    "artifact.damage",
    "state.rebuild",
    "journal.resume",
    "pins.restore",
    "trust.learn",
    "trust.refuse",
    *COMPANION_ACTIONS,
)
"""A node that lost its journal goes on behind the newest of them."""
