# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An executor on whose hook the package with maps of maps runs, and what is read of its maps."""

from __future__ import annotations

import struct
from typing import Any

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.programs import run_packet
from services.node_executor.generations import Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.map_reading import MapReading
from shared.configuration.entries import MapCodec, layout_within, map_codec, nest, split_processors
from shared.contracts.map_reading import MapShown, ReadMap
from tests.support.executors import Executor, Wire, a_chain
from tests.support.nested_package import MAPS, a_nested_program

FRAME = bytes(64)


def settle(node: Executor, wire: Wire, generation: int, **changes: Any) -> bool:
    """The program runs with that configuration; returns whether it was linked anew."""
    chain = a_chain(wire.name, a_nested_program(revision=generation, **changes))
    return node.settle(chain, Point(wire.name, "xdp"), generation)


def held(node: Executor, wire: Wire, name: str) -> HeldMap:
    """One map of the running generation."""
    current = node.points.memory(Point(wire.name, "xdp")).current
    assert current is not None
    return next(one for one in current.maps if one.name == name)


def codec_of(node: Executor, one: HeldMap) -> MapCodec:
    """How its entries are written."""
    assert one.of_maps is not None
    layout = node.kernel.layout(one.map_id)  # type: ignore[attr-defined]
    whole = layout_within(layout, one.of_maps.key, one.of_maps.inner)
    return map_codec(whole, MAPS[one.name])


def read_back(node: Executor, wire: Wire, name: str) -> dict[str, Any]:
    """A map of maps as JSON; values of processors that agree are one."""
    one = held(node, wire, name)
    codec = codec_of(node, one)
    inner = codec.inner
    assert inner is not None
    flat = node.kernel.read_entries(one.map_id)
    size = inner.layout.value.size_bytes

    def shown(stored: bytes) -> Any:
        parts = (
            set(split_processors(stored, size)) if "percpu" in inner.layout.type_name else {stored}
        )
        (part,) = parts
        return inner.value.decode(part)

    return {
        codec.decode_key(key): {inner.decode_key(at): shown(value) for at, value in within.items()}
        for key, within in nest(flat, codec.layout.key.size_bytes).items()
    }


def inner_ids(node: Executor, wire: Wire, name: str) -> dict[str, int]:
    """The kernel's maps under each key."""
    one = held(node, wire, name)
    codec = codec_of(node, one)
    with kernel_info.map_by_id(one.map_id) as outer:
        return {
            codec.decode_key(key): struct.unpack("<I", value)[0]
            for key, value in map_access.one_by_one(outer)
        }


def verdict(node: Executor, wire: Wire) -> int:
    """What the program on the hook says of a packet."""
    program_id = node.kernel.observe(Point(wire.name, "xdp")).link_program_id
    with kernel_info.program_by_id(program_id) as program:
        return run_packet(program, FRAME).verdict


def cpus() -> int:
    """Possible processors."""
    return map_access.processors()


def read(node: Executor, wire: Wire, **fields: Any) -> MapShown:
    """As `l3af map dump` and `get` ask."""
    reading = MapReading(node="n1", points=node.points, contents=node.kernel)  # type: ignore[arg-type]
    return reading.read(ReadMap(interface=wire.name, hook="xdp", program="one", **fields))
