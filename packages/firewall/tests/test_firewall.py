# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The firewall on the running kernel: random rules against a model, many prefixes, a wire."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.measurement import counting, send
from services.node_executor.adapters.bpf_syscall import Memory, bpf
from services.node_executor.adapters.map_access import entries, update
from services.node_executor.kernel_types import Handle
from shared.identifiers import Hook
from tests.support.interfaces import DEADLINE_SECONDS
from tests.support.package_programs import RunningProgram, on_a_host, running
from tests.support.packets import (
    FRAGMENT,
    ICMP,
    TCP,
    UDP,
    icmp_echo,
    ipv4,
    ipv6,
    tagged,
    tcp,
    udp,
)

pytestmark = pytest.mark.kernel

ICMPV6 = 58
ALLOW, DENY = 1, 2
DEFAULT_RULE = 64
LAST_RULE = 9
"""Of random rules: programs that look at few are verified soon."""
MAP_UPDATE_BATCH = 26
ANY_PORT, ANY_TYPE = (0, 65535), (0, 255)
ZONES = {
    "10.0.0.0/8": 1,
    "10.1.0.0/16": 2,
    "10.1.2.3/32": 3,
    "2001:db8::/32": 1,
    "2001:db8:1::/48": 2,
    "2001:db8:1::3/128": 3,
}
PROGRAMS: dict[Hook, str] = {
    "xdp": "firewall",
    "tc-ingress": "firewall-tc",
    "tc-egress": "firewall-tc",
}
VERDICTS: dict[Hook, tuple[str, str]] = {
    "xdp": ("pass", "drop"),
    "tc-ingress": ("unspec", "shot"),
    "tc-egress": ("unspec", "shot"),
}


@dataclass(frozen=True)
class Rule:
    """As a deployment states it."""

    action: int
    protocol: int = 0
    source_zone: int = 0
    target_zone: int = 0
    from_ports: tuple[int, int] = ANY_PORT
    to_ports: tuple[int, int] = ANY_PORT
    types: tuple[int, int] = ANY_TYPE

    def packed(self) -> bytes:
        """As the map has it."""
        return struct.pack(
            "=IIIIHHHHBBxx",
            *(self.action, self.protocol, self.source_zone, self.target_zone),
            *(*self.from_ports, *self.to_ports, *self.types),
        )


@dataclass(frozen=True)
class Packet:
    """What a rule looks at, and how it is carried."""

    source: str
    protocol: int
    from_port: int = 40000
    to_port: int = 0
    type: int = 0
    is_tagged: bool = False
    is_later_fragment: bool = False

    def frame(self) -> bytes:
        """On the wire."""
        inner = {
            TCP: lambda: tcp(self.to_port),
            UDP: lambda: udp(self.to_port),
            47: lambda: bytes(8),
        }.get(self.protocol, lambda: icmp_echo(kind=self.type))()
        if ip_address(self.source).version == 4:
            offset = 185 if self.is_later_fragment else 0
            frame = ipv4(inner, self.protocol, source=self.source, fragment_offset=offset)
        else:
            frame = ipv6(inner, self.protocol, source=self.source, extensions=self._extensions())
            if self.is_later_fragment:
                frame = frame[:56] + b"\x05\xc8" + frame[58:]
        return tagged(frame) if self.is_tagged else frame

    def _extensions(self) -> tuple[int, ...]:
        return (FRAGMENT,) if self.is_later_fragment else ()


def zone(address: str) -> int:
    """Of the longest prefix that holds it."""
    holding = [
        (network.prefixlen, number)
        for prefix, number in ZONES.items()
        if (network := ip_network(prefix)).version == ip_address(address).version
        and ip_address(address) in network
    ]
    return max(holding, default=(0, 0))[1]


def decides(rules: dict[int, Rule], packet: Packet) -> int:
    """The place of the rule that decides about the packet."""
    has_ports = packet.protocol in (TCP, UDP) and not packet.is_later_fragment
    has_type = packet.protocol in (ICMP, ICMPV6) and not packet.is_later_fragment
    for place, rule in sorted(rules.items()):
        ports = (
            rule.from_ports[0] <= packet.from_port <= rule.from_ports[1]
            and rule.to_ports[0] <= packet.to_port <= rule.to_ports[1]
            if has_ports
            else (rule.from_ports, rule.to_ports) == (ANY_PORT, ANY_PORT)
        )
        types = (
            rule.types[0] <= packet.type <= rule.types[1] if has_type else rule.types == ANY_TYPE
        )
        zones = rule.source_zone in (0, zone(packet.source)) and rule.target_zone == 0
        if rule.protocol in (0, packet.protocol) and zones and ports and types:
            return place
    return DEFAULT_RULE


