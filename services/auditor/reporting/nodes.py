# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes a report is of: by name, and by the labels that the log says they had.

Pure but for the asking.

Rules:
 * A node says its own labels when it registers; what an operator set holds over them.
 * What was said after the moment that is asked about changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple, Protocol

from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import parse_time_us, try_event
from services.auditor.told_places import Range, RanSpans
from shared.contracts.events import Audience, Event
from shared.contracts.licence_reports import ReportLicences
from shared.contracts.selectors import NodeSelector
from shared.node_labels import label_mismatch

REGISTERED: Final = "node.register"
LABELLED: Final = "node.label"
_PAGE_RECORDS: Final = 1_000

Labels = Mapping[str, str]


class ReportedLog(Protocol):
    """What of the log is asked."""

    async def spans(
        self, asked: Range, *, audiences: frozenset[Audience], wanted: Callable[[str], bool]
    ) -> RanSpans:
        """What ran within a range of time, as these audiences were told."""

    async def page(self, query: RecordQuery) -> tuple[list[StoredRecord], int, bool]:
        """Matching records, the tree's size, and whether more match."""


class _Word(NamedTuple):
    time_us: int
    sequence: int
    record: int
    labels: dict[str, str]


async def licensed_spans(
    log: ReportedLog, request: ReportLicences, asked: Range, *, audiences: frozenset[Audience]
) -> RanSpans:
    """What a licence report is of.

    Args:
        log: Where.
        request: Which nodes, and of which audience.
        asked: The range in the request.
        audiences: Those that are seen.

    Raises:
        RefusedError: What ran is not known any more of all of the range.
    """
    labels = await labels_at(log, asked.until_us, audiences) if request.labels else {}
    return await log.spans(
        asked,
        audiences=audiences & {request.space} if request.space else audiences,
        wanted=wanted_nodes(request, labels),
    )


def wanted_nodes(request: ReportLicences, labels: Mapping[str, Labels]) -> Callable[[str], bool]:
    """Whether a node of a name is asked about.

    Args:
        request: As it came.
        labels: By node; none: nothing is known of it.
    """
    selector = NodeSelector(rules=request.labels)

    def wanted(node: str) -> bool:
        is_named = not request.node or fnmatchcase(node, request.node)
        return is_named and label_mismatch(selector, labels.get(node, {})) is None

    return wanted


async def labels_at(
    log: ReportedLog, at_us: int, audiences: frozenset[Audience]
) -> dict[str, dict[str, str]]:
    """The labels that each node had at a moment."""
    found: list[tuple[int, Event]] = []
    for action in (REGISTERED, LABELLED):
        above, more = -1, True
        while more:
            query = RecordQuery(
                audiences=audiences,
                since_us=None,
                until_us=at_us,
                equal=(),
                action=action,
                above=above,
                below=None,
                limit=_PAGE_RECORDS,
                is_ascending=True,
            )
            page, _, more = await log.page(query)
            for record in page:
                above = record.index
                event = try_event(record.body or b"") if not record.problem else None
                if event is not None:
                    found.append((record.index, event))
    return told_labels(found)


def told_labels(events: Iterable[tuple[int, Event]]) -> dict[str, dict[str, str]]:
    """The labels of each node after all of these events, whatever their order.

    Args:
        events: Registrations and labellings, each with the index of its record.
    """
    own: dict[str, list[_Word]] = {}
    set_by_operators: dict[str, list[_Word]] = {}
    for record, event in events:
        body = event.data
        labels = _labels(body.details.get("labels"))
        if labels is None or not body.node:
            continue
        word = _Word(parse_time_us(event.time), event.sequence, record, labels)
        if body.action == REGISTERED and event.emitter == f"node/{body.node}":
            own.setdefault(body.node, []).append(word)
        elif (event.emitter, event.type) == ("scheduler", f"org.l3af.v1.{LABELLED}.accepted"):
            set_by_operators.setdefault(body.node, []).append(word)
    return {
        node: _together(sorted(own.get(node, ())), sorted(set_by_operators.get(node, ())))
        for node in own.keys() | set_by_operators.keys()
    }


def _together(own: list[_Word], set_by_operators: list[_Word]) -> dict[str, str]:
    labels = dict(own[-1].labels) if own else {}
    if set_by_operators:
        # It was said what all labels came to, those of the node among them.
        newest = set_by_operators[-1]
        then = [word.labels for word in own if word.time_us <= newest.time_us]
        before = then[-1] if then else {}
        labels |= {key: value for key, value in newest.labels.items() if before.get(key) != value}
    return labels


def _labels(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        return None
    return value
