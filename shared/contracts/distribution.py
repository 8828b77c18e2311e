# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was handed out to whom, as the audit log tells it."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import Message

MAX_DESTINATION: Final = 300
"""Characters."""
DISTRIBUTE: Final = "package.distribute"
"""The catalog gave an archive to a person or system; `details`: `archive_sha256`,
`manifest_sha256`, `size_bytes`, `licence` (declared, of the kernel code), `destination`."""


class Recipient(Message, frozen=True, kw_only=True):
    """Who was given one archive, to take it to one place."""

    key: str
    role: str
    destination: str = ""
    """In their own words: a registry, another installation; empty: they said none."""
    times: int
    first_at: str
    """By the catalog's clock."""
    last_at: str
    first_record: int
    """Index of the record that says so first."""
    last_record: int


class DistributedVersion(Message, frozen=True, kw_only=True):
    """One archive that was handed out."""

    package: str
    version: str
    archive_sha256: str
    manifest_sha256: str = ""
    licence: str = ""
    """SPDX expression of the kernel code, as it was declared."""
    space: str = ""
    """Whose version it is; empty: everybody's."""
    size_bytes: int = 0
    recipients: tuple[Recipient, ...]
    """By key and destination."""


class DistributionReport(Message, frozen=True, kw_only=True):
    """What was handed out in a range of time."""

    since: str
    """RFC 3339; the first moment of the range.  Empty: from the beginning."""
    until: str
    """The first moment behind it."""
    tree_size: int
    """Leaves of the log when it was read."""
    pruned_through: str = ""
    """Records up to this time may be missing, because they were pruned; empty: none of the range
    were."""
    versions: tuple[DistributedVersion, ...]
    """By package, version and archive."""
