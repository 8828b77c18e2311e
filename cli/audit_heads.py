# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit heads`: which heads of the log the nodes know, and whether the log holds them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from rich.table import Table

from cli.audit_growth import newest_head
from cli.console import (
    REFUSED,
    CredentialsOption,
    JsonFlag,
    emit,
    plain,
    refusing,
    run,
)
from cli.node_pages import all_nodes
from cli.node_request import request_of_node
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.log_heads import GET_KNOWN_HEAD, GetKnownHead, KnownHead
from shared.errors import FaultError, RefusedError

Standing = Literal["held", "contradicted", "silent", "none", "unknown"]
"""`held`: the log begins with what the node knows.  `contradicted`: it does not.  `silent`: the
node does not answer.  `none`: it was given no head yet.  `unknown`: the auditor does not answer."""


class HeadOfNode(msgspec.Struct, frozen=True, kw_only=True):
    """What one node knows."""

    node: str
    standing: Standing
    tree_size: int = 0
    given_at: str = ""
    why: str = ""
    checkpoint: str = ""


def heads(
    nodes: Annotated[list[str] | None, Parameter(help="Only these; without: every node.")] = None,
    /,
    *,
    out: Annotated[
        Path | None,
        Parameter(help="A directory for the heads, for `l3af audit verify --store --checkpoint`."),
    ] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Ask nodes which head of the log they know, and the auditor whether its log holds them."""

    async def asked() -> list[HeadOfNode]:
        async with connected(credentials) as bus:
            names = nodes or await _every_node(bus)
            return list(await asyncio.gather(*(_standing(bus, name) for name in names)))

    found = run(asked(), json=json)
    if out is not None:
        with refusing(json=json):
            _write(out, found)
    emit(found, render_heads, json=json)
    if any(one.standing == "contradicted" for one in found):
        sys.exit(REFUSED)


def render_heads(found: list[HeadOfNode]) -> Table:
    """A line for each node."""
    shown = Table("node", "records", "given at", "standing", box=None)
    for one in found:
        standing = f"{one.standing}: {plain(one.why)}" if one.why else one.standing
        size = str(one.tree_size) if one.checkpoint else ""
        shown.add_row(plain(one.node), size, plain(one.given_at), standing)
    return shown


async def _every_node(bus: Bus) -> list[str]:
    listed = await all_nodes(bus)
    return [one.node for one in listed.nodes]


async def _standing(bus: Bus, name: str) -> HeadOfNode:
    try:
        known = await request_of_node(bus, GET_KNOWN_HEAD, name, GetKnownHead())
    except FaultError as fault:
        return HeadOfNode(node=name, standing="silent", why=fault.message)
    if not known.checkpoint:
        return HeadOfNode(node=name, standing="none")
    standing, why = await _compared(bus, known)
    return HeadOfNode(
        node=name,
        standing=standing,
        tree_size=known.tree_size,
        given_at=known.given_at,
        why=why,
        checkpoint=known.checkpoint,
    )


async def _compared(bus: Bus, known: KnownHead) -> tuple[Standing, str]:
    try:
        await newest_head(bus, known.checkpoint)
    except FaultError as fault:
        return "unknown", fault.message
    except RefusedError as error:
        return "contradicted", error.message
    return "held", ""


def _write(directory: Path, found: list[HeadOfNode]) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for one in found:
            if one.checkpoint:
                (directory / f"{one.node}.txt").write_text(one.checkpoint, encoding="utf-8")
    except OSError as error:
        raise FaultError(f"{directory}: cannot be written: {error.strerror}") from error
