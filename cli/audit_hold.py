# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit hold`: legal holds, which keep records whatever their age and whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime

import cyclopts
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.audit_log import NO_FILTERS
from cli.audit_query import Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.moments import shown_moment
from cli.people import Names, read_names
from cli.rollout import CommandIdOption, ReasonOption, chosen_id
from cli.session import ask
from shared.contracts.holds import (
    LIST_HOLDS,
    PLACE_HOLD,
    RELEASE_HOLD,
    HoldPlaced,
    HoldReleased,
    HoldSelection,
    HoldShown,
    HoldsShown,
    ListHolds,
    PlaceHold,
    ReleaseHold,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

app = cyclopts.App(name="hold", help="Legal holds: records that nobody may remove.")


@app.command
def place(
    *,
    filters: Filters = NO_FILTERS,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Hold the records that match all filters, also those to come; without a filter, all of them.

    They are neither pruned nor erased until somebody else releases the hold.
    """
    with refusing(json=json):
        selection = _selection(filters, read_names())
        fields = {"selection": {}, "reason": reason, "command_id": chosen_id(command_id)}
        command = convert_document(
            {**fields, "selection": selection}, PlaceHold, what="audit hold place"
        )
    emit(run(ask(PLACE_HOLD, command, credentials), json=json), _placed, json=json)


@app.command
def release(
    hold: str,
    *,
    reason: ReasonOption = "",
    command_id: CommandIdOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Let go of a hold that somebody else placed.

    Parameters
    ----------
    hold
        As `l3af audit hold list` names it.
    """
    with refusing(json=json):
        fields = {"hold": hold, "reason": reason, "command_id": chosen_id(command_id)}
        command = convert_document(fields, ReleaseHold, what="audit hold release")
    emit(run(ask(RELEASE_HOLD, command, credentials), json=json), _released, json=json)


@app.command(name="list")
def list_(
    *, released: bool = False, json: JsonFlag = False, credentials: CredentialsOption = None
) -> None:
    """Show the holds in force.

    Parameters
    ----------
    released
        Also those that hold no more.
    """
    shown = run(ask(LIST_HOLDS, ListHolds(released=released), credentials), json=json)
    names = read_names()
    emit(shown, lambda one: _table(one, names), json=json)


def _selection(filters: Filters, names: Names) -> dict[str, str]:
    """What the filters select, as the contract has it."""
    requests = requests_of(filters, names, now=datetime.now(UTC))
    if len(requests) > 1:
        keys = [one.actor for one in requests]
        reason = Reason(path="--actor", rule="had several keys: name one", allowed=keys)
        raise RefusedError(f"{filters.actor} had several keys: hold each of them", [reason])
    (request,) = requests
    given = {name: getattr(request, name) for name in HoldSelection.__struct_fields__}
    return {name: value for name, value in given.items() if value}


def _placed(one: HoldPlaced) -> RenderableType:
    return Text(f"held by {one.hold}; somebody else releases it")


def _released(one: HoldReleased) -> RenderableType:
    return Text(f"{one.hold} holds no more")


def _table(shown: HoldsShown, names: Names) -> RenderableType:
    if not shown.holds:
        return Text("nothing is held")
    table = Table(box=None, pad_edge=False)
    for column in ("hold", "since", "by", "what", "why"):
        table.add_column(column)
    for one in shown.holds:
        table.add_row(
            one.hold,
            shown_moment(one.placed_at),
            plain(names.get(one.placed_by, one.placed_by[:8])),
            plain(_what(one)),
            plain(one.reason),
            style="dim" if one.released_record is not None else "",
        )
    return table


def _what(one: HoldShown) -> str:
    given = ((name, getattr(one.selection, name)) for name in HoldSelection.__struct_fields__)
    said = ", ".join(f"{name} {value}" for name, value in given if value) or "everything"
    return f"{said} (released)" if one.released_record is not None else said
