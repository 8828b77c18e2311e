# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of maps, configured on the real kernel, changed while packets pass, and read back."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.configuration import ConfigurationError
from services.node_executor.execution import Steps
from services.node_executor.generations import Point
from services.node_executor.preparation import MapMismatchError
from shared.configuration.entries import (
    PROCESSORS,
)
from tests.support.bpf_objects import SOURCES, bpf_object, compile_source
from tests.support.executors import Executor, Wire, a_chain, packed
from tests.support.nested_node import FRAME, cpus, held, inner_ids, read, read_back, settle, verdict
from tests.support.nested_package import (
    BLOCKED,
    CONFIG,
    LET,
    OBJECT,
    OTHER_TENANT,
    TENANT,
    a_manifest,
    a_nested_program,
    nested,
)

PASS, DROP = 2, 1


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor that gets the package with maps of maps."""
    executor.opened = lambda _program, _hook: nested().opened()
    return executor


def is_gone(map_id: int) -> bool:
    """Whether the kernel has no such map."""
    try:
        kernel_info.map_by_id(map_id).close()
    except KernelFaultError:
        return True
    return False


def test_every_kind_is_read_back_as_it_was_written(node: Executor, wire: Wire) -> None:
    """Arrays and hashes of hashes, tries, arrays and per-CPU maps; empty ones too."""
    settle(node, wire, 1, config=CONFIG)

    assert {name: read_back(node, wire, name) for name in CONFIG} == CONFIG


def test_changes_are_live_and_maps_that_stay_are_the_same_maps(node: Executor, wire: Wire) -> None:
    """Nothing is linked anew; an inner map is written in its place, and what is in it goes on."""
    settle(node, wire, 1, config=CONFIG)
    before, first = inner_ids(node, wire, "tenants"), verdict(node, wire)
    changed = {TENANT: {"80": LET}, '{"vlan":9,"zone":0}': {"1": BLOCKED}}

    was_linked = settle(node, wire, 2, config=CONFIG | {"tenants": changed})

    assert (first, was_linked, verdict(node, wire)) == (DROP, False, PASS)
    assert read_back(node, wire, "tenants") == changed
    assert inner_ids(node, wire, "tenants")[TENANT] == before[TENANT]


def test_a_map_that_is_not_listed_goes_with_what_it_holds(node: Executor, wire: Wire) -> None:
    """The kernel frees it: nothing else holds it."""
    settle(node, wire, 1, config=CONFIG)
    before = inner_ids(node, wire, "tenants")

    settle(node, wire, 2, config=CONFIG | {"tenants": {OTHER_TENANT: {"80": LET}}, "zones": {}})

    assert read_back(node, wire, "tenants") == {OTHER_TENANT: {"80": LET}}
    assert read_back(node, wire, "zones") == {}
    until(lambda: is_gone(before[TENANT]))


def test_full_maps_are_exchanged_entry_for_entry(node: Executor, wire: Wire) -> None:
    """Outside and inside: there is no room for new ones before old ones went."""

    def full(first: int) -> dict[str, Any]:
        return {
            msgspec.json.encode({"vlan": vlan, "zone": 0}).decode(): {
                str(port): LET for port in range(first, first + 4)
            }
            for vlan in range(first, first + 3)
        }

    settle(node, wire, 1, config={"tenants": full(1)})
    settle(node, wire, 2, config={"tenants": full(2)})
    settle(node, wire, 3, config={"tenants": full(100)})

    assert read_back(node, wire, "tenants") == full(100)


def test_what_others_wrote_stays_where_the_package_says_merge(node: Executor, wire: Wire) -> None:
    """Said of the map of maps, and of its maps, apart."""
    settle(node, wire, 1, config=CONFIG)
    zones, totals = held(node, wire, "zones"), held(node, wire, "totals")
    network, number = struct.pack("<I4B", 8, 11, 0, 0, 0), struct.pack("<QQ", 5, 6)
    node.kernel.write_entries(
        zones.map_id,
        [EntryChange(struct.pack("<I", 1) + network, None, bytes(4))],
        zones.of_maps,
    )
    theirs = [EntryChange(struct.pack("<I", 9), None, b"")]
    theirs += [EntryChange(struct.pack("<I", 9) + number[:8], None, number[8:] * cpus())]
    node.kernel.write_entries(totals.map_id, theirs, totals.of_maps)

    settle(node, wire, 2, config=CONFIG | {"zones": {"1": {"12.0.0.0/8": 1}}, "totals": {}})

    assert read_back(node, wire, "zones") == {"1": {"11.0.0.0/8": 0, "12.0.0.0/8": 1}}
    assert read_back(node, wire, "totals") == {"9": {"5": 6}}


def until(holds: Callable[[], bool]) -> None:
    """The kernel frees maps after a while."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_everything_that_does_not_fit_is_refused_by_path_before_anything_changes(
    node: Executor, wire: Wire
) -> None:
    """Keys, values, room inside and outside, and what is no object of entries."""
    settle(node, wire, 1, config=CONFIG)
    before = {name: inner_ids(node, wire, name) for name in CONFIG}
    wrong = {
        "tenants": {
            '{"vlan":1}': {},
            TENANT: {"80": LET | {"name": "eightbytes"}, "70000": LET},
            OTHER_TENANT: 5,
        },
        "zones": {"2": {}, "0": {f"10.{number}.0.0/16": 1 for number in range(5)}},
        "stages": {str(number): {} for number in range(3)},
        "grades": {"0": {"3": "LET", "0": "SOME"}},
    }

    with pytest.raises(ConfigurationError) as caught:
        settle(node, wire, 2, config=wrong)

    assert sorted(reason.path for reason in caught.value.reasons) == [
        "one.config.grades.0.0",
        "one.config.grades.0.3",
        "one.config.stages",
        'one.config.tenants.{"vlan":1}.zone',
        f"one.config.tenants.{TENANT}.70000",
        f"one.config.tenants.{TENANT}.80.name",
        f"one.config.tenants.{OTHER_TENANT}",
        "one.config.zones.0",
        "one.config.zones.2",
    ]
    assert {name: inner_ids(node, wire, name) for name in CONFIG} == before
    assert {name: read_back(node, wire, name) for name in CONFIG} == CONFIG


