# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package says of its maps of maps: types, statements, schema and refusals."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from shared.bytecode.elf import read_object
from shared.configuration.deployed import config_problems
from shared.configuration.entries import MapLayout, map_codec
from shared.configuration.json_schema import configuration_schema
from shared.configuration.metric_selection import UnfitMetricError, select
from shared.configuration.package_rules import configuration_reasons, offered_types
from shared.contracts.configuration import MemberEntry
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import InnerMapEntry, MapEntry
from shared.contracts.value_types import InnerMap, IntegerType, Member, OpaqueType, StructType
from shared.errors import Reason, RefusedError
from tests.support.bpf_objects import SOURCES, compile_source
from tests.support.json_schemas import accepts
from tests.support.nested_package import CONFIG, LET, MAPS, TENANT, a_manifest, facts

WORD = IntegerType(4)


def problems(config: dict[str, Any], **changes: Any) -> list[str]:
    """Paths of what a plan refuses."""
    return sorted(one.path for one in config_problems(config, a_manifest(**changes), [facts()]))


def test_the_types_of_inner_maps_are_facts_of_the_object() -> None:
    """Of what the package offers; nothing of others is kept."""
    found = {one.name: one for one in facts().maps}
    kept = offered_types(facts(), a_manifest(maps={"tenants": MAPS["tenants"]}))

    tenants = found["tenants"].inner
    assert tenants is not None
    assert (tenants.type, tenants.max_entries, tenants.key.size_bytes) == ("hash", 4, 2)
    assert found["tenants"].value is None
    assert found["built_in"].inner is None
    assert [one.name for one in kept.maps if one.inner is not None] == ["tenants"]


def test_a_plan_judges_inner_entries_by_their_types_and_ranges() -> None:
    """Each by its path, with the room of each map; an inner range holds in plans and on nodes."""
    assert problems(CONFIG) == []
    assert problems(
        {
            "tenants": {
                TENANT: {"0": LET, "80": LET | {"action": "NONE"}},
                '{"vlan":0,"zone":1}': {},
            },
            "grades": {"0": [1, 2, 3]},
            "zones": {"0": {f"10.{number}.0.0/16": 1 for number in range(5)}},
        }
    ) == [
        "config.grades.0",
        'config.tenants.{"vlan":0,"zone":1}.vlan',
        f"config.tenants.{TENANT}.0",
        f"config.tenants.{TENANT}.80.action",
        "config.zones.0",
    ]


def test_statements_that_the_types_cannot_keep_are_refused_at_publication() -> None:
    """Of the map of maps, of its maps, and of maps that hold none."""
    maps = {
        "tenants": MapEntry(value_format="hex", inner=InnerMapEntry(key_format="mac")),
        "zones": MapEntry(inner=InnerMapEntry(value_members={"x": MemberEntry()})),
        "built_in": MapEntry(inner=InnerMapEntry()),
        "grades": MapEntry(default={"0": {"7": "LET"}}),
    }

    found = configuration_reasons(a_manifest(maps=maps), [facts()])

    assert sorted(one.path for one in found) == [
        "manifest.maps.built_in.inner",
        "manifest.maps.grades.default.0.7",
        "manifest.maps.tenants.inner.key_format",
        "manifest.maps.tenants.value_format",
        "manifest.maps.zones.inner.value_members.x",
    ]


def test_the_schema_takes_what_plans_take() -> None:
    """Keys, entries and room, inside and outside."""
    schema = configuration_schema(a_manifest(), [facts()])

    assert accepts(schema, {"config": CONFIG})
    wrongs: tuple[dict[str, Any], ...] = (
        {"tenants": {TENANT: 5}},
        {"tenants": {TENANT: {"80": LET | {"more": 1}}}},
        {"zones": {"0": {f"10.{number}.0.0/16": 1 for number in range(5)}}},
        {"stages": {str(number): {} for number in range(3)}},
    )
    for wrong in wrongs:
        assert not accepts(schema, {"config": wrong})


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        (InnerMap("ringbuf", WORD, WORD, 1), "inner"),
        (InnerMap("hash_of_maps", WORD, WORD, 1), "inner"),
        (InnerMap("hash", WORD, OpaqueType("pointer", 8), 1), "inner"),
        (
            InnerMap(
                "hash",
                WORD,
                StructType("s", 8, (Member("lock", 0, OpaqueType("bpf_spin_lock", 4)),)),
                1,
            ),
            "inner",
        ),
    ],
)
def test_inner_maps_that_nobody_can_make_are_refused(inner: InnerMap, told: str) -> None:
    """By their type, or by what their values hold."""
    found: list[Reason] = []

    map_codec(MapLayout(WORD, WORD, 4, "hash_of_maps", inner), path="m", problems=found)

    assert [one.path for one in found] == [f"m.{told}"]


def test_a_map_of_maps_whose_types_are_not_known_is_refused_on_the_node() -> None:
    """As of one that a release linked which kept none."""
    found: list[Reason] = []
    codec = map_codec(MapLayout(WORD, WORD, 4, "hash_of_maps"), problems=found)

    with pytest.raises(UnfitMetricError, match="values are no numbers"):
        select(MetricSource(map="tenants"), codec)
    assert codec.inner is None
    assert found == []


def test_types_that_only_inner_maps_use_are_named() -> None:
    """Compilers leave them out, and libbpf could not make the map."""
    source = (SOURCES / "nested.bpf.c").read_text()
    without = source.replace("struct rule any_rule;", "")
    assert without != source

    data, told = compile_source(without), ""
    with suppress(RefusedError):  # a compiler that completes them gives nothing to refuse
        told = "completed" if read_object(data, "nested.bpf.o").maps else ""
    if not told:
        with pytest.raises(RefusedError, match="map tenants: keys or values of the maps in it"):
            read_object(data, "nested.bpf.o")
