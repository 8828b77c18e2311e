# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log's origin and C2SP verifier key: what checkpoints are verified against.

Pure.  Format: c2sp.org/signed-note, Ed25519 (signature type 0x01).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_ED25519: Final = b"\x01"
_KEY_HASH_BYTES: Final = 4


def log_origin(installation: str) -> str:
    """The name of the installation's log, first line of every checkpoint."""
    return f"l3af.{installation}/log"


def verifier_key(origin: str, public_key: bytes) -> str:
    """`<origin>+<key hash>+<type and key in base64>` of a raw 32 byte Ed25519 public key."""
    typed = _ED25519 + public_key
    digest = hashlib.sha256(origin.encode() + b"\n" + typed).digest()
    return f"{origin}+{digest[:_KEY_HASH_BYTES].hex()}+{base64.b64encode(typed).decode()}"