def test_what_others_left_no_room_for_is_refused_before_anything_changes(
    node: Executor, wire: Wire
) -> None:
    """In merged maps their entries count: of the map of maps, and of one of its maps."""
    settle(node, wire, 1, config=CONFIG)
    zones, totals = held(node, wire, "zones"), held(node, wire, "totals")
    one, nine = struct.pack("<I", 1), struct.pack("<I", 9)
    networks = [struct.pack("<I4B", 8, number, 0, 0, 0) for number in (11, 12, 13)]
    more = [EntryChange(one + network, None, bytes(4)) for network in networks]
    node.kernel.write_entries(zones.map_id, more, zones.of_maps)
    node.kernel.write_entries(totals.map_id, [EntryChange(nine, None, b"")], totals.of_maps)
    before = {name: read_back(node, wire, name) for name in CONFIG}
    config = CONFIG | {
        "zones": {"1": {"10.0.0.0/8": 1, "20.0.0.0/8": 1}},
        "totals": {"0": {}, "1": {}},
    }

    with pytest.raises(ConfigurationError) as caught:
        settle(node, wire, 2, config=config)

    assert [reason.path for reason in caught.value.reasons] == [
        "one.config.totals",
        "one.config.zones.01000000",
    ]
    assert {name: read_back(node, wire, name) for name in CONFIG} == before


