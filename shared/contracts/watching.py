# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Watch rules: which records of the log somebody wants to be told of, as alerts in the stream."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.rollouts import ChangeWindow
from shared.identifiers import Token

MAX_RULES: Final = 100
RULES_KEY: Final = "rules"
STATE_KEY: Final = "state"
ALERT: Final = "watch.alert"

AlertSeverity = Literal["low", "medium", "high", "critical"]
ActionGlob = Annotated[str, Meta(pattern=r"^[a-z*?\[\]!.-]{1,64}(?!\n)$")]


class Threshold(Document, frozen=True, kw_only=True):
    """How many matching records make one alert."""

    count: Annotated[int, Meta(ge=2, le=1000)]
    within_seconds: Annotated[int, Meta(ge=1, le=86_400)]
    """By when the log received them."""
    by: Annotated[str, Meta(max_length=200)] = ""
    """Field whose values are counted apart, as `actor.key`; a record without it does not count.
    Empty: all are counted together."""


class WatchRule(Document, frozen=True, kw_only=True):
    """Which records are alarming: all that is said must hold."""

    name: Token
    actions: Annotated[tuple[ActionGlob, ...], Meta(min_length=1, max_length=32)] = ("*",)
    """What happened: one of these, or globs."""
    where: Annotated[str, Meta(max_length=2000)] = ""
    """An expression over the record's fields, as the audit log is asked with."""
    outside: Annotated[tuple[ChangeWindow, ...], Meta(max_length=32)] = ()
    """Only what happened in none of these, by the emitter's clock; none: at any time."""
    threshold: Threshold | None = None
    """Null: every record is an alert."""
    severity: AlertSeverity = "medium"
    summary: Annotated[str, Meta(max_length=300)] = ""
    """What it means; in every alert."""


class WatchRules(Document, frozen=True, kw_only=True):
    """Everything that is watched for."""

    rules: Annotated[tuple[WatchRule, ...], Meta(max_length=MAX_RULES)] = ()


class WatchRulesRecord(Message, frozen=True, kw_only=True):
    """KV `watch_rules`, key `rules`."""

    watch: WatchRules
    generation: int
    """Up by one with every accepted command."""
    command_id: str
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""


class WatchWindow(Message, frozen=True, kw_only=True):
    """What was counted for one rule with a threshold, in one audience, of one value."""

    rule: str
    audience: str
    value: str = ""
    times_us: tuple[int, ...]
    """Of the last matching records, ascending; microseconds since 1970."""
    said: bool = False
    """Whether an alert was said and the count has not gone below the threshold since."""


class WatchState(Message, frozen=True, kw_only=True):
    """KV `watch_state`, key `state`: how far the log was looked at."""

    position: int
    """Records before this one were looked at."""
    rules: dict[str, str] = {}
    """By name, the digest of each rule that the windows belong to."""
    windows: tuple[WatchWindow, ...] = ()


WATCH_RULES: Final = Bucket("watch_rules", WatchRulesRecord)
WATCH_STATE: Final = Bucket("watch_state", WatchState, is_synced=False)


class GetWatchRules(Request, frozen=True, kw_only=True):
    """What is watched for."""


class WatchRulesShown(Message, frozen=True, kw_only=True):
    """The rules in force, and who set them."""

    watch: WatchRules
    generation: int = 0
    """0: nobody ever set any, and those of the release are in force."""
    actor_key: str = ""
    actor_role: str = ""
    at: str = ""
    reason: str = ""
    behind: int = 0
    """Records that were not looked at yet."""


class SetWatchRules(Command, frozen=True, kw_only=True):
    """Watch for these from now on; what was recorded before is not looked at again."""

    watch: WatchRules
    if_generation: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """What the generation must be, so that nobody's change is overwritten unseen; null: any."""


class WatchRulesSet(Accepted, frozen=True, kw_only=True):
    """In force."""

    generation: int


GET_WATCH_RULES: Final = Endpoint(f"{API}.auditor.watch.get", GetWatchRules, WatchRulesShown)
SET_WATCH_RULES: Final = Endpoint(f"{API}.auditor.watch.set", SetWatchRules, WatchRulesSet)
