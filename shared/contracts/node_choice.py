# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes a deployment for so many of them is on."""

from __future__ import annotations

from functools import lru_cache

from shared.contracts.base import Message
from shared.packed_places import unpack_names


class NodeRefusal(Message, frozen=True, kw_only=True):
    """A node that was chosen, refused the revision, and was replaced."""

    node: str
    times: int
    """How often, since the revision was accepted."""
    until: str
    """When it may be chosen again, RFC 3339 UTC."""
    why: str


class NodeChoice(Message, frozen=True, kw_only=True):
    """The nodes of a deployment that is for so many."""

    nodes: tuple[str, ...] = ()
    """Ascending; packed if they are many."""
    packed_nodes: str = ""
    changes: int = 0
    """How often it became another one."""
    refusals: tuple[NodeRefusal, ...] = ()
    """By node."""

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes, packed or not."""
        return _unpacked_names(self.packed_nodes) if self.packed_nodes else self.nodes


@lru_cache(maxsize=256)
def _unpacked_names(packed: str) -> tuple[str, ...]:
    return unpack_names(packed)
