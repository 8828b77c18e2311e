# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains of all packages that come along: linked they do what they do one after another."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import permutations
from typing import Final, NamedTuple

import pytest

from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import entries, update
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook
from shared.package_archive import unpack_archive
from tests.support.package_programs import built
from tests.support.packets import ACK, ICMP, UDP, icmp_echo, ipv4, ipv6, tagged, tcp, udp

pytestmark = pytest.mark.kernel

CLOSED, RESET, DENIED, FREE = 81, 82, 83, 443
"""Ports: `rate-limit` closes the first, `connection-limit` resets, `firewall` denies."""
PACKETS = (
    *(wrap(tcp(port)) for port in (CLOSED, RESET, DENIED, FREE) for wrap in (ipv4, ipv6)),
    *(tagged(ipv4(tcp(port, ACK))) for port in (CLOSED, RESET, DENIED, FREE)),
    ipv4(udp(53, bytes(100)), UDP),
    ipv4(icmp_echo(), ICMP),
    ipv4(tcp(CLOSED)[:12]),
    ipv4(tcp(CLOSED), fragment_offset=185),
    tagged(tagged(ipv4(tcp(CLOSED)))),
    bytes(12) + b"\x08\x06" + bytes(28),
)
COUNTS = (
    *("rl_received", "rl_dropped", "rl_src_dropped", "rl_port_dropped"),
    *("cl_received", "cl_dropped", "cl_reset", "pc_ports", "pc_packets", "pc_bytes"),
    *("fw_hits", "fw_allowed", "fw_denied", "fw_senseless", "fw_other"),
)
"""Maps whose content does not depend on the clock."""


class Part(NamedTuple):
    """A program of a package, and one entry of its configuration."""

    package: str
    map: str = ""
    key: bytes = b""
    value: bytes = b""
    variables: Mapping[str, bytes] = {}


def port_key(port: int) -> bytes:
    """As limits have it."""
    return struct.pack("=H", port)


DENY_PORT = struct.pack("=IIIIHHHHBBxx", 2, 6, 0, 0, 0, 65535, DENIED, DENIED, 0, 255)
FIREWALL = Part("firewall", "fw_rules", bytes(4), DENY_PORT, {"last_rule": struct.pack("=I", 3)})
PARTS: Mapping[Hook, tuple[Part, ...]] = {
    "xdp": (
        Part("rate-limit", "rl_limits", port_key(CLOSED), struct.pack("=I", 0)),
        Part("connection-limit", "cl_limits", port_key(RESET), struct.pack("=II", 0, 1)),
        FIREWALL,
        Part("port-count"),
    ),
    "tc-ingress": (FIREWALL, Part("port-count")),
    "tc-egress": (FIREWALL, Part("port-count")),
}
EVERY: Final = 1 if "L3AF_SOAK_SECONDS" in os.environ else 11
"""Of all orders, the first and every so many; together they begin and end differently."""
ORDERS: Final = [
    (hook, order) for hook, parts in PARTS.items() for order in list(permutations(parts))[::EVERY]
]


def _source(part: Part, hook: Hook) -> ProgramSource:
    package = built(part.package)
    entry = next(one for one in package.manifest.programs if hook in one.hooks)
    return ProgramSource(
        name=part.package,
        object_path=entry.object,
        data=unpack_archive(package.archive)[entry.object],
        function=entry.function,
        proceed_on=("pass",) if hook == "xdp" else ("unspec",),
        globals=part.variables,
    )


@contextmanager
def _linked(parts: Sequence[Part], hook: Hook) -> Iterator[LinkedChain]:
    """The parts in one chain, configured."""
    sources = [_source(part, hook) for part in parts]
    with link_chain(sources, hook, name="packages") as chain:
        for part in parts:
            if part.map:
                update(chain.maps[part.package][part.map].handle, part.key, part.value)
        yield chain


def _counts(maps: Mapping[str, LoadedMap]) -> dict[str, dict[bytes, list[int]]]:
    """What a program counted, over all processors."""
    return {
        name: {
            key: [sum(one) for one in zip(*_numbers(value, name), strict=True)]
            for key, value in entries(maps[name].handle)
        }
        for name in COUNTS
        if name in maps
    }


def _numbers(value: bytes, name: str) -> list[tuple[int, ...]]:
    """Of each processor."""
    width = 2 if name in ("pc_ports", "fw_hits") else 1
    return [struct.unpack_from(f"={width}Q", value, at) for at in range(0, len(value), 8 * width)]


@pytest.mark.soak
@pytest.mark.parametrize(
    ("hook", "order"), ORDERS, ids=lambda one: one if isinstance(one, str) else ""
)
def test_in_any_order_they_do_what_each_does_alone(hook: Hook, order: tuple[Part, ...]) -> None:
    """Verdict and bytes of every packet, and all that is counted."""
    goes_on = verdicts_of(hook)["pass" if hook == "xdp" else "unspec"] & 0xFFFFFFFF
    with ExitStack() as held:
        chain = held.enter_context(_linked(order, hook))
        alone = [held.enter_context(_linked([part], hook)) for part in order]
        for packet in PACKETS:
            verdict, data = goes_on, packet
            for one in alone:
                if verdict == goes_on:
                    run = run_packet(one.program, data)
                    verdict, data = run.verdict, run.data

            linked = run_packet(chain.program, packet)

            assert (linked.verdict, linked.data) == (verdict, data)
        assert {part.package: _counts(chain.maps[part.package]) for part in order} == {
            part.package: _counts(one.maps[part.package])
            for part, one in zip(order, alone, strict=True)
        }
