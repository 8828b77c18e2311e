# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log's head as signed text: C2SP tlog-checkpoint in a C2SP signed note, Ed25519.

Pure.  Three lines (origin, tree size, root), an empty line, and signature lines; any tool that
reads Go's checksum database or Sigstore's checkpoints reads it.  The key's name is the origin.

Rules:
 * One text for one value: numbers without leading zeros, base64 in its one canonical spelling.
 * A signature by the known key that does not verify refuses the note, whatever else signed it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.auditor.merkle import HASH_BYTES, Hash
from shared.contracts.events import EventBody
from shared.errors import VerificationError

ED25519: Final = b"\x01"
"""Algorithm identifier of signed-note: it is hashed into the key id and leads the key."""
COSIGNATURE: Final = b"\x04"
"""The same of a witness (C2SP tlog-cosignature): Ed25519 over a time and the note's text."""
KEY_ID_BYTES: Final = 4
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SIGNATURE_MARK: Final = "\N{EM DASH} "
SMALLEST_INTERVAL: Final = timedelta(seconds=1)
LONGEST_INTERVAL: Final = timedelta(minutes=1)
CHECKPOINT_ACTION: Final = "log.checkpoint"
_ALGORITHMS: Final = {ED25519: "an Ed25519 key", COSIGNATURE: "the key of a witness"}
_HEAD_LINES: Final = 3
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_FORBIDDEN_IN_NAME: Final = re.compile(r"[\s+]")


class CheckpointError(VerificationError):
    """A checkpoint is malformed, or not signed by the key it should be signed by."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What a checkpoint says."""

    origin: str
    """Unique name of the log; never reused for another tree."""
    size: int
    root: Hash


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public key of a log, or of a witness, under the name it signs with."""

    name: str
    public_key: bytes
    """32 raw bytes."""
    algorithm: bytes = ED25519

    @property
    def key_id(self) -> bytes:
        """The four bytes that lead this key's signatures; they select, they prove nothing."""
        hashed = self.name.encode() + b"\n" + self.algorithm + self.public_key
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]


def verifier_key(name: str, *, seed: bytes, algorithm: bytes = ED25519) -> VerifierKey:
    """The key that verifies what `seed` (32 bytes) signs as `name`."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return VerifierKey(_checked_name(name), public, algorithm)


def render_verifier_key(key: VerifierKey) -> str:
    """`<name>+<key id, hexadecimal>+<base64 of the algorithm's byte and the key>`."""
    return f"{key.name}+{key.key_id.hex()}+{encode_base64(key.algorithm + key.public_key)}"


def parse_verifier_key(text: str, *, algorithm: bytes = ED25519) -> VerifierKey:
    """The key that `text` renders.

    Raises:
        CheckpointError: It is not a verifier key, is of another algorithm, or its key id does
            not fit.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = decode_base64(encoded, "verifier key")
    if len(material) != 1 + KEY_BYTES or material[:1] != algorithm:
        raise CheckpointError(f"the verifier key is not {_ALGORITHMS[algorithm]}")
    key = VerifierKey(_checked_name(name), material[1:], algorithm)
    if key_id != key.key_id.hex():
        raise CheckpointError("the verifier key's id does not belong to its name and key")
    return key


def render_tree_head(head: TreeHead) -> str:
    """The text that is signed."""
    return f"{head.origin}\n{head.size}\n{encode_base64(head.root)}\n"


def parse_tree_head(text: str) -> TreeHead:
    """The head that `text` begins with; lines after the third are extensions and have no meaning.

    Raises:
        CheckpointError: The three lines are not origin, size and root.
    """
    lines = text.split("\n")
    if len(lines) <= _HEAD_LINES or lines.pop() or not all(lines):
        raise CheckpointError("a checkpoint has three or more lines, none empty, each ended")
    origin, size, root = lines[:_HEAD_LINES]
    if not _NUMBER.fullmatch(size):
        raise CheckpointError("the checkpoint's tree size is not a decimal number")
    decoded = decode_base64(root, "root hash")
    if len(decoded) != HASH_BYTES:
        raise CheckpointError(f"the checkpoint's root hash has not {HASH_BYTES} bytes")
    return TreeHead(origin, int(size), Hash(decoded))


def sign_note(text: str, *, name: str, seed: bytes) -> str:
    """`text` as a note with one signature; the same arguments give the same note.

    Raises:
        CheckpointError: The text is no note text, or the name no key name.
    """
    _check_text(text)
    key = verifier_key(name, seed=seed)
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(text.encode())
    return f"{text}\n{SIGNATURE_MARK}{name} {encode_base64(key.key_id + signature)}\n"


