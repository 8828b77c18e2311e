# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the first-party packages cost, in nanoseconds per packet, beside a program that just passes.

Every value is a median over rounds in which all cases take turns; `BPF_PROG_TEST_RUN` measures, its
own time included, on one processor with warm caches.  Packages are linked as the executor links
them, with counters; the program that just passes has none.
"""

from __future__ import annotations

import statistics
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

from benchmarks.chain_variants import PACKET, members, packaged
from benchmarks.report import Row, report
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import update
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.node import DEFAULT_PROCEED_ON
from shared.identifiers import Hook

ROUNDS: Final = 15
REPEATS: Final = 4_000
"""All rounds together stay below the largest limit of a source, also within one second."""

FLAGS_AT: Final = 14 + 20 + 13
SYN: Final = PACKET[:FLAGS_AT] + b"\x02" + PACKET[FLAGS_AT + 1 :]
"""A new connection to port 443, from 0.0.0.0."""
PORT: Final = struct.pack("=H", 443)
EVERYBODY: Final = bytes(8)
"""0.0.0.0/0, the key of a trie."""
ELSEWHERE: Final = struct.pack("=IIIIHHHHBBxx", 2, 6, 0, 0, 0, 65535, 1, 1, 0, 255)
"""A rule of the firewall: TCP to port 1 is denied."""

Entries = Mapping[str, Sequence[tuple[bytes, bytes]]]
"""Map to its keys and values."""


class Member(NamedTuple):
    """A program of a package, configured."""

    package: str
    function: str
    entries: Entries = {}
    variables: Mapping[str, bytes] = {}


class Case(NamedTuple):
    """A chain and a packet."""

    hook: Hook
    what: str
    members: Sequence[Member]
    packet: bytes


COUNT: Final = Member("port-count", "port_count_xdp")
COUNT_TC: Final = Member("port-count", "port_count_tc")


def _limit(*, port: int | None = None, source: int | None = None) -> Member:
    entries: dict[str, Sequence[tuple[bytes, bytes]]] = {}
    if port is not None:
        entries["rl_limits"] = [(PORT, struct.pack("=I", port))]
    if source is not None:
        entries["rl_sources_v4"] = [(EVERYBODY, struct.pack("=II", source, 32))]
    return Member("rate-limit", "rate_limit", entries)


def _places(connections: int, action: int = 0) -> Member:
    limit = struct.pack("=II", connections, action)
    return Member("connection-limit", "connection_limit", {"cl_limits": [(PORT, limit)]})


def _firewall(*, rules: int = 1, prefixes: int = 0, function: str = "xdp") -> Member:
    """So many rules that match no packet, and so many prefixes, of which none matches."""
    return Member(
        "firewall",
        f"firewall_{function}",
        {
            "fw_rules": [(struct.pack("=I", place), ELSEWHERE) for place in range(rules)],
            "fw_zones_v4": [
                (struct.pack("=I", 32) + struct.pack("!I", 0x0A000000 + n), struct.pack("=I", 1))
                for n in range(prefixes)
            ],
        },
        {"last_rule": struct.pack("=I", rules - 1)},
    )


UNLIMITED: Final = Member("connection-limit", "connection_limit")
PLACES: Final = _places(1_000_000)
WALL: Final = _firewall(rules=8)
BOTH: Final = _limit(port=1_000_000, source=65_535)
CASES: Final = (
    Case("xdp", "XDP_PASS alone", (), PACKET),
    Case("xdp", "port-count", (COUNT,), PACKET),
    Case("xdp", "rate-limit, no SYN", (BOTH,), PACKET),
    Case("xdp", "rate-limit, SYN without a limit", (_limit(),), SYN),
    Case("xdp", "rate-limit, SYN within its port's limit", (_limit(port=1_000_000),), SYN),
    Case("xdp", "rate-limit, SYN within its source's limit", (_limit(source=65_535),), SYN),
    Case("xdp", "rate-limit, SYN within both", (BOTH,), SYN),
    Case("xdp", "rate-limit, SYN over its port's limit", (_limit(port=0),), SYN),
    Case("xdp", "rate-limit, SYN over its source's limit", (_limit(source=0),), SYN),
    Case("xdp", "connection-limit, no SYN", (PLACES,), PACKET),
    Case("xdp", "connection-limit, SYN without a limit", (UNLIMITED,), SYN),
    Case("xdp", "connection-limit, SYN that has a place", (PLACES,), SYN),
    Case("xdp", "connection-limit, SYN too many", (_places(0),), SYN),
    Case("xdp", "firewall, 1 rule before the default", (_firewall(),), PACKET),
    Case("xdp", "firewall, 8 rules before the default", (_firewall(rules=8),), PACKET),
    Case("xdp", "firewall, 64 rules before the default", (_firewall(rules=64),), PACKET),
    Case("xdp", "firewall, 100,000 prefixes", (_firewall(prefixes=100_000),), PACKET),
    Case("xdp", "all of them, no SYN", (WALL, COUNT, BOTH, PLACES), PACKET),
    Case("xdp", "all of them, SYN", (WALL, COUNT, BOTH, PLACES), SYN),
    Case("tc-ingress", "TC_ACT_OK alone", (), PACKET),
    Case("tc-ingress", "port-count", (COUNT_TC,), PACKET),
    Case("tc-ingress", "firewall, 8 rules", (_firewall(rules=8, function="tc"),), PACKET),
)


def made(case: Case, held: ExitStack) -> LinkedChain:
    """The chain, with its configuration in its maps; it lives as long as `held`."""
    sources = [
        ProgramSource(
            name=one.package,
            object_path="program.bpf.o",
            data=packaged(one.package),
            function=one.function,
            proceed_on=DEFAULT_PROCEED_ON[case.hook],
            globals=one.variables,
        )
        for one in case.members
    ]
    wanted = sources or members("no-op", case.hook, 1)
    policy = LinkPolicy(hook=case.hook, has_counters=bool(sources))
    chain = held.enter_context(link_chain(wanted, case.hook, name="benchmark", policy=policy))
    for one in case.members:
        for name, entries in one.entries.items():
            for key, value in entries:
                update(chain.maps[one.package][name].handle, key, value)
    return chain


def measure() -> list[float]:
    """Nanoseconds for one packet through the whole chain, case by case."""
    with ExitStack() as held:
        chains = [made(case, held) for case in CASES]
        taken: list[list[int]] = [[] for _ in CASES]
        for _ in range(ROUNDS):
            for case, chain, values in zip(CASES, chains, taken, strict=True):
                done = run_packet(chain.program, case.packet, repeat=REPEATS)
                values.append(done.duration_ns)
    return [statistics.median(values) for values in taken]


def rows(found: Sequence[float]) -> list[Row]:
    """Every case, and what it adds to the empty program of its hook."""
    measured = list(zip(CASES, found, strict=True))
    bare = {case.hook: value for case, value in measured if not case.members}
    listed = []
    for case, value in measured:
        label = f"{'XDP' if case.hook == 'xdp' else 'TC'}, {case.what}"
        listed.append(Row(label, value, "ns/packet"))
        if case.members:
            listed.append(Row(f"{label}, of its own", value - bare[case.hook], "ns/packet"))
    return listed


def main() -> None:
    """Measure all and print."""
    report("package_cost", rows(measure()))


if __name__ == "__main__":
    main()
