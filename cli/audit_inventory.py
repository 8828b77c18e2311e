# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit as-of|diff|ran`: what ran where at a moment, rebuilt from the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run
from cli.log_pages import every_page
from cli.moments import parse_moment
from cli.people import Names, read_names, render_actor
from cli.session import connected
from services.auditor.inventory import differing
from shared.adapters.bus import Bus
from shared.contracts.events import Actor
from shared.contracts.inventory import (
    FIND_RUNS,
    GET_INVENTORY,
    FindRuns,
    GetInventory,
    HookPlace,
    HookRun,
    InventoryShown,
    Run,
    RunningProgram,
    RunsFound,
)
from shared.errors import Reason, RefusedError
from shared.validation import convert_document

SHOWN_DIGITS: Final = 12

TimeArgument = Annotated[str, Parameter(help="Ago (1h, 7d), a date, or RFC 3339.")]
NodeOption = Annotated[str, Parameter(help="Only this node.")]


class PlaceDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One hook point where something else ran; null: nothing of ours."""

    place: HookPlace
    before: HookRun | None
    after: HookRun | None


class InventoryDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What `audit diff --json` prints."""

    before: str
    after: str
    differences: tuple[PlaceDifference, ...]


def as_of(
    time: TimeArgument,
    /,
    *,
    node: NodeOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What ran then on every hook point, in which order and under which licences.

    It is rebuilt from what nodes wrote into the log, by their own clocks, and compared with what
    they read back; asking is recorded too.
    """
    with refusing(json=json):
        at = required_moment(time, path="TIME")

    async def asked() -> InventoryShown:
        async with connected(credentials) as bus:
            return await inventory_at(bus, at, node)

    names = read_names()
    emit(run(asked(), json=json), lambda shown: _render_inventory(shown, names), json=json)


def diff(
    before: TimeArgument,
    after: TimeArgument,
    /,
    *,
    node: NodeOption = "",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Hook points where something else ran at the second time than at the first."""
    with refusing(json=json):
        moments = required_moment(before, path="BEFORE"), required_moment(after, path="AFTER")

    async def asked() -> InventoryDifference:
        async with connected(credentials) as bus:
            old, new = [await inventory_at(bus, at, node) for at in moments]
        return InventoryDifference(
            before=old.at,
            after=new.at,
            differences=tuple(
                PlaceDifference(place=one.place, before=was, after=is_now)
                for was, is_now in differing(old.hook_points, new.hook_points)
                if (one := was or is_now) is not None
            ),
        )

    emit(run(asked(), json=json), _render_difference, json=json)


def ran(
    digest: str,
    /,
    *,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """On which nodes something with this digest ever ran, from when to when.

    Parameters
    ----------
    digest
        SHA-256 of an archive, of an object or of a chain's plan, or a kernel program's tag.
    """
    with refusing(json=json):
        request = convert_document({"digest": digest}, FindRuns, what="audit ran")

    async def asked() -> RunsFound:
        async with connected(credentials) as bus:
            pages = await every_page(bus, FIND_RUNS, request, lambda page: len(page.runs))
        runs = tuple(one for page in pages for one in page.runs)
        return msgspec.structs.replace(pages[-1], runs=runs, next=None)

    emit(run(asked(), json=json), _render_runs, json=json)


async def inventory_at(bus: Bus, at: str, node: str) -> InventoryShown:
    """What ran at a moment, all pages together."""
    request = convert_document({"at": at, "node": node}, GetInventory, what="audit as-of")
    pages = await every_page(bus, GET_INVENTORY, request, lambda page: len(page.hook_points))
    found = tuple(one for page in pages for one in page.hook_points)
    return msgspec.structs.replace(pages[-1], hook_points=found, next=None)


def required_moment(text: str, *, path: str) -> str:
    """The moment that a text means, RFC 3339.

    Raises:
        RefusedError: It means none, or is empty.
    """
    moment = parse_moment(text, now=datetime.now(UTC), path=path)
    if not moment:
        raise RefusedError(f"{path}: cannot be read", [Reason(path=path, rule="is empty")])
    return moment


def _render_inventory(shown: InventoryShown, names: Names) -> RenderableType:
    if not shown.hook_points:
        return Text(f"nothing ran at {shown.at} ({shown.tree_size} records in the log)")
    table = _table("hook point", "#", "program", "archive", "licence", "since", "who", "record")
    remarks = []
    for one in shown.hook_points:
        who = render_actor(
            Actor(key=one.actor_key, role=one.actor_role, attested=True) if one.actor_key else None,
            names,
        )
        for row in _program_rows(one):
            table.add_row(*map(plain, (*row, one.since, who, str(one.record))))
        if one.difference:
            remarks.append(plain(f"{_place(one.place)}: {one.difference} (record {one.record})"))
    end = f"{len(shown.hook_points)} hook points at {shown.at}"
    return Group(table, *(Text(remark, style="yellow") for remark in remarks), Text(end, "dim"))


def _render_difference(found: InventoryDifference) -> RenderableType:
    if not found.differences:
        return Text(f"the same ran at {found.before} and at {found.after}")
    table = _table("hook point", found.before, found.after)
    for one in found.differences:
        table.add_row(*map(plain, (_place(one.place), _chain(one.before), _chain(one.after))))
    return Group(table, Text(f"{len(found.differences)} hook points differ", style="dim"))


def _render_runs(found: RunsFound) -> RenderableType:
    pruned = found.pruned_before
    since = f" since {pruned}: what was before was pruned" if pruned else ""
    if not found.runs:
        return Text(f"it never ran{since} ({found.tree_size} records in the log)")
    table = _table("hook point", "since", "until", "records")
    for one in found.runs:
        table.add_row(
            *map(plain, (_place(one.place), one.since, one.until or "it runs", _records(one)))
        )
    nodes = len({one.place.node for one in found.runs})
    return Group(table, Text(f"{len(found.runs)} times on {nodes} nodes{since}", style="dim"))


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(plain(heading), header_style="bold", overflow="fold")
    return table


def _program_rows(one: HookRun) -> Iterable[tuple[str, str, str, str, str]]:
    programs: Sequence[RunningProgram] = one.reading.running or ()
    if not programs:
        yield _place(one.place), "", f"unknown, tag {one.reading.program_tag}", "", ""
    for position, program in enumerate(programs, start=1):
        yield (
            _place(one.place) if position == 1 else "",
            str(position),
            f"{program.deployment}: {program.package} {program.version} {program.program}",
            program.archive_sha256[:SHOWN_DIGITS],
            _licence(program),
        )


def _licence(program: RunningProgram) -> str:
    licence = program.licence
    if licence is None:
        return ""
    kernel = "GPL-compatible" if licence.gpl_compatible else "not GPL-compatible"
    return f"{licence.elected or licence.declared or 'not stated'} ('{licence.elf}', {kernel})"


def _chain(one: HookRun | None) -> str:
    if one is None:
        return "nothing"
    programs: Iterable[Any] = one.reading.running or ()
    return " → ".join(f"{each.package} {each.version}" for each in programs) or "unknown"


def _place(place: HookPlace) -> str:
    return "/".join(part for part in (place.node, place.netns, place.interface, place.hook) if part)


def _records(one: Run) -> str:
    return (
        f"{one.record} to {one.until_record}" if one.until_record is not None else str(one.record)
    )
