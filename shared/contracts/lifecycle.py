# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What people decided about a published version, as its record keeps it."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message

ReviewState = Literal["submitted", "in-review", "approved", "released", "deprecated", "revoked"]
"""In this order; a version never goes back."""


class Statement(Message, frozen=True, kw_only=True):
    """Somebody's word, attested by the server."""

    by: str
    """Public key."""
    name: str
    """As the server read it in the JWT."""
    role: str
    at: str
    why: str = ""


class Approval(Statement, frozen=True, kw_only=True):
    """A code owner's yes to exactly these bytes."""

    manifest_sha256: str
    """The manifest names the digest of every file, so this binds the whole package."""


class Lifecycle(Message, frozen=True, kw_only=True):
    """The way of one version; what is empty did not happen."""

    submitted: tuple[Statement, ...] = ()
    """Who asked for reviews, oldest first; none of them can approve."""
    targets: tuple[str, ...] = ()
    """Channels that it is submitted for, and that need a promotion."""
    reviews: tuple[Statement, ...] = ()
    """Who has looked or is looking at it."""
    approvals: tuple[Approval, ...] = ()
    approved_at: str = ""
    """When the approvals were first enough for a channel that it is submitted for."""
    entered: dict[str, str] = {}
    """Channel to when the version entered it, if that was not when it was published."""
    retired: tuple[str, ...] = ()
    """Channels where so many newer versions are that it is picked no more."""
    notes: str = ""
    """Release notes."""
    tags: tuple[str, ...] = ()
    """Names for this version that no other version of the package has."""
    yanked: Statement | None = None
    deprecated: Statement | None = None
    revoked: Statement | None = None
