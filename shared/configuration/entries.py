# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Map configuration as people write it, and the bytes that the kernel keeps, by BTF.

Pure.  A key is text: what its format writes (`10.0.0.0/8`), else JSON (`80`, `[1,2]`,
`{"port":80}`).  What BTF does not describe is an integer if it has the size of one, else bytes.

A map of maps has an object of entries under each key.  Its bytes are flat: under the bytes of a key
nothing, which says that there is a map, and under those of the key and an inner key the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import structs

from shared.bytecode.btf import Btf
from shared.bytecode.configurable_types import inner_map, sized_layout
from shared.bytecode.map_declarations import MapDeclaration
from shared.configuration.codecs import BYTE_ORDER, Codec, EnumCodec, OpaqueCodec, StructCodec
from shared.configuration.kinds import MAX_PARTS, ValueRules, codec_of
from shared.configuration.text_forms import CIDR_BYTES
from shared.contracts.package_manifest import MapEntry
from shared.contracts.value_types import (
    ArrayType,
    InnerMap,
    IntegerType,
    Layout,
    OpaqueType,
    StructType,
    UnionType,
)
from shared.errors import Reason, RefusedError

_BYTE: Final = IntegerType(1, is_signed=False, name="unsigned char")
_PREFIX_BYTES: Final = 4
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,19})")
CONFIGURABLE: Final = frozenset(
    (
        *("hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash"),
        *("lpm_trie", "devmap", "devmap_hash", "cpumap"),
    )
)
"""Types of maps whose entries a deployment can give."""
MAPS_OF_MAPS: Final = frozenset(("array_of_maps", "hash_of_maps"))
"""Types of maps whose values are maps; a deployment gives the entries of each."""
_ARRAYS: Final = ("array", "percpu_array", "devmap", "cpumap", "array_of_maps")
MAP_ID_BYTES: Final = 4
"""Of a value in a map of maps, as system calls give and take it."""
PROCESSORS: Final = "@cpus"
"""Instead of a value in a per-CPU map: an object with this one member, a list of one value for each
possible processor."""
UNDECLARED: Final = MapEntry()
"""Of a map of which the package says nothing."""


class MapValueError(RefusedError):
    """Entries of the configuration do not fit their maps; every one is listed."""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """How the keys and values of a map are written."""

    key: Layout
    value: Layout
    max_entries: int
    type_name: str
    inner: InnerMap | None = None
    """Of a map of maps: what it holds; None: it is none, or that is not known."""


@dataclass(frozen=True, slots=True)
class MapCodec:
    """How the entries of one map are written, by type and by what the package says."""

    layout: MapLayout
    key: Codec
    value: Codec
    inner: MapCodec | None = None
    """Of a map of maps: how the entries of each of its maps are written."""

    def encode_key(self, text: str, path: str, problems: list[Reason]) -> bytes:
        """The bytes of a key in text form."""
        before = len(problems)
        value = _read_key(text, self.key, path, problems)
        return self.key.encode(value, path, problems) if len(problems) == before else b""

    def decode_key(self, data: bytes) -> str:
        """The text form that `encode_key` reads."""
        value = self.key.decode(data)
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def type_reason(type_name: str, path: str) -> Reason | None:
    """Why entries of a map of this type cannot be given; None: they can."""
    if type_name in CONFIGURABLE | MAPS_OF_MAPS:
        return None
    rule = "maps of this type cannot be configured"
    allowed = sorted(CONFIGURABLE | MAPS_OF_MAPS)
    return Reason(path=path, rule=rule, got=type_name, allowed=allowed)


def map_layout(declared: MapDeclaration, btf: Btf | None) -> MapLayout:
    """The layout of one map; by its sizes alone if BTF does not describe it.

    Raises:
        MalformedBtfError: `btf` has not the types that the declaration names.
    """
    return MapLayout(
        key=sized_layout(btf, declared.key_type_id, declared.key_size_bytes),
        value=sized_layout(btf, declared.value_type_id, declared.value_size_bytes),
        max_entries=declared.max_entries,
        type_name=declared.type_name,
        inner=inner_map(declared, btf, most_parts=MAX_PARTS),
    )


def layout_within(layout: MapLayout, key: Layout, inner: InnerMap) -> MapLayout:
    """The layout of a map of maps, of which the kernel tells no types."""
    return MapLayout(key, IntegerType(MAP_ID_BYTES), layout.max_entries, layout.type_name, inner)


def inner_layout(inner: InnerMap) -> MapLayout:
    """Of each map that a map of maps holds."""
    return MapLayout(inner.key, inner.value, inner.max_entries, inner.type)


