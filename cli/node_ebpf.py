# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node ebpf`: every eBPF program on a node, whoever loaded it, read from its kernel."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_view import program_text
from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.node_request import request_of_node
from cli.session import connected
from shared.contracts.ebpf import (
    LIST_EBPF,
    EbpfAttachment,
    EbpfListed,
    EbpfOwner,
    EbpfProgram,
    ListEbpf,
)
from shared.identifiers import parse_token


def ebpf(
    node: NodeArgument,
    /,
    *,
    unmanaged: Annotated[
        bool,
        Parameter(name="--unmanaged", negative=(), help="Only what the executor did not load."),
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Every eBPF program of a node: id, type, licence bit, owner, names, where it is attached."""

    async def listed() -> EbpfListed:
        name = parse_token(node, path="node")
        pages: list[EbpfListed] = []
        async with connected(credentials) as bus:
            while not pages or pages[-1].has_more:
                last = pages[-1].programs[-1].id if pages and pages[-1].programs else 0
                request = ListEbpf(after_id=last, only_unmanaged=unmanaged)
                pages.append(await request_of_node(bus, LIST_EBPF, name, request))
                if not pages[-1].programs:
                    break
        return joined(pages)

    emit(run(listed(), json=json), render_programs, json=json)


def joined(pages: list[EbpfListed]) -> EbpfListed:
    """All pages as one; the totals are those of the last."""
    programs = tuple(program for page in pages for program in page.programs)
    notes = tuple(dict.fromkeys(note for page in pages for note in page.notes))
    return msgspec.structs.replace(pages[-1], programs=programs, notes=notes, has_more=False)


def render_programs(listed: EbpfListed) -> RenderableType:
    """A line for each program, and what was not looked at."""
    foreign = listed.total - listed.managed_total
    summary = f"{listed.node}: {listed.total} programs, {foreign} not managed by L3AF"
    parts: list[RenderableType] = [Text(summary, style="bold")]
    if listed.programs:
        table = Table(box=None, pad_edge=False)
        for heading in ("id", "type", "name", "tag", "GPL", "role", "owner", "attached", "pinned"):
            table.add_column(heading, header_style="bold")
        for program in listed.programs:
            table.add_row(*_cells(program))
        parts.append(table)
    parts += [Text(f"note: {plain(note)}", style="yellow") for note in listed.notes]
    return Group(*parts)


def _cells(program: EbpfProgram) -> list[str | Text]:
    return [
        str(program.id),
        plain(program.type),
        program_text(plain(program.name), restricted=program.restricted),
        program.tag,
        "yes" if program.gpl_compatible else "no",
        plain(program.role) if program.managed else Text("not managed", style="yellow"),
        _some([_owner(one) for one in program.owners], program.owner_count),
        _some([_attachment(one) for one in program.attachments], program.attachment_count),
        _some([plain(pin) for pin in program.pins], program.pin_count),
    ]


def _owner(owner: EbpfOwner) -> str:
    return plain(f"{owner.command} ({owner.pid})")


def _attachment(one: EbpfAttachment) -> str:
    link = f" (link {one.link_id})" if one.link_id else " (no link)"
    return plain(f"{one.target or one.kind}{link}")


def _some(named: list[str], count: int) -> str:
    """Those that are named, one a line, and how many more there are."""
    more = [f"and {count - len(named)} more"] if count > len(named) else []
    return "\n".join(named + more)
