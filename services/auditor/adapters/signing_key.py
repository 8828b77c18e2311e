# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The key that signs the log's heads, from the auditor's credentials directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.auditor.checkpoint import render_verifier_key, verifier_key
from shared.errors import FaultError, RefusedError
from shared.installation_facts import CHECKPOINT_KEY_FILE, InstallationFacts

SEED_BYTES: Final = 32


def read_signing_key(credentials_dir: Path, facts: InstallationFacts) -> bytes:
    """The Ed25519 seed of the log that the installation knows.

    Raises:
        RefusedError: It is no seed, or that of another log.
        FaultError: It cannot be read.
    """
    path = credentials_dir / CHECKPOINT_KEY_FILE
    try:
        seed = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise FaultError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RefusedError(f"{path}: is not hexadecimal") from error
    if len(seed) != SEED_BYTES:
        raise RefusedError(f"{path}: holds {len(seed)} bytes, not {SEED_BYTES}")
    rendered = render_verifier_key(verifier_key(facts.log_origin, seed=seed))
    if rendered != facts.log_verifier_key:
        raise RefusedError(
            f"{path}: is the key of {rendered}, but the installation's log is signed by "
            f"{facts.log_verifier_key}"
        )
    return seed
