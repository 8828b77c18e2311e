# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of maps of running programs, shown as they are configured."""

from __future__ import annotations

import pytest

from shared.errors import RefusedError
from tests.support.executors import Executor, Wire
from tests.support.nested_node import cpus, read, settle
from tests.support.nested_package import CONFIG, LET, TENANT, nested


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor that gets the package with maps of maps."""
    executor.opened = lambda _program, _hook: nested().opened()
    return executor


def test_maps_of_maps_are_shown_as_they_are_configured(node: Executor, wire: Wire) -> None:
    """All of them, one of them, the entries of one, and one entry of one."""
    settle(node, wire, 1, config=CONFIG)

    whole = read(node, wire, map="tenants")
    one = read(node, wire, map="tenants", key=TENANT)
    within = read(node, wire, map="tenants", within=TENANT)
    entry = read(node, wire, map="tenants", within=TENANT, key="443")
    per_cpu = read(node, wire, map="stages", within="7", key="0")

    assert {shown.key: shown.value for shown in whole.entries} == CONFIG["tenants"]
    assert (whole.total, whole.type, whole.max_entries) == (2, "hash_of_maps", 3)
    assert [(shown.key, shown.value) for shown in one.entries] == [
        (TENANT, CONFIG["tenants"][TENANT])
    ]
    assert {shown.key: shown.value for shown in within.entries} == CONFIG["tenants"][TENANT]
    assert (within.total, within.type, within.max_entries, within.within) == (2, "hash", 4, TENANT)
    assert [shown.value for shown in entry.entries] == [LET]
    assert [shown.cpus for shown in per_cpu.entries] == [(-32768,) * cpus()]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"map": "tenants", "key": "1"}, "key"),
        ({"map": "tenants", "key": '{"vlan":5,"zone":5}'}, "key"),
        ({"map": "tenants", "within": '{"vlan":5,"zone":5}'}, "within"),
        ({"map": "tenants", "within": TENANT, "key": "81"}, "key"),
        ({"map": "built_in", "within": "0"}, "within"),
    ],
)
def test_what_is_not_there_is_refused_by_field(
    node: Executor, wire: Wire, fields: dict[str, str], path: str
) -> None:
    """Of the map of maps, and of the one within."""
    settle(node, wire, 1, config=CONFIG)

    with pytest.raises(RefusedError) as caught:
        read(node, wire, **fields)

    assert [reason.path.split(".")[0] for reason in caught.value.reasons] == [path]
