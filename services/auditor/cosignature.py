# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a witness says of a log's head: C2SP tlog-cosignature, `cosignature/v1`, Ed25519.

Pure.  A cosignature says that at its time the head was consistent with every head of the same log
that this witness had ever cosigned.  It is one more signature line of the note.

Rules:
 * Only the witnesses that the reader names count, and each of them once.
 * A line by a named witness that does not verify refuses the note, whatever else signed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.auditor.checkpoint import (
    COSIGNATURE,
    SIGNATURE_BYTES,
    SIGNATURE_MARK,
    CheckpointError,
    VerifierKey,
    encode_base64,
    read_signature,
    render_verifier_key,
    split_note,
    verifier_key,
)
from shared.errors import Reason

TIME_BYTES: Final = 8
MAX_TIME: Final = 253_402_300_799
"""The end of the year 9999; the standard lets a verifier refuse times in the future."""


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One witness's line, verified."""

    witness: VerifierKey
    time: int
    """When it was made by the witness's clock, seconds since 1970."""
    line: str


def cosign(text: str, *, name: str, seed: bytes, time: int) -> str:
    """The line by which the witness `name` cosigns a note's text; without a line end.

    Args:
        text: The note's, with its final line end.
        name: The witness's.
        seed: 32 bytes.
        time: Seconds since 1970.
    """
    key = verifier_key(name, seed=seed, algorithm=COSIGNATURE)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(_signed(text, time))
    blob = key.key_id + time.to_bytes(TIME_BYTES, "big") + signature
    return f"{SIGNATURE_MARK}{name} {encode_base64(blob)}"


def read_cosignatures(note: str, *, witnesses: Sequence[VerifierKey]) -> list[Cosignature]:
    """What the named witnesses say in the note, at most one line of each: their newest.

    Raises:
        CheckpointError: The note is malformed, or a line by one of them does not verify.
    """
    text, lines = split_note(note)
    known = {(key.name, key.key_id): key for key in witnesses}
    found: dict[VerifierKey, Cosignature] = {}
    for line in lines:
        name, key_id, blob = read_signature(line)
        witness = known.get((name, key_id))
        if witness is None:
            continue
        said = _verified(line, blob, text, witness)
        if witness not in found or found[witness].time < said.time:
            found[witness] = said
    return list(found.values())


def check_witnessed(
    note: str, *, witnesses: Sequence[VerifierKey], least: int
) -> list[Cosignature]:
    """What the named witnesses say in the note; at least `least` of them say it.

    Raises:
        CheckpointError: Fewer do, or a line by one of them does not verify.
    """
    found = read_cosignatures(note, witnesses=witnesses)
    if len(found) < least:
        silent = set(witnesses) - {one.witness for one in found}
        raise CheckpointError(
            f"the checkpoint is cosigned by {len(found)} of the witnesses named, not by {least}",
            [
                Reason(path="checkpoint", rule="this witness did not cosign it", got=name)
                for name in sorted(render_verifier_key(key) for key in silent)
            ],
        )
    return found


def _verified(line: str, blob: bytes, text: str, witness: VerifierKey) -> Cosignature:
    time = int.from_bytes(blob[:TIME_BYTES], "big")
    if len(blob) != TIME_BYTES + SIGNATURE_BYTES or time > MAX_TIME:
        raise CheckpointError(f"the cosignature by {witness.name} is not a time and a signature")
    try:
        Ed25519PublicKey.from_public_bytes(witness.public_key).verify(
            blob[TIME_BYTES:], _signed(text, time)
        )
    except InvalidSignature as error:
        raise CheckpointError(f"the cosignature by {witness.name} does not verify") from error
    return Cosignature(witness, time, line)


def _signed(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
