# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a verification that run side by side: stretches of records, and signed heads.

Each process opens the store once and is asked for one stretch after another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from services.auditor.adapters.log_rows import spans_of
from services.auditor.admission import Record
from services.auditor.checkpoint import VerifierKey
from services.auditor.merkle import HASH_BYTES, Hash, tree_root
from services.auditor.retention.remains import Pruning
from services.auditor.sightings import ACTIONS, sightings
from services.auditor.tiles import TILE_WIDTH, Tile, hash_reader
from services.auditor.verification.adapters.persons import opened_messages
from services.auditor.verification.adapters.sources import LogSource, opened
from services.auditor.verification.heads import KeptHead, check_head, check_statement
from services.auditor.verification.inventory import SightingColumns, in_columns
from services.auditor.verification.problems import Problem, Problems
from services.auditor.verification.prunings import PrunedRun, PrunedRuns
from services.auditor.verification.receipts import Arrival, ArrivalBuilder, Mark
from services.auditor.verification.rows import CheckedRow, OpenedBody, RowChecker
from services.auditor.verification.sequences import RunBuilder, SequenceRun
from services.auditor.verification.tree import TILE_BYTES, DerivedTile, fold_tile, read_believed
from shared.contracts.events import EventBody

ID_BYTES: Final = 8
"""Of the SHA-256 of emitter and id: enough to find the few that may be the same."""
NO_ID: Final = bytes(ID_BYTES)
CheckedHeads = tuple[list[Problem], list[Mark]]
"""What is wrong with some heads, and what is signed of receipts beside them."""


class Task(NamedTuple):
    """What all parts of one verification have in common."""

    place: str
    size: int
    keys: tuple[VerifierKey, ...]
    limit: int
    """How many problems of one part are named."""


class Stretch(NamedTuple):
    """What some neighbouring records come to."""

    first: int
    stop: int
    tiles: list[DerivedTile]
    problems: list[Problem]
    problem_count: int
    runs: list[SequenceRun]
    ids: bytes
    """ID_BYTES for each index; zeros where no id is used up."""
    arrivals: list[Arrival]
    spans: list[tuple[int, int, int]]
    """Earliest and latest time of each block of records, of which none is missing."""
    sightings: SightingColumns
    marks: list[Mark]
    """What was said of receipts."""
    gaps: list[tuple[str, int]]
    """Id and index of each record that says a gap."""
    heads: list[KeptHead]
    """Those that the auditor said, and the log has recorded."""
    prunings: list[Pruning]
    """What was said to be pruned."""
    pruned: list[PrunedRun]
    """Records of which something remains."""
    key_changes: list[tuple[int, str]]
    """Index and statement of those that are recorded."""
    erased: list[tuple[int, tuple[str, ...], bytes]]
    """Index, persons whose words were erased, and SHA-256 of what is left of the message."""
    erasures: list[EventBody]
    """What the auditor said of erasures."""


