# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a log asks of a witness and what the witness decides: C2SP tlog-witness, `add-checkpoint`.

Pure.  Both sides use it: the log renders what the witness parses.

Rules:
 * A head is cosigned if a trusted key of its log signed it and it follows, by a proof, from the
   newest head that was cosigned; the same head may be cosigned again.
 * Whoever does not know how far the witness is, is told (409); who proves nothing gets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.auditor.checkpoint import (
    CheckpointError,
    TreeHead,
    VerifierKey,
    decode_base64,
    encode_base64,
    open_checkpoint,
    parse_tree_head,
    split_note,
)
from services.auditor.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Hash,
    ProofError,
    check_consistency,
)

PATH: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
MAX_PROOF_HASHES: Final = 63
MAX_REQUEST_BYTES: Final = 65_536
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")

OK: Final = 200
MALFORMED: Final = 400
FORBIDDEN: Final = 403
UNKNOWN: Final = 404
CONFLICT: Final = 409
UNPROVED: Final = 422


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A head that is to be cosigned."""

    old_size: int
    """Of the head that the log believes was cosigned last; 0: none."""
    proof: tuple[Hash, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the witness answers."""

    status: int
    why: str
    """For people."""
    head: TreeHead | None = None
    """What is to be remembered and cosigned; only with OK."""
    known_size: int | None = None
    """What the witness cosigned last; only with CONFLICT."""
    is_contradiction: bool = False
    """The log signed two heads of which neither follows from the other, as far as it proves."""


def render_request(request: AddCheckpoint) -> bytes:
    """The body of the HTTP request."""
    lines = [f"old {request.old_size}", *map(encode_base64, request.proof)]
    return ("\n".join(lines) + f"\n\n{request.note}").encode()


def parse_request(data: bytes) -> AddCheckpoint:
    """The request in a body.

    Raises:
        CheckpointError: It is none.
    """
    try:
        head, separator, note = data.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise CheckpointError("the request is not text") from error
    first, *lines = head.split("\n")
    old = _OLD.fullmatch(first)
    if old is None or not separator:
        raise CheckpointError("a request has an old size, proof lines, an empty line and a note")
    if len(lines) > MAX_PROOF_HASHES:
        raise CheckpointError(f"a request has at most {MAX_PROOF_HASHES} proof lines")
    proof = tuple(Hash(decode_base64(line, "consistency proof")) for line in lines)
    if any(len(one) != HASH_BYTES for one in proof):
        raise CheckpointError(f"a hash of the proof has not {HASH_BYTES} bytes")
    return AddCheckpoint(int(old[1]), proof, note)


def origin_of(note: str) -> str:
    """The log that a note speaks of; nothing of it is verified.

    Raises:
        CheckpointError: It is no checkpoint.
    """
    return parse_tree_head(split_note(note)[0]).origin


def judge(
    request: AddCheckpoint, *, keys: Mapping[str, Sequence[VerifierKey]], known: TreeHead | None
) -> Verdict:
    """What becomes of a request.

    Args:
        request: As it came.
        keys: Those that are trusted to sign for each log.
        known: The newest head of that log that was cosigned; None: none.

    Raises:
        CheckpointError: The note is no checkpoint.
    """
    claimed = parse_tree_head(split_note(request.note)[0])
    if claimed.origin not in keys:
        return Verdict(UNKNOWN, "this log is not witnessed here")
    head = _signed(request.note, keys[claimed.origin])
    if head is None:
        return Verdict(FORBIDDEN, "no trusted key of the log signed the checkpoint")
    if request.old_size > head.size:
        return Verdict(MALFORMED, "the old size is larger than the checkpoint's")
    known_size = known.size if known is not None else 0
    if request.old_size != known_size:
        return Verdict(CONFLICT, "another size was cosigned last", known_size=known_size)
    return _compared(request, head, known)


def _compared(request: AddCheckpoint, head: TreeHead, known: TreeHead | None) -> Verdict:
    """The verdict about a head that the log signed, given that the old size is right."""
    if known is not None and known.size == head.size and known.root != head.root:
        why = "another tree of this size was cosigned"
        return Verdict(CONFLICT, why, known_size=known.size, is_contradiction=True)
    try:
        if known is None or not known.size:
            _check_first(request, head)
        else:
            check_consistency(
                request.proof,
                old_size=known.size,
                old_root=known.root,
                new_size=head.size,
                new_root=head.root,
            )
    except ProofError as error:
        return Verdict(UNPROVED, error.message, is_contradiction=known is not None)
    return Verdict(OK, "cosigned", head=head)


def _check_first(request: AddCheckpoint, head: TreeHead) -> None:
    if request.proof:
        raise ProofError("nothing is proved by a proof from the empty tree")
    if not head.size and head.root != EMPTY_ROOT:
        raise ProofError("this is not the root of the empty tree")


def _signed(note: str, keys: Sequence[VerifierKey]) -> TreeHead | None:
    """The head, if one of the keys signed it."""
    for key in keys:
        try:
            return open_checkpoint(note, key=key)
        except CheckpointError:
            continue
    return None
