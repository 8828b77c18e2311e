# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Many places or nodes in few bytes: a deployment of ten thousand nodes has to fit a record.

Pure.  By interface and network namespace the names of nodes, or names alone, as JSON, compressed
(RFC 1950), as base64.
"""

from __future__ import annotations

import binascii
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final

from shared.errors import FaultError
from shared.identifiers import render_place, split_place

MAX_BYTES: Final = 64 * 1024 * 1024
"""Unpacked; what is more was not packed here."""

Place = tuple[str, str, str]
"""Node, interface, network namespace."""


def pack_places(places: Iterable[Place]) -> str:
    """The places, whatever their order; no two are the same."""
    grouped: dict[str, list[str]] = {}
    for node, interface, netns in places:
        grouped.setdefault(render_place(interface, netns), []).append(node)
    ordered = {place: sorted(nodes) for place, nodes in sorted(grouped.items())}
    return _pack(ordered)


def unpack_places(packed: str) -> tuple[Place, ...]:
    """The places by node, interface and network namespace, ascending.

    Raises:
        FaultError: The record is damaged.
    """
    grouped: dict[str, list[str]] = _unpack(packed)
    return tuple(
        sorted((node, *split_place(place)) for place, nodes in grouped.items() for node in nodes)
    )


def pack_names(names: Iterable[str]) -> str:
    """The names in their order."""
    return _pack(list(names))


def unpack_names(packed: str) -> tuple[str, ...]:
    """The names in the order in which they were packed.

    Raises:
        FaultError: The record is damaged.
    """
    return tuple(_unpack(packed))


def _pack(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return b64encode(zlib.compress(text.encode())).decode()


def _unpack(packed: str) -> Any:
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(b64decode(packed, validate=True), MAX_BYTES)
        if not reader.eof:
            raise FaultError("nodes of a deployment are cut off")
        return json.loads(text)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise FaultError(f"nodes of a deployment cannot be read: {error}") from error
