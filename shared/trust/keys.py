# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what one key signed counts.

Pure.

Rules:
 * What counts is when the catalog published it, as the catalog says; a moment that is not proven
   is the present one, so that what nobody vouches for is treated as if it were signed now.
 * The present is never before the document was issued: a node whose clock is behind does not bring
   a revoked key back.
 * An expired key's older signatures stay valid.  A revoked key's do if the document says `keep`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from shared.contracts.trust import KeyRole, TrustDocument, TrustedKey
from shared.errors import Reason
from shared.trust.documents import moment

_NOT_PROVEN = (
    "; nothing proves that it was published before: deploy it again, and it comes with the"
    " catalog's receipt"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """When something was signed, as far as is known."""

    at: datetime
    is_proven: bool
    """Whether the catalog says so; else `at` is the present."""


def present(document: TrustDocument, now: datetime) -> datetime:
    """Now, but never before the document was issued."""
    return max(now, moment(document.issued_at))


def key_problems(
    key: TrustedKey,
    evidence: Evidence,
    *,
    role: KeyRole,
    package: str,
    now: datetime,
    path: str,
) -> Iterator[Reason]:
    """Every reason why the key's signature does not count.

    Args:
        key: As the document has it.
        evidence: When it signed.
        role: What it signed.
        package: Name of the package that it signed about.
        now: As `present` says.
        path: Of the signature.
    """
    if role not in key.roles:
        yield _reason(path, f"{key.name}'s key may not sign a {role}", list(key.roles), key)
    if not any(fnmatchcase(package, glob) for glob in key.packages):
        rule = f"{key.name}'s key may not sign for this package name"
        yield Reason(path=path, rule=rule, got=package, allowed=list(key.packages))
    if key.not_before and evidence.at < moment(key.not_before):
        yield _reason(path, f"{key.name}'s key is valid from {key.not_before} on", None, key)
    unproven = "" if evidence.is_proven else _NOT_PROVEN
    if key.not_after and evidence.at >= moment(key.not_after):
        yield _reason(path, f"{key.name}'s key expired at {key.not_after}{unproven}", None, key)
    if not key.revoked_at:
        return
    revoked_at = moment(key.revoked_at)
    if evidence.at >= revoked_at:
        hint = unproven if key.older_signatures == "keep" else ""
        yield _reason(path, f"{key.name}'s key was revoked at {key.revoked_at}{hint}", None, key)
    elif key.older_signatures == "reject" and now >= revoked_at:
        rule = f"{key.name}'s key was revoked at {key.revoked_at}, with all that it ever signed"
        yield _reason(path, rule, None, key)


def _reason(path: str, rule: str, allowed: object, key: TrustedKey) -> Reason:
    return Reason(path=path, rule=rule, got=key.key, allowed=allowed)
