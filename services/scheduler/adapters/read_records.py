# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was read of a bucket, made ready to be kept: whose it is, and what of it is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from shared.adapters.kv import Entry, Snapshot
from shared.contracts.node import NodeRecord, ObservedNode

RecordT = TypeVar("RecordT", bound=msgspec.Struct)

NodesOwnT = TypeVar("NodesOwnT", NodeRecord, ObservedNode)

ValueT = TypeVar("ValueT")
TakenT = TypeVar("TakenT")

_log = structlog.get_logger()


class Gathered(Generic[ValueT]):
    """Values by name; what is taken of them stays as it is, and is made once for each change."""

    def __init__(self) -> None:
        """There are none."""
        self.values: dict[str, ValueT] = {}
        """As they are now: not to be changed but here."""
        self._taken: Any = None

    def put(self, name: str, value: ValueT) -> None:
        """The name has the value."""
        self.values[name] = value
        self._taken = None

    def put_all(self, found: Mapping[str, ValueT]) -> None:
        """There are these and no others."""
        self.values = dict(found)
        self._taken = None

    def taken(self, take: Callable[[Mapping[str, ValueT]], TakenT]) -> TakenT:
        """What `take`, always the same function, makes of the values: the same until one changes.

        It has to be a copy.
        """
        if self._taken is None:
            self._taken = take(self.values)
        found: TakenT = self._taken
        return found


def own(snapshot: Snapshot[NodesOwnT]) -> dict[str, NodesOwnT]:
    """By node, what each wrote of itself."""
    return {
        node: entry.value for node, entry in snapshot.entries.items() if is_own(node, entry.value)
    }


def is_own(node: str, record: NodeRecord | ObservedNode) -> bool:
    """Whether a record speaks of the node under whose key it lies; it is logged if not.

    The server proves who wrote under the key; what the record says of itself proves nothing.
    """
    if record.node == node:
        return True
    _log.warning(
        "record_ignored", why="it names another node", node=node, record=type(record).__name__
    )
    return False


def values(entries: Mapping[str, Entry[RecordT]]) -> dict[str, RecordT]:
    """By key, without the revisions that they are stored as."""
    return {key: entry.value for key, entry in entries.items()}


def newest(
    snapshot: Snapshot[RecordT], known: Mapping[str, Entry[RecordT]]
) -> dict[str, Entry[RecordT]]:
    """What was read, and over it what was written while it was being read.

    An entry of a revision that is known stays the object that it is.
    """
    written = {key: entry for key, entry in known.items() if entry.revision > snapshot.sequence}
    read = {}
    for key, entry in snapshot.entries.items():
        old = known.get(key)
        is_same = old is not None and (old.revision, old.value) == (entry.revision, entry.value)
        read[key] = old if old is not None and is_same else entry
    return {**read, **written}


def changed(read: Mapping[str, NodesOwnT], known: Mapping[str, NodesOwnT]) -> dict[str, NodesOwnT]:
    """What differs from what is known: everything else stays the object that it is."""
    return {name: record for name, record in read.items() if known.get(name) != record}