def map_codec(
    layout: MapLayout,
    entry: MapEntry = UNDECLARED,
    *,
    path: str = "",
    problems: list[Reason] | None = None,
    has_ranges: bool = False,
) -> MapCodec:
    """How the map's entries are written.

    Args:
        layout: By BTF.
        entry: What the package says.
        path: Of that, for problems.
        problems: Where everything that the package says and the types cannot keep is told.
        has_ranges: Whether the limits of whole keys and values are among what is judged.
    """
    found: list[Reason] = [] if problems is None else problems
    key_format = entry.key_format
    is_plain = not key_format and not entry.key_members
    if layout.type_name == "lpm_trie" and is_plain and _is_prefix(layout.key):
        key_format = "cidr"
    keys = ValueRules(
        key_format,
        entry.key_members,
        entry.key_minimum if has_ranges else None,
        entry.key_maximum if has_ranges else None,
        f"{path}.key_",
    )
    key = codec_of(layout.key, keys, found)
    if layout.type_name in MAPS_OF_MAPS:
        held = _inner_codec(layout.inner, entry, path, found)
        return MapCodec(layout, key, OpaqueCodec(layout.value.size_bytes, "map"), held)
    if entry.inner is not None:
        rule = "the map holds no maps"
        found.append(Reason(path=f"{path}.inner", rule=rule, got=layout.type_name))
    values = ValueRules(
        entry.value_format,
        entry.value_members,
        entry.value_minimum if has_ranges else None,
        entry.value_maximum if has_ranges else None,
        f"{path}.value_",
    )
    return MapCodec(layout, key, codec_of(layout.value, values, found))


def _inner_codec(
    inner: InnerMap | None, entry: MapEntry, path: str, problems: list[Reason]
) -> MapCodec | None:
    """Of the maps in a map of maps; None: their types are not known."""
    for field in ("value_format", "value_members", "value_minimum", "value_maximum"):
        if getattr(entry, field) not in ("", {}, None):
            rule = "the values are maps; what their entries mean is said below `inner`"
            problems.append(Reason(path=f"{path}.{field}", rule=rule))
    if inner is None:
        return None
    reason = type_reason(inner.type, f"{path}.inner")
    if inner.type in MAPS_OF_MAPS or reason is not None:
        rule = "maps of this type in a map cannot be configured"
        allowed = sorted(CONFIGURABLE)
        problems.append(Reason(path=f"{path}.inner", rule=rule, got=inner.type, allowed=allowed))
        return None
    if kind := _kernel_object(inner.value):
        rule = f"maps whose values hold a {kind} can be made by programs' own objects alone"
        problems.append(Reason(path=f"{path}.inner", rule=rule, got=kind))
    said = UNDECLARED if entry.inner is None else MapEntry(**structs.asdict(entry.inner))
    return map_codec(
        inner_layout(inner), said, path=f"{path}.inner", problems=problems, has_ranges=True
    )


def _kernel_object(layout: Layout) -> str:
    """The first thing in a value that a map needs BTF for; empty: there is none."""
    match layout:
        case OpaqueType(kind=kind) if kind != "float":
            return kind
        case ArrayType(element=element):
            return _kernel_object(element)
        case StructType(members=members) | UnionType(members=members):
            return next((kind for one in members if (kind := _kernel_object(one.layout))), "")
    return ""


def encode_config(
    config: Mapping[str, Mapping[str, Any]],
    layouts: Mapping[str, MapLayout],
    entries: Mapping[str, MapEntry] | None = None,
    *,
    path: str = "config",
    processors: int | None = None,
) -> dict[str, dict[bytes, bytes]]:
    """The entries of every configured map as bytes.

    Args:
        config: Map name to entries.
        layouts: Of the maps that there are.
        entries: What the package says of them.
        path: Of the configuration.
        processors: Possible processors of the node; None: it is not known yet.

    Raises:
        MapValueError: every key and value that does not fit, as `config.<map>.<key>`.
    """
    problems: list[Reason] = []
    encoded: dict[str, dict[bytes, bytes]] = {}
    for name, wanted in config.items():
        layout, place = layouts.get(name), f"{path}.{name}"
        if layout is None:
            rule = "must be a map of the program"
            problems.append(Reason(path=place, rule=rule, got=name, allowed=sorted(layouts)))
        elif (reason := type_reason(layout.type_name, place)) is not None:
            problems.append(reason)
        else:
            entry = (entries or {}).get(name, UNDECLARED)
            codec = map_codec(layout, entry, path=place, problems=problems)
            encoded[name] = encode_entries(wanted, codec, place, problems, processors)
    if problems:
        raise value_error(problems)
    return encoded


def value_error(problems: list[Reason]) -> MapValueError:
    """A refusal with all of them."""
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return MapValueError(f"{first.path}: {first.rule}{more}", problems)


