# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the inventory that the bus has is still the node's.

Pure.  A record is written, and said in an event, only when something in it changed; the moment it
was taken is not part of it.
"""

from __future__ import annotations

import msgspec

from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.node import NodeRecord
from shared.identifiers import Digest


def is_outdated(stored: NodeRecord | None, current: NodeRecord) -> bool:
    """Whether the stored record says something else than the node as it is now."""
    return stored is None or _timeless(stored) != _timeless(current)


def registration_event_id(current: NodeRecord, *, replaced_revision: int) -> Digest:
    """The same for every attempt to write this record over that revision (0: over none)."""
    content = canonical_digest(msgspec.to_builtins(_timeless(current)))
    return sha256_hex(f"{current.node}|{replaced_revision}|{content}|node.register".encode())


def _timeless(record: NodeRecord) -> NodeRecord:
    return msgspec.structs.replace(record, registered_at="")
