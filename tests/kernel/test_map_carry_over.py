# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps on their way from one version of a package to the next, on the real kernel."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.generations import MapKey, Point
from services.node_executor.map_types import MapTypes, describe_types
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import MapMismatchError
from shared.bytecode.elf import read_object
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.identifiers import Hook
from tests.support.bpf_objects import compile_source
from tests.support.executors import Executor, Wire, a_chain, a_program, published, send_frames
from tests.support.interfaces import program_exists, wait_until_gone

_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef const unsigned int number;
struct flow { %s };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, number);
	__type(value, struct flow);
	__uint(max_entries, 8);
} %s SEC(".maps");

static int later(void *map, int *key, void *value)
{
	return 0;
}

SEC("xdp")
int sees(struct xdp_md *ctx)
{
	unsigned int key = 7;
	struct flow none = {}, *flow = bpf_map_lookup_elem(&%s, &key);

	if (!flow) {
		bpf_map_update_elem(&%s, &key, &none, BPF_ANY);
		flow = bpf_map_lookup_elem(&%s, &key);
	}
	if (flow) {
		flow->packets += 1;
		if (flow->packets > 1000 + STAMP)
			return XDP_ABORTED;
		START
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
_MEMBERS = "unsigned long packets; unsigned int bytes; unsigned int marks;"
_TIMER = "struct bpf_timer timer; unsigned long packets;"
_START = """bpf_timer_init(&flow->timer, &flows, 1);
		bpf_timer_set_callback(&flow->timer, later);
		bpf_timer_start(&flow->timer, 3600000000000UL, 0);"""


def source(members: str = _MEMBERS, name: str = "flows", stamp: int = 0) -> str:
    """A program that counts packets in one entry of a map."""
    text = _SOURCE % (members, name, name, name, name)
    has_timer = "bpf_timer" in members
    text = text.replace("STAMP", str(stamp)).replace("START", _START if has_timer else "")
    if not has_timer:
        text = text.replace("static int later", "__attribute__((unused)) static int later")
    return text


SOURCES = {
    "1.0.0": source(),
    "1.1.0": source(_MEMBERS.replace("unsigned int bytes", "const number bytes")),
    "2.0.0": source("unsigned long packets; unsigned int marks; unsigned int bytes;"),
    "3.0.0": source(_MEMBERS.replace("marks", "labels")),
    "4.0.0": source(name="streams"),
    "5.0.0": source("unsigned int bytes; unsigned int marks; unsigned long packets;"),
    "6.0.0": source(_TIMER),
    "6.1.0": source(_TIMER, stamp=1),
}
"""2 lets two members change places, 3 renames one, 4 renames the map, 5 moves one, 6 has timers."""


def opened(program: DesiredProgram, _hook: Hook) -> OpenedPackage:
    """The version's object in place of that of the usual test package."""
    package = published("1.0.0").opened()
    files = {"counter.bpf.o": compile_source(SOURCES[program.version])}
    return OpenedPackage(package.manifest, files, package.publisher)


def a_flow(deployment: str, version: str, **policies: str) -> DesiredProgram:
    """One version; each version is another archive."""
    digest = version.replace(".", "").ljust(64, "0")
    signed = msgspec.structs.replace(published("1.0.0").signed, archive_sha256=digest)
    usual = a_program(deployment, order=10 if deployment == "one" else 20)
    return msgspec.structs.replace(
        usual, version=version, function="sees", map_policies=policies, signed=signed
    )


def types(version: str) -> MapTypes:
    """What BTF says of the version's map."""
    parsed = read_object(compile_source(SOURCES[version]), "object")
    described = describe_types(parsed.maps[0], parsed.btf)
    assert described is not None
    return described


@pytest.fixture
def flows(executor: Executor) -> Executor:
    """An executor whose packages are those of this module."""
    executor.opened = opened
    return executor


def packets(executor: Executor, point: Point, name: str = "flows", offset: int = 0) -> int:
    """What the running generation counted."""
    found = executor.kernel.observe(point).map_pins[MapKey("one", name)]
    value = executor.kernel.read_entries(found).get((7).to_bytes(4, "little"), bytes(64))
    return int.from_bytes(value[offset : offset + 8], "little")


def warnings(executor: Executor, point: Point, chain: DesiredChain) -> str:
    """What is said of the chain."""
    return " ".join(executor.points.describe(point, chain, desired_generation=1).warnings)


def test_types_are_compared_by_what_they_are() -> None:
    """Typedefs and qualifiers are nothing; places and names of members are."""
    first = types("1.0.0")

    assert types("1.1.0") == first
    assert types("2.0.0").structure != first.structure
    assert types("2.0.0").shape == first.shape
    assert types("3.0.0").structure != first.structure
    assert types("3.0.0").shape == first.shape
    assert types("5.0.0").shape != first.shape
    assert [types(version).has_timers for version in ("1.0.0", "6.0.0")] == [False, True]


def test_equal_sizes_are_not_equal_layouts(flows: Executor, wire: Wire) -> None:
    """Two members change places: refused by name, and what ran runs on with its counts."""
    point = Point(wire.name, "xdp")
    flows.settle(a_chain(wire.name, a_flow("one", "1.0.0")), point, 1)
    send_frames(wire.peer, 3)

    with pytest.raises(MapMismatchError) as caught:
        flows.settle(a_chain(wire.name, a_flow("one", "2.0.0")), point, 2)
    flows.settle(a_chain(wire.name, a_flow("one", "1.1.0")), point, 3)
    send_frames(wire.peer, 2)

    assert [reason.path for reason in caught.value.reasons] == ["one.maps.flows"]
    assert packets(flows, point) == 5


def test_a_fresh_map_begins_empty_and_the_old_one_waits_for_a_rollback(
    flows: Executor, wire: Wire
) -> None:
    """Each generation pins its own map; going back finds the counts as they were."""
    point = Point(wire.name, "xdp")
    old = a_chain(wire.name, a_flow("one", "1.0.0"))
    new = a_chain(wire.name, a_flow("one", "5.0.0", flows="fresh"))
    flows.settle(old, point, 1)
    send_frames(wire.peer, 3)
    flows.settle(new, point, 2)
    send_frames(wire.peer, 4)
    counted, said = packets(flows, point, offset=8), warnings(flows, point, new)

    has_linked = flows.settle(old, point, 3)
    send_frames(wire.peer, 1)

    assert counted == 4
    assert "one.maps.flows begins empty" in said
    assert not has_linked
    assert packets(flows, point) == 4


@pytest.mark.parametrize(
    ("version", "name", "source_map"),
    [("4.0.0", "streams", "flows"), ("3.0.0", "flows", "flows")],
    ids=["map", "member"],
)
def test_what_is_renamed_keeps_its_content(
    flows: Executor, wire: Wire, version: str, name: str, source_map: str
) -> None:
    """The package names the map that it goes on with."""
    point = Point(wire.name, "xdp")
    flows.settle(a_chain(wire.name, a_flow("one", "1.0.0")), point, 1)
    send_frames(wire.peer, 3)

    policies = {name: f"migrate:{source_map}"}
    flows.settle(a_chain(wire.name, a_flow("one", version, **policies)), point, 2)
    send_frames(wire.peer, 2)

    assert packets(flows, point, name) == 5


def test_timers_end_with_the_generation_that_started_them(flows: Executor, wire: Wire) -> None:
    """Another member of the chain leaves them alone; other code begins anew, and the old goes."""
    point = Point(wire.name, "xdp")
    flows.settle(a_chain(wire.name, a_flow("one", "6.0.0")), point, 1)
    send_frames(wire.peer, 3)
    joined = a_chain(wire.name, a_flow("one", "6.0.0"), a_flow("two", "1.0.0"))
    flows.settle(joined, point, 2)
    send_frames(wire.peer, 1)
    kept, said = packets(flows, point, offset=16), warnings(flows, point, joined)
    timed = flows.kernel.observe(point)

    upgraded = a_chain(wire.name, a_flow("one", "6.1.0"), a_flow("two", "1.0.0"))
    flows.settle(upgraded, point, 3)
    send_frames(wire.peer, 1)
    fresh, said_then = packets(flows, point, offset=16), warnings(flows, point, upgraded)
    is_still_there = program_exists(timed.link_program_id)
    flows.now += 4000
    flows.settle(upgraded, point, 3)

    assert (kept, fresh) == (4, 1)
    assert "keep the code of the generation that set them" in said
    assert "begins empty, and the old timers run" in said_then
    assert is_still_there
    wait_until_gone(
        programs=(timed.link_program_id,), maps=(timed.map_pins[MapKey("one", "flows")],)
    )
