# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Under which licences nodes ran in a range of time, by licence, by obligation or by package.

Pure.  It is reckoned from spans (`timelines`), so each moment counts as `inventory` answers for it.

Rules:
 * What runs on several hook points of a node at once is the node's once, and each hook point's.
 * A program is under the choice that was taken; if none was, under all that its expression names.
 * What nobody said is a row of its own, without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from services.auditor.query import page_behind
from services.auditor.records import UnbelievableError, parse_time_us, render_time_us
from services.auditor.timelines import OPEN_US, RanChain
from services.auditor.told_places import Range, RanSpans
from shared.canonical import canonical_bytes
from shared.contracts.inventory import RunningProgram
from shared.contracts.licence_reports import (
    MAX_NAMED,
    LicenceGrouping,
    LicenceReport,
    LicenceUse,
    ReportLicences,
    UsedArchive,
)
from shared.contracts.selectors import NodeSelector
from shared.errors import Reason, RefusedError
from shared.licensing.duties import duties_of
from shared.licensing.expressions import ExpressionError, parse_expression
from shared.node_labels import rule_problems

_MICROSECONDS: Final = 1_000_000


class Subject(NamedTuple):
    """What a row is of."""

    name: str
    declared: str = ""
    elected: str = ""
    licence: str = ""
    clause: str = ""

    @property
    def key(self) -> str:
        """Tells it from all others, and sorts as it does."""
        return canonical_bytes(list(self)).decode()


def parse_range(request: ReportLicences, *, now_us: int) -> Range:
    """The range; nothing in it is in the future.

    Raises:
        RefusedError: A time cannot be read, it ends before it begins, or what is asked of labels
            can mean nothing.
    """
    reasons = rule_problems(NodeSelector(rules=request.labels), path="labels")
    found: dict[str, int] = {}
    for name, otherwise in (("since", 0), ("until", now_us)):
        text = getattr(request, name)
        try:
            found[name] = parse_time_us(text) if text else otherwise
        except UnbelievableError as error:
            reasons.append(Reason(path=name, rule=error.message, got=text, allowed="RFC 3339"))
    if reasons:
        raise RefusedError("the question cannot be read", reasons)
    asked = Range(found["since"], min(found["until"], now_us))
    if asked.since_us >= asked.until_us:
        end = render_time_us(asked.until_us)
        reason = Reason(path="since", rule="is not before the end", got=request.since, allowed=end)
        raise RefusedError("the range has no moment", [reason])
    return asked


def licence_reading(request: ReportLicences) -> dict[str, Any]:
    """What is recorded about a reading."""
    asked = msgspec.to_builtins(msgspec.structs.replace(request, after=""))
    asked.pop("by", None)
    return {"report": "licences", "by": request.by, **({"filters": asked} if asked else {})}


def licence_page(
    ran: RanSpans, asked: Range, *, by: LicenceGrouping, after: str = ""
) -> LicenceReport:
    """One page of the report.

    Args:
        ran: Everything that ran within the range; what lies outside of it does not count.
        asked: The range.
        by: What a row is of.
        after: Only rows behind this key.
    """
    whole = licence_report(ran, asked, by=by)
    kept, following = page_behind(whole.rows, after)
    return msgspec.structs.replace(whole, rows=kept, next=following)


def licence_report(ran: RanSpans, asked: Range, *, by: LicenceGrouping) -> LicenceReport:
    """The whole report, rows by key."""
    subjects = _SUBJECTS[by]
    tallies: dict[Subject, _Tally] = {}
    named: dict[int, tuple[_Tally, ...]] = {}
    places = ran.places
    nodes: set[str] = set()
    points: set[int] = set()
    since_us, until_us = asked
    rank = {point: at for at, point in enumerate(sorted(places, key=lambda one: places[one].node))}
    by_node = sorted(ran.spans, key=lambda one: rank[one[0]])
    for node, told in groupby(by_node, key=lambda one: places[one[0]].node):
        times: dict[_Tally, list[tuple[int, int]]] = {}
        for point, from_us, to_us, chain, record in told:
            stretch = max(from_us, since_us), min(to_us, until_us)
            if stretch[0] >= stretch[1]:
                continue
            points.add(point)
            concerned = named.get(chain)
            if concerned is None:
                concerned = named[chain] = tuple(
                    tallies.setdefault(one, _Tally(one))
                    for one in dict.fromkeys(subjects(ran.chains[chain]))
                )
                for tally in concerned:
                    tally.chains.append(chain)
            for tally in concerned:
                tally.add(point, stretch, record)
                times.setdefault(tally, []).append(stretch)
        if times:
            nodes.add(node)
        for tally, stretches in times.items():
            tally.nodes.append(node)
            tally.node_us += _together(stretches)
    rows = [_row(one, ran.chains, subjects, until_us) for one in tallies.values()]
    return LicenceReport(
        since=render_time_us(since_us),
        until=render_time_us(until_us),
        by=by,
        rows=tuple(sorted(rows, key=lambda row: row.key)),
        nodes=len(nodes),
        hook_points=len(points),
        tree_size=ran.tree_size,
    )


