# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Do the channels and gaps that a log keeps follow from its records?  Replayed, in order.

Pure.  Most records continue their channel, so what is replayed are runs, not records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.auditor.admission import Channel, Gap, Ranges, gap_event, place_sequence
from services.auditor.verification.problems import Problem

_WITHIN_RUN: Final = -1
"""In place of the index of a record that is not the first of its run."""


class SequenceRun(NamedTuple):
    """Records of one channel, neighbours among its records, whose sequences are neighbours."""

    channel: Channel
    first: int
    last: int
    at: int
    """Index of the first record."""


class RunBuilder:
    """Gathers records into runs."""

    def __init__(self) -> None:
        self._open: dict[Channel, list[int]] = {}
        self.runs: list[SequenceRun] = []

    def add(self, channel: Channel, sequence: int, index: int) -> None:
        """The next record."""
        run = self._open.get(channel)
        if run is not None and sequence == run[1] + 1:
            run[1] = sequence
            return
        if run is not None:
            self.runs.append(SequenceRun(channel, *run))
        self._open[channel] = [sequence, sequence, index]

    def finish(self) -> list[SequenceRun]:
        """Every run; those of one channel in order."""
        self.runs += [SequenceRun(channel, *run) for channel, run in self._open.items()]
        self._open = {}
        return self.runs


class SequenceReplay:
    """What the records come to, when they are taken one after another as the log took them."""

    def __init__(self) -> None:
        self.heads: Final[dict[Channel, int]] = {}
        self.missing: Final[dict[Channel, Ranges]] = {}
        self.gaps: Final[list[Gap]] = []

    def take(self, runs: Iterable[SequenceRun]) -> None:
        """The records that come next."""
        for run in runs:
            sequence = run.first
            while sequence <= run.last:
                head = self.heads.get(run.channel, 0)
                if sequence == head + 1 and sequence > run.first:
                    self.heads[run.channel] = run.last
                    break
                self._place(run, sequence, head)
                sequence += 1

    def _place(self, run: SequenceRun, sequence: int, head: int) -> None:
        missing = self.missing.get(run.channel, ())
        placed = place_sequence(head, missing, sequence)
        self.heads[run.channel] = placed.head
        if placed.missing != missing:
            self.missing[run.channel] = placed.missing
        if placed.gap is not None:
            kind, first, last = placed.gap
            index = run.at if sequence == run.first else _WITHIN_RUN
            self.gaps.append(Gap(kind, run.channel, first, last, index))


def check_channels(
    replay: SequenceReplay, *, heads: Mapping[Channel, int], missing: Mapping[Channel, Ranges]
) -> list[Problem]:
    """Channels that are not kept as the records have them."""
    problems = []
    for channel in sorted({*replay.heads, *heads}):
        name = channel_name(channel)
        if channel not in heads:
            problems.append(Problem("channel", name, "", "it has records and is not kept"))
            continue
        if channel not in replay.heads:
            problems.append(Problem("channel", name, "", "it is kept and has no records"))
            continue
        if heads[channel] != replay.heads[channel]:
            why = f"it is {heads[channel]} where the records say {replay.heads[channel]}"
            problems.append(Problem("channel", name, "head", why))
        open_gaps = replay.missing.get(channel, ())
        if missing.get(channel, ()) != open_gaps:
            why = f"it is {missing.get(channel, ())} where the records say {open_gaps}"
            problems.append(Problem("channel", name, "missing", why))
    return problems


def check_gaps(
    replay: SequenceReplay, kept: Sequence[tuple[int, Gap]], *, size: int
) -> list[Problem]:
    """Gaps that are kept and not so, or so and not kept.

    What the stream lost before it was read left no records: of such gaps only the place is known.
    """
    problems = []
    found = Counter(map(_identity, replay.gaps))
    for number, gap in kept:
        if gap.found_at_index > size:
            why = f"it was found at record {gap.found_at_index} of {size}"
            problems.append(Problem("gap", str(number), "found_at_index", why))
        elif gap.kind in {"missing", "repeated"}:
            identity = _identity(gap)
            shown = identity if found[identity] else (*identity[:4], _WITHIN_RUN)
            if found[shown]:
                found[shown] -= 1
            else:
                problems.append(Problem("gap", str(number), "", "the records show no such gap"))
    problems += [
        Problem(
            "gap",
            "",
            "",
            f"{channel_name(channel)} left out {first} to {last}, and that is not kept"
            if kind == "missing"
            else f"{channel_name(channel)} repeated {first}, and that is not kept",
        )
        for kind, channel, first, last, _ in found.elements()
    ]
    return problems


def check_announced(
    kept: Sequence[tuple[int, Gap]],
    announced: frozenset[int],
    said: Mapping[str, int],
    *,
    settled: int,
) -> list[Problem]:
    """Gaps that no record says though they were said, and the other way round.

    Args:
        kept: With their numbers.
        announced: Numbers of those that were said.
        said: Index of the record that says a gap, by its event's id.
        settled: Records; what is said and found after them may be on its way.
    """
    problems = []
    lost_at = max((gap.found_at_index for _, gap in kept if gap.kind == "rewound"), default=-1)
    for number, gap in kept:
        index = said.get(gap_event(gap)[1])
        if number in announced:
            if index is None and lost_at < gap.found_at_index < settled:
                problems.append(Problem("gap", str(number), "", "no record says it"))
        elif index is not None and index < settled:
            why = f"record {index} says the gap, and it is kept as not said"
            problems.append(Problem("gap", str(number), "is_announced", why))
    return problems


def channel_name(channel: Channel) -> str:
    """As it is named to people, whatever bytes it has."""
    return "/".join(channel).encode("ascii", "backslashreplace").decode()


def _identity(gap: Gap) -> tuple[str, Channel, int, int, int]:
    return (gap.kind, gap.channel, gap.first, gap.last, gap.found_at_index)
