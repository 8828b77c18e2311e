# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waivers: for a while, a rule of the licence policy stops nothing that the waiver is for.

One principal requests a waiver, another one grants it.  Rules about what is true, and about what
the kernel takes, can be waived by nobody.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.events import PUBLIC
from shared.contracts.selectors import NodeSelector
from shared.contracts.spaces import SpaceText
from shared.identifiers import Token

MAX_WAIVER_DAYS: Final = 366
"""From the request to the expiry."""
WARNING_DAYS: Final = (30, 7, 1)
"""How long before a waiver expires it is said that it will."""

WaivableRule = Literal[
    "companion-libraries",
    "identifiers-known",
    "licence-drift",
    "policy-groups",
    "policy-platforms",
    "source-present",
    "source-tags",
    "texts-present",
    "under-declared",
]
WaiverState = Literal["requested", "granted", "expired", "revoked"]


class WaiverScope(Document, frozen=True, kw_only=True):
    """What a waiver is for: one rule, of one archive or of versions by name, on some nodes."""

    rule: WaivableRule
    package: Token
    versions: Annotated[str, Meta(max_length=256)] = ""
    """Constraint, as `=1.4.0` or `^1.2`; may be left out if the archive is named."""
    archive_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?(?!\n)$")] = ""
    """Of that archive alone; empty: of every one that the versions allow."""
    nodes: NodeSelector = NodeSelector()
    """Where what the waiver lets through may run."""
    space: SpaceText = PUBLIC
    """Whose versions it is for; one of `public` is for all versions."""


class Waiver(Message, frozen=True, kw_only=True):
    """KV `licence_waivers`, key = id."""

    id: Token
    scope: WaiverScope
    reason: str
    expires_at: str
    """RFC 3339 UTC; from this moment on it is in force no more."""
    requested_by: str
    """Public key."""
    requested_name: str
    """As the server read it in the requester's JWT; a grant needs another one."""
    requested_role: str
    requested_at: str
    granted_by: str = ""
    """Public key; empty: nobody granted it yet."""
    granted_role: str = ""
    granted_at: str = ""
    grant_reason: str = ""
    revoked_by: str = ""
    """Public key; empty: nobody revoked it."""
    revoked_role: str = ""
    revoked_at: str = ""
    revoke_reason: str = ""
    told: tuple[str, ...] = ()
    """What was said of its end already: `30-days`, `7-days`, `1-day`, `ended`."""
    command_id: str = ""
    """The command that wrote this revision."""


LICENCE_WAIVERS: Final = Bucket("licence_waivers", Waiver)


class RequestWaiver(Command, frozen=True, kw_only=True):
    """Ask for a waiver; `reason` must say why.  It is in force once somebody else grants it."""

    scope: WaiverScope
    expires_at: str
    """RFC 3339 with a zone; in the future, at most MAX_WAIVER_DAYS away."""


class WaiverRequested(Accepted, frozen=True, kw_only=True):
    """It waits to be granted."""

    waiver: str
    """Its id."""
    expires_at: str


class GrantWaiver(Command, frozen=True, kw_only=True):
    """Put a requested waiver in force; not by who requested it."""

    waiver: Token


class WaiverGranted(Accepted, frozen=True, kw_only=True):
    """It is in force until it expires or is revoked."""

    waiver: str
    expires_at: str


class RevokeWaiver(Command, frozen=True, kw_only=True):
    """End a waiver, or decline the request for one."""

    waiver: Token


class WaiverRevoked(Accepted, frozen=True, kw_only=True):
    """It is in force no more."""

    waiver: str


class ListWaivers(Request, frozen=True, kw_only=True):
    """Those that are in force or wait to be, and with `ended` all that ever were."""

    package: str = "*"
    """Glob over the packages' names."""
    ended: bool = False


class WaiverView(Message, frozen=True, kw_only=True):
    """One waiver, and what is so now."""

    waiver: Waiver
    state: WaiverState


class WaiverList(Message, frozen=True, kw_only=True):
    """By expiry, the first to expire first."""

    waivers: tuple[WaiverView, ...]


REQUEST_WAIVER: Final = Endpoint(
    f"{API}.catalog.licence.waiver.request", RequestWaiver, WaiverRequested
)
GRANT_WAIVER: Final = Endpoint(f"{API}.catalog.licence.waiver.grant", GrantWaiver, WaiverGranted)
REVOKE_WAIVER: Final = Endpoint(f"{API}.catalog.licence.waiver.revoke", RevokeWaiver, WaiverRevoked)
LIST_WAIVERS: Final = Endpoint(f"{API}.catalog.licence.waiver.list", ListWaivers, WaiverList)
