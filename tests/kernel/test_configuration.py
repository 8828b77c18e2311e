# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps and global variables of every kind, configured on the real kernel and read back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.programs import run_packet
from services.node_executor.configuration import ConfigurationError
from services.node_executor.execution import Steps
from services.node_executor.generations import MapKey, Point
from services.node_executor.map_reading import MapReading
from services.node_executor.metric_windows import MetricWindows
from services.node_executor.metrics_sampling import read_metrics
from shared.configuration.entries import MapLayout, map_codec, split_processors
from shared.contracts.map_reading import ReadMap
from shared.contracts.metrics import MetricSource
from shared.errors import RefusedError
from tests.support.bpf_objects import bpf_object
from tests.support.configured_package import (
    MAPS,
    OBJECT,
    a_configured_program,
    a_manifest,
    configured,
)
from tests.support.executors import Executor, Wire, a_chain, packed

RULE = {
    "action": "MARK",
    "is_logged": True,
    "offset": -128,
    "weights": [1, 65535],
    "name": "elevenbytes",
    "low": 15,
    "high": -16,
    "mark": 4294967295,
    "halves": [65535, 65535],
    "next": {"mac": "02:00:00:00:00:01"},
    "wide": "ffeeddccbbaa9988",
    "deep": -(2**63),
}
FLOW = {"address": "192.0.2.1", "port": 443, "protocol": 6}
FLOW_KEY = '{"address":"192.0.2.1","port":443,"protocol":6}'
KINDS: dict[str, dict[str, Any]] = {
    "rules": {FLOW_KEY: RULE},
    "networks": {"10.0.0.0/8": 1, "0.0.0.0/0": 4294967295},
    "networks6": {"2001:db8::/32": "2001:db8::1", "::/0": "::"},
    "levels": {"0": "LET", "1": "BLOCK", "2": "MARK", "3": "LET"},
    "steps": {"0": -32768, "1": 32767, "2": 0, "3": -1},
    "counts": {"443": FLOW, "1": FLOW | {"protocol": 17}},
    "peers": {"02:00:00:00:00:01": "192.0.2.1", "ff:ff:ff:ff:ff:ff": "0.0.0.0"},
    "seen": {"0000000000000001": True, "ffffffffffffffff": False},
    "names": {"-2147483648": RULE, "7": RULE | {"name": "", "low": 1, "high": 15}},
    "allowed": {"80": True, "443": False},
}


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor that gets the package with everything that can be configured."""
    executor.opened = lambda _program, _hook: configured().opened()
    return executor


def map_id(node: Executor, point: Point, name: str) -> int:
    """A map of the running program."""
    return node.kernel.observe(point).map_pins[MapKey("one", name)]


def read_back(node: Executor, point: Point, name: str) -> dict[str, Any]:
    """A map as JSON; values of processors that agree are one."""
    found = map_id(node, point, name)
    layout = node.kernel.layout(found)  # type: ignore[attr-defined]
    codec = map_codec(layout, MAPS[name])
    shown = {}
    for key, stored in node.kernel.read_entries(found).items():
        parts = set(split_processors(stored, layout.value.size_bytes))
        values = [codec.value.decode(one) for one in sorted(parts)]
        shown[codec.decode_key(key)] = values[0] if len(values) == 1 else values
    return shown


def settle(node: Executor, wire: Wire, generation: int, **changes: Any) -> bool:
    """The program runs with that configuration; returns whether it was linked anew."""
    chain = a_chain(wire.name, a_configured_program(revision=generation, **changes))
    return node.settle(chain, Point(wire.name, "xdp"), generation)


def verdict(node: Executor, wire: Wire, length: int) -> int:
    """What the program on the hook says of a packet."""
    program_id = node.kernel.observe(Point(wire.name, "xdp")).link_program_id
    with kernel_info.program_by_id(program_id) as program:
        return run_packet(program, bytes(length)).verdict


def test_every_kind_of_map_and_value_is_read_back_as_it_was_written(
    node: Executor, wire: Wire
) -> None:
    """JSON to bytes to the kernel, and back, is the identity."""
    point = Point(wire.name, "xdp")

    settle(node, wire, 1, config=KINDS)

    assert {name: read_back(node, point, name) for name in KINDS} == KINDS


def test_entries_that_are_not_listed_go_and_the_program_stays(node: Executor, wire: Wire) -> None:
    """Hashes, tries and LRU maps lose them; arrays hold zeros."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, config=KINDS)
    less = {name: dict(list(entries.items())[:1]) for name, entries in KINDS.items()}

    was_linked = settle(node, wire, 2, config=less)

    assert not was_linked
    assert {name: read_back(node, point, name) for name in KINDS} == less | {
        "levels": {"0": "LET", "1": "LET", "2": "LET", "3": "LET"},
        "steps": {"0": -32768, "1": 0, "2": 0, "3": 0},
    }


