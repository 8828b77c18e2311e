# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every type that a package can declare, there and back: JSON, bytes, kernel, bytes, JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.adapters import map_access
from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.configured_maps import ConfiguredMaps
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.map_shapes import declared_shapes
from services.node_executor.execution import Steps
from services.node_executor.generations import Point
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.map_plans import plan_map
from services.node_executor.map_types import MapOfMaps
from shared.configuration.entries import (
    PROCESSORS,
    MapCodec,
    layout_within,
    map_codec,
    nest,
    split_processors,
)
from shared.contracts.configuration import MemberEntry
from shared.contracts.package_manifest import InnerMapEntry, MapEntry
from tests.support.bpf_objects import bpf_object
from tests.support.value_strategies import entries, keys, misfits

pytestmark = pytest.mark.kernel

OBJECT = "every_type.bpf.o"
POINT = Point("none", "xdp")
KEY = {"address": MemberEntry(format="ipv4"), "port": MemberEntry(format="port", minimum=1)}
VALUE = {
    "u32": MemberEntry(minimum=10, maximum=4_000_000_000),
    "address4": MemberEntry(format="ipv4"),
    "address6": MemberEntry(format="ipv6"),
    "mac": MemberEntry(format="mac"),
    "port": MemberEntry(format="port"),
    "ports": MemberEntry(format="port"),
    "digits": MemberEntry(format="hex"),
    "text": MemberEntry(format="string"),
    "boolean": MemberEntry(format="bool"),
    "bare": MemberEntry(format="integer"),
    "route": MemberEntry(format="cidr"),
}
STATED: dict[str, MapEntry] = {
    "hashed": MapEntry(key_members=KEY, value_members=VALUE),
    "listed": MapEntry(value_members=VALUE),
    "hashed_each": MapEntry(key_members=KEY, value_members=VALUE),
    "listed_each": MapEntry(),
    "routed": MapEntry(value_members=VALUE),
    "routed6": MapEntry(),
    "by_u8": MapEntry(),
    "by_s64": MapEntry(),
    "by_u128": MapEntry(),
    "by_enum": MapEntry(value_format="ipv6"),
    "by_text": MapEntry(),
    "by_mac": MapEntry(key_format="mac", value_format="hex"),
    "by_numbers": MapEntry(),
    "by_bool": MapEntry(),
    "recent": MapEntry(key_members=KEY, value_members=VALUE),
    "recent_each": MapEntry(),
    "untyped": MapEntry(),
    "within_hash": MapEntry(
        key_members=KEY, inner=InnerMapEntry(key_members=KEY, value_members=VALUE)
    ),
    "within_array": MapEntry(),
}
examples = settings(max_examples=6, deadline=None)


@dataclass(frozen=True)
class Loaded:
    """One map in the kernel."""

    name: str
    map_id: int
    of_maps: MapOfMaps | None
    codec: MapCodec
    kernel: ConfiguredMaps

    def encode(self, config: dict[str, Any]) -> tuple[dict[bytes, bytes], list[str]]:
        """Bytes, and the paths of what does not fit."""
        found, problems = self.kernel.encode_entries(
            self.map_id, self.name, config, STATED[self.name], self.of_maps
        )
        return found, [one.path for one in problems]

    def plan(self, wanted: dict[bytes, bytes]) -> WriteMapEntries:
        """The writes that lead there."""
        kernel, map_id = self.kernel, self.map_id
        return plan_map(
            map_id,
            STATED[self.name],
            self.of_maps,
            present=self.present(),
            wanted={key: kernel.stored_value(map_id, one) for key, one in wanted.items()},
            blank=kernel.blank_value(map_id),
            capacity=kernel.capacity(map_id),
        )

    def present(self) -> dict[bytes, bytes]:
        """What the kernel has."""
        return self.kernel.read_entries(self.map_id)

    def shown(self) -> dict[str, Any]:
        """The same as JSON."""
        if self.codec.inner is None:
            return _shown(self.present(), self.codec)
        nested = nest(self.present(), self.codec.layout.key.size_bytes)
        inner = self.codec.inner
        return {self.codec.decode_key(key): _shown(held, inner) for key, held in nested.items()}


