# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records, one after another -> the alerts that they are.

Pure: the same records after the same state give the same alerts, so that whoever looks at some a
second time says nothing a second time.

Rules:
 * Records are counted apart by audience: an alert tells nobody of what they do not see.
 * With a threshold, the record with which the count is reached is the alert; the next one comes
   only after the count was below the threshold again.
 * What happened when is by the emitter's clock, as long as the message is believed.  What is
   counted is by the time of receipt: a clock that is ahead must not hide what comes after.
 * Of values that are counted apart, those heard of last are kept: of all rules together
   MOST_VALUES with MOST_TIMES moments, each rule its share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.matching import (
    Document,
    matches,
    record_document,
    stored_document,
    values_at,
)
from services.auditor.query import StoredRecord
from services.auditor.records import UnbelievableError, parse_time_us
from services.auditor.watching.rules import ReadyRule, is_outside
from shared.contracts.audit import AuditRecord
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.watching import Threshold, WatchRule, WatchWindow

MOST_VALUES: Final = 1000
MOST_TIMES: Final = 10_000
"""Both have room in one record of KV `watch_state`."""
LONGEST_VALUE: Final = 200
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to be said."""

    rule: WatchRule
    digest: str
    """Of the rule."""
    index: int
    """Of the record that made it one."""
    audience: Audience
    at_us: int
    count: int
    """Records in the window, this one included; 1 without a threshold."""
    value: str
    """Of the field that is counted by."""
    about: Mapping[str, str]
    """Node, interface, hook, deployment, package, version, as far as the record names them."""


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """A record as rules meet it."""

    index: int
    audience: Audience
    """Empty: the message's subject names none."""
    at_us: int
    received_us: int
    is_believed: bool
    document: Document

    @property
    def action(self) -> str:
        """What happened; of what is not believed nothing."""
        return str(self.document.get("action", "")) if self.is_believed else ""


ABOUT: Final = ("node", "interface", "netns", "hook", "deployment", "package", "version")


class _Kept(NamedTuple):
    audience: Audience
    value: str


class _Window(NamedTuple):
    times_us: tuple[int, ...]
    said: bool


class _Counted:
    """What was counted for one rule; a share of what there is room for."""

    def __init__(self, share: int) -> None:
        self._most_values: Final = MOST_VALUES // share
        self._most_times: Final = MOST_TIMES // share
        self._times = 0
        self.windows: Final[dict[_Kept, _Window]] = {}
        """The value heard of last is the last."""

    def take(self, kept: _Kept) -> _Window:
        """What was counted of a value, which is not counted any more."""
        window = self.windows.pop(kept, _Window((), said=False))
        self._times -= len(window.times_us)
        return window

    def put(self, kept: _Kept, window: _Window) -> None:
        """Counted; what was not heard of for longest makes room."""
        self.windows[kept] = window
        self._times += len(window.times_us)
        while self._times > self._most_times or len(self.windows) > self._most_values:
            self.take(next(iter(self.windows)))


class Watcher:
    """Looks at records in the log's order."""

    def __init__(self, rules: Sequence[ReadyRule], windows: Iterable[WatchWindow] = ()) -> None:
        """Begin.

        Args:
            rules: To be asked of each record.
            windows: What was counted for them before.
        """
        self._rules: Final = tuple(rules)
        names = [one.rule.name for one in rules if one.rule.threshold is not None]
        self._counted: Final = {name: _Counted(len(names)) for name in names}
        for one in windows:
            if one.rule in self._counted:
                kept = _Kept(one.audience, one.value)
                self._counted[one.rule].put(kept, _Window(one.times_us, one.said))

    @property
    def windows(self) -> tuple[WatchWindow, ...]:
        """What was counted, for whoever goes on."""
        return tuple(
            WatchWindow(
                rule=rule,
                audience=kept.audience,
                value=kept.value,
                times_us=one.times_us,
                said=one.said,
            )
            for rule, counted in self._counted.items()
            for kept, one in counted.windows.items()
        )

    def take(self, record: SeenRecord) -> list[Alert]:
        """The alerts that the next record makes, one a rule at most."""
        found = (self._meet(ready, record) for ready in self._rules)
        return [one for one in found if one is not None]

    def _meet(self, ready: ReadyRule, record: SeenRecord) -> Alert | None:
        rule = ready.rule
        if not ready.concerns(record.action) or not is_outside(rule.outside, record.at_us):
            return None
        if ready.where is not None and not matches(ready.where, record.document):
            return None
        if rule.threshold is None:
            return _alert(ready, record)
        value = _value(ready, record.document)
        return None if value is None else self._count(ready, rule.threshold, record, value)

    def _count(
        self, ready: ReadyRule, threshold: Threshold, record: SeenRecord, value: str
    ) -> Alert | None:
        counted, kept = self._counted[ready.rule.name], _Kept(record.audience, value)
        before = counted.take(kept)
        begin = record.received_us - threshold.within_seconds * _SECOND_US
        times_us = [one for one in (*before.times_us, record.received_us) if one > begin]
        times_us = times_us[-threshold.count :]
        is_reached = len(times_us) == threshold.count
        counted.put(kept, _Window(tuple(times_us), said=is_reached))
        if not is_reached or before.said:
            return None
        return _alert(ready, record, count=threshold.count, value=value)


def seen_stored(stored: StoredRecord, audience: Audience) -> SeenRecord:
    """A record as the log keeps it; `audience` is whom the server let it be told to."""
    document = stored_document(stored)
    return _seen(stored.index, audience, document, received_us=stored.received_us)


def seen_record(record: AuditRecord) -> SeenRecord | None:
    """A record as readers get it; None if it is not shown."""
    if record.leaf_hash:
        return None
    event = record.event
    body = msgspec.json.encode(event) if event is not None else None
    received_us = parse_time_us(record.received_at)
    document = record_document(
        index=record.index,
        body=body,
        received_at=record.received_at,
        stream_sequence=record.stream_sequence,
        problem=record.problem,
    )
    audience = event.audience if event is not None and not record.problem else PUBLIC
    return _seen(record.index, audience, document, received_us=received_us)


def _seen(index: int, audience: Audience, document: Document, *, received_us: int) -> SeenRecord:
    is_believed = not document.get("problem") and "action" in document
    at_us = received_us
    if is_believed:
        try:
            at_us = parse_time_us(str(document.get("time", "")))
        except UnbelievableError:
            at_us = received_us
    return SeenRecord(index, audience, at_us, received_us, is_believed, document)


def _value(ready: ReadyRule, document: Document) -> str | None:
    """What the record is counted under; None: it is not counted."""
    if not ready.by:
        return ""
    found: list[Any] = [one for one in values_at(document, ready.by) if one is not None]
    if not found or isinstance(found[0], dict | list):
        return None
    return str(found[0])[:LONGEST_VALUE]


def _alert(ready: ReadyRule, record: SeenRecord, *, count: int = 1, value: str = "") -> Alert:
    named = {name: record.document.get(name) for name in ABOUT} if record.is_believed else {}
    about = {name: said for name, said in named.items() if isinstance(said, str) and said}
    return Alert(
        rule=ready.rule,
        digest=ready.digest,
        index=record.index,
        audience=record.audience,
        at_us=record.at_us,
        count=count,
        value=value,
        about=about,
    )
