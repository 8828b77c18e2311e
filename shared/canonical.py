# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The one byte encoding that is hashed, signed and logged: sorted keys, no white space, UTF-8.

Defaults are written out (`msgspec.to_builtins` of a type with `omit_defaults` leaves them out, so a
canonical type must not use it): the bytes of a value never depend on which release encoded it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from shared.identifiers import Digest

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_bytes(value: Any) -> bytes:
    """JSON with keys sorted by code point; the same value always gives the same bytes."""
    return _ENCODER.encode(value)


def sha256_hex(data: bytes | memoryview) -> Digest:
    """SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return Digest(hashlib.sha256(data).hexdigest())


def canonical_digest(value: Any) -> Digest:
    """SHA-256 of the canonical bytes of `value`."""
    return sha256_hex(canonical_bytes(value))
