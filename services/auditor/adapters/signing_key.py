# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The keys that sign the log's heads, from the auditor's credentials directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from services.auditor.checkpoint import (
    CheckpointError,
    parse_verifier_key,
    render_verifier_key,
    verifier_key,
)
from services.auditor.log_keys import chain_to, follow_keys
from shared.errors import FaultError, RefusedError
from shared.installation_facts import CHECKPOINT_KEY_FILE, InstallationFacts

SEED_BYTES: Final = 32
KEY_CHAIN_FILE: Final = "checkpoint.chain.json"


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """What signs heads now, and how it came to that."""

    seed: bytes
    older_seeds: tuple[bytes, ...] = ()
    """They sign as well, until they are retired."""
    chain: tuple[str, ...] = ()
    """Statements that lead from the log's first key to that of `seed`, oldest first."""

    @property
    def file_text(self) -> bytes:
        """The key file: a seed a line, the newest first."""
        return "".join(f"{seed.hex()}\n" for seed in (self.seed, *self.older_seeds)).encode()

    @property
    def chain_text(self) -> bytes:
        """The chain file."""
        return msgspec.json.format(msgspec.json.encode(self.chain), indent=2) + b"\n"


def read_signing_keys(credentials_dir: Path, facts: InstallationFacts) -> SigningKeys:
    """The Ed25519 seeds of the log that the installation knows.

    Raises:
        RefusedError: They are no seeds, or those of another log.
        FaultError: They cannot be read.
    """
    path, chain_path = credentials_dir / CHECKPOINT_KEY_FILE, credentials_dir / KEY_CHAIN_FILE
    try:
        seeds = [bytes.fromhex(line) for line in path.read_text(encoding="ascii").splitlines()]
        chain_text = chain_path.read_bytes() if chain_path.exists() else b"[]"
    except OSError as error:
        raise FaultError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RefusedError(f"{path}: is not hexadecimal") from error
    if not seeds or any(len(seed) != SEED_BYTES for seed in seeds):
        raise RefusedError(f"{path}: does not hold {SEED_BYTES} bytes a line")
    key = verifier_key(facts.log_origin, seed=seeds[0])
    try:
        chain = chain_to(key, msgspec.json.decode(chain_text, type=tuple[str, ...]))
        keys = follow_keys(parse_verifier_key(facts.log_verifier_key), chain)
    except (msgspec.DecodeError, UnicodeDecodeError, CheckpointError) as error:
        raise RefusedError(f"{chain_path}: is no chain of keys: {error}") from error
    if keys[-1] != key:
        raise RefusedError(
            f"{path}: is the key of {render_verifier_key(key)}, but the installation's log is "
            f"signed by {facts.log_verifier_key}"
        )
    return SigningKeys(seeds[0], tuple(seeds[1:]), tuple(chain))