class Worker:
    """One process's part; the store is opened when it is first asked for something."""

    def __init__(self) -> None:
        self._place = ""
        self._source: LogSource | None = None
        self._open = ExitStack()

    def source(self, place: str) -> LogSource:
        """The store."""
        if self._source is None or place != self._place:
            self.close()
            self._source = self._open.enter_context(opened(place))
            self._place = place
        return self._source

    def close(self) -> None:
        """Let go of the store."""
        self._source = None
        self._open.close()

    def stretch(self, task: Task, first: int, stop: int) -> Stretch:
        """Check the records from `first`, a tile's begin, to before `stop`."""
        source = self.source(task.place)
        wanted = [Tile(0, offset) for offset in range(first // TILE_WIDTH, -(-stop // TILE_WIDTH))]
        kept = source.tiles(wanted)
        reading = _Stretch(task, kept, _checker(source))
        rows = source.rows(first, stop)
        body_at = source.columns.index("body")
        messages = opened_messages(source, [row[body_at] for row in rows])
        for row, message in reading.every(rows, messages, first, stop):
            reading.take(row, message)
        return reading.finish(first, stop)

    def heads(
        self, task: Task, heads: Sequence[KeptHead], believed: Mapping[Tile, bytes]
    ) -> CheckedHeads:
        """Check signed heads against the tree, and what is signed beside them."""
        source = self.source(task.place)
        known: dict[Tile, bytes] = {}

        def read(wanted: Sequence[Tile]) -> dict[Tile, bytes]:
            left = [tile for tile in wanted if tile not in known]
            if left:
                known.update(read_believed(left, believed, source.tiles))
            return {tile: known[tile] for tile in wanted if tile in known}

        def root_of(size: int) -> Hash:
            try:
                return tree_root(size, hash_reader(read))
            except LookupError:
                return Hash(b"")

        problems, marks = [], []
        for head in heads:
            problems += check_head(head, size=task.size, keys=task.keys, root_of=root_of)
            mark, wrong = check_statement(head, task.keys)
            problems += wrong
            marks += [mark] if mark is not None else []
        return problems, marks


class _Stretch:
    def __init__(self, task: Task, kept: dict[Tile, bytes], checker: RowChecker) -> None:
        self._task: Final = task
        self._kept: Final = kept
        self._checker: Final = checker
        self._index_at: Final = checker.names.index("idx")
        self._received_at: Final = checker.names.index("received_us")
        self._stream_at: Final = checker.names.index("stream_sequence")
        self._problems: Final = Problems(task.limit)
        self._runs: Final = RunBuilder()
        self._hashes: Final[list[bytes]] = []
        self._ids: Final[list[bytes]] = []
        self._arrivals: Final = ArrivalBuilder()
        self._times: Final[list[int]] = []
        self._records: Final[list[Record]] = []
        self._marks: Final[list[Mark]] = []
        self._gaps: Final[list[tuple[str, int]]] = []
        self._heads: Final[list[KeptHead]] = []
        self._prunings: Final[list[Pruning]] = []
        self._pruned: Final = PrunedRuns()
        self._key_changes: Final[list[tuple[int, str]]] = []
        self._erased: Final[list[tuple[int, tuple[str, ...], bytes]]] = []
        self._erasures: Final[list[EventBody]] = []
        self._is_torn = False

    def every(
        self, rows: Sequence[Any], messages: Sequence[OpenedBody], first: int, stop: int
    ) -> Iterator[tuple[Any, OpenedBody]]:
        """The rows; those that are not there are noted, and stand in the tree as it has them."""
        expected = first
        for row, message in zip(rows, messages, strict=True):
            index = row[self._index_at]
            if index != expected:
                self._note_missing(expected, index)
            yield row, message
            expected = index + 1
        self._note_missing(expected, stop)

    def take(self, row: Any, message: OpenedBody) -> None:
        """The next row."""
        index = row[self._index_at]
        checked = self._checker.check(row, message, self._kept_hash)
        if checked.problems:
            self._problems.extend(checked.problems)
        self._hashes.append(checked.hash)
        self._arrivals.add(index, row[self._received_at], row[self._stream_at])
        self._times.append(checked.time_us)
        self._note_event(checked, index)
        if checked.erased:
            self._erased.append((index, checked.erased, checked.kept_sha256))
        if checked.erasure is not None:
            self._erasures.append(checked.erasure)

    def finish(self, first: int, stop: int) -> Stretch:
        """What all of them come to."""
        return Stretch(
            first,
            stop,
            self._tiles(first),
            self._problems.kept,
            self._problems.count,
            self._runs.finish(),
            b"".join(self._ids),
            self._arrivals.finish(),
            [] if self._is_torn else spans_of(first, self._times),
            in_columns(sightings(self._records)),
            self._marks,
            self._gaps,
            self._heads,
            self._prunings,
            self._pruned.runs,
            self._key_changes,
            self._erased,
            self._erasures,
        )

    def _note_event(self, checked: CheckedRow, index: int) -> None:
        if checked.channel is not None:
            self._runs.add(checked.channel, checked.sequence, index)
        key = checked.key
        self._ids.append(NO_ID if key is None else hash_id(*key))
        if checked.draft is not None and checked.draft.origin.action in ACTIONS:
            self._records.append(Record(index, checked.draft))
        if checked.mark is not None:
            self._marks.append(checked.mark)
        if checked.gap:
            self._gaps.append((checked.gap, index))
        if checked.head:
            self._heads.append(KeptHead(checked.head, f"record {index}"))
        if checked.pruning is not None:
            self._prunings.append(checked.pruning)
        if checked.pruned_by is not None:
            self._pruned.add(index, checked.pruned_by)
        if checked.key_change:
            self._key_changes.append((index, checked.key_change))

    def _note_missing(self, first: int, stop: int) -> None:
        for index in range(first, stop):
            self._is_torn = True
            self._problems.add(Problem("record", str(index), "", "it is missing"))
            self._hashes.append(self._kept_hash(index) or bytes(HASH_BYTES))
            self._ids.append(NO_ID)

    def _kept_hash(self, index: int) -> Hash | None:
        data = self._kept.get(Tile(0, index // TILE_WIDTH), b"")
        at = index % TILE_WIDTH * HASH_BYTES
        found = data[at : at + HASH_BYTES]
        return Hash(found) if len(found) == HASH_BYTES else None

    def _tiles(self, first: int) -> list[DerivedTile]:
        tiles = []
        for start in range(0, len(self._hashes), TILE_WIDTH):
            derived = b"".join(self._hashes[start : start + TILE_WIDTH])
            offset = (first + start) // TILE_WIDTH
            kept = self._kept.get(Tile(0, offset))
            if len(derived) < TILE_BYTES:
                # The log may have grown since: a tile only ever gets longer.
                kept = kept[: len(derived)] if kept is not None else None
                tiles.append(DerivedTile(offset, Hash(b""), derived, kept))
            else:
                is_same = derived == kept
                told = (b"", None) if is_same else (derived, kept)
                tiles.append(DerivedTile(offset, fold_tile(derived), *told))
        return tiles


def _checker(source: LogSource) -> RowChecker:
    return RowChecker(source.columns, source.row_of, source.plain_row_of, source.pruned_row_of)


def hash_id(emitter: str, event_id: str) -> bytes:
    """ID_BYTES that are never NO_ID, but by the chance of 1 to 2**64."""
    text = f"{emitter}\0{event_id}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()[:ID_BYTES]


_worker: Final = Worker()
"""Of this process."""


def check_stretch(task: Task, first: int, stop: int) -> Stretch:
    """As `Worker.stretch`, in whatever process this is."""
    return _worker.stretch(task, first, stop)


def check_heads(
    task: Task, heads: Sequence[KeptHead], believed: Mapping[Tile, bytes]
) -> CheckedHeads:
    """As `Worker.heads`, in whatever process this is."""
    return _worker.heads(task, heads, believed)


def release() -> None:
    """This process lets go of the store."""
    _worker.close()
