# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Is everything that is gone named by a record that says that it was pruned, and as it says?

Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from services.auditor.retention.remains import Pruning, remains_digest
from services.auditor.verification.problems import Problem, shown


class PrunedRun(NamedTuple):
    """Neighbours of which something remains, by the word of one record."""

    first: int
    last: int
    by: int


class CarriedOut(NamedTuple):
    """One row of `prunings`."""

    record: int
    audience: str
    through_us: int
    ran_before_us: int


class PrunedRuns:
    """Gathers pruned rows into runs."""

    def __init__(self) -> None:
        self.runs: Final[list[PrunedRun]] = []

    def add(self, index: int, by: int) -> None:
        """The next one."""
        if self.runs and self.runs[-1].last == index - 1 and self.runs[-1].by == by:
            self.runs[-1] = self.runs[-1]._replace(last=index)
        else:
            self.runs.append(PrunedRun(index, index, by))


def check_carried_out(
    kept: Iterable[CarriedOut], prunings: Mapping[int, Pruning], *, doubted: frozenset[str]
) -> Iterator[Problem]:
    """Rows of prunings that nothing says, or not so.

    Args:
        kept: The table of what was carried out.
        prunings: What believed records of the auditor say, by their indexes.
        doubted: Records that are not in order themselves: what they said is not asked for.
    """
    for row in kept:
        said = prunings.get(row.record)
        if said is None:
            if str(row.record) not in doubted:
                why = "no record says that anything is pruned"
                yield Problem("pruning", str(row.record), "", why)
            continue
        for field in CarriedOut._fields[1:]:
            got, right = getattr(row, field), getattr(said, field)
            if got != right:
                why = f"it is {shown(got)} where the record says {shown(right)}"
                yield Problem("pruning", str(row.record), field, why)


def check_pruned(
    runs: Iterable[PrunedRun],
    prunings: Mapping[int, Pruning],
    known: frozenset[int],
    *,
    doubted: frozenset[str],
) -> Iterator[Problem]:
    """Records that are gone and that nothing names.

    Args:
        runs: By index.
        prunings: What believed records of the auditor say, by their indexes.
        known: Those of them that are kept as carried out.
        doubted: Records that are not in order themselves: what they said is not asked for.
    """
    unkept: set[int] = set()
    for run in runs:
        said = prunings.get(run.by)
        if said is None and str(run.by) in doubted:
            continue
        for index in range(run.first, run.last + 1):
            if said is None or run.by <= index or not _names(said, index):
                why = f"it is gone, and record {run.by} does not say that it was pruned"
                yield Problem("record", str(index), "leaf", why)
        if said is not None and run.by not in known:
            unkept.add(run.by)
    for record in sorted(unkept):
        yield Problem("pruning", str(record), "", "it was carried out, and is not kept")


def check_remains(pruning: Pruning, leaves: Sequence[bytes]) -> Iterator[Problem]:
    """What remains of the records that a pruning names is not what it says.

    Args:
        pruning: As a record says it.
        leaves: Of its records as they are kept, in order.
    """
    if len(leaves) == pruning.count and remains_digest(leaves) != pruning.digest:
        why = f"what remains of the records that record {pruning.record} names is not what it says"
        yield Problem("pruning", str(pruning.record), "", why)


def _names(pruning: Pruning, index: int) -> bool:
    place = bisect_right(pruning.ranges, (index, 2**63)) - 1
    return place >= 0 and pruning.ranges[place][0] <= index <= pruning.ranges[place][1]
