# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the maps of a candidate fit into what its trial may take of the kernel's memory.

Pure.  The kernel takes the memory of most maps when they are made, so it is asked before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from shared.contracts.errors import ErrorCode
from shared.contracts.package_facts import MapFacts
from shared.errors import Reason, RefusedError


class NoMapRoomError(RefusedError):
    """The maps are larger than a trial allows."""

    code: ClassVar[ErrorCode] = "too_large"


def map_bytes(facts: MapFacts, *, processors: int) -> int:
    """What the entries of one map take when all are there."""
    if facts.type.endswith("ringbuf"):
        return facts.max_entries
    copies = processors if "percpu" in facts.type else 1
    return facts.max_entries * (facts.key_size_bytes + copies * facts.value_size_bytes)


def check_map_room(maps: Iterable[MapFacts], *, processors: int, limit_bytes: int) -> None:
    """All maps together fit.

    Raises:
        NoMapRoomError: They do not; with what each of the largest takes.
    """
    sizes = {facts.name: map_bytes(facts, processors=processors) for facts in maps}
    total = sum(sizes.values())
    if total <= limit_bytes:
        return
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:8]
    rule = f"the maps take {total} bytes, and a trial has {limit_bytes}"
    raise NoMapRoomError(
        rule, [Reason(path=f"maps.{name}", rule=f"takes {sizes[name]} bytes") for name in largest]
    )
