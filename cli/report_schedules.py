# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit report schedule`: which reports are made by themselves, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.kept_documents import SETTING_DEFAULTS, SettingOptions, setting, who_set
from cli.moments import shown_moment
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask
from cli.written_document import ApiVersion, read_written
from shared.contracts.events import PUBLIC
from shared.contracts.reports import (
    LIST_SCHEDULES,
    REMOVE_SCHEDULE,
    SET_SCHEDULE,
    ListSchedules,
    RemoveSchedule,
    ReportSchedule,
    ScheduleList,
    ScheduleRemoved,
    ScheduleSet,
    ScheduleView,
    SetSchedule,
)
from shared.validation import convert_document

app = cyclopts.App(name="schedule", help="Reports that are made by themselves.")

ReportSpaceOption = Annotated[str, Parameter(help="Whose report it is; else everybody's.")]


class ScheduleDocument(ReportSchedule, frozen=True, kw_only=True):
    """A schedule and the version of the form that it is written in."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""


@app.command
def show(*, json: JsonFlag = False, credentials: CredentialsOption = None) -> None:
    """Show which reports are made, when the next is due, and who set that."""
    shown = run(ask(LIST_SCHEDULES, ListSchedules(), credentials), json=json)
    emit(shown, _shown, json=json)


@app.command(name="set")
def set_(file: Path, *, options: SettingOptions = SETTING_DEFAULTS) -> None:
    """Have a report made again and again from now on (administrators).

    Parameters
    ----------
    file
        TOML, or YAML or JSON by the end of its name.  It replaces the schedule of its name.
    """
    with refusing(json=options.json):
        schedule = read_schedule(file)
        command = setting(SetSchedule, options, what="report schedule", schedule=schedule)
    answer = run(ask(SET_SCHEDULE, command, options.credentials), json=options.json)
    emit(answer, lambda reply: _set(reply, schedule), json=options.json)


@app.command
def remove(
    name: str,
    *,
    space: ReportSpaceOption = PUBLIC,
    with_reports: Annotated[
        bool, Parameter(help="Remove those that were made, too.", negative=())
    ] = False,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Have a report made no more (administrators); those that were made stay."""
    fields = {
        "name": name,
        "space": space,
        "with_reports": with_reports,
        "reason": reason,
        "command_id": chosen_id(command_id),
    }
    with refusing(json=json):
        command = convert_document(fields, RemoveSchedule, what="report schedule remove")
    emit(run(ask(REMOVE_SCHEDULE, command, credentials), json=json), _removed, json=json)


def read_schedule(file: Path) -> ReportSchedule:
    """The schedule in a file: YAML and JSON by the end of its name, all else is TOML.

    Raises:
        RefusedError: With every problem and its path.
    """
    written = read_written(file, ScheduleDocument, noun="a report schedule")
    fields = {one: getattr(written, one) for one in ReportSchedule.__struct_fields__}
    return ReportSchedule(**fields)


def _set(reply: ScheduleSet, schedule: ReportSchedule) -> RenderableType:
    return Text(f"{schedule.name} is made from now on, generation {reply.generation}")


def _removed(reply: ScheduleRemoved) -> RenderableType:
    return Text(f"it is made no more, generation {reply.generation}")


def _shown(shown: ScheduleList) -> RenderableType:
    if not shown.schedules:
        return Text("no report is made by itself")
    table = Table("report", "of", "covers", "when", "next", "kept", box=None, pad_edge=False)
    lines = []
    for one in shown.schedules:
        table.add_row(*map(plain, _row(one)))
        lines.append(Text(plain(f"{one.schedule.name}: {who_set(one)}"), style="dim"))
    return Group(table, *lines)


def _row(one: ScheduleView) -> tuple[str, ...]:
    schedule = one.schedule
    name = schedule.name + (f" ({schedule.space})" if schedule.space != PUBLIC else "")
    said = msgspec.to_builtins(schedule.report)
    options = " ".join(f"{key} {value}" for key, value in said.items() if key != "kind")
    when = f"{schedule.cron} {schedule.time_zone}"
    due = shown_moment(one.next_due) if one.next_due else "never"
    return name, f"{said['kind']} {options}".strip(), schedule.covers, when, due, str(schedule.keep)
