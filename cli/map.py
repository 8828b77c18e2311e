# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af map`: what the maps of running programs hold, read back from the kernel."""

from __future__ import annotations

from typing import Annotated

import cyclopts
import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import CredentialsOption, JsonFlag, NodeArgument, emit, plain, run
from cli.node_request import request_of_node
from cli.session import connected
from shared.contracts.map_reading import READ_MAP, MapShown, ReadMap
from shared.identifiers import Hook, parse_token, split_place
from shared.validation import convert_document

InterfaceArgument = Annotated[
    str,
    cyclopts.Parameter(
        help="The interface; in a named network namespace NETNS/INTERFACE.  Of a probe its place,"
        " as `l3af status` has it: the deployment's name, with several targets NAME@DIGITS."
    ),
]
HookArgument = Annotated[
    Hook,
    cyclopts.Parameter(help="xdp, tc-ingress, tc-egress, or the kind of a probe, as tracepoint."),
]
ProgramArgument = Annotated[
    str, cyclopts.Parameter(help="The deployment that the program belongs to.")
]
MapArgument = Annotated[str, cyclopts.Parameter(help="The map, as the program declares it.")]
WithinOption = Annotated[str | None, cyclopts.Parameter(name="--within")]
"""Of a map of maps: the key whose map is meant."""

app = cyclopts.App(name="map", help="What the maps of running programs hold.")


@app.command
def dump(
    node: NodeArgument,
    interface: InterfaceArgument,
    hook: HookArgument,
    program: ProgramArgument,
    map_name: MapArgument,
    /,
    *,
    within: WithinOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Every entry of a map, in the form in which deployments configure it.

    `.data`, `.bss` and `.rodata` are the program's global variables.

    Parameters
    ----------
    within
        Of a map of maps: the key whose map is meant. Without it, each value is such a map.
    """
    emit(
        run(
            _read(
                node,
                interface=interface,
                hook=hook,
                program=program,
                map_name=map_name,
                within=within,
                credentials=credentials,
            ),
            json=json,
        ),
        render_map,
        json=json,
    )


@app.command
def get(  # noqa: PLR0917 because each is a word of the command
    node: NodeArgument,
    interface: InterfaceArgument,
    hook: HookArgument,
    program: ProgramArgument,
    map_name: MapArgument,
    key: str,
    /,
    *,
    within: WithinOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """One entry of a map.

    Parameters
    ----------
    key
        As in a deployment's configuration: 80, 10.0.0.0/8, '{"port":80}'.
    within
        Of a map of maps: the key whose map is meant, to which the key above belongs then.
    """
    emit(
        run(
            _read(
                node,
                interface=interface,
                hook=hook,
                program=program,
                map_name=map_name,
                within=within,
                key=key,
                credentials=credentials,
            ),
            json=json,
        ),
        render_map,
        json=json,
    )


def render_map(shown: MapShown) -> RenderableType:
    """A line for each entry."""
    place = f"{shown.node} {shown.place}/{shown.hook} {shown.program}"
    count = f"{shown.total} of at most {shown.max_entries} entries"
    name = shown.map if shown.within is None else f"{shown.map} within {shown.within}"
    headline = Text(f"{place} {name} ({shown.type}, {count})", style="bold")
    if not shown.entries:
        return headline
    table = Table("key", "value on each processor" if _is_per_cpu(shown) else "value")
    for one in shown.entries:
        value = one.value if one.cpus is None else one.cpus
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        table.add_row(plain(one.key), Text(plain(text), overflow="fold"))
    return Group(headline, table)


async def _read(
    node: str,
    *,
    interface: str,
    hook: Hook,
    program: str,
    map_name: str,
    credentials: CredentialsOption,
    key: str | None = None,
    within: str | None = None,
) -> MapShown:
    """All replies as one."""
    name, netns = split_place(interface)
    asked = {
        "interface": name,
        "netns": netns,
        "hook": hook,
        "program": program,
        "map": map_name,
        "key": key,
        "within": within,
    }
    request = convert_document(asked, ReadMap, what="map")
    wanted = parse_token(node, path="node")
    async with connected(credentials) as bus:
        shown = await request_of_node(bus, READ_MAP, wanted, request)
        entries = list(shown.entries)
        while shown.next:
            following = msgspec.structs.replace(request, after=shown.next)
            shown = await request_of_node(bus, READ_MAP, wanted, following)
            entries += shown.entries
    return msgspec.structs.replace(shown, entries=tuple(entries))


def _is_per_cpu(shown: MapShown) -> bool:
    return any(one.cpus is not None for one in shown.entries)
