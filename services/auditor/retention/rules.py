# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a retention rule means, whether it can mean anything, and what no rule lets go of.

Pure.

Rules:
 * Until somebody sets rules, everything is kept for ever; whoever sets some sets them all.
 * The first rule that a record matches decides.  Age is counted from when the log received it: what
   an emitter says of the time makes nothing older.
 * What the auditor says of the log itself is kept, whatever rules say: without it nobody could tell
   what was removed, what is held, which keys sign.  STATISTICS are the exception.
 * What findings are made of is kept: an answer about them would be another one, and could not say
   so.
 * What was told to no audience that there can be is kept: nobody could be told that it went.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Final

import msgspec

from services.auditor.compliance.facts import COMPLIANCE_ACTIONS
from services.auditor.disclosure import audience_of
from services.auditor.expressions import Expression, UnreadableExpressionError, parse_expression
from services.auditor.matching import matches, stored_document
from services.auditor.query import StoredRecord
from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, Envelope, EventBody
from shared.contracts.retention import (
    RetentionRecord,
    RetentionRule,
    RetentionRules,
    SetRetention,
)
from shared.errors import Reason, RefusedError

SET: Final = "retention.set"
STATISTICS: Final = frozenset({"log.read", "log.checkpoint", "watch.alert"})
"""What the auditor says again and again, and nothing depends on."""
DAY_US: Final = 86_400_000_000
_AUDIENCE: Final = re.compile(r"public|[pr]_[a-z0-9-]{1,63}")
_TYPE_PREFIX: Final = "org.l3af.v1."


class RetentionError(RefusedError):
    """A rule can mean nothing."""

    code: ClassVar[ErrorCode] = "invalid_request"


class RetentionGenerationError(RefusedError):
    """Somebody else set rules meanwhile."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class ReadyRule:
    """A rule that can be asked of records."""

    rule: RetentionRule
    where: Expression | None

    @property
    def keep_us(self) -> int | None:
        """How long its records are kept; None: for ever."""
        return None if self.rule.keep_days is None else self.rule.keep_days * DAY_US


def ready_rules(retention: RetentionRules) -> tuple[ReadyRule, ...]:
    """The rules, ready to be asked.

    Raises:
        RetentionError: Some can mean nothing; with every problem and its path.
    """
    problems: list[Reason] = []
    found = []
    names: list[str] = []
    for place, rule in enumerate(retention.rules):
        at = f"retention.rules[{place}]"
        where = None
        try:
            if rule.where.strip():
                where = parse_expression(rule.where, path=f"{at}.where")
        except UnreadableExpressionError as error:
            problems += error.reasons
        if rule.name in names:
            name = Reason(path=f"{at}.name", rule="is the name of another rule", got=rule.name)
            problems.append(name)
        names.append(rule.name)
        found.append(ReadyRule(rule, where))
    if problems:
        raise RetentionError("the retention rules cannot be taken", problems)
    return tuple(found)


def check_archive(retention: RetentionRules, *, has_archive: bool) -> None:
    """There is a place for what the rules archive.

    Raises:
        RetentionError: There is none.
    """
    problems = [
        Reason(path=f"retention.rules[{place}].archive", rule="AUDITOR_ARCHIVE_DIR is not set")
        for place, rule in enumerate(retention.rules)
        if rule.archive and not has_archive
    ]
    if problems:
        raise RetentionError("the auditor has no place for an archive", problems)


def deciding_rule(rules: Sequence[ReadyRule], record: StoredRecord) -> ReadyRule | None:
    """The rule that decides how long a record is kept; None: it is kept for ever."""
    emitter, action = _said_by(record.leaf)
    if emitter == "auditor" and action not in STATISTICS:
        return None
    if action in COMPLIANCE_ACTIONS.get(emitter, ()):
        return None
    if not _AUDIENCE.fullmatch(audience_of(record.leaf)):
        return None
    for one in rules:
        is_named = any(fnmatchcase(action, glob) for glob in one.rule.actions)
        if is_named and (one.where is None or matches(one.where, stored_document(record))):
            return one if one.rule.keep_days is not None else None
    return None


def shortest_keep_us(rules: Sequence[ReadyRule]) -> int | None:
    """What is younger than this no rule lets go of; None: there is no rule that does."""
    ages = [one.keep_us for one in rules if one.keep_us is not None]
    return min(ages, default=None)


def next_rules(
    before: RetentionRecord | None,
    command: SetRetention,
    *,
    command_id: str,
    actor: Actor,
    at: str,
) -> RetentionRecord:
    """The rules as they are to be stored.

    Raises:
        RetentionError: Some can mean nothing, or nobody says why.
        RetentionGenerationError: They are not of the generation that whoever sets them believes.
    """
    ready_rules(command.retention)
    if not command.reason.strip():
        reason = Reason(path="reason", rule="says why records are kept for so long", got="")
        raise RetentionError("the retention rules need a reason", [reason])
    now = before.generation if before is not None else 0
    if command.if_generation not in (None, now):
        rule = "is not the generation of the retention rules"
        reason = Reason(path="if_generation", rule=rule, got=command.if_generation, allowed=now)
        message = f"the retention rules are of generation {now} and not {command.if_generation}"
        raise RetentionGenerationError(message, [reason])
    return RetentionRecord(
        retention=command.retention,
        generation=now + 1,
        command_id=command_id,
        actor_key=actor.key,
        actor_role=actor.role,
        at=at,
        reason=command.reason,
    )


def rules_event(
    record: RetentionRecord, before: RetentionRecord | None, *, actor: Actor
) -> EventBody:
    """What the audit log says of it: `generation`, and the rules as they are from now on."""
    return EventBody(
        action=SET,
        outcome="accepted",
        correlation=record.command_id,
        actor=actor,
        reason=record.reason,
        before=canonical_digest(before.retention) if before else "",
        after=canonical_digest(record.retention),
        details={
            "generation": record.generation,
            "retention": msgspec.to_builtins(record.retention),
        },
    )


def _said_by(leaf: bytes) -> tuple[str, str]:
    """Emitter and action; of what was not believed neither."""
    try:
        envelope = msgspec.json.decode(leaf, type=Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", ""
    action, _, _ = envelope.type.removeprefix(_TYPE_PREFIX).rpartition(".")
    return envelope.emitter, action
