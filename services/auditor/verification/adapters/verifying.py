# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A whole store verified: its records by several processes, and what they come to by this one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from typing import Final, NamedTuple, TypeVar

from services.auditor.adapters.log_rows import BLOCK_RECORDS
from services.auditor.checkpoint import CheckpointError, VerifierKey
from services.auditor.merkle import Hash
from services.auditor.persons.erasing import Folds, Left, said_persons
from services.auditor.retention.remains import Pruning
from services.auditor.verification.adapters import work
from services.auditor.verification.adapters.indexes import check_indexes
from services.auditor.verification.adapters.persons import MAX_NAMED, check_persons, check_sealed
from services.auditor.verification.adapters.sources import LogSource, opened
from services.auditor.verification.adapters.work import CheckedHeads, Stretch, Task
from services.auditor.verification.heads import (
    KeptHead,
    check_unstated,
    open_signed,
    related_keys,
)
from services.auditor.verification.inventory import InventoryReplay
from services.auditor.verification.problems import Problem, Problems, shown
from services.auditor.verification.prunings import (
    PrunedRun,
    check_carried_out,
    check_pruned,
    check_remains,
)
from services.auditor.verification.receipts import Arrival, KeptPlace, Mark, check_receipts
from services.auditor.verification.sequences import (
    SequenceReplay,
    check_announced,
    check_channels,
    check_gaps,
)
from services.auditor.verification.snapshot import LogSnapshot, check_extent, check_spans
from services.auditor.verification.tree import CheckedTree, DerivedTile, check_tree

STRETCH_RECORDS: Final = 2 * BLOCK_RECORDS
"""Whole blocks and tiles; more of them at once are no longer near the processor."""
HEADS_AT_ONCE: Final = 2_000
FEW_RECORDS: Final = 32_768
"""For so many no further process is worth its start."""
IDS_AT_ONCE: Final = 2_000_000
"""How many are held in one set: about 150 MB."""

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")
Progress = Callable[[int], None]
"""Told how many records are done."""


class VerifiedLog(NamedTuple):
    """What was found."""

    origin: str
    size: int
    root: Hash
    """Of the tree that the records make."""
    signed_size: int
    """Of the largest head that the log's key signed; records beyond it are not signed yet."""
    checkpoints: int
    """Signed heads that were checked."""
    problems: list[Problem]
    problem_count: int
    pruned: int = 0
    """Records that were pruned, as the log says: their leaves' hashes are in the tree."""
    withheld: int = 0
    """Entries of a log as files that show no more than their leaf's hash."""
    erased: int = 0
    """Records of whose bodies words of a person were erased."""


def verify_store(
    place: str,
    *,
    keys: Sequence[VerifierKey],
    heads: Sequence[KeptHead] = (),
    workers: int = 2,
    limit: int = 100,
    progress: Callable[[int], Progress] = lambda _: lambda _: None,
) -> VerifiedLog:
    """Everything in a store derived anew, and every place that is not as it must be.

    Args:
        place: A directory with a log, its file, or a `postgresql://` URL.
        keys: Those of the log that are trusted; the log's own records lead to the others.
        heads: Signed heads that others kept.
        workers: Processes that read records.
        limit: How many problems are named; all are counted.
        progress: Given the number of records, what is told how far it is.

    Raises:
        RefusedError: There is no log, or not of a format that can be read.
        FaultError: It cannot be read right now.
    """
    with opened(place) as source, source.moment(), ExitStack() as stack:
        log = source.snapshot()
        task = Task(place, log.size, tuple(keys), limit)
        run = _side_by_side(workers if log.size > FEW_RECORDS else 1, stack)
        found = _Findings(log, limit)
        done = progress(log.size)
        spans = range(0, log.size, STRETCH_RECORDS)
        for stretch in run(partial(_stretch, task), spans):
            found.take(stretch)
            done(stretch.stop)
        tree = check_tree(
            log.size, found.tiles, log.upper_tiles, root=log.root, read_lowest=source.tiles
        )
        known, key_problems = related_keys(keys, found.key_changes)
        found.problems.extend(key_problems)
        task = task._replace(keys=known)
        every = [*log.checkpoints, *found.heads, *heads]
        parts = [every[at : at + HEADS_AT_ONCE] for at in range(0, len(every), HEADS_AT_ONCE)]
        checked = list(run(partial(_heads, task, tree), parts))
        found.conclude(tree, checked, known, source)
    return VerifiedLog(
        origin=log.origin,
        size=log.size,
        root=tree.root,
        signed_size=_signed_size(log.checkpoints, known),
        checkpoints=len(every),
        problems=found.problems.kept,
        problem_count=found.problems.count,
        pruned=found.pruned,
        erased=found.erased_records,
    )


