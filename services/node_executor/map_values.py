# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Map configuration as people write it, and the bytes that the kernel keeps, by BTF.

Values: an integer, or a list for an array.  Keys are text: `80` for an integer, `[1,2]` for an
array.  What BTF does not describe (or describes as a struct) is configured as an array of bytes
if the map gives sizes only, else refused.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shared.bytecode.btf import ArrayType, Btf, IntegerType, Layout, OpaqueType
from shared.bytecode.map_declarations import MapDeclaration
from shared.errors import Reason, RefusedError

_BYTE: Final = IntegerType(1, is_signed=False, name="unsigned char")
_NUMBER_BYTES: Final = (1, 2, 4, 8)
_CONFIGURABLE: Final = frozenset(
    (
        *("hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash"),
        *("lpm_trie", "devmap", "devmap_hash", "cpumap"),
    )
)


class MapValueError(RefusedError):
    """Entries of the configuration do not fit their maps; every one is listed."""


@dataclass(frozen=True, slots=True)
class MapLayout:
    """How the keys and values of a map are written."""

    key: Layout
    value: Layout
    max_entries: int
    type_name: str


def map_layout(declared: MapDeclaration, btf: Btf | None) -> MapLayout:
    """The layout of one map; by its sizes alone if BTF does not describe it.

    Raises:
        MalformedBtfError: `btf` has not the types that the declaration names.
    """
    return MapLayout(
        key=_layout(btf, declared.key_type_id, declared.key_size_bytes),
        value=_layout(btf, declared.value_type_id, declared.value_size_bytes),
        max_entries=declared.max_entries,
        type_name=declared.type_name,
    )


def encode_config(
    config: Mapping[str, Mapping[str, Any]], layouts: Mapping[str, MapLayout]
) -> dict[str, dict[bytes, bytes]]:
    """The entries of every configured map as bytes.

    Raises:
        MapValueError: every key and value that does not fit, as `config.<map>.<key>`.
    """
    problems: list[Reason] = []
    encoded: dict[str, dict[bytes, bytes]] = {}
    for name, entries in config.items():
        layout = layouts.get(name)
        if layout is None:
            problems.append(
                Reason(
                    path=f"config.{name}",
                    rule="must be a map of the program",
                    got=name,
                    allowed=sorted(layouts),
                )
            )
        elif layout.type_name not in _CONFIGURABLE:
            problems.append(
                Reason(
                    path=f"config.{name}",
                    rule="maps of this type cannot be configured",
                    got=layout.type_name,
                    allowed=sorted(_CONFIGURABLE),
                )
            )
        else:
            encoded[name] = _encode_entries(name, entries, layout, problems)
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise MapValueError(f"{first.path}: {first.rule}{more}", problems)
    return encoded


def encode_key(text: str, layout: Layout, *, path: str) -> bytes:
    """The bytes of a key in text form.

    Raises:
        MapValueError: it is no such key, or out of range.
    """
    problems: list[Reason] = []
    encoded = _encode_key(text, layout, path, problems)
    if problems:
        raise MapValueError(f"{path}: {problems[0].rule}", problems)
    return encoded


def decode_value(data: bytes, layout: Layout) -> Any:
    """The integer, or list, that `data` holds; bytes as hexadecimal text where BTF has no form.

    Raises:
        MapValueError: `data` is shorter than the layout.
    """
    if len(data) < layout.size_bytes:
        raise MapValueError("the value is shorter than its type")
    if isinstance(layout, IntegerType):
        return int.from_bytes(data[: layout.size_bytes], sys.byteorder, signed=layout.is_signed)
    if isinstance(layout, ArrayType):
        size = layout.element.size_bytes
        return [
            decode_value(data[number * size : (number + 1) * size], layout.element)
            for number in range(layout.count)
        ]
    return data[: layout.size_bytes].hex()