def _shown(present: dict[bytes, bytes], codec: MapCodec) -> dict[str, Any]:
    def value(stored: bytes) -> Any:
        if "percpu" not in codec.layout.type_name:
            return codec.value.decode(stored)
        each = split_processors(stored, codec.layout.value.size_bytes)
        return {PROCESSORS: [codec.value.decode(one) for one in each]}

    return {codec.decode_key(key): value(stored) for key, stored in present.items()}


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, Loaded]]:
    """Every map of the object, by name."""
    data, kernel = bpf_object("every_type"), ConfiguredMaps()
    shapes = declared_shapes(data, OBJECT)
    source = ProgramSource(
        name="one", object_path=OBJECT, data=data, function="every_type", proceed_on=("pass",)
    )
    with link_chain([source], "xdp", name="every_type") as chain:
        found = {}
        for name, one in chain.maps["one"].items():
            if name not in STATED:
                continue
            layout, of_maps = kernel.layout(one.info.id), shapes[name].of_maps
            if of_maps is not None:
                layout = layout_within(layout, of_maps.key, of_maps.inner)
            problems: list[Any] = []
            codec = map_codec(layout, STATED[name], problems=problems)
            assert problems == []
            found[name] = Loaded(name, one.info.id, of_maps, codec, kernel)
        assert found.keys() == STATED.keys()
        yield found


@pytest.mark.parametrize("name", STATED)
@examples
@given(data=st.data())
def test_json_to_the_kernel_and_back_is_the_identity(
    loaded: dict[str, Loaded], name: str, data: st.DataObject
) -> None:
    """Of all entries that fit, whatever was there; a batch that fails changes nothing.

    In arrays the entries that are not listed are zeros.
    """
    one = loaded[name]
    config = data.draw(entries(one.codec, map_access.processors()))
    wanted, problems = one.encode(config)

    Steps(one.kernel).run([one.plan(wanted)], POINT)  # type: ignore[arg-type]

    shown, present = one.shown(), one.present()
    assert problems == []
    if one.codec.inner is not None:
        config = {key: shown[key] | held for key, held in config.items()}
    assert shown | config == shown
    if "array" not in one.codec.layout.type_name:
        assert shown.keys() == config.keys()
    if "lru" in one.codec.layout.type_name:
        return  # the kernel refuses nothing, it makes room
    other = one.plan(one.encode(data.draw(entries(one.codec, map_access.processors())))[0])
    with pytest.raises(KernelFaultError):
        Steps(one.kernel).run([_failing(other, one)], POINT)  # type: ignore[arg-type]
    assert one.present() == present


def _failing(write: WriteMapEntries, one: Loaded) -> WriteMapEntries:
    """The same with entries behind it that the kernel refuses."""
    layout = one.codec.layout
    size, value = layout.key.size_bytes, b""
    if one.codec.inner is None:
        value = one.kernel.stored_value(one.map_id, bytes(layout.value.size_bytes))
    # A position or a prefix too far; of hashes more entries than they hold.
    refused = [b"\xff" * size]
    if layout.type_name not in ("array", "percpu_array", "lpm_trie", "array_of_maps"):
        known = one.present().keys() | {change.key for change in write.changes}
        refused = [number.to_bytes(size, "big") for number in range(1, 24)]
        refused = [key for key in refused if key not in known]
    more = tuple(EntryChange(key, None, value) for key in refused)
    return WriteMapEntries(write.map_id, (*write.changes, *more), write.of_maps)


@pytest.mark.parametrize("name", STATED)
@examples
@given(data=st.data())
def test_what_does_not_fit_is_refused_with_its_path(
    loaded: dict[str, Loaded], name: str, data: st.DataObject
) -> None:
    """Keys and values, beside entries that fit."""
    one, processors = loaded[name], map_access.processors()
    config = data.draw(entries(one.codec, processors, most=2))
    key, place = data.draw(keys(one.codec)), f"config.{name}"
    held = one.codec.inner or one.codec
    bad, suffix = data.draw(misfits(held.value))
    path = f"{place}.{key}"
    if one.codec.inner is not None:
        inner_key = data.draw(keys(held))
        bad, path = {inner_key: bad}, f"{path}.{inner_key}"
    no_key = "x" * 300 if name == "by_text" else "no such key"

    assert one.encode(config | {key: bad})[1] == [f"{path}{suffix}"]
    assert one.encode(config | {no_key: config.get(key, {})})[1][0] == f"{place}.{no_key}"
