# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tickets: the catalog's word that whoever shows one may read one archive for a while.

Pure.  `<expiry>.<mac>`: expiry in seconds since 1970, MAC is HMAC-SHA-256 (RFC 2104) over digest
and expiry.  The key is derived (HKDF, RFC 5869) from the seed of the catalog's own credentials, so
every instance of the catalog accepts the others' tickets and nothing needs to be kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.contracts.catalog import TICKET_SECONDS

_PURPOSE: Final = b"l3af catalog artifact ticket v1"
_TICKET: Final = re.compile(r"(?P<expires>[0-9]{1,12})\.(?P<mac>[0-9a-f]{64})")


def derive_ticket_key(seed: bytes) -> bytes:
    """The 32-byte key for tickets that belongs to a secret seed."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(seed)


def issue_ticket(digest: str, *, key: bytes, now: datetime) -> str:
    """A ticket for the archive `digest`, good for TICKET_SECONDS from `now`."""
    expires = int(now.timestamp()) + TICKET_SECONDS
    return f"{expires}.{_mac(digest, expires, key)}"


def admits(ticket: str, digest: str, *, key: bytes, now: datetime) -> bool:
    """Whether `ticket` is ours, for this archive, and has not expired."""
    match = _TICKET.fullmatch(ticket)
    if match is None:
        return False
    expires = int(match["expires"])
    is_ours = hmac.compare_digest(match["mac"], _mac(digest, expires, key))
    return is_ours and now.timestamp() < expires


def _mac(digest: str, expires: int, key: bytes) -> str:
    return hmac.new(key, f"{digest}|{expires}".encode(), hashlib.sha256).hexdigest()