class _Findings:
    """What the stretches come to, one after another."""

    def __init__(self, log: LogSnapshot, limit: int) -> None:
        self._log: Final = log
        self._replay: Final = SequenceReplay()
        self._ids: Final = bytearray()
        self._arrivals: Final[list[Arrival]] = []
        self._marks: Final[list[Mark]] = []
        self._gaps: Final[dict[str, int]] = {}
        self._inventory: Final = InventoryReplay()
        self._folds: Final = Folds()
        self._losing: Final[dict[str, list[int]]] = {}
        self._said_persons: dict[str, Left] = {}
        self.erased_records = 0
        self.tiles: Final[list[DerivedTile]] = []
        self.heads: Final[list[KeptHead]] = []
        self.key_changes: Final[list[tuple[int, str]]] = []
        self._prunings: Final[dict[int, Pruning]] = {}
        self._pruned: Final[list[PrunedRun]] = []
        self.problems: Final = Problems(limit)
        self.problems.extend(check_extent(log))

    def take(self, stretch: Stretch) -> None:
        """The next one."""
        unnamed = stretch.problem_count - len(stretch.problems)
        self.problems.extend(stretch.problems, uncounted=unnamed)
        self._replay.take(stretch.runs)
        self._ids.extend(stretch.ids)
        self._arrivals.extend(stretch.arrivals)
        self._inventory.take(stretch.sightings)
        self._marks.extend(stretch.marks)
        self._gaps.update(stretch.gaps)
        self.problems.extend(check_spans(stretch.spans, self._log.spans))
        self.tiles.extend(stretch.tiles)
        self.heads.extend(stretch.heads)
        self._prunings.update({one.record: one for one in stretch.prunings})
        self._pruned.extend(stretch.pruned)
        self.key_changes.extend(stretch.key_changes)
        for index, subjects, kept_sha256 in stretch.erased:
            self._folds.take(index, subjects, kept_sha256)
            for subject in subjects:
                if len(known := self._losing.setdefault(subject, [])) < MAX_NAMED:
                    known.append(index)
        self.erased_records += len(stretch.erased)
        for body in stretch.erasures:
            self._said_persons |= said_persons(body)

    @property
    def pruned(self) -> int:
        """Records of which no more than that remains."""
        return sum(run.last - run.first + 1 for run in self._pruned)

    def conclude(
        self,
        tree: CheckedTree,
        heads: Iterable[CheckedHeads],
        keys: Sequence[VerifierKey],
        source: LogSource,
    ) -> None:
        """All that can only be said at the end."""
        log, problems = self._log, self.problems
        problems.extend(tree.problems)
        problems.extend(check_unstated(log.checkpoints, said=bool(self._marks)))
        for found, marks in heads:
            problems.extend(found)
            self._marks.extend(marks)
        place = KeptPlace(log.size, log.receipts, log.stream_id, log.stream_sequence)
        problems.extend(check_receipts(self._arrivals, source.receipts(), self._marks, place))
        doubted = frozenset(one.at for one in problems.kept if one.part == "record")
        said, known = self._prunings, frozenset(row.record for row in log.prunings)
        problems.extend(check_carried_out(log.prunings, said, doubted=doubted))
        problems.extend(check_pruned(self._pruned, said, known, doubted=doubted))
        for record in sorted(known & said.keys()):
            leaves = source.leaves(said[record].ranges)
            problems.extend(check_remains(said[record], leaves))
        problems.extend(check_indexes(source, self._inventory, size=log.said_size))
        problems.extend(
            check_persons(source, self._folds.finish(), self._said_persons, self._losing)
        )
        problems.extend(check_sealed(source))
        names = sorted({key.name for key in keys})
        if names and log.origin not in names:
            why = f"it is {shown(log.origin)} where the key is that of {', '.join(names)}"
            problems.add(Problem("log", "", "origin", why))
        for index, first in repeated_ids(bytes(self._ids)):
            why = f"record {first} has the same emitter and id"
            problems.add(Problem("record", str(index), "event_id", why))
        problems.extend(check_channels(self._replay, heads=log.heads, missing=log.missing))
        problems.extend(check_gaps(self._replay, log.gaps, size=log.size))
        sizes = [head.size or 0 for head in log.checkpoints]
        settled = sizes[-2] if len(sizes) > 1 else 0
        problems.extend(check_announced(log.gaps, log.announced, self._gaps, settled=settled))


def repeated_ids(ids: bytes) -> list[tuple[int, int]]:
    """Indexes whose id was used before, and by which index.

    Args:
        ids: ID_BYTES for each index, zeros where there is none.
    """
    every = memoryview(ids).cast("Q")
    passes = 1 + len(every) // IDS_AT_ONCE
    repeated: set[int] = set()
    for number in range(passes):
        seen: set[int] = set()
        part = every if passes == 1 else [one for one in every if one % passes == number]
        for one in part:
            if one and one in seen:
                repeated.add(one)
            seen.add(one)
    first: dict[int, int] = {}
    found = []
    for index, one in enumerate(every) if repeated else ():
        if one in repeated:
            if one in first:
                found.append((index, first[one]))
            first.setdefault(one, index)
    return found


def _signed_size(heads: Sequence[KeptHead], keys: Sequence[VerifierKey]) -> int:
    for head in reversed(heads):
        try:
            return open_signed(head.note, keys).size
        except (CheckpointError, UnicodeEncodeError):
            continue
    return 0


def _stretch(task: Task, first: int) -> Stretch:
    return work.check_stretch(task, first, min(first + STRETCH_RECORDS, task.size))


def _heads(task: Task, tree: CheckedTree, heads: Sequence[KeptHead]) -> CheckedHeads:
    return work.check_heads(task, heads, tree.tiles)


def _side_by_side(workers: int, stack: ExitStack) -> _Run:
    if workers <= 1:
        stack.callback(work.release)
        return _Run(None)
    # What they make has no cycles, and looking for some takes a tenth of their time.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=gc.disable)
    return _Run(stack.enter_context(pool))


class _Run:
    """Gives the results of one call for each argument, in order."""

    def __init__(self, pool: ProcessPoolExecutor | None) -> None:
        self._pool: Final = pool

    def __call__(
        self, call: Callable[[ArgumentT], ResultT], arguments: Iterable[ArgumentT]
    ) -> Iterator[ResultT]:
        if self._pool is None:
            return map(call, arguments)
        return self._pool.map(call, arguments)
