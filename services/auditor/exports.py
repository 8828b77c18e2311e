# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What goes with a file of exported records, so that whoever has both can check the records.

Pure.

Rules:
 * Each line is held against itself: the event must lead to the leaf that stands beside it.
 * Records without a hole between them are proved: two audit paths, of the first and of the last,
   and the leaves between them lead to one signed root, or some record is not the log's.
 * A restricted record stands there by its leaf's hash, so that a range with some can be proved.
 * Of a selection nothing shows that it is the log's, and nothing here pretends it.
 * Digests of the lines find what was damaged and is not signed.  Whoever forges makes them anew.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.checkpoint import TreeHead, VerifierKey
from services.auditor.merkle import Frontier, Hash, ProofError, frontier_before, leaf_hash
from services.auditor.proofs import leaf_hash_of, read_bundle, verify_bundle
from services.auditor.query import NO_EVENT, SpelledRecord
from services.auditor.records import PROBLEM_KIND, ProblemLeaf, read_erased, read_kept
from services.auditor.verification.problems import Problem, Problems
from shared.canonical import canonical_bytes
from shared.contracts.audit import AuditRecord, ProofBundle
from shared.validation import decode_document

EXPORT_KIND: Final = "l3af-export-proof/v1"
BLOCK_RECORDS: Final = 256
LEAVES_AT_ONCE: Final = 4096
_LEAF_HASH: Final = re.compile("[0-9a-f]{64}")
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)


class ExportProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file beside an export."""

    kind: str = EXPORT_KIND
    records: int
    blocks: tuple[tuple[int, str], ...]
    """For each 256 numbers of records of which some are there: which, and their lines' SHA-256."""
    first: dict[str, Any] | None = None
    """Proof of the first record; with `last` if no record between them is left out."""
    last: dict[str, Any] | None = None


class CheckedExport(NamedTuple):
    """What an export comes to."""

    records: int
    head: TreeHead | None
    """Signed over all of them; None: nothing shows that they are the log's."""
    first: int
    last: int
    """Numbers of records; -1 if there are none."""
    restricted: int
    """How many of them have no more than an index and a leaf's hash."""
    erased: int = 0
    """From how many of them words of a person were erased: what is left is not proved."""


class Lines:
    """What the lines of a file come to."""

    def __init__(self) -> None:
        self.count = 0
        self.first = -1
        self.last = -1
        self.blocks: Final[list[tuple[int, str]]] = []
        self._block = -1
        self._digest = hashlib.sha256()

    @property
    def is_whole(self) -> bool:
        """Whether there are records, and none is left out between them."""
        return self.count > 0 and self.count == self.last - self.first + 1

    def take(self, index: int, line: bytes) -> None:
        """The next record's line."""
        self._take(index, line)
        self.last = index
        self.count += 1

    def _take(self, index: int, text: bytes) -> None:
        """Lines of one block, of which `index` is the first."""
        if index // BLOCK_RECORDS != self._block:
            self.finish()
            self._block = index // BLOCK_RECORDS
        self._digest.update(text)
        self.first = index if self.first < 0 else self.first

    def take_all(self, indexes: Sequence[int], lines: Sequence[bytes]) -> None:
        """The next records' lines."""
        start = 0
        while start < len(indexes):
            block = indexes[start] // BLOCK_RECORDS
            stop = bisect_left(indexes, (block + 1) * BLOCK_RECORDS, start)
            self._take(indexes[start], b"".join(lines[start:stop]))
            self.last = indexes[stop - 1]
            self.count += stop - start
            start = stop

    def finish(self) -> None:
        """No further line of this block comes."""
        if self._block >= 0:
            self.blocks.append((self._block, self._digest.hexdigest()))
            self._digest, self._block = hashlib.sha256(), -1

    def proof(self, first: ProofBundle | None, last: ProofBundle | None) -> bytes:
        """The file that goes with them."""
        self.finish()
        proof = ExportProof(
            records=self.count, blocks=tuple(self.blocks), first=_plain(first), last=_plain(last)
        )
        return msgspec.json.format(msgspec.json.encode(proof), indent=1) + b"\n"


def read_export_proof(data: bytes) -> ExportProof:
    """The file that goes with an export.

    Raises:
        RefusedError: It is none.
    """
    proof = decode_document(data, ExportProof, what="proof of an export")
    if proof.kind != EXPORT_KIND:
        raise ProofError(f"a proof of kind {proof.kind!r} cannot be read")
    return proof


class _Line(NamedTuple):
    number: int
    line: bytes
    record: SpelledRecord
    is_spelled: bool
    """Whether it is as an export writes it."""


