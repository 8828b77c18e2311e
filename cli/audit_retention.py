# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit retention` and `l3af audit prune`: how long records are kept, and removing them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, progress, refusing, run
from cli.kept_documents import SETTING_DEFAULTS, SettingOptions, setting, who_set
from cli.retention_document import read_retention
from cli.rollout import ReasonOption
from cli.session import ask, connected
from services.auditor.retention.rules import ready_rules
from shared.contracts.retention import (
    GET_RETENTION,
    PRUNE_RECORDS,
    SET_RETENTION,
    GetRetention,
    PruneRecords,
    RecordsPruned,
    RetentionSet,
    RetentionShown,
    SetRetention,
)
from shared.validation import convert_document

STEP_SECONDS = 600.0
"""How long one answer may take: many records are looked at for it."""

app = cyclopts.App(name="retention", help="How long records are kept.")


@app.command
def show(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show the rules in force, and who set them."""
    shown = run(ask(GET_RETENTION, GetRetention(), credentials), json=json)
    emit(shown, _shown, json=json)


@app.command(name="set")
def set_(file: Path, *, options: SettingOptions = SETTING_DEFAULTS) -> None:
    """Keep records for as long as a file says from now on (administrators); removes nothing.

    Parameters
    ----------
    file
        TOML, or YAML or JSON by the end of its name.  It replaces all rules.
    """
    with refusing(json=options.json):
        retention = read_retention(file)
        ready_rules(retention)
        command = setting(SetRetention, options, what="retention rules", retention=retention)
    done = run(ask(SET_RETENTION, command, options.credentials), json=options.json)
    emit(done, _set, json=options.json)


def prune(
    *,
    dry_run: Annotated[bool, Parameter(help="Say what would be removed, and do nothing.")] = False,
    reason: ReasonOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Remove the records that the rules in force let go of (administrators).

    What a legal hold covers stays.  Proofs of all other records stay as they are.
    """
    with refusing(json=json):
        fields = {"dry_run": dry_run, "reason": reason}
        request = convert_document(fields, PruneRecords, what="audit prune")

    async def pruned() -> RecordsPruned:
        counts: Counter[str] = Counter()
        held = examined = position = 0
        async with connected(credentials) as bus:
            with progress("records looked at") as advance:
                while True:
                    asked = PruneRecords(
                        dry_run=request.dry_run, reason=request.reason, position=position
                    )
                    one = await bus.request(PRUNE_RECORDS, asked, timeout_seconds=STEP_SECONDS)
                    counts.update(one.by_rule)
                    held += one.held
                    examined += one.examined
                    advance(examined)
                    if one.position is None:
                        return RecordsPruned(
                            by_rule=dict(counts),
                            held=held,
                            examined=examined,
                            tree_size=one.tree_size,
                        )
                    position = one.position

    emit(
        run(pruned(), json=json),
        lambda one: _pruned(one, would="would be " if dry_run else ""),
        json=json,
    )


def _shown(shown: RetentionShown) -> RenderableType:
    if not shown.generation:
        return Text("every record is kept for ever: nobody ever set rules")
    table = Table(box=None, pad_edge=False)
    for column in ("rule", "actions", "where", "kept"):
        table.add_column(column)
    for rule in shown.retention.rules:
        kept = "for ever" if rule.keep_days is None else f"{rule.keep_days} days"
        table.add_row(rule.name, " ".join(rule.actions), plain(rule.where), kept)
    table.add_row("", "all else", "", "for ever")
    when = "once a day" if shown.retention.daily else "when `l3af audit prune` says so"
    return Group(table, Text(f"pruned {when}"), Text(who_set(shown), style="dim"))


def _set(one: RetentionSet) -> RenderableType:
    return Text(f"retention rules of generation {one.generation} are in force")


def _pruned(one: RecordsPruned, *, would: str) -> RenderableType:
    counts = sorted(one.by_rule.items())
    lines = [f"{rule}: {count} records {would}pruned" for rule, count in counts]
    lines += [] if one.by_rule else [f"nothing {would}pruned"]
    if one.held:
        lines.append(f"{one.held} are old enough and held")
    return Text("\n".join([*lines, f"{one.examined} records looked at"]))