def test_a_merged_map_keeps_what_others_wrote(node: Executor, wire: Wire) -> None:
    """What was configured and is not any more goes; what never was configured stays."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, config={"allowed": {"80": True, "443": True}})
    foreign = EntryChange((9999).to_bytes(2, "little"), None, b"\1")
    node.kernel.write_entries(map_id(node, point, "allowed"), [foreign])

    settle(node, wire, 2, config={"allowed": {"443": False}})

    assert read_back(node, point, "allowed") == {"443": False, "9999": True}


def test_drift_in_a_merged_map_is_what_was_configured_alone(node: Executor, wire: Wire) -> None:
    """An entry that others add is theirs; one that was configured and changed is put right."""
    point = Point(wire.name, "xdp")
    config = {"allowed": {"80": True}, "levels": {"0": "MARK"}}
    settle(node, wire, 1, config=config)
    allowed = map_id(node, point, "allowed")
    foreign = EntryChange((9999).to_bytes(2, "little"), None, b"\1")
    node.kernel.write_entries(allowed, [foreign])
    rests = node.rests(
        a_chain(wire.name, a_configured_program(revision=1, config=config)), point, 1
    )

    changed = EntryChange((80).to_bytes(2, "little"), b"\1", b"\0")
    node.kernel.write_entries(allowed, [changed])
    settle(node, wire, 1, config=config)

    assert rests
    assert read_back(node, point, "allowed") == {"80": True, "9999": True}
    assert "chain.drift" in " ".join(node.actions())


def test_the_same_configuration_in_another_format_is_no_drift(node: Executor, wire: Wire) -> None:
    """A version whose package writes keys otherwise keeps the map, and its entries stay as its."""
    point, config = Point(wire.name, "xdp"), {"counts": {"443": FLOW}}
    counts = msgspec.structs.replace(MAPS["counts"], key_format="")
    manifest = a_manifest(version="1.1.0", maps=MAPS | {"counts": counts})
    plain = packed(manifest, {OBJECT: bpf_object("configured")})
    settle(node, wire, 1, config=config)
    settle(node, wire, 1, config=config)
    before, first = map_id(node, point, "counts"), read_back(node, point, "counts")
    node.opened = lambda _program, _hook: plain.opened()
    changes = {"config": config, "signed": plain.signed, "version": "1.1.0"}
    settle(node, wire, 2, **changes)
    written = node.kernel.read_entries(before)

    settle(node, wire, 2, **changes)

    assert first == config["counts"]
    assert map_id(node, point, "counts") == before
    assert list(written) == [(443).to_bytes(2, "little")]
    assert node.kernel.read_entries(before) == written
    assert "chain.drift" not in node.actions()


def test_a_full_map_is_exchanged_entry_for_entry(node: Executor, wire: Wire) -> None:
    """There is no room for new ones before old ones went."""
    point = Point(wire.name, "xdp")
    old = {str(number): RULE | {"halves": [65535, 65535]} for number in range(8)}
    new = {str(number): RULE for number in range(100, 108)}
    settle(node, wire, 1, config={"names": old})

    settle(node, wire, 2, config={"names": new})

    assert read_back(node, point, "names") == new


def test_more_entries_than_a_map_holds_are_refused_before_anything_changes(
    node: Executor, wire: Wire
) -> None:
    """So is everything else that does not fit; maps, program and variables stay as they were."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, config=KINDS, variables={"threshold": 7})
    before = node.kernel.observe(point)
    config = KINDS | {
        "names": {str(number): RULE for number in range(9)},
        "peers": {"02:00:00:00:00:02": "::1"},
    }

    with pytest.raises(ConfigurationError) as caught:
        settle(node, wire, 2, config=config, variables={"threshold": -1, "limit": 5})

    assert [reason.path for reason in caught.value.reasons] == [
        "one.config.names",
        "one.config.peers.02:00:00:00:00:02",
        "one.variables.threshold",
        "one.variables.limit",
    ]
    assert node.kernel.observe(point) == before
    assert {name: read_back(node, point, name) for name in KINDS} == KINDS


