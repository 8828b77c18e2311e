# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af chain test`: what a chain does to packets, tried beside its hook."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.chain_places import (
    FilesOption,
    HookOption,
    InterfaceOption,
    NodeOption,
    Place,
    asked_nodes,
    drafted_places,
    the_only,
)
from cli.console import CredentialsOption, JsonFlag, emit, plain, refusing, run, say
from cli.node_request import request_of_node
from cli.packet_files import MAX_FILE_BYTES, Captured, is_hexadecimal, read_packets
from cli.session import connected
from shared.adapters.bus import Bus
from shared.contracts.inspection import (
    MAX_PACKETS,
    MAX_PACKETS_BYTES,
    TEST_CHAIN,
    BytesChange,
    MapChange,
    PacketsTried,
    PacketTried,
    TryPackets,
)
from shared.contracts.node import GET_CHAINS, GetChains
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, is_network, split_place

TRYING_SECONDS: Final = 60.0
STANDARD_INPUT: Final = "-"
MAX_NAME_BYTES: Final = 255
"""NAME_MAX (linux/limits.h): longer text without a slash is no file."""

PacketsOption = Annotated[
    list[str],
    Parameter(
        name="--packet",
        negative=(),
        allow_leading_hyphen=True,
        help="A pcap or pcapng file, a file with one packet as bytes or as hexadecimal text, the"
        " text itself, or - for standard input. May be repeated.",
    ),
]
FirstOption = Annotated[
    int, Parameter(name="--first", help="Only so many packets of each file; 0: all.")
]