def encode_entries(
    entries: Mapping[str, Any],
    codec: MapCodec,
    path: str,
    problems: list[Reason],
    processors: int | None = None,
) -> dict[bytes, bytes]:
    """The entries of one map as bytes, as far as they fit; flat, of a map of maps.

    A value for each processor is as the kernel stores it: each in a multiple of 8 bytes.
    """
    layout = codec.layout
    is_of_maps = layout.type_name in MAPS_OF_MAPS
    if is_of_maps and codec.inner is None:
        rule = "the types of its inner maps are not known here"
        problems.append(Reason(path=path, rule=rule, got=layout.type_name))
        return {}
    if len(entries) > layout.max_entries > 0:
        rule = "has more entries than the map can hold"
        problems.append(Reason(path=path, rule=rule, got=len(entries), allowed=layout.max_entries))
        return {}
    encoded: dict[bytes, bytes] = {}
    for text, value in entries.items():
        place, before = f"{path}.{text}", len(problems)
        key = codec.encode_key(text, place, problems)
        if len(problems) == before and _is_behind_array(key, layout):
            rule, allowed = "must be a position in the array", [0, layout.max_entries - 1]
            problems.append(Reason(path=place, rule=rule, got=text, allowed=allowed))
        held: dict[bytes, bytes] = {}
        if codec.inner is not None:
            held = _encode_inner(value, codec.inner, place, problems, processors)
            stored = b""
        elif is_for_each_processor(value, layout):
            stored = _encode_each(value[PROCESSORS], codec, place, problems, processors)
        else:
            stored = codec.value.encode(value, place, problems)
        if len(problems) > before:
            continue
        if key in encoded:
            problems.append(Reason(path=place, rule="names the same key twice", got=text))
        encoded[key] = stored
        encoded |= {key + inner_key: one for inner_key, one in held.items()}
    return encoded


def nest(flat: Mapping[bytes, bytes], key_bytes: int) -> dict[bytes, dict[bytes, bytes]]:
    """Key to the entries of the map under it, of what is flat.

    Args:
        flat: Entries of a map of maps.
        key_bytes: Of its own keys.
    """
    nested: dict[bytes, dict[bytes, bytes]] = {}
    for key, value in flat.items():
        held = nested.setdefault(key[:key_bytes], {})
        if len(key) > key_bytes:
            held[key[key_bytes:]] = value
    return nested


def _encode_inner(
    value: Any, inner: MapCodec, path: str, problems: list[Reason], processors: int | None
) -> dict[bytes, bytes]:
    if not isinstance(value, dict):
        rule = "must be an object: the entries of the map under this key"
        problems.append(Reason(path=path, rule=rule, got=value))
        return {}
    return encode_entries(value, inner, path, problems, processors)


def is_for_each_processor(value: Any, layout: MapLayout) -> bool:
    """Whether a value of a map is one for each processor."""
    is_per_cpu = "percpu" in layout.type_name
    return is_per_cpu and isinstance(value, dict) and value.keys() == {PROCESSORS}


def _encode_each(
    values: Any, codec: MapCodec, path: str, problems: list[Reason], processors: int | None
) -> bytes:
    place = f"{path}.{PROCESSORS}"
    count = len(values) if isinstance(values, list | tuple) else 0
    if not count or (processors is not None and count != processors):
        rule = "must be a list with one value for each possible processor"
        problems.append(Reason(path=place, rule=rule, got=count, allowed=processors))
        return b""
    parts = [
        codec.value.encode(one, f"{place}[{number}]", problems) for number, one in enumerate(values)
    ]
    return b"".join(part.ljust(-(-len(part) // 8) * 8, b"\0") for part in parts)


def encode_key(
    text: str, layout: Layout, *, path: str, entry: MapEntry = UNDECLARED, type_name: str = "hash"
) -> bytes:
    """The bytes of a key in text form.

    Raises:
        MapValueError: it is no such key, or out of range.
    """
    problems: list[Reason] = []
    codec = map_codec(MapLayout(layout, _BYTE, 0, type_name), entry)
    encoded = codec.encode_key(text, path, problems)
    if problems:
        raise MapValueError(f"{path}: {problems[0].rule}", problems)
    return encoded


def split_processors(stored: bytes, size_bytes: int) -> Iterator[bytes]:
    """The value of each processor, each kept in a multiple of 8 bytes."""
    slot = -(-size_bytes // 8) * 8
    for start in range(0, len(stored) - size_bytes + 1, max(slot, 1)):
        yield stored[start : start + size_bytes]


def _is_prefix(key: Layout) -> bool:
    """Whether it begins with a length and goes on with an address (struct bpf_lpm_trie_key)."""
    if not isinstance(key, StructType) or key.size_bytes not in CIDR_BYTES or not key.members:
        return False
    first = key.members[0].layout
    return isinstance(first, IntegerType) and first.size_bytes == _PREFIX_BYTES


def _is_behind_array(key: bytes, layout: MapLayout) -> bool:
    is_array = layout.type_name in _ARRAYS
    return is_array and int.from_bytes(key, BYTE_ORDER) >= layout.max_entries


def _read_key(text: str, codec: Codec, path: str, problems: list[Reason]) -> Any:
    """The value that a key's text stands for."""
    if codec.is_text and not text.startswith("["):
        is_number = isinstance(codec, EnumCodec) and _NUMBER.fullmatch(text)
        return int(text) if is_number else text
    try:
        return msgspec.json.decode(text if text == text.strip() else "")
    except (msgspec.DecodeError, RecursionError):
        form = "a struct as JSON" if isinstance(codec, StructCodec) else "an integer or a list"
        problems.append(Reason(path=path, rule=f"the key must be {form}", got=text))
        return None