@dataclass(slots=True, eq=False)
class _Tally:
    """What a row comes to."""

    subject: Subject
    first_us: int = OPEN_US
    last_us: int = 0
    record: int = 0
    node_us: int = 0
    point_us: int = 0
    nodes: list[str] = field(default_factory=list)
    points: set[int] = field(default_factory=set)
    chains: list[int] = field(default_factory=list)

    def add(self, point: int, stretch: tuple[int, int], record: int) -> None:
        """A time for which it ran on one hook point, and the record that says so."""
        from_us, to_us = stretch
        self.first_us, self.record = min((self.first_us, self.record), (from_us, record))
        self.last_us = max(self.last_us, to_us)
        self.point_us += to_us - from_us
        self.points.add(point)


def _row(
    tally: _Tally,
    chains: Mapping[int, RanChain],
    subjects: _Subjects,
    until_us: int,
) -> LicenceUse:
    subject = tally.subject
    programs = [
        one
        for number in tally.chains
        for one in _programs(chains[number])
        if subject in subjects(RanChain(running=(one,)))
    ]
    archives = _archives(programs)
    licences = [one.licence for one in programs if one.licence is not None]
    return LicenceUse(
        key=subject.key,
        **subject._asdict(),
        since=render_time_us(tally.first_us),
        until=render_time_us(tally.last_us) if tally.last_us < until_us else "",
        record=tally.record,
        nodes=len(tally.nodes),
        hook_points=len(tally.points),
        node_seconds=tally.node_us / _MICROSECONDS,
        hook_point_seconds=tally.point_us / _MICROSECONDS,
        node_names=tuple(sorted(tally.nodes)[:MAX_NAMED]),
        archive_count=len(archives),
        archives=archives[:MAX_NAMED],
        findings=tuple(sorted({text for one in licences for text in one.findings})),
        waivers=tuple(sorted({text for one in licences for text in one.waivers})),
    )


def _archives(programs: Iterable[RunningProgram]) -> tuple[UsedArchive, ...]:
    found: dict[tuple[str, str, str], list[RunningProgram]] = {}
    for one in programs:
        found.setdefault((one.package, one.version, one.archive_sha256), []).append(one)
    return tuple(
        UsedArchive(
            package=package,
            version=version,
            archive_sha256=digest,
            objects=_each(one.object_sha256 for one in parts),
            declared=_each(one.licence.declared for one in parts if one.licence is not None),
            elected=_each(one.licence.elected for one in parts if one.licence is not None),
        )
        for (package, version, digest), parts in sorted(found.items(), key=itemgetter(0))
    )


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({one for one in texts if one}))


def _together(stretches: list[tuple[int, int]]) -> int:
    """How long at least one of them lasted."""
    total_us, reached_us = 0, 0
    for from_us, to_us in sorted(stretches):
        if to_us > reached_us:
            total_us += to_us - max(from_us, reached_us)
            reached_us = to_us
    return total_us


_NOT_SAID: Final = RunningProgram(deployment="")
"""Stands for a chain of which nobody said what it is made of."""


def _programs(chain: RanChain) -> tuple[RunningProgram, ...]:
    return chain.running or (_NOT_SAID,)


def _by_licence(chain: RanChain) -> Iterator[Subject]:
    for one in _programs(chain):
        declared = one.licence.declared if one.licence else ""
        elected = one.licence.elected if one.licence else ""
        yield Subject(elected or declared, declared=declared, elected=elected)


def _by_package(chain: RanChain) -> Iterator[Subject]:
    for one in _programs(chain):
        yield Subject(one.package)


def _by_obligation(chain: RanChain) -> Iterator[Subject]:
    for one in _programs(chain):
        expression = one.licence.elected or one.licence.declared if one.licence else ""
        for licence in _licences(expression):
            for duty in duties_of(licence):
                yield Subject(duty.obligation, licence=licence, clause=duty.clause)


@lru_cache(maxsize=1024)
def _licences(expression: str) -> tuple[str, ...]:
    """Every licence that an expression names; itself, if it is none."""
    try:
        arms = parse_expression(expression, path="licence") if expression else frozenset()
    except ExpressionError:
        return (expression,)
    return tuple(sorted({one for arm in arms for one in arm})) or ("",)


_Subjects = Callable[[RanChain], Iterator[Subject]]
_SUBJECTS: Final[dict[LicenceGrouping, _Subjects]] = {
    "licence": _by_licence,
    "obligation": _by_obligation,
    "package": _by_package,
}