def open_note(note: str, *, key: VerifierKey) -> str:
    """The note's text, once `key` is known to have signed it.

    Raises:
        CheckpointError: The note is malformed, or `key` did not sign it.
    """
    text, lines = split_note(note)
    is_signed = False
    for line in lines:
        is_signed |= _check_signature(line, text, key)
    if not is_signed:
        raise CheckpointError(f"the note is not signed by {render_verifier_key(key)}")
    return text


def split_note(note: str) -> tuple[str, list[str]]:
    """The note's text and its signature lines, none of them verified.

    Raises:
        CheckpointError: It is not a note.
    """
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise CheckpointError("a note has a text, an empty line, and signature lines")
    text, lines = note[: at + 1], note[at + 2 :].split("\n")[:-1]
    _check_text(text)
    return text, lines


def read_signature(line: str) -> tuple[str, bytes, bytes]:
    """Name, key id and signature in a signature line.

    Raises:
        CheckpointError: It is not one.
    """
    name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
    if not line.startswith(SIGNATURE_MARK) or not name or not encoded:
        raise CheckpointError("a signature line is a dash, a name and base64")
    signature = decode_base64(encoded, "signature")
    if len(signature) <= KEY_ID_BYTES:
        raise CheckpointError("a signature line holds a key id and a signature")
    return name, signature[:KEY_ID_BYTES], signature[KEY_ID_BYTES:]


def with_signatures(note: str, lines: Iterable[str]) -> str:
    """The note with these lines in place of those of the same names and key ids.

    Raises:
        CheckpointError: The note, or one of the lines, is malformed.
    """
    text, kept = split_note(note)
    by_key = {read_signature(line)[:2]: line for line in (*kept, *lines)}
    return f"{text}\n" + "".join(f"{line}\n" for line in by_key.values())


def sign_checkpoint(head: TreeHead, *, seed: bytes) -> str:
    """The head as a note, signed under its origin's name."""
    return sign_note(render_tree_head(head), name=head.origin, seed=seed)


def open_checkpoint(note: str, *, key: VerifierKey) -> TreeHead:
    """The head that `key` signed, and signed for its own log.

    Raises:
        CheckpointError: The note does not verify, says no head, or the head of another log.
    """
    head = parse_tree_head(open_note(note, key=key))
    if head.origin != key.name:
        raise CheckpointError(f"the checkpoint is of log {head.origin}, not of {key.name}")
    return head


def checkpoint_due_at(
    *, size: int, signed_size: int, signed_at: datetime, grown_at: datetime
) -> datetime:
    """When the next checkpoint is to be signed.

    At once after growth, but not within SMALLEST_INTERVAL of the last one; LONGEST_INTERVAL after
    the last one even when nothing grew, so that a log that stopped can be told from an idle one.

    Args:
        size: Leaves in the tree now.
        signed_size: Leaves in the last checkpoint.
        signed_at: When that was signed.
        grown_at: When the tree grew last.
    """
    if size > signed_size:
        return max(grown_at, signed_at + SMALLEST_INTERVAL)
    return signed_at + LONGEST_INTERVAL


def checkpoint_event(
    head: TreeHead, note: str, receipts: tuple[int, bytes]
) -> tuple[EventBody, str]:
    """What is said about a head, for whoever compares heads, and the id it is said under once.

    Args:
        head: What was signed.
        note: Its note.
        receipts: Number of the last receipt by then, and the digest of all of them.
    """
    number, digest = receipts
    body = EventBody(
        action=CHECKPOINT_ACTION,
        outcome="observed",
        details={
            "tree_size": head.size,
            "root": head.root.hex(),
            "checkpoint": note,
            "receipts": {"number": number, "sha256": digest.hex()},
        },
    )
    return body, f"log-checkpoint-{head.size}"


def is_checkpoint_leaf(leaf: bytes) -> bool:
    """Whether a leaf is the record of `checkpoint_event` itself."""
    return f'"type":"org.l3af.v1.{CHECKPOINT_ACTION}.observed"'.encode() in leaf


def _check_signature(line: str, text: str, key: VerifierKey) -> bool:
    """Whether the line is by `key`; raises if it says so and does not verify."""
    name, key_id, signature = read_signature(line)
    if name != key.name or key_id != key.key_id:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, text.encode())
    except InvalidSignature as error:
        raise CheckpointError(f"the signature by {name} does not verify") from error
    return True


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise CheckpointError("a note's text ends its last line and has no control characters")


def _checked_name(name: str) -> str:
    if not name or _FORBIDDEN_IN_NAME.search(name):
        raise CheckpointError("a key name is not empty and holds neither white space nor '+'")
    return name


def encode_base64(data: bytes) -> str:
    """Standard base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def decode_base64(text: str, what: str) -> bytes:
    """What `encode_base64` made `text` of, in its one spelling.

    Raises:
        CheckpointError: It is not canonical base64.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"the {what} is not base64") from error
    if encode_base64(data) != text:
        raise CheckpointError(f"the {what} is not canonical base64")
    return data