@pytest.mark.parametrize("name", ["names", "levels", "networks", "steps"])
def test_a_batch_that_fails_leaves_the_map_as_it_was(node: Executor, wire: Wire, name: str) -> None:
    """Whatever was written before the entry that the kernel refuses is taken back."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, config=KINDS)
    found = map_id(node, point, name)
    before = node.kernel.read_entries(found)
    key, value = next(iter(before.items()))
    changed = EntryChange(key, value, bytes(len(value)))
    # A position or prefix length too far; of a hash one entry more than it holds.
    refused = [EntryChange(b"\xff" * len(key), None, value)]
    if name == "names":
        many = [(1000 + number).to_bytes(len(key), "little") for number in range(64)]
        refused = [EntryChange(one, None, value) for one in many]

    with pytest.raises(KernelFaultError):
        Steps(node.kernel).run([WriteMapEntries(found, (changed, *refused))], point)

    assert node.kernel.read_entries(found) == before


def test_constants_make_another_program_and_variables_do_not(node: Executor, wire: Wire) -> None:
    """`const volatile` is set before the verifier looks; `.data` while packets pass."""
    point = Point(wire.name, "xdp")
    constants = {"limit": 100, "fixed": FLOW}
    high = {"threshold": 600, "otherwise": "LET"}
    low = {"threshold": 60, "otherwise": "BLOCK"}
    settle(node, wire, 1, variables=high)
    link_id = node.kernel.observe(point).link_id
    first = [verdict(node, wire, length) for length in (64, 700, 1200)]

    linked_for_constants = settle(node, wire, 2, constants=constants, variables=high)
    second = [verdict(node, wire, length) for length in (64, 700, 1200)]
    linked_for_variables = settle(node, wire, 3, constants=constants, variables=low)
    third = [verdict(node, wire, length) for length in (64, 700, 1200)]
    rules = {FLOW_KEY.replace("6}", "0}"): RULE}
    settle(node, wire, 4, constants=constants, variables=low, config={"rules": rules})

    passed, dropped, sent = 2, 1, 3
    assert first == [passed, passed, dropped]
    assert (linked_for_constants, second) == (True, [passed, dropped, dropped])
    assert (linked_for_variables, third) == (False, [dropped, dropped, dropped])
    assert verdict(node, wire, 64) == sent
    assert node.kernel.observe(point).link_id == link_id


def test_a_variable_beside_one_that_programs_write_is_set_alone(node: Executor, wire: Wire) -> None:
    """A count that lies in the same section goes on."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, variables={"threshold": 600})
    for _ in range(5):
        verdict(node, wire, 64)

    settle(node, wire, 2, variables={"threshold": 601, "label": "second"})

    found = node.kernel.observe(point).map_pins
    shown: dict[str, Any] = {}
    for name in (".data", ".bss"):
        section = found[MapKey("one", name)]
        codec = map_codec(node.kernel.layout(section))  # type: ignore[attr-defined]
        shown |= codec.value.decode(node.kernel.read_section(section))
    assert (shown["threshold"], shown["label"], shown["calls"]) == (601, "second", 5)