@contextmanager
def a_firewall(
    hook: Hook = "xdp", rules: dict[int, Rule] | None = None, **variables: int
) -> Iterator[RunningProgram]:
    """The program with rules and zones."""
    packed = {name: struct.pack("=I", value) for name, value in variables.items()}
    with running("firewall", PROGRAMS[hook], hook, packed) as program:
        for prefix, number in ZONES.items():
            add_zone(program, prefix, number)
        set_rules(program, rules or {})
        yield program


def add_zone(program: RunningProgram, prefix: str, number: int) -> None:
    """Addresses in the prefix are in the zone."""
    network = ip_network(prefix)
    key = struct.pack("=I", network.prefixlen) + network.network_address.packed
    update(program.map(f"fw_zones_v{network.version}"), key, struct.pack("=I", number))


def update_batch(found: Handle, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
    """All entries by one call (include/uapi/linux/bpf.h, BPF_MAP_UPDATE_BATCH)."""
    memory = Memory()
    request = struct.pack(
        "=QQQQIIQQ",
        *(0, 0, memory.of(b"".join(keys)), memory.of(b"".join(values))),
        *(len(keys), found.fd, 0, 0),
    )
    bpf(MAP_UPDATE_BATCH, request, action="updating many entries")


def set_rules(program: RunningProgram, rules: dict[int, Rule]) -> None:
    """These and no others."""
    for place in range(DEFAULT_RULE):
        value = rules[place].packed() if place in rules else bytes(28)
        update(program.map("fw_rules"), struct.pack("=I", place), value)


def hits(program: RunningProgram) -> dict[int, int]:
    """Packets that each rule decided about."""
    found = {}
    for key, value in entries(program.map("fw_hits")):
        numbers = struct.unpack(f"={len(value) // 8}Q", value)
        if sum(numbers[::2]):
            found[struct.unpack("=I", key)[0]] = sum(numbers[::2])
    return found


SOURCES = ("10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1")
SOURCES_V6 = ("2001:db8:1::3", "2001:db8:1::4", "2001:db8::1", "2001:db9::1")
ports = st.sampled_from([ANY_PORT, (22, 22), (0, 1023), (1024, 65535), (53, 80)])
rules_of_many = st.dictionaries(
    st.integers(0, LAST_RULE),
    st.builds(
        Rule,
        action=st.sampled_from([ALLOW, DENY]),
        protocol=st.sampled_from([0, TCP, UDP, ICMP, ICMPV6, 47]),
        source_zone=st.integers(0, 3),
        target_zone=st.sampled_from([0, 0, 0, 1]),
        from_ports=st.sampled_from([ANY_PORT, ANY_PORT, (1024, 65535), (0, 1023)]),
        to_ports=ports,
        types=st.sampled_from([ANY_TYPE, (8, 8), (0, 10), (128, 135)]),
    ),
    max_size=8,
)
packets_of_many = st.lists(
    st.one_of(
        *(
            st.builds(
                Packet,
                source=st.sampled_from(sources),
                protocol=st.sampled_from([TCP, UDP, icmp, 47]),
                to_port=st.sampled_from([22, 23, 53, 80, 81, 443]),
                type=st.sampled_from([0, 8, 11, 128, 136]),
                is_tagged=st.booleans(),
                is_later_fragment=st.booleans(),
            )
            for sources, icmp in ((SOURCES, ICMP), (SOURCES_V6, ICMPV6))
        )
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module", params=PROGRAMS)
def firewall(request: pytest.FixtureRequest) -> Iterator[RunningProgram]:
    """The program for each hook; what no rule matches is denied."""
    with a_firewall(request.param, default_action=DENY, last_rule=LAST_RULE) as program:
        yield program


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(rules=rules_of_many, packets=packets_of_many)
def test_any_rules_decide_as_they_are_written(
    firewall: RunningProgram, rules: dict[int, Rule], packets: Sequence[Packet]
) -> None:
    """Verdict and hits are those of the first rule that matches, whatever it looks at."""
    set_rules(firewall, rules)
    before = hits(firewall)

    verdicts = [firewall.verdict(packet.frame()) for packet in packets]

    deciding = [decides(rules, packet) for packet in packets]
    passed, dropped = VERDICTS[firewall.hook]
    assert verdicts == [
        passed if place in rules and rules[place].action == ALLOW else dropped for place in deciding
    ]
    after = hits(firewall)
    assert {place: after[place] - before.get(place, 0) for place in deciding} == {
        place: deciding.count(place) for place in deciding
    }


def test_a_hundred_thousand_prefixes_each_have_their_zone() -> None:
    """Random prefixes of random lengths, and addresses in them: the longest one counts."""
    dice = random.Random(7)
    nets: dict[tuple[int, int], int] = {}
    while len(nets) < 100_000 - len(ZONES):
        bits = dice.choice((16, 20, 24, 28, 32))
        nets[bits, dice.getrandbits(bits)] = dice.randrange(1, 4)
    with a_firewall(last_rule=3) as program:
        zones = program.map("fw_zones_v4")
        prefixes = [
            struct.pack("=I", bits) + (network << (32 - bits)).to_bytes(4, "big")
            for bits, network in nets
        ]
        update_batch(zones, prefixes, [struct.pack("=I", number) for number in nets.values()])
        set_rules(program, {number: Rule(DENY, source_zone=number) for number in (1, 2, 3)})
        some = dice.sample(list(nets), 1000)
        addresses = [
            (network << (32 - bits)) | dice.getrandbits(32 - bits) for bits, network in some
        ]

        for address in addresses:
            program.verdict(ipv4(tcp(80), source=str(IPv4Address(address))))

        wanted = dict.fromkeys((1, 2, 3), 0)
        for address in addresses:
            bits = max(
                bits for bits in (16, 20, 24, 28, 32) if (bits, address >> 32 - bits) in nets
            )
            wanted[nets[bits, address >> 32 - bits]] += 1
        assert hits(program) == wanted


def test_a_target_has_a_zone_as_a_source_has() -> None:
    """The address that packets go to, in both families."""
    with a_firewall(rules={0: Rule(DENY, target_zone=4)}) as program:
        add_zone(program, "198.19.0.2/32", 4)
        add_zone(program, "::/128", 4)
        verdicts = [program.verdict(packet) for packet in (ipv4(tcp(80)), ipv6(tcp(80)))]
        other = program.verdict(ipv4(tcp(80))[:33] + b"\x03" + tcp(80))

    assert (verdicts, other) == (["drop", "drop"], "pass")


def test_rules_change_live(firewall: RunningProgram) -> None:
    """What is allowed from now on passes at once."""
    passed, dropped = VERDICTS[firewall.hook]
    packet = ipv6(udp(53), UDP, source=str(IPv6Address("2001:db8::1")))
    seen = []
    for rules in ({}, {3: Rule(ALLOW, UDP)}, {2: Rule(DENY, UDP, 1), 3: Rule(ALLOW, UDP)}):
        set_rules(firewall, rules)
        seen.append(firewall.verdict(packet))

    assert seen == [dropped, passed, dropped]


def test_rules_behind_the_last_place_are_not_looked_at() -> None:
    """The last place itself is; what stands behind it is as if it were not stated."""
    rules = {5: Rule(DENY, UDP), 6: Rule(DENY, TCP)}
    with a_firewall(rules=rules, last_rule=5) as program:
        verdicts = [program.verdict(packet) for packet in (ipv4(udp(53), UDP), ipv4(tcp(80)))]

    assert verdicts == ["drop", "pass"]


def test_no_hit_is_lost_on_several_processors(firewall: RunningProgram) -> None:
    """Threads that run the program side by side count every packet."""
    set_rules(firewall, {0: Rule(DENY, TCP)})
    before = hits(firewall).get(0, 0)

    def run(packet: bytes) -> None:
        for _ in range(300):
            firewall.verdict(packet)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, [ipv4(tcp(80))] * 4))

    assert hits(firewall)[0] - before == 1200


def test_a_host_of_the_lab_gets_what_is_allowed_and_nothing_else() -> None:
    """Real packets from a peer: the port that is denied from its network does not arrive."""
    rules = {7: Rule(DENY, TCP, source_zone=5, to_ports=(440, 450))}
    with a_firewall(rules=rules) as program:
        add_zone(program, "198.19.0.0/16", 5)
        with on_a_host(program) as host:
            with counting(host) as arrivals:
                send(host, ports=(80, 443), rate=2000, count=400)
                deadline = time.monotonic() + DEADLINE_SECONDS
                while program.number("fw_allowed") + program.number("fw_denied") < 400:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            arrived = arrivals.result()

        assert arrived.counted_by_port == {80: 200}
        assert hits(program) == {7: 200, DEFAULT_RULE: 200}
        assert (program.number("fw_allowed"), program.number("fw_denied")) == (200, 200)