def test_a_batch_that_fails_leaves_maps_and_their_maps_as_they_were(
    node: Executor, wire: Wire
) -> None:
    """Made ones are gone again, removed ones are back, written ones hold what they held."""
    settle(node, wire, 1, config=CONFIG)
    tenants = held(node, wire, "tenants")
    before, ids = node.kernel.read_entries(tenants.map_id), inner_ids(node, wire, "tenants")
    _, second = sorted(key for key in before if len(key) == 4)
    new, another = struct.pack("<HBB", 99, 0, 0), struct.pack("<HBB", 98, 0, 0)
    port, value = struct.pack(">H", 81), bytes(16)
    entries = [key for key in before if len(key) > 4]
    changes = (
        *(EntryChange(key, before[key], value) for key in entries),
        EntryChange(new, None, b""),
        EntryChange(new + port, None, value),
        EntryChange(second, b"", None),
        EntryChange(another, None, b""),
        # One more than the new map holds.
        *(EntryChange(another + struct.pack(">H", 90 + at), None, value) for at in range(5)),
    )
    opened = open_maps()

    with pytest.raises(KernelFaultError):
        Steps(node.kernel).run(
            [WriteMapEntries(tenants.map_id, changes, tenants.of_maps)], Point(wire.name, "xdp")
        )

    assert node.kernel.read_entries(tenants.map_id) == before
    assert inner_ids(node, wire, "tenants")[TENANT] == ids[TENANT]
    assert open_maps() == opened


def open_maps() -> Counter[str]:
    """Maps that this process itself keeps in the kernel."""
    lines = [
        line
        for one in Path("/proc/self/fdinfo").iterdir()
        if one.exists()
        for line in one.read_text().splitlines()
    ]
    return Counter(line for line in lines if line.startswith("map_id"))


def test_drift_is_seen_and_put_right_where_no_program_writes(node: Executor, wire: Wire) -> None:
    """A map that was taken away, one that was put there, and an entry that was changed."""
    point = Point(wire.name, "xdp")
    settle(node, wire, 1, config=CONFIG)
    tenants = held(node, wire, "tenants")
    before = node.kernel.read_entries(tenants.map_id)
    marks = sorted(key for key in before if len(key) == 4)
    entry = next(key for key in before if len(key) > 4)
    node.kernel.write_entries(
        tenants.map_id,
        [
            EntryChange(entry, before[entry], bytes(16)),
            EntryChange(next(key for key in marks if key != entry[:4]), b"", None),
            EntryChange(struct.pack("<HBB", 99, 0, 0), None, b""),
        ],
        tenants.of_maps,
    )
    rested = node.rests(a_chain(wire.name, a_nested_program(revision=1, config=CONFIG)), point, 1)

    settle(node, wire, 1, config=CONFIG)

    assert tenants.is_watched
    assert not rested
    assert node.kernel.read_entries(tenants.map_id) == before
    assert "chain.drift" in node.actions()


def test_what_a_program_counts_in_an_inner_map_goes_on(node: Executor, wire: Wire) -> None:
    """A map that it writes to is not compared, and `merge` leaves its entries alone."""
    counting = {"program": "counting", "function": "counting"}
    settle(node, wire, 1, config={"counted": {"0": {"1": 5}}}, **counting)
    for _ in range(3):
        verdict(node, wire)

    settle(node, wire, 2, config={"counted": {"0": {"2": 5}}}, **counting)

    counted = held(node, wire, "counted")
    shown = read(node, wire, map="counted").entries[0].value
    assert not counted.is_watched
    assert {key: sum(one[PROCESSORS]) for key, one in shown.items()} == {
        "2": 5 * cpus(),
        str(len(FRAME)): 3,
    }


def test_a_version_whose_inner_maps_are_others_does_not_take_the_content_over(
    node: Executor, wire: Wire
) -> None:
    """What it would read means something else; a version with the same ones goes on with them."""
    settle(node, wire, 1, config=CONFIG)
    before = held(node, wire, "tenants").map_id
    source = (SOURCES / "nested.bpf.c").read_text()
    other = source.replace("\tchar name[8];", "\t__u8 name[8];\n").replace(
        "__be32 next", "__u32 last"
    )
    packages = {
        version: packed(a_manifest(version=version, maps={}), {OBJECT: data})
        for version, data in (("1.1.0", bpf_object("nested")), ("2.0.0", compile_source(other)))
    }
    node.opened = lambda program, _hook: packages[program.version].opened()

    settle(node, wire, 2, signed=packages["1.1.0"].signed, version="1.1.0")
    after = held(node, wire, "tenants").map_id
    with pytest.raises(MapMismatchError) as caught:
        settle(node, wire, 3, signed=packages["2.0.0"].signed, version="2.0.0")

    assert [reason.path for reason in caught.value.reasons] == ["one.maps.tenants"]
    assert after == before