def render_key(data: bytes, layout: Layout) -> str:
    """The text form that `encode_key` reads."""
    value = decode_value(data, layout)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _layout(btf: Btf | None, type_id: int, size_bytes: int) -> Layout:
    if type_id and btf is not None:
        return btf.layout(type_id)
    if size_bytes in _NUMBER_BYTES:
        return IntegerType(size_bytes, is_signed=False)
    return ArrayType(_BYTE, size_bytes)


def _encode_entries(
    name: str, entries: Mapping[str, Any], layout: MapLayout, problems: list[Reason]
) -> dict[bytes, bytes]:
    encoded: dict[bytes, bytes] = {}
    if len(entries) > layout.max_entries > 0:
        problems.append(
            Reason(
                path=f"config.{name}",
                rule="has more entries than the map can hold",
                got=len(entries),
                allowed=layout.max_entries,
            )
        )
        return encoded
    for text, value in entries.items():
        path = f"config.{name}.{text}"
        before = len(problems)
        key = _encode_key(text, layout.key, path, problems)
        if len(problems) == before and _is_behind_array(key, layout):
            problems.append(
                Reason(
                    path=path,
                    rule="must be a position in the array",
                    got=text,
                    allowed=[0, layout.max_entries - 1],
                )
            )
        encoded_value = _encode(value, layout.value, path, problems)
        if len(problems) > before:
            continue
        if key in encoded:
            problems.append(Reason(path=path, rule="names the same key twice", got=text))
        encoded[key] = encoded_value
    return encoded


def _is_behind_array(key: bytes, layout: MapLayout) -> bool:
    is_array = layout.type_name in ("array", "percpu_array", "devmap", "cpumap")
    return is_array and int.from_bytes(key, sys.byteorder) >= layout.max_entries


def _encode_key(text: str, layout: Layout, path: str, problems: list[Reason]) -> bytes:
    try:
        value = msgspec.json.decode(text if text == text.strip() else "")
    except (msgspec.DecodeError, RecursionError):
        problems.append(Reason(path=path, rule="the key must be an integer or a list", got=text))
        return b""
    return _encode(value, layout, path, problems)


def _encode(value: Any, layout: Layout, path: str, problems: list[Reason]) -> bytes:
    if isinstance(layout, IntegerType):
        return _encode_integer(value, layout, path, problems)
    if isinstance(layout, ArrayType):
        return _encode_array(value, layout, path, problems)
    kind = layout.kind if isinstance(layout, OpaqueType) else "struct"
    problems.append(
        Reason(path=path, rule=f"values of type {kind} cannot be configured", got=value)
    )
    return b""


def _encode_integer(value: Any, layout: IntegerType, path: str, problems: list[Reason]) -> bytes:
    bits = 8 * layout.size_bytes
    lowest = -(1 << (bits - 1)) if layout.is_signed else 0
    highest = (1 << (bits - 1 if layout.is_signed else bits)) - 1
    if layout.name == "_Bool":
        highest = 1
    # True and False are integers to Python, but not to whoever wrote `true` for a number.
    if isinstance(value, bool) and layout.name == "_Bool":
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        problems.append(
            Reason(path=path, rule="must be an integer", got=value, allowed=[lowest, highest])
        )
        return b""
    if not lowest <= value <= highest:
        name = layout.name or f"{bits}-bit integer"
        problems.append(
            Reason(
                path=path, rule=f"is out of range for {name}", got=value, allowed=[lowest, highest]
            )
        )
        return b""
    return value.to_bytes(layout.size_bytes, sys.byteorder, signed=layout.is_signed)


def _encode_array(value: Any, layout: ArrayType, path: str, problems: list[Reason]) -> bytes:
    if not isinstance(value, list) or len(value) != layout.count:
        got = len(value) if isinstance(value, list) else value
        problems.append(
            Reason(
                path=path, rule="must be a list of so many elements", got=got, allowed=layout.count
            )
        )
        return b""
    return b"".join(
        _encode(element, layout.element, f"{path}[{position}]", problems)
        for position, element in enumerate(value)
    )
