# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Values that fit a codec, and values that do not with the path of why."""

from __future__ import annotations

import ipaddress
from functools import cache, partial
from typing import Any

from hypothesis import strategies as st

from shared.configuration.codecs import (
    BoolCodec,
    Codec,
    EnumCodec,
    ListCodec,
    NumberCodec,
    StructCodec,
)
from shared.configuration.entries import PROCESSORS, MapCodec
from shared.configuration.text_forms import PrefixCodec, StringCodec

NOTHING_FITS: tuple[Any, ...] = (None, 1.5, {"no": 1}, ["no"])
"""Of no type at all, where it is not said otherwise."""


def encoded(codec: Codec, value: Any) -> bytes | None:
    """The bytes; None: it does not fit."""
    problems: list[Any] = []
    data = codec.encode(value, "v", problems)
    return None if problems else data


def values(codec: Codec) -> st.SearchStrategy[Any]:
    """In the form in which they are read back."""
    known: Any = codec  # which is frozen, so it can be kept by
    return _values(known)


def misfits(codec: Codec) -> st.SearchStrategy[tuple[Any, str]]:
    """A value that is refused, and the path within it that the refusal names."""
    known: Any = codec
    return _misfits(known)


@cache
def _values(codec: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 because each has its own
    match codec:
        case NumberCodec():
            (low, high), least, most = codec.limits, codec.minimum, codec.maximum
            low, high = (
                max(low, low if least is None else least),
                min(high, high if most is None else most),
            )
            return st.integers(low, high) | st.sampled_from((low, high))
        case BoolCodec():
            return st.booleans()
        case EnumCodec(number=number):
            low, high = number.limits
            return st.sampled_from([name for name, one in codec.names if low <= one <= high])
        case ListCodec(element=element, count=count):
            return st.lists(values(element), min_size=count, max_size=count)
        case StructCodec(is_union=True):
            members = [values(part.codec).map(partial(_named, part.name)) for part in codec.parts]
            whole = st.one_of(members).map(lambda one: codec.decode(_whole(codec, one)))
            return whole.filter(lambda one: encoded(codec, one) is not None)
        case StructCodec():
            return st.tuples(
                *(_part(part.name, part.codec) for part in codec.parts if not part.is_padding)
            ).map(lambda found: {name: one for part in found for name, one in part.items()})
        case PrefixCodec(version=version):
            return st.integers(0, 32 if version == 4 else 128).flatmap(
                lambda length: _prefixes(version, length)
            )
        case StringCodec(size_bytes=size):
            text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=size - 1)
            fitting = text.filter(lambda one: len(one.encode()) < size and not one.startswith("["))
            return fitting | st.binary(min_size=size, max_size=size).map(codec.decode)
    size = codec.size_bytes
    return st.binary(min_size=size, max_size=size).map(codec.decode)


@cache
def _misfits(codec: Any) -> st.SearchStrategy[tuple[Any, str]]:  # noqa: PLR0911 because each has its own
    here = st.sampled_from(NOTHING_FITS).map(lambda one: (one, ""))
    match codec:
        case NumberCodec():
            low, high = codec.limits
            return st.sampled_from((low - 1, high + 1, True, "1", *NOTHING_FITS)).map(
                lambda one: (one, "")
            )
        case BoolCodec():
            return st.sampled_from((2, -1, "true", *NOTHING_FITS)).map(lambda one: (one, ""))
        case EnumCodec():
            return st.sampled_from(("NONE", 77, True, *NOTHING_FITS)).map(lambda one: (one, ""))
        case ListCodec(element=element, count=count):
            inside = st.tuples(
                st.lists(values(element), min_size=count, max_size=count),
                st.integers(0, count - 1),
                misfits(element),
            ).map(
                lambda found: (
                    [found[2][0] if at == found[1] else one for at, one in enumerate(found[0])],
                    f"[{found[1]}]{found[2][1]}",
                )
            )
            return inside | st.lists(values(element), max_size=count - 1).map(lambda one: (one, ""))
        case StructCodec():
            return _struct_misfits(codec)
        case StringCodec(size_bytes=size):
            return st.sampled_from((size * "x", "\0", [0] * (size + 1), [256] * size, 5, None)).map(
                lambda one: (one, "")
            )
    return here | st.sampled_from((5, "", "zz", "1.2.3", True)).map(lambda one: (one, ""))


def keys(codec: MapCodec) -> st.SearchStrategy[str]:
    """Of a map, as text."""
    at_most = codec.layout.max_entries - 1
    if "array" in codec.layout.type_name:
        return st.integers(0, at_most).map(str)
    return values(codec.key).map(lambda one: codec.decode_key(encoded(codec.key, one) or b""))


def entries(
    codec: MapCodec, processors: int, *, most: int = 3
) -> st.SearchStrategy[dict[str, Any]]:
    """Of a map: values by processor in a per-CPU map, a map under each key of a map of maps."""
    if codec.inner is not None:
        value = entries(codec.inner, processors, most=2)
    elif "percpu" in codec.layout.type_name:
        each = st.lists(values(codec.value), min_size=processors, max_size=processors)
        value = each.map(lambda one: {PROCESSORS: one})
    else:
        value = values(codec.value)
    return st.dictionaries(keys(codec), value, max_size=most)


def _named(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _misfit(codec: StructCodec, name: str, found: tuple[Any, tuple[Any, str]]) -> tuple[Any, str]:
    """A value with one member that does not fit."""
    whole, (wrong, path) = found
    return ({} if codec.is_union else whole) | {name: wrong}, f".{name}{path}"


def _part(name: str, codec: Codec) -> st.SearchStrategy[dict[str, Any]]:
    """One member; one without a name lends its own."""
    return values(codec).map(lambda one: {name: one} if name else one)


def _whole(codec: Codec, value: Any) -> bytes:
    data = encoded(codec, value)
    assert data is not None
    return data


def _prefixes(version: int, length: int) -> st.SearchStrategy[str]:
    bits = 32 if version == 4 else 128
    network = st.integers(0, (1 << length) - 1).map(lambda one: one << bits - length)
    return network.map(
        lambda one: f"{ipaddress.ip_address(one.to_bytes(bits // 8, 'big'))}/{length}"
    )


def _struct_misfits(codec: StructCodec) -> st.SearchStrategy[tuple[Any, str]]:
    named = [part for part in codec.parts if part.name and not part.is_padding]
    wrong = [
        st.tuples(values(codec), misfits(part.codec)).map(partial(_misfit, codec, part.name))
        for part in named
    ]
    unknown = values(codec).map(lambda one: (one | {"bogus": 1}, ".bogus"))
    if codec.is_union:
        return st.one_of(*wrong, unknown, st.just(({}, "")))
    missing = st.tuples(values(codec), st.sampled_from(named)).map(
        lambda found: (
            {name: one for name, one in found[0].items() if name != found[1].name},
            f".{found[1].name}",
        )
    )
    return st.one_of(*wrong, unknown, missing)
