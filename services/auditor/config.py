# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the auditor is told, and what of it may be shown.  Pure."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from services.auditor.checkpoint import (
    COSIGNATURE,
    CheckpointError,
    VerifierKey,
    parse_verifier_key,
)
from shared.config import Labels, ServiceConfig
from shared.errors import Reason, RefusedError

SQLITE: Final = ("", "sqlite")
_SCHEMES: Final = ("postgresql", "postgres")


class AuditorConfig(ServiceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the auditor is told."""

    store: str = ""
    """Where the log is: empty or `sqlite` for a file in `state_dir`, or a `postgresql://` URL.  A
    URL may hold a password: it is never shown or logged."""
    witnesses: Labels = {}
    """Verifier key and address of each witness: `key=https://host/prefix,key=http://...`."""
    tiles_dir: str = ""
    """Where the log is also kept as files for any web server; empty: nowhere."""
    archive_dir: str = ""
    """Where records are kept that rules archive and prune; empty: nowhere, and there is no such
    rule."""
    alarms: Labels = {}
    """Limits that are not as usual: `lag_seconds=30,backup_days=1` (`health.limits.Limits`)."""
    take_over_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 20.0
    """How long another auditor must have been silent before its log in PostgreSQL is taken over."""


def postgres_url(store: str) -> str | None:
    """The URL of the database that `store` names; None if it names a file.

    Raises:
        RefusedError: It names neither.  What it is does not say: it may hold a password.
    """
    if store in SQLITE:
        return None
    if store.partition("://")[0] in _SCHEMES:
        return store
    reason = Reason(
        path="AUDITOR_STORE",
        rule="names no store (its value is not shown: it may hold a password)",
        allowed=["", "sqlite", "postgresql://user@host/database"],
    )
    raise RefusedError("configuration: AUDITOR_STORE", [reason])


def parse_witnesses(given: Labels) -> list[tuple[VerifierKey, str]]:
    """Key and address of each witness.

    Raises:
        RefusedError: With every key and address that cannot be used.
    """
    found: list[tuple[VerifierKey, str]] = []
    reasons: list[Reason] = []
    for text, url in given.items():
        if not _is_address(url):
            rule = "is not an http:// or https:// address"
            reasons.append(Reason(path="AUDITOR_WITNESSES", rule=rule, got=url))
        try:
            found.append((parse_verifier_key(text, algorithm=COSIGNATURE), url))
        except CheckpointError as error:
            reasons.append(Reason(path="AUDITOR_WITNESSES", rule=error.message, got=text))
    if reasons:
        raise RefusedError("configuration: AUDITOR_WITNESSES", reasons)
    return found


def _is_address(url: str) -> bool:
    try:
        place = urlsplit(url)
        return place.scheme in {"http", "https"} and bool(place.hostname) and place.port != 0
    except ValueError:
        return False
