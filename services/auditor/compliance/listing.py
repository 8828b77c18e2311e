# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked about findings, and which of them are told on one page.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from services.auditor.compliance.cases import Case
from services.auditor.query import MAX_PAGE_BYTES
from services.auditor.records import UnbelievableError, parse_time_us, render_time_us
from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.findings import (
    LISTED_HISTORY,
    AnnotateFinding,
    Finding,
    FindingShown,
    FindingsShown,
    GetFinding,
    ListFindings,
    ResolveFinding,
)
from shared.errors import Reason, RefusedError

_FILTERS: Final = (
    "since",
    "state",
    "kind",
    "rule",
    "package",
    "version",
    "deployment",
    "node",
    "space",
)


class FoundFindings(NamedTuple):
    """Every finding that somebody sees, as of a moment."""

    cases: list[Case]
    at_us: int
    tree_size: int
    unread: int
    """Records that would count and cannot be read."""


class UnknownFindingError(RefusedError):
    """The log tells of no such finding."""

    code: ClassVar[ErrorCode] = "not_found"


class FindingCommandError(RefusedError):
    """The command says too little, or names what is not there."""

    code: ClassVar[ErrorCode] = "invalid_request"


class FindingStateError(RefusedError):
    """The finding is not in the state for that."""

    code: ClassVar[ErrorCode] = "conflict"


def moment_of(text: str, *, path: str) -> int | None:
    """Microseconds since 1970; None: nothing was said.

    Raises:
        RefusedError: It is no time.
    """
    if not text:
        return None
    try:
        return parse_time_us(text)
    except UnbelievableError as error:
        reason = Reason(path=path, rule="cannot be read", got=text, allowed="RFC 3339")
        raise RefusedError("the time cannot be read", [reason]) from error


def findings_reading(request: ListFindings | GetFinding) -> dict[str, Any]:
    """What is recorded about a reading."""
    if isinstance(request, GetFinding):
        return {"filters": {"finding": request.finding}, "findings_at": request.at or "now"}
    given = {name: getattr(request, name) for name in _FILTERS}
    filters = {name: value for name, value in given.items() if value}
    return {"filters": filters, "findings_at": request.at or "now"}


def findings_page(request: ListFindings, found: FoundFindings) -> FindingsShown:
    """One page of the findings that match.

    Raises:
        RefusedError: `since` is no time, or `after` no finding.
    """
    since_us = moment_of(request.since, path="since")
    cases = _behind(found.cases, request.after)
    matching = (one for one in cases if _matches(one, request, since_us))
    told: list[Finding] = []
    size_bytes, has_more = 0, False
    for case in islice(matching, request.limit + 1):
        finding = case.shown(at_us=found.at_us, history=LISTED_HISTORY)
        size_bytes += len(msgspec.json.encode(finding))
        has_more = len(told) == request.limit or (size_bytes > MAX_PAGE_BYTES and bool(told))
        if has_more:
            break
        told.append(finding)
    return FindingsShown(
        at=render_time_us(found.at_us),
        findings=tuple(told),
        tree_size=found.tree_size,
        unread=found.unread,
        next=told[-1].id if has_more else "",
    )


def all_findings(request: ListFindings, found: FoundFindings) -> FindingsShown:
    """All findings that match, each with its whole history, whatever the request's limit.

    Raises:
        RefusedError: `since` is no time.
    """
    since_us = moment_of(request.since, path="since")
    return FindingsShown(
        at=render_time_us(found.at_us),
        findings=tuple(
            one.shown(at_us=found.at_us) for one in found.cases if _matches(one, request, since_us)
        ),
        tree_size=found.tree_size,
        unread=found.unread,
    )


def one_finding(request: GetFinding, found: FoundFindings) -> FindingShown:
    """The finding, whole.

    Raises:
        UnknownFindingError: There was none such then.
    """
    case = find_case(found.cases, request.finding)
    return FindingShown(
        at=render_time_us(found.at_us),
        finding=case.shown(at_us=found.at_us),
        tree_size=found.tree_size,
        unread=found.unread,
    )


def find_case(cases: Iterable[Case], finding: str) -> Case:
    """The finding of that id.

    Raises:
        UnknownFindingError: There is none.
    """
    for case in cases:
        if case.id == finding:
            return case
    reason = Reason(path="finding", rule="the log tells of no such finding", got=finding)
    raise UnknownFindingError(f"unknown finding {finding}", [reason])


def command_event(
    action: str, case: Case, command: ResolveFinding | AnnotateFinding, *, unseen: Sequence[int]
) -> EventBody:
    """What the audit log says of a finding that somebody closed or annotated.

    `details`: finding (its id), kind, rule, evidence (numbers of records).

    Args:
        action: `finding.resolve` or `finding.annotate`.
        case: As it is.
        command: What was asked.
        unseen: Which of the records that it names the caller does not see, or are not there.

    Raises:
        FindingStateError: It is resolved already.
        FindingCommandError: It does not say why, or names such records.
    """
    is_closing = isinstance(command, ResolveFinding)
    if is_closing and case.state == "resolved":
        reason = Reason(path="finding", rule="is resolved", got=case.id, allowed="open or waived")
        raise FindingStateError(f"finding {case.id} is resolved", [reason])
    problems = [
        Reason(path=f"evidence[{command.evidence.index(one)}]", rule="is no record", got=one)
        for one in unseen
    ]
    if not command.reason.strip():
        problems.insert(0, Reason(path="reason", rule="must say why"))
    if problems:
        raise FindingCommandError(f"finding {case.id}: cannot be noted so", problems)
    about = case.about
    before = canonical_digest([case.id, len(case.history), len(case.notes)])
    after = canonical_digest([before, action, command.reason, list(command.evidence)])
    return EventBody(
        action=action,
        outcome="accepted",
        package=case.package,
        version=case.version,
        deployment=about.deployment,
        before=before,
        after=after,
        details={
            "finding": case.id,
            "kind": about.kind,
            "rule": about.rule,
            "evidence": list(command.evidence),
        },
    )


def _behind(cases: Sequence[Case], after: str) -> Iterator[Case]:
    if not after:
        return iter(cases)
    place = cases.index(find_case(cases, after))
    return islice(cases, place + 1, None)


def _matches(case: Case, request: ListFindings, since_us: int | None) -> bool:
    about = case.about
    asked = (
        (request.state, case.state),
        (request.kind, about.kind),
        (request.rule, about.rule),
        (request.package, case.package),
        (request.version, case.version),
        (request.deployment, about.deployment),
        (request.space, case.audience),
    )
    if any(wanted and wanted != value for wanted, value in asked):
        return False
    if request.node and request.node not in case.nodes:
        return False
    return since_us is None or case.touched_since(since_us)