def test_maps_of_a_running_program_are_shown_as_they_are_configured(
    node: Executor, wire: Wire
) -> None:
    """One entry or all, values by processor where there are such, global variables by name."""
    settle(node, wire, 1, config=KINDS, constants={"limit": 99}, variables={"threshold": 5})
    reading = MapReading(node="n1", points=node.points, contents=node.kernel)  # type: ignore[arg-type]

    def shown(name: str, key: str | None = None) -> dict[str, Any]:
        request = ReadMap(interface=wire.name, hook="xdp", program="one", map=name, key=key)
        reply = reading.read(request)
        assert reply.total == len(reply.entries)
        return {
            one.key: one.value if one.cpus is None else set(map(str, one.cpus))
            for one in reply.entries
        }

    assert shown("rules") == KINDS["rules"]
    assert shown("networks", "10.0.0.0/8") == {"10.0.0.0/8": 1}
    assert shown("steps")["0"] == {"-32768"}
    assert shown(".rodata")["0"]["limit"] == 99
    assert shown(".data")["0"]["threshold"] == 5


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"interface": "nowhere"}, "interface"),
        ({"program": "two"}, "program"),
        ({"map": "rulez"}, "map"),
        ({"key": "10.0.0.0/33"}, "key"),
        ({"key": "11.0.0.0/8"}, "key"),
    ],
)
def test_what_cannot_be_shown_says_why(
    node: Executor, wire: Wire, changes: dict[str, str], path: str
) -> None:
    """And what there is instead."""
    settle(node, wire, 1, config=KINDS)
    reading = MapReading(node="n1", points=node.points, contents=node.kernel)  # type: ignore[arg-type]
    fields = {"interface": wire.name, "hook": "xdp", "program": "one", "map": "networks"}

    with pytest.raises(RefusedError) as caught:
        reading.read(ReadMap(**{**fields, **changes}))  # type: ignore[arg-type]

    assert [reason.path for reason in caught.value.reasons] == [path]


def test_a_metric_is_read_under_a_key_in_its_format(node: Executor, wire: Wire) -> None:
    """As the package writes the keys of that map."""
    point = Point(wire.name, "xdp")
    metrics = {"ten": MetricSource(map="networks", key="10.0.0.0/8")}
    settle(node, wire, 1, config={"networks": {"10.0.0.0/8": 42}}, metrics=metrics)

    read = read_metrics(node.kernel, node.points.memory(point).current, MetricWindows())

    assert [(one.metric, one.value, one.problem) for one in read] == [("ten", 42, "")]


def test_a_large_map_is_shown_in_parts(node: Executor, wire: Wire) -> None:
    """A reply fits into a message, and the next goes on where it ended."""
    settle(node, wire, 1, config={"rules": KINDS["rules"]})
    point = Point(wire.name, "xdp")
    contents = LargeMap(map_id(node, point, "names"), node.kernel)
    reading = MapReading(node="n1", points=node.points, contents=contents)
    request = ReadMap(interface=wire.name, hook="xdp", program="one", map="names")

    replies = [reading.read(request)]
    while replies[-1].next:
        replies.append(reading.read(msgspec.structs.replace(request, after=replies[-1].next)))

    keys = [int(one.key) for reply in replies for one in reply.entries]
    assert len(replies) > 1
    assert max(len(msgspec.json.encode(reply)) for reply in replies) < 700 * 1024
    assert sorted(keys) == list(range(LargeMap.ENTRIES))


class LargeMap:
    """A map with more entries than a reply holds."""

    ENTRIES = 8000

    def __init__(self, map_id: int, kernel: Any) -> None:
        self._map_id, self._kernel = map_id, kernel

    def layout(self, map_id: int) -> MapLayout:
        """Of the real one."""
        layout: MapLayout = self._kernel.layout(map_id)
        return layout

    def each_entry(self, map_id: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys 0 and up, values of zeros."""
        size = self.layout(map_id).value.size_bytes
        for number in range(self.ENTRIES):
            yield number.to_bytes(4, "little"), bytes(size)

    def read_entry(self, _map_id: int, _key: bytes) -> bytes | None:
        """None."""
        return None


def test_a_constant_that_does_not_fit_is_refused_and_what_ran_runs(
    node: Executor, wire: Wire
) -> None:
    """Before anything is loaded."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1)
    before = node.kernel.observe(point)

    with pytest.raises(Exception, match=r"one\.variables\.limit: is outside the range"):
        settle(node, wire, 2, constants={"limit": 1, "threshold": 5})

    assert node.kernel.observe(point) == before
