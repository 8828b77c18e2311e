# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit watch`: what the auditor watches the log for, and what it would have found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_log import NO_FILTERS, ScanLimitOption, searching
from cli.audit_query import SCAN_LIMIT, Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.kept_documents import SETTING_DEFAULTS, SettingOptions, setting, who_set
from cli.moments import shown_moment
from cli.people import read_names
from cli.session import ask, connected
from cli.watch_document import read_watch_rules
from services.auditor.records import render_time_us
from services.auditor.watching.evaluation import Alert, Watcher, seen_record
from services.auditor.watching.rules import ready_rules
from shared.contracts.watching import (
    GET_WATCH_RULES,
    SET_WATCH_RULES,
    GetWatchRules,
    SetWatchRules,
    WatchRules,
    WatchRulesSet,
    WatchRulesShown,
)

ALERTS_SHOWN = 200
"""In a table; --json has all."""

app = cyclopts.App(name="watch", help="What the log is watched for; alerts are events.")


class AlertFound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One alert that there would have been."""

    rule: str
    severity: str
    record: int
    at: str
    """When it happened, RFC 3339 UTC."""
    count: int = 1
    value: str = ""
    about: dict[str, str] = {}


class WatchTried(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `watch test --json` prints."""

    alerts: tuple[AlertFound, ...]
    scanned: int
    tree_size: int
    by_rule: dict[str, int]
    """How many of each rule; 0 too."""
    position: int | None = None
    """Where it stopped before the end: `--after` goes on there."""


@app.command
def show(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show the rules in force, and who set them.

    With --json, what is under `watch` is what `set` takes.
    """
    shown = run(ask(GET_WATCH_RULES, GetWatchRules(), credentials), json=json)
    emit(shown, _shown, json=json)


@app.command(name="set")
def set_(file: Path, *, options: SettingOptions = SETTING_DEFAULTS) -> None:
    """Watch for what a file says from now on, and for nothing else (administrators).

    Parameters
    ----------
    file
        TOML, or YAML or JSON by the end of its name.  It replaces all rules.
    """
    with refusing(json=options.json):
        watch = read_watch_rules(file)
        ready_rules(watch)
        command = setting(SetWatchRules, options, what="watch rules", watch=watch)
    answer = run(ask(SET_WATCH_RULES, command, options.credentials), json=options.json)
    emit(answer, _set, json=options.json)


@app.command(name="test")
def try_(
    file: Path | None = None,
    *,
    since: Annotated[
        str, Parameter(help="From then on: 1h, 7d, 2026-01-02, '2026-01-02 09:00', RFC 3339.")
    ] = "7d",
    until: Annotated[str, Parameter(help="Before then.")] = "",
    after: Annotated[int | None, Parameter(help="Only records with a greater number.")] = None,
    scan_limit: ScanLimitOption = SCAN_LIMIT,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What the rules would have found in what was recorded; reading it is recorded too.

    Parameters
    ----------
    file
        Rules; left out: those in force.
    """
    with refusing(json=json):
        offered = read_watch_rules(file) if file is not None else None
        ready_rules(offered or WatchRules())
        filters = Filters(since=since, until=until)
        requests = requests_of(
            filters if since or until else NO_FILTERS,
            read_names(),
            now=datetime.now(UTC),
            order="oldest",
            after_index=after,
        )

    async def tried() -> WatchTried:
        async with connected(credentials) as bus:
            watch = offered
            if watch is None:
                watch = (await bus.request(GET_WATCH_RULES, GetWatchRules())).watch
            watcher, found = Watcher(ready_rules(watch)), list[Alert]()
            with searching() as advance:
                answer = Answer(bus, requests, scan_limit=scan_limit, advance=advance)
                async for record in answer.records():
                    seen = seen_record(record)
                    found += watcher.take(seen) if seen is not None else ()
            return WatchTried(
                alerts=tuple(map(_found, found)),
                scanned=answer.count,
                tree_size=answer.tree_size,
                by_rule={
                    one.name: sum(alert.rule.name == one.name for alert in found)
                    for one in watch.rules
                },
                position=answer.position,
            )

    emit(run(tried(), json=json), _tried, json=json)


def _found(alert: Alert) -> AlertFound:
    return AlertFound(
        rule=alert.rule.name,
        severity=alert.rule.severity,
        record=alert.index,
        at=render_time_us(alert.at_us),
        count=alert.count,
        value=alert.value,
        about=dict(alert.about),
    )


def _set(reply: WatchRulesSet) -> RenderableType:
    return Text(f"the log is watched for this, generation {reply.generation}")


def _shown(shown: WatchRulesShown) -> RenderableType:
    if shown.generation:
        head = Text(who_set(shown))
    else:
        head = Text("nobody set any: these are the rules of this release")
    table = Table("rule", "severity", "actions", "where", "threshold", "means", box=None)
    for rule in shown.watch.rules:
        threshold = ""
        if rule.threshold is not None:
            by = f" by {rule.threshold.by}" if rule.threshold.by else ""
            threshold = f"{rule.threshold.count} in {rule.threshold.within_seconds} s{by}"
        cells = (rule.name, rule.severity, " ".join(rule.actions), rule.where, threshold)
        table.add_row(*map(plain, (*cells, rule.summary)))
    parts: list[RenderableType] = [head, table]
    if shown.behind:
        parts.append(Text(f"{shown.behind} records were not looked at yet", style="yellow"))
    return Group(*parts)


def _tried(tried: WatchTried) -> RenderableType:
    table = Table("record", "at", "rule", "severity", "count", "about", box=None)
    for one in tried.alerts[:ALERTS_SHOWN]:
        named = [f"{name} {value}" for name, value in one.about.items()]
        about = ", ".join([*named, *([one.value] if one.value else [])])
        count = str(one.count) if one.count > 1 else ""
        cells = (str(one.record), shown_moment(one.at), one.rule, one.severity, count, about)
        table.add_row(*map(plain, cells))
    totals = ", ".join(f"{name} {count}" for name, count in tried.by_rule.items()) or "no rules"
    parts: list[RenderableType] = [table] if tried.alerts else []
    if len(tried.alerts) > ALERTS_SHOWN:
        parts.append(Text(f"and {len(tried.alerts) - ALERTS_SHOWN} more: --json has all"))
    end = "" if tried.position is None else f"; --after {tried.position} goes on"
    parts.append(Text(f"{len(tried.alerts)} alerts in {tried.scanned} records ({totals}){end}"))
    return Group(*parts)