class ExportChecker:
    """Checks one line after another, and at the end all of them."""

    def __init__(
        self,
        proof: ExportProof,
        *,
        key_of: Callable[[ProofBundle], VerifierKey],
        spelled: Callable[[msgspec.Struct], bytes],
        limit: int,
    ) -> None:
        """Begin.

        Args:
            proof: The file beside the export.
            key_of: The log's key, given a proof that names keys, or raises.
            spelled: The line of an export for a record, given as it travels.
            limit: How many problems are named.

        Raises:
            VerificationError: The proof of the first or of the last record does not hold.
        """
        self.problems: Final = Problems(limit)
        self._proof: Final = proof
        self._spelled: Final = spelled
        self._lines: Final = Lines()
        self._bad_blocks: Final[set[int]] = set()
        self._undecided: _Line | None = None
        self._waiting: Final[list[Hash]] = []
        self._restricted = 0
        self._erased = 0
        self._range: Final = _opened_range(proof, key_of)
        self._frontier = self._range.before if self._range is not None else Frontier()
        self._expected = self._range.first if self._range is not None else -1

    def take(self, number: int, line: bytes) -> None:
        """The next line, which is the file's `number`th."""
        try:
            record = _read_line(line)
            is_spelled = self._is_spelled(line, record)
        except _UNREADABLE:
            self.problems.add(Problem("export", str(number), "", "it is no record"))
            return
        line_read = _Line(number, line, record, is_spelled)
        waiting, index = self._undecided, record.index
        if index <= self._lines.last or (waiting is not None and index == waiting.record.index):
            self._note(index, "", f"it is there again, or at the wrong place, in line {number}")
        elif waiting is not None and index < waiting.record.index:
            why = f"it stands before record {index}, in line {waiting.number}"
            self._note(waiting.record.index, "", why)
            self._undecided = line_read
        else:
            self._take_undecided()
            self._undecided = line_read

    def _take_undecided(self) -> None:
        """The line before the newest one stands where it should."""
        if self._undecided is None:
            return
        (number, line, record, is_spelled), self._undecided = self._undecided, None
        index, known = record.index, self._range
        if known is not None and not known.first <= index <= known.last:
            self._note(index, "", f"it is none of the records that were exported, in line {number}")
            return
        self._note_missing(index)
        if not is_spelled:
            self._note(index, "", "its line is not as an export writes it")
        else:
            field, why = check_record(record)
            if why:
                self._note(index, field, why)
        self._lines.take(index, line)
        self._restricted += bool(record.leaf_hash)
        self._erased += record.erased
        self._waiting.append(_hash_of(record))
        if len(self._waiting) > LEAVES_AT_ONCE:
            self._append(self._waiting[:-1])
            del self._waiting[:-1]

    def finish(self) -> CheckedExport:
        """All that can only be said at the end."""
        self._take_undecided()
        lines, proof, known = self._lines, self._proof, self._range
        if known is not None:
            self._note_missing(known.last + 1)
        lines.finish()
        said, found = set(proof.blocks), set(lines.blocks)
        for block in sorted({block for block, _ in said ^ found} - self._bad_blocks):
            first = block * BLOCK_RECORDS
            why = "a line of these records was changed, added or removed"
            place = f"{first}-{first + BLOCK_RECORDS - 1}"
            self.problems.add(Problem("record", place, "", why))
        if not self.problems.count and (len(said), lines.count) != (
            len(proof.blocks),
            proof.records,
        ):
            why = f"it speaks of {proof.records} records, and the file has {lines.count}"
            self.problems.add(Problem("export", "", "records", why))
        if known is not None and not self.problems.count:
            self._append(self._waiting[:-1])
            if (self._frontier, self._waiting[-1:]) != (known.until_last, [known.last_hash]):
                why = f"records {known.first} to {known.last} are not those that were signed"
                self.problems.add(Problem("export", "", "", why))
        head = known.head if known is not None else None
        return CheckedExport(
            lines.count, head, lines.first, lines.last, self._restricted, self._erased
        )

    def _is_spelled(self, line: bytes, record: SpelledRecord) -> bool:
        """As this release writes it, or as one did that had the event's fields in another order."""
        if self._spelled(record) == line:
            return True
        return self._spelled(msgspec.json.decode(line, type=AuditRecord)) == line

    def _append(self, hashes: list[Hash]) -> None:
        self._frontier, _ = self._frontier.append(hashes)

    def _note(self, index: int, field: str, why: str) -> None:
        self._bad_blocks.add(index // BLOCK_RECORDS)
        self.problems.add(Problem("record", str(index), field, why))

    def _note_missing(self, stop: int) -> None:
        """Records of a range that is said to be whole, up to before `stop`."""
        if self._range is None:
            return
        for index in range(self._expected, stop):
            self._note(index, "", "it is missing")
        self._expected = max(self._expected, stop + 1)


def _read_line(line: bytes) -> SpelledRecord:
    """The record, with its event in canonical bytes."""
    record = msgspec.json.decode(line, type=SpelledRecord)
    event = msgspec.Raw(canonical_bytes(msgspec.json.decode(record.event)))
    return msgspec.structs.replace(record, event=NO_EVENT if event == NO_EVENT else event)


def check_record(record: SpelledRecord) -> tuple[str, str]:
    """The field of a record that does not fit its leaf, and why; empty if all is in order.

    When it was received and its place in the stream are not part of an event's leaf.  A restricted
    record has nothing but its leaf's hash.
    """
    if record.leaf_hash:
        return _check_restricted(record)
    is_problem = record.leaf.startswith(f'{{"kind":"{PROBLEM_KIND}",')
    if is_problem != bool(record.problem):
        return "problem", "the leaf says otherwise"
    return _check_problem(record) if is_problem else _check_event(record)


def _check_restricted(record: SpelledRecord) -> tuple[str, str]:
    alone = SpelledRecord(
        index=record.index,
        leaf="",
        received_at="",
        stream_sequence=0,
        leaf_hash=record.leaf_hash,
        pruned=record.pruned,
    )
    if record != alone:
        return "leaf_hash", "a restricted record has nothing beside it"
    if not _LEAF_HASH.fullmatch(record.leaf_hash):
        return "leaf_hash", "it is no hash"
    return "", ""


def _hash_of(record: SpelledRecord) -> Hash:
    """Of the leaf; of what has none, of nothing that the log has."""
    if _LEAF_HASH.fullmatch(record.leaf_hash):
        return Hash(bytes.fromhex(record.leaf_hash))
    return leaf_hash(record.leaf.encode("utf-8", "surrogateescape"))


def _check_problem(record: SpelledRecord) -> tuple[str, str]:
    try:
        said = msgspec.json.decode(record.leaf, type=ProblemLeaf)
    except _UNREADABLE:
        return "leaf", "it is neither an envelope nor a problem"
    if (said.problem, said.stream_sequence) != (record.problem, record.stream_sequence):
        return "problem and stream_sequence", "the leaf says otherwise"
    return "", ""


def _check_event(record: SpelledRecord) -> tuple[str, str]:
    if record.erased:
        return _check_erased(record)
    if record.event == NO_EVENT:
        return "event", "it is gone, and nothing says that it was erased"
    draft = read_kept(bytes(record.event), sequence=record.stream_sequence)
    if draft is None or draft.problem:
        return "event", draft.problem if draft is not None else "it is no event"
    if draft.leaf != record.leaf.encode("utf-8", "surrogateescape"):
        return "leaf and event", "they are not of one event"
    return "", ""


def _check_erased(record: SpelledRecord) -> tuple[str, str]:
    """What is left of an event says nothing else than its leaf, where both say something."""
    leaf = record.leaf.encode("utf-8", "surrogateescape")
    if record.event == NO_EVENT:
        return "", ""
    if read_erased(bytes(record.event), leaf, sequence=record.stream_sequence) is None:
        return "leaf and event", "they are not of one event"
    return "", ""


class _Range(NamedTuple):
    first: int
    last: int
    before: Frontier
    """Of the records before the first."""
    until_last: Frontier
    """Of the records before the last."""
    last_hash: Hash
    head: TreeHead


def _opened_range(
    proof: ExportProof, key_of: Callable[[ProofBundle], VerifierKey]
) -> _Range | None:
    """What the two proofs show of the records between them."""
    if proof.first is None or proof.last is None:
        if proof.first is not None or proof.last is not None:
            raise ProofError("one of the proofs of the first and of the last record is missing")
        return None
    first, last = (read_bundle(msgspec.json.encode(raw)) for raw in (proof.first, proof.last))
    shown = [verify_bundle(bundle, key=key_of(bundle)) for bundle in (first, last)]
    head = shown[0].head
    if shown[1].head != head or first.index > last.index:
        raise ProofError("the proofs of the first and of the last record are of two heads")
    before, until_last = (
        frontier_before(
            [Hash(bytes.fromhex(text)) for text in bundle.inclusion], bundle.index, head.size
        )
        for bundle in (first, last)
    )
    hashed = leaf_hash_of(last)
    return _Range(first.index, last.index, before, until_last, hashed, head)


def _plain(bundle: ProofBundle | None) -> dict[str, Any] | None:
    return msgspec.to_builtins(bundle) if bundle is not None else None