def try_packets(
    *,
    packet: PacketsOption,
    first: FirstOption = 0,
    node: NodeOption = "",
    interface: InterfaceOption = "",
    hook: HookOption = None,
    file: FilesOption = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Run a chain over packets beside its hook: verdict, who decided, changed bytes and entries.

    The node links the chain once more, with copies of its maps; nothing that live packets see is
    touched.  Each packet finds the maps as the one before left them.  Without --file: what runs.
    With --file: the chain that those deployments would make, their configuration included.
    """
    with refusing(json=json):
        captured = gathered(packet, first=first)
    cut = [number for number, one in enumerate(captured, 1) if one.length_on_wire > len(one.data)]
    if cut:
        say(f"note: cut off by the capture: packet {', '.join(map(str, cut))}", json=json)

    async def tried() -> PacketsTried:
        async with connected(credentials) as bus:
            place = await _place(bus, file or (), node=node, interface=interface, hook=hook)
            name, netns = split_place(place.interface)
            if not is_network(place.hook):
                rule = "a probe sees no packets"
                raise RefusedError(rule, [Reason(path="--hook", rule=rule, got=place.hook)])
            request = TryPackets(
                interface=name,
                netns=netns,
                hook=place.hook,
                packets=tuple(one.data for one in captured),
                draft=place.draft,
            )
            return await request_of_node(
                bus, TEST_CHAIN, place.node, request, timeout_seconds=TRYING_SECONDS
            )

    emit(run(tried(), json=json), render_tried, json=json)


def gathered(sources: Sequence[str], *, first: int = 0) -> tuple[Captured, ...]:
    """The packets of all files, in the order in which the files are named.

    Raises:
        RefusedError: A file cannot be read, is no packets, or all are too many.
    """
    if first < 0:
        rule = "must be 0, for all, or a number of packets"
        reason = Reason(path="--first", rule=rule, got=first, allowed="at least 0")
        raise RefusedError(f"--first {rule}", [reason])
    packets: list[Captured] = []
    for source in sources:
        name = "standard input" if source == STANDARD_INPUT else source[:80]
        packets += read_packets(_bytes_of(source), name=name, first=first)
    total_bytes = sum(len(one.data) for one in packets)
    for what, got, allowed in (
        ("packets", len(packets), MAX_PACKETS),
        ("bytes of packets", total_bytes, MAX_PACKETS_BYTES),
    ):
        if got > allowed:
            rule = f"more {what} than can be tried at once; choose some with --first"
            reason = Reason(path="--packet", rule=rule, got=got, allowed=allowed)
            raise RefusedError(rule, [reason], code="too_large")
    return tuple(packets)


def render_tried(tried: PacketsTried) -> RenderableType:
    """A line for each packet, what it changed below it, and where the trial is not the hook."""
    what = "as planned" if tried.source == "draft" else f"generation {tried.generation}"
    chain = " → ".join(tried.programs)
    parts: list[RenderableType] = [
        Text(f"{tried.node} {tried.place}/{tried.hook}, {what}: {chain}", style="bold")
    ]
    for number, packet in enumerate(tried.packets, start=1):
        parts += _packet(number, packet)
    parts += [Text(f"note: {plain(note)}", style="yellow") for note in tried.notes]
    return Group(*parts)


async def _place(
    bus: Bus, files: Sequence[Path], *, node: str, interface: str, hook: Hook | None
) -> Place:
    if files:
        drafted = await drafted_places(bus, files, node=node, interface=interface, hook=hook)
        return the_only(drafted, what="chain of that plan")
    if node and interface and hook is not None:
        return Place(node, interface, hook)
    running = []
    for name in await asked_nodes(bus, node):
        shown = await request_of_node(bus, GET_CHAINS, name, GetChains())
        running += [
            Place(name, one.chain.place, one.chain.hook)
            for one in shown.chains
            if one.chain.programs and is_network(one.chain.hook)
        ]
    asked = [
        place
        for place in running
        if interface in ("", place.interface) and hook in (None, place.hook)
    ]
    return the_only(asked, what="running chain", among=running)


def _bytes_of(source: str) -> bytes:
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    path = Path(source)
    try:
        if is_hexadecimal(source.encode()) and (len(source) > MAX_NAME_BYTES or not path.is_file()):
            return source.encode()
        with path.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        reason = Reason(path="--packet", rule=rule, got=source[:200])
        raise RefusedError(f"{source[:200]}: {rule}", [reason]) from error


def _packet(number: int, packet: PacketTried) -> list[RenderableType]:
    if packet.problem:
        line = f"packet {number}, {packet.length_before} bytes: not run: {plain(packet.problem)}"
        return [Text(line, style="red")]
    went = " → ".join(f"{one.deployment} {one.verdict}" for one in packet.programs)
    parts: list[RenderableType] = [
        Text.assemble(
            f"packet {number}, {_length(packet)}: ",
            (packet.verdict, "bold"),
            f" by {packet.decided_by or '-'}",
            (f"   {went}", "dim"),
        )
    ]
    if packet.context:
        left = ", ".join(f"{name} {value}" for name, value in packet.context.items())
        parts.append(Text(f"  beside the packet: {left}"))
    if packet.changes:
        parts.append(_bytes_table(packet.changes))
    parts += _more("places of the packet", packet.changed_places, len(packet.changes))
    if packet.map_changes:
        parts.append(_entries_table(packet.map_changes))
    parts += _more("map entries", packet.changed_entries, len(packet.map_changes))
    return parts


def _length(packet: PacketTried) -> str:
    if packet.length_before == packet.length_after:
        return f"{packet.length_before} bytes"
    return f"{packet.length_before} bytes, now {packet.length_after}"


def _bytes_table(changes: Sequence[BytesChange]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("  offset", "before", "after"):
        table.add_column(heading, header_style="dim")
    for one in changes:
        table.add_row(f"  {one.offset}", one.before or "-", one.after or "-")
    return table


def _entries_table(changes: Sequence[MapChange]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("  map", "key", "before", "after", "processor"):
        table.add_column(heading, header_style="dim")
    for one in changes:
        table.add_row(
            f"  {one.deployment}.{plain(one.map)}",
            plain(one.key),
            *(_value(value) for value in differing(one.before, one.after)),
            "" if one.cpu is None else str(one.cpu),
        )
    return table


def _more(what: str, count: int, shown: int) -> list[Text]:
    return [Text(f"  and {count - shown} more {what}", style="dim")] if count > shown else []


def differing(before: object, after: object) -> tuple[object, object]:
    """Of two structs only the members, and elements of members, that differ; else both whole."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return before, after
    was: dict[str, object] = {}
    is_now: dict[str, object] = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, list) and isinstance(value, list) and len(old) == len(value):
            pairs = zip(old, value, strict=True)
            changed = [(f"{name}[{at}]", *pair) for at, pair in enumerate(pairs)]
        else:
            changed = [(name, old, value)]
        was |= {place: one for place, one, other in changed if one != other}
        is_now |= {place: other for place, one, other in changed if one != other}
    return was, is_now


def _value(value: object) -> str:
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())
