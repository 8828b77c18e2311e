# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Per-CPU maps, configured with a value for each processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.node_executor.configuration import ConfigurationError
from services.node_executor.generations import MapKey, Point
from shared.configuration.entries import PROCESSORS, map_codec, split_processors
from tests.support.configured_package import MAPS, a_configured_program, configured
from tests.support.executors import Executor, Wire, a_chain

FLOW = {"address": "192.0.2.1", "port": 443, "protocol": 6}


@pytest.fixture
def node(executor: Executor) -> Executor:
    """An executor that gets the package with everything that can be configured."""
    executor.opened = lambda _program, _hook: configured().opened()
    return executor


def settle(node: Executor, wire: Wire, generation: int, config: dict[str, Any]) -> None:
    """The program runs with that configuration."""
    program = a_configured_program(revision=generation, config=config)
    node.settle(a_chain(wire.name, program), Point(wire.name, "xdp"), generation)


def on_each(node: Executor, wire: Wire, name: str) -> dict[str, Any]:
    """A per-CPU map as JSON, in the form in which it is configured."""
    found = node.kernel.observe(Point(wire.name, "xdp")).map_pins[MapKey("one", name)]
    layout = node.kernel.layout(found)  # type: ignore[attr-defined]
    codec = map_codec(layout, MAPS[name])
    return {
        codec.decode_key(key): {
            PROCESSORS: [
                codec.value.decode(one) for one in split_processors(stored, layout.value.size_bytes)
            ]
        }
        for key, stored in node.kernel.read_entries(found).items()
    }


def possible_processors() -> int:
    """As the kernel counts them, `0-1` for two."""
    first, _, last = Path("/sys/devices/system/cpu/possible").read_text().strip().partition("-")
    return int(last or first) + 1


def test_each_processor_can_have_a_value_of_its_own(node: Executor, wire: Wire) -> None:
    """In per-CPU maps of every size of value; the same on all is one value again."""
    count = possible_processors()
    flows = [FLOW | {"protocol": number} for number in range(count)]
    config = {
        "counts": {"443": {PROCESSORS: flows}},
        "steps": {str(place): {PROCESSORS: list(range(count))} for place in range(4)},
        "seen": {"0000000000000001": {PROCESSORS: [number % 2 == 0 for number in range(count)]}},
    }

    settle(node, wire, 1, config)

    assert {name: on_each(node, wire, name) for name in config} == config
    settle(node, wire, 2, {"counts": {"443": FLOW}})
    assert on_each(node, wire, "counts") == {"443": {PROCESSORS: [FLOW] * count}}


@pytest.mark.parametrize("values", [[], "x", [FLOW] * 1000])
def test_there_are_as_many_values_as_processors(node: Executor, wire: Wire, values: Any) -> None:
    """Neither more nor fewer, and what runs stays as it is."""
    settle(node, wire, 1, {"counts": {"443": FLOW}})

    with pytest.raises(ConfigurationError) as caught:
        settle(node, wire, 2, {"counts": {"443": {PROCESSORS: values}}})

    assert [one.path for one in caught.value.reasons] == ["one.config.counts.443.@cpus"]
    assert on_each(node, wire, "counts") == {"443": {PROCESSORS: [FLOW] * possible_processors()}}


def test_a_value_for_one_processor_is_judged_like_any_other(node: Executor, wire: Wire) -> None:
    """By its place in the list."""
    wrong = [FLOW | {"protocol": -1}] * possible_processors()

    with pytest.raises(ConfigurationError) as caught:
        settle(node, wire, 1, {"counts": {"443": {PROCESSORS: wrong}}})

    assert caught.value.reasons[0].path == "one.config.counts.443.@cpus[0].protocol"
