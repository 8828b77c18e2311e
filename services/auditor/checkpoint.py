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
KEY_ID_BYTES: Final = 4
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SIGNATURE_MARK: Final = "\N{EM DASH} "
SMALLEST_INTERVAL: Final = timedelta(seconds=1)
LONGEST_INTERVAL: Final = timedelta(minutes=1)
CHECKPOINT_ACTION: Final = "log.checkpoint"
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
    """The public key of a log, under the name it signs with."""

    name: str
    public_key: bytes
    """32 raw bytes."""

    @property
    def key_id(self) -> bytes:
        """The four bytes that lead this key's signatures; they select, they prove nothing."""
        hashed = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(hashed).digest()[:KEY_ID_BYTES]


def verifier_key(name: str, *, seed: bytes) -> VerifierKey:
    """The key that verifies what `seed` (32 bytes) signs as `name`."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return VerifierKey(_checked_name(name), public)


def render_verifier_key(key: VerifierKey) -> str:
    """`<name>+<key id, hexadecimal>+<base64 of 0x01 and the key>`."""
    return f"{key.name}+{key.key_id.hex()}+{_encoded(ED25519 + key.public_key)}"


def parse_verifier_key(text: str) -> VerifierKey:
    """The key that `text` renders.

    Raises:
        CheckpointError: It is not a verifier key, is not Ed25519, or its key id does not fit.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _decoded(encoded, "verifier key")
    if len(material) != 1 + KEY_BYTES or material[:1] != ED25519:
        raise CheckpointError("the verifier key is not an Ed25519 key")
    key = VerifierKey(_checked_name(name), material[1:])
    if key_id != key.key_id.hex():
        raise CheckpointError("the verifier key's id does not belong to its name and key")
    return key


def render_tree_head(head: TreeHead) -> str:
    """The text that is signed."""
    return f"{head.origin}\n{head.size}\n{_encoded(head.root)}\n"


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
    decoded = _decoded(root, "root hash")
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
    return f"{text}\n{SIGNATURE_MARK}{name} {_encoded(key.key_id + signature)}\n"


def open_note(note: str, *, key: VerifierKey) -> str:
    """The note's text, once `key` is known to have signed it.

    Raises:
        CheckpointError: The note is malformed, or `key` did not sign it.
    """
    at = note.rfind("\n\n")
    if at < 0 or not note.endswith("\n"):
        raise CheckpointError("a note has a text, an empty line, and signature lines")
    text, lines = note[: at + 1], note[at + 2 :].split("\n")[:-1]
    _check_text(text)
    is_signed = False
    for line in lines:
        is_signed |= _check_signature(line, text, key)
    if not is_signed:
        raise CheckpointError(f"the note is not signed by {render_verifier_key(key)}")
    return text


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


def checkpoint_event(head: TreeHead, note: str) -> tuple[EventBody, str]:
    """What is said about a head, for whoever compares heads, and the id it is said under once."""
    body = EventBody(
        action=CHECKPOINT_ACTION,
        outcome="observed",
        details={"tree_size": head.size, "root": head.root.hex(), "checkpoint": note},
    )
    return body, f"log-checkpoint-{head.size}"


def is_checkpoint_leaf(leaf: bytes) -> bool:
    """Whether a leaf is the record of `checkpoint_event` itself."""
    return f'"type":"org.l3af.v1.{CHECKPOINT_ACTION}.observed"'.encode() in leaf


def _check_signature(line: str, text: str, key: VerifierKey) -> bool:
    """Whether the line is by `key`; raises if it says so and does not verify."""
    name, _, encoded = line.removeprefix(SIGNATURE_MARK).partition(" ")
    if not line.startswith(SIGNATURE_MARK) or not name or not encoded:
        raise CheckpointError("a signature line is a dash, a name and base64")
    signature = _decoded(encoded, "signature")
    if len(signature) <= KEY_ID_BYTES:
        raise CheckpointError("a signature line holds a key id and a signature")
    if name != key.name or signature[:KEY_ID_BYTES] != key.key_id:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(
            signature[KEY_ID_BYTES:], text.encode()
        )
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


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str, what: str) -> bytes:
    """Standard base64 (RFC 4648 section 4) in the one spelling that `_encoded` gives."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError(f"the {what} is not base64") from error
    if _encoded(data) != text:
        raise CheckpointError(f"the {what} is not canonical base64")
    return data
