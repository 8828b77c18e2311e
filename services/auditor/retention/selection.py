# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which records are pruned together, by which rule, and what is said of them.

Pure.  Records are looked at in the log's order; those that a rule lets go of and nothing keeps are
gathered by rule and audience, because what is said of them is told to that audience alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.auditor.disclosure import audience_of
from services.auditor.query import StoredRecord
from services.auditor.records import UnbelievableError, parse_time_us, try_event
from services.auditor.retention.holds import KeptHolds
from services.auditor.retention.remains import (
    Pruning,
    is_remains,
    ranges_of,
    ranges_text,
    remaining_leaf,
    remains_digest,
)
from services.auditor.retention.rules import ReadyRule, deciding_rule, shortest_keep_us
from services.auditor.sightings import ACTIONS, Sighting, kept_sightings
from services.auditor.tiles import TILE_WIDTH
from shared.contracts.events import Audience

MOST_RECORDS: Final = 5_000
"""In one step: they are removed in one transaction, in which nothing else is written."""
LONGEST_RANGES: Final = 12_000
"""Characters, below what an event has room for in one text."""
_RANGES_LOOKED_AT: Final = 64


class Step(NamedTuple):
    """Records that are pruned together."""

    rule: str
    audience: Audience
    records: tuple[StoredRecord, ...]
    ran_before_us: int
    is_archived: bool

    @property
    def digest(self) -> str:
        """Of what will remain."""
        return remains_digest(one.leaf for one in self.records)

    def pruning(self, *, audience: Audience, segment: tuple[str, str] = ("", "")) -> Pruning:
        """What is to be said of them.

        Args:
            audience: That is told now.
            segment: Name and SHA-256 of the segment that holds them.
        """
        return Pruning(
            record=-1,
            audience=audience,
            rule=self.rule,
            ranges=ranges_of([one.index for one in self.records]),
            digest=self.digest,
            through_us=max(_time_us(one) for one in self.records),
            ran_before_us=self.ran_before_us,
            segment=segment[0],
            segment_sha256=segment[1],
        )


class Candidates(NamedTuple):
    """Some records that a rule lets go of."""

    records: list[StoredRecord]
    rules: Mapping[int, ReadyRule]
    """By index."""


class Gathering:
    """Gathers steps."""

    def __init__(
        self, rules: Sequence[ReadyRule], holds: KeptHolds, *, now_us: int, size: int
    ) -> None:
        """Nothing is gathered yet.

        Args:
            rules: In force.
            holds: In force.
            now_us: What ages are counted from, microseconds since 1970.
            size: Of the log: what is in its last tile is not archived before that is whole.
        """
        self._whole: Final = size // TILE_WIDTH * TILE_WIDTH
        self._archived: Final = frozenset(one.rule.name for one in rules if one.rule.archive)
        self._rules: Final = rules
        self._holds: Final = holds
        self._now_us: Final = now_us
        self._open: Final[dict[tuple[str, Audience], list[StoredRecord]]] = {}
        self._ran_before: Final[dict[str, int]] = {}
        self.held: Final[Counter[Audience]] = Counter()

    def cut_us(self, rule: ReadyRule) -> int:
        """What was received before then the rule lets go of."""
        return self._now_us - (rule.keep_us or 0)

    @property
    def newest_us(self) -> int | None:
        """What was received then or later no rule lets go of; None: no rule lets go of anything."""
        keep_us = shortest_keep_us(self._rules)
        return None if keep_us is None else self._now_us - keep_us

    def candidates(self, page: Iterable[StoredRecord]) -> Candidates:
        """Those of the next records that are old enough and not held."""
        found: list[StoredRecord] = []
        deciding: dict[int, ReadyRule] = {}
        for record in page:
            if is_remains(record.leaf):
                continue
            rule = deciding_rule(self._rules, record)
            if rule is None or record.received_us >= self.cut_us(rule):
                continue
            if rule.rule.archive and record.index >= self._whole:
                continue
            if self._holds.covering(record) is not None:
                self.held[audience_of(record.leaf)] += 1
                continue
            found.append(record)
            deciding[record.index] = rule
        return Candidates(found, deciding)

    def take(self, record: StoredRecord, rule: ReadyRule) -> Step | None:
        """The next candidate, which nothing needs; the step that is full with it."""
        key = (rule.rule.name, audience_of(record.leaf))
        records = self._open.setdefault(key, [])
        records.append(record)
        if speaks_of_places(record):
            self._ran_before[rule.rule.name] = self.cut_us(rule)
        is_long = len(records) % _RANGES_LOOKED_AT == 0 and _is_long(records)
        if len(records) < MOST_RECORDS and not is_long:
            return None
        return self._step(key)

    def finish(self) -> list[Step]:
        """What was gathered and fills no step."""
        return [self._step(key) for key in sorted(self._open)]

    def _step(self, key: tuple[str, Audience]) -> Step:
        records = tuple(self._open.pop(key))
        speaks = any(speaks_of_places(record) for record in records)
        ran_before_us = self._ran_before[key[0]] if speaks else 0
        return Step(*key, records, ran_before_us, key[0] in self._archived)


def speaks_of_places(record: StoredRecord) -> bool:
    """Whether the index of what ran where may hold something of a record."""
    return any(f'"type":"org.l3af.v1.{action}.'.encode() in record.leaf for action in ACTIONS)


def said_of_places(records: Iterable[StoredRecord]) -> list[Sighting]:
    """What records say of hook points."""
    return kept_sightings(
        (one.index, one.received_us, one.body)
        for one in records
        if not one.problem and speaks_of_places(one)
    )


def removed_leaves(
    pruning: Pruning, records: Iterable[StoredRecord], holds: KeptHolds
) -> list[tuple[int, bytes]]:
    """What comes in the place of which leaf, when a pruning is carried out.

    Args:
        pruning: As the log has recorded it.
        records: Those that it names, as they are kept.
        holds: As they are now: what was held since it was said is not pruned.
    """
    return [
        (record.index, remaining_leaf(record.leaf, by=pruning.record))
        for record in records
        if not is_remains(record.leaf) and holds.covering(record) is None
    ]


def _is_long(records: Sequence[StoredRecord]) -> bool:
    text = ranges_text(ranges_of([one.index for one in records]))
    return len(text) > LONGEST_RANGES - _RANGES_LOOKED_AT * 12


def _time_us(record: StoredRecord) -> int:
    event = try_event(record.body) if record.body is not None else None
    if event is None:
        return record.received_us
    try:
        return parse_time_us(event.time)
    except UnbelievableError:
        return record.received_us
