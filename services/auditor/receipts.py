# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When records were received and where in the stream: said once for each batch, and signed.

Pure.  What the auditor alone can know is in no event and so in no leaf.  Receipts say it again, one
for each run of neighbours that arrived together; each head is signed beside the digest of all of
them, so that nobody but the log's key can change when and from where a record came.

Rules:
 * The n-th record of a receipt was received when the receipt says, n places behind its place.
 * A receipt without records says where the stream goes on: after messages that became no records,
   or at the beginning of another stream.
 * The digest of all receipts is the SHA-256 of the digest of all but the last, and of the last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from services.auditor.checkpoint import (
    CheckpointError,
    VerifierKey,
    decode_base64,
    encode_base64,
    open_note,
    sign_note,
    split_note,
)

STATEMENT: Final = "l3af-log-receipts/v1"
DIGEST_BYTES: Final = 32
_NUMBERS: Final = Struct(">qqq")
_HEAD: Final = Struct(f">q{DIGEST_BYTES}s")
_LINES: Final = 6


class Receipt(NamedTuple):
    """From which record on, when and where."""

    first: int
    """Index of the first record, or of the record that will be next."""
    received_us: int
    """Microseconds since 1970; 0 at the beginning of a stream."""
    stream_sequence: int
    """Of the first record, or of the message that comes next."""
    stream_id: str = ""
    """Of the stream that begins here; empty: it goes on."""


class ReceiptHead(NamedTuple):
    """All receipts so far."""

    number: int = 0
    """Of the last one; 0: there is none."""
    digest: bytes = bytes(DIGEST_BYTES)

    def pack(self) -> bytes:
        """As bytes."""
        return _HEAD.pack(*self)


class ReceiptStatement(NamedTuple):
    """What is signed beside a head."""

    origin: str
    size: int
    signed_us: int
    """When the head was signed, microseconds since 1970."""
    receipts: ReceiptHead
    """All that there were by then."""


NO_RECEIPTS: Final = ReceiptHead()


def unpack_head(data: bytes) -> ReceiptHead:
    """What `ReceiptHead.pack` made of it; NO_RECEIPTS if it is not that."""
    return ReceiptHead(*_HEAD.unpack(data)) if len(data) == _HEAD.size else NO_RECEIPTS


def extend_head(head: ReceiptHead, receipts: Iterable[Receipt]) -> ReceiptHead:
    """These receipts come next."""
    number, digest = head
    for receipt in receipts:
        number += 1
        numbers = _NUMBERS.pack(*receipt[:3])
        digest = hashlib.sha256(digest + numbers + receipt.stream_id.encode()).digest()
    return ReceiptHead(number, digest)


def batch_receipts(
    places: Sequence[int], *, first: int, received_us: int, reached: int, before: int
) -> list[Receipt]:
    """What is said of one batch.

    Args:
        places: Stream sequences of the batch's records.
        first: Index of the first of them.
        received_us: When they were received.
        reached: Stream sequence of the last message of the batch, record or not.
        before: The same of the batch before.
    """
    found: list[Receipt] = []
    for index, place in enumerate(places, first):
        if not found or place != before + 1:
            found.append(Receipt(index, received_us, place))
        before = place
    if reached != before:
        found.append(Receipt(first + len(places), received_us, reached + 1))
    return found


def receipts_of_rows(
    runs: Iterable[tuple[int, int, int]], *, size: int, stream_id: str, stream_sequence: int
) -> Iterator[Receipt]:
    """What a log that kept no receipts would have kept, as far as its rows tell.

    Args:
        runs: First index, time and place of neighbours that arrived together.
        size: Records in the log.
        stream_id: Of the stream that it reads.
        stream_sequence: Of the last message that it dealt with.
    """
    reached = 0
    last: Receipt | None = None
    for run in runs:
        last = Receipt(*run)
        yield last
    if last is not None:
        reached = place_reached(last, size)
    if stream_id or reached != stream_sequence:
        yield Receipt(size, 0, stream_sequence + 1, stream_id)


def place_reached(receipt: Receipt, size: int) -> int:
    """Stream sequence of the last message before record `size`, the receipt being the last one."""
    return receipt.stream_sequence + size - receipt.first - 1


def sign_receipts(statement: ReceiptStatement, *, seed: bytes) -> str:
    """The statement as a note, signed under the log's name."""
    origin, size, signed_us, (number, digest) = statement
    text = f"{STATEMENT}\n{origin}\n{size}\n{signed_us}\n{number}\n{encode_base64(digest)}\n"
    return sign_note(text, name=origin, seed=seed)


def read_receipts(note: str) -> ReceiptStatement:
    """What a note says, whoever signed it.

    Raises:
        CheckpointError: It is no such statement.
    """
    lines = split_note(note)[0].split("\n")[:-1]
    if len(lines) != _LINES or lines[0] != STATEMENT:
        raise CheckpointError(f"it is no statement {STATEMENT}")
    _, origin, *numbers, encoded = lines
    try:
        size, signed_us, number = map(int, numbers)
    except ValueError as error:
        raise CheckpointError("its size, time and count of receipts are not numbers") from error
    digest = decode_base64(encoded, "digest of the receipts")
    statement = ReceiptStatement(origin, size, signed_us, ReceiptHead(number, digest))
    if len(digest) != DIGEST_BYTES or min(size, number) < 0:
        raise CheckpointError("its numbers are negative, or its digest has not 32 bytes")
    return statement


def open_receipts(note: str, *, key: VerifierKey) -> ReceiptStatement:
    """What a note says, once `key` is known to have signed it for its own log.

    Raises:
        CheckpointError: It is no such statement, or `key` did not sign it.
    """
    open_note(note, key=key)
    statement = read_receipts(note)
    if statement.origin != key.name:
        raise CheckpointError(f"it is of log {statement.origin}, not of {key.name}")
    return statement
