# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each map that a generation uses.

Pure.
"""

from __future__ import annotations

from services.node_executor.map_types import MapOfMaps
from shared.contracts.base import Message


class HeldMap(Message, frozen=True, kw_only=True):
    """A map that a generation's programs use."""

    deployment: str
    """Empty: it belongs to the chain, as the counters and the array of its segments do."""
    name: str
    map_id: int
    is_pinned: bool = True
    """Whether the map outlives the program; constants do not, they belong to the code."""
    structure: str = ""
    """Digest of what BTF tells of keys and values, names included; empty: it tells nothing."""
    shape: str = ""
    """The same without names."""
    has_timers: bool = False
    """Whether values hold timers, which run code of the program that set them."""
    is_watched: bool = False
    """Whether nobody but the executor should write it, so that its entries are compared."""
    is_common: bool = False
    """Whether all instances of the package on this node have it in common."""
    of_maps: MapOfMaps | None = None
    """Types of a map of maps; None: it is none, or a release that kept none linked it."""
