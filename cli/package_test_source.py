# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`[[test]]` in `package.toml`, and the tests that it becomes.

Pure: files are read by whoever is given.  A test in the archive holds its packets as bytes, so
that a node needs neither the files of packets nor the words that people write packets in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta

from cli.packet_files import is_hexadecimal, read_hexadecimal, read_packets
from cli.packet_text import read_packet_text
from shared.contracts.base import Document
from shared.contracts.inspection import MAX_PACKET_BYTES, MAX_PACKETS, MIN_PACKET_BYTES
from shared.contracts.package_manifest import FilePath, Symbol
from shared.contracts.package_tests import PackageTest, PacketStep
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, NetworkHook, Token, is_network


class PacketSection(Document, frozen=True, kw_only=True):
    """One entry of a test's `packets`: `packet` or `file`, and what must come of it."""

    packet: str = ""
    """Hexadecimal digits, or layers as `ipv4 / tcp dport=80 syn`."""
    file: FilePath | None = None
    """A pcap or pcapng file, or one of hexadecimal text, in the package's folder; each of its
    packets must be treated so."""
    verdict: Annotated[str, Meta(min_length=1, max_length=32)]
    after: str = ""
    """The packet that must be left, in the forms of `packet`; empty: not compared."""
    repeat: Annotated[int, Meta(ge=1, le=MAX_PACKETS)] = 1
    """How often, one after the other."""


class PackageTestSection(Document, frozen=True, kw_only=True):
    """`[[test]]`."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    program: Token | None = None
    """May be left out when the package has only one."""
    hook: NetworkHook | None = None
    """Left out: the first of the program's hooks.  Probes have no tests: no packet passes them."""
    config: dict[Symbol, dict[str, Any]] = {}
    variables: dict[Symbol, Any] = {}
    packets: Annotated[tuple[PacketSection, ...], Meta(min_length=1, max_length=MAX_PACKETS)]
    maps: dict[Symbol, dict[str, Any]] = {}
    metrics: dict[Token, int] = {}


def resolve_tests(
    sections: Sequence[PackageTestSection],
    hooks: dict[str, tuple[Hook, ...]],
    read: Callable[[str], bytes],
) -> tuple[PackageTest, ...]:
    """The tests, with their packets as bytes.

    Args:
        sections: As written.
        hooks: Of each program of the package, by its name.
        read: The content of a file in the package's folder.

    Raises:
        RefusedError: With everything that is no packet, and every program that is not there.
    """
    reasons: list[Reason] = []
    tests = []
    for index, section in enumerate(sections):
        path = f"test[{index}]"
        program = section.program or (next(iter(hooks)) if len(hooks) == 1 else "")
        if program not in hooks:
            rule = "the package has no such program" if program else "must say which program"
            reasons.append(
                Reason(
                    path=f"{path}.program", rule=rule, got=program or None, allowed=sorted(hooks)
                )
            )
            continue
        hook = section.hook or next(filter(is_network, hooks[program]), None)
        if hook is None:
            rule = f"is a {hooks[program][0]}, which no packet passes, so it has no tests"
            reasons.append(Reason(path=f"{path}.program", rule=rule, got=program))
            continue
        packets = tuple(_packets(section, path, read, reasons))
        if len(packets) > MAX_PACKETS:
            rule = "has more packets than a test may have"
            reasons.append(
                Reason(path=f"{path}.packets", rule=rule, got=len(packets), allowed=MAX_PACKETS)
            )
        tests.append(
            PackageTest(
                name=section.name,
                program=program,
                hook=hook,
                config=section.config,
                variables=section.variables,
                packets=packets,
                maps=section.maps,
                metrics=section.metrics,
            )
        )
    if reasons:
        raise RefusedError(f"package.toml: {reasons[0].path}: {reasons[0].rule}", reasons)
    return tuple(tests)


def packet_files(sections: Sequence[PackageTestSection]) -> tuple[str, ...]:
    """The files that tests take packets from; they belong to the source."""
    found = (packet.file for section in sections for packet in section.packets)
    return tuple(dict.fromkeys(file for file in found if file is not None))


def _packets(
    section: PackageTestSection, path: str, read: Callable[[str], bytes], reasons: list[Reason]
) -> Iterator[PacketStep]:
    for number, entry in enumerate(section.packets):
        place = f"{path}.packets[{number}]"
        if bool(entry.packet) == (entry.file is not None):
            reasons.append(Reason(path=place, rule="must have either `packet` or `file`"))
            continue
        try:
            if entry.file is not None:
                captured = read_packets(read(entry.file), name=entry.file)
                packets = [one.data for one in captured]
            else:
                packets = [_packet(entry.packet, f"{place}.packet")]
            after = _packet(entry.after, f"{place}.after").hex() if entry.after else None
        except RefusedError as error:
            reasons += error.reasons
            continue
        for packet in packets:
            tested = PacketStep(packet=packet.hex(), verdict=entry.verdict, after=after)
            yield from (tested for _ in range(entry.repeat))


def _packet(text: str, path: str) -> bytes:
    """Raises RefusedError whose reasons say where."""
    try:
        if is_hexadecimal(text.encode()):
            found = [one.data for one in read_hexadecimal(text.encode(), name=path)]
            packet = found[0] if len(found) == 1 else b""
        else:
            packet = read_packet_text(text)
    except RefusedError as error:
        reasons = [Reason(path=path, rule=one.rule, got=text) for one in error.reasons]
        raise RefusedError(error.message, reasons) from error
    if not MIN_PACKET_BYTES <= len(packet) <= MAX_PACKET_BYTES:
        rule = "must be one packet with its Ethernet header"
        reason = Reason(
            path=path,
            rule=rule,
            got=f"{len(packet)} bytes",
            allowed=[MIN_PACKET_BYTES, MAX_PACKET_BYTES],
        )
        raise RefusedError(f"{path} {rule}", [reason])
    return packet
