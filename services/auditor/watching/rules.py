# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a watch rule means, whether it can mean anything, and the rules that every release brings.

Pure.

Rules:
 * What is wrong is said at once, each at its path.
 * Alerts themselves are never watched: no rule can make the log grow by itself.
 * Until somebody sets rules, those of the release are in force; whoever sets some sets them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import ClassVar, Final

import msgspec

from services.auditor.expressions import (
    Expression,
    Presence,
    Step,
    UnreadableExpressionError,
    parse_expression,
)
from shared.canonical import canonical_digest
from shared.change_windows import end_of_turn, window_problems
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, EventBody
from shared.contracts.rollouts import ChangeWindow
from shared.contracts.watching import (
    ALERT,
    SetWatchRules,
    Threshold,
    WatchRule,
    WatchRules,
    WatchRulesRecord,
)
from shared.errors import Reason, RefusedError

SET: Final = "watch.set"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

DEFAULT_RULES: Final = WatchRules(
    rules=(
        WatchRule(
            name="log-contradicted",
            actions=("log.conflict",),
            severity="critical",
            summary="somebody remembers this log otherwise",
        ),
        WatchRule(
            name="events-missing",
            actions=("log.gap",),
            severity="high",
            summary="events of an emitter are missing from the log",
        ),
        WatchRule(
            name="log-needs-attention",
            actions=("log.alarm",),
            severity="high",
            summary="the log is late, has little room, or somebody's clock is off",
        ),
        WatchRule(
            name="not-believed",
            where='problem != ""',
            severity="high",
            summary="a message was recorded that is not what it says",
        ),
        WatchRule(
            name="licence-violated",
            actions=("licence.violate",),
            severity="high",
            summary="a licence rule is broken where no waiver is in force",
        ),
        WatchRule(
            name="drift",
            actions=("chain.drift", "node.drift"),
            severity="high",
            summary="somebody else changed what runs on a node",
        ),
        WatchRule(
            name="unsigned",
            actions=("chain.*",),
            where="has details.unverified",
            severity="medium",
            summary="a program runs that nobody whom the node trusts has signed",
        ),
        WatchRule(
            name="trust-changed",
            actions=("trust.set",),
            severity="medium",
            summary="whom nodes trust was changed",
        ),
        WatchRule(
            name="revoked-runs",
            actions=("deployment.alarm",),
            severity="high",
            summary="what runs was revoked, or its time is over",
        ),
        WatchRule(
            name="companion-given-up",
            actions=("companion.give-up",),
            severity="high",
            summary="a companion failed too often and is not started again",
        ),
        WatchRule(
            name="refused-repeatedly",
            where='outcome == "refused" and has actor.key',
            threshold=Threshold(count=10, within_seconds=300, by="actor.key"),
            severity="medium",
            summary="one principal was refused again and again",
        ),
    )
)


class WatchRulesError(RefusedError):
    """A rule can mean nothing."""

    code: ClassVar[ErrorCode] = "invalid_request"


class WatchGenerationError(RefusedError):
    """Somebody else set rules meanwhile."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A rule that can be asked of records."""

    rule: WatchRule
    where: Expression | None
    by: tuple[Step, ...]
    """Empty: all matching records are counted together."""
    digest: str
    """Of what the rule says."""

    def concerns(self, action: str) -> bool:
        """Whether it is about this action."""
        if action == ALERT:
            return False
        return any(glob in ("*", action) or fnmatchcase(action, glob) for glob in self.rule.actions)


def ready_rules(watch: WatchRules) -> tuple[ReadyRule, ...]:
    """The rules, ready to be asked of records.

    Raises:
        WatchRulesError: Some can mean nothing; with every problem and its path.
    """
    problems: list[Reason] = []
    found = [
        _ready(rule, f"watch.rules[{index}]", problems) for index, rule in enumerate(watch.rules)
    ]
    names = [rule.name for rule in watch.rules]
    problems += [
        Reason(path=f"watch.rules[{index}].name", rule="is the name of another rule", got=name)
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    if problems:
        raise WatchRulesError("the watch rules cannot be taken", problems)
    return tuple(found)


def is_outside(windows: tuple[ChangeWindow, ...], at_us: int) -> bool:
    """Whether a moment is in none of the windows; without windows every moment is."""
    if not windows:
        return True
    moment = _EPOCH + timedelta(microseconds=at_us)
    return all(end_of_turn(one, moment) is None for one in windows)


def next_rules(
    before: WatchRulesRecord | None,
    command: SetWatchRules,
    *,
    command_id: str,
    actor: Actor,
    at: str,
) -> WatchRulesRecord:
    """The rules as they are to be stored.

    Raises:
        WatchRulesError: Some can mean nothing.
        WatchGenerationError: They are not of the generation that whoever sets them believes.
    """
    ready_rules(command.watch)
    now = before.generation if before is not None else 0
    if command.if_generation not in (None, now):
        rule = "is not the generation of the watch rules"
        reason = Reason(path="if_generation", rule=rule, got=command.if_generation, allowed=now)
        message = f"the watch rules are of generation {now} and not {command.if_generation}"
        raise WatchGenerationError(message, [reason])
    return WatchRulesRecord(
        watch=command.watch,
        generation=now + 1,
        command_id=command_id,
        actor_key=actor.key,
        actor_role=actor.role,
        at=at,
        reason=command.reason,
    )


def rules_event(
    record: WatchRulesRecord, before: WatchRulesRecord | None, *, actor: Actor
) -> EventBody:
    """What the audit log says of it: `generation`, and which rules came, went and changed."""
    old = {one.name: one for one in (before.watch if before else DEFAULT_RULES).rules}
    new = {one.name: one for one in record.watch.rules}
    details = {
        "generation": record.generation,
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
    }
    return EventBody(
        action=SET,
        outcome="accepted",
        correlation=record.command_id,
        actor=actor,
        reason=record.reason,
        before=canonical_digest(before.watch) if before else "",
        after=canonical_digest(record.watch),
        details=details,
    )


def _ready(rule: WatchRule, at: str, problems: list[Reason]) -> ReadyRule:
    problems += window_problems(rule.outside, path=f"{at}.outside")
    return ReadyRule(
        rule=rule,
        where=_expression(rule.where, f"{at}.where", problems),
        by=_path(rule.threshold, f"{at}.threshold.by", problems),
        digest=canonical_digest(msgspec.to_builtins(rule)),
    )


def _expression(text: str, at: str, problems: list[Reason]) -> Expression | None:
    if not text.strip():
        return None
    try:
        return parse_expression(text, path=at)
    except UnreadableExpressionError as error:
        problems += error.reasons
        return None


def _path(threshold: Threshold | None, at: str, problems: list[Reason]) -> tuple[Step, ...]:
    if threshold is None or not threshold.by:
        return ()
    rule = "is no field of a record, as actor.key"
    try:
        read = parse_expression(f"has {threshold.by}", path=at)
    except UnreadableExpressionError:
        read = None
    if isinstance(read, Presence):
        return read.path
    problems.append(Reason(path=at, rule=rule, got=threshold.by))
    return ()
