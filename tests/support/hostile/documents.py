# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile JSON: what any document can be instead of what it should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from shared.validation import MAX_DEPTH

ABSENT: Final = object()
"""Instead of a value: the field is left out."""
Steps = tuple[str | int, ...]

_NOT_JSON: Final = "is not JSON"


def changed(document: Any, steps: Steps, value: Any) -> Any:
    """The document, in which the value at that place is another one."""
    *way, last = steps
    holder = document
    for step in way:
        holder = holder[step]
    if value is ABSENT:
        del holder[last]
    elif isinstance(holder, list) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value
    return document


def encoded(document: Any) -> bytes:
    """In the product's canonical form, as far as the document has one."""
    return msgspec.json.encode(document, order="sorted")


def spliced(document: Any, steps: Steps, text: bytes) -> bytes:
    """The document's bytes, in which this text stands for a value."""
    return encoded(changed(document, steps, "SPLICED")).replace(b'"SPLICED"', text)


BYTES: Final[dict[str, tuple[Callable[[bytes], bytes], str]]] = {
    "nothing": (lambda _: b"", _NOT_JSON),
    "half a document": (lambda good: good[: len(good) // 2], _NOT_JSON),
    "two documents": (lambda good: good + good, _NOT_JSON),
    "a comma behind the last field": (lambda good: good[:-1] + b",}", _NOT_JSON),
    "single quotes": (lambda good: good.replace(b'"', b"'"), _NOT_JSON),
    "a byte order mark": (lambda good: b"\xef\xbb\xbf" + good, _NOT_JSON),
    "UTF-16": (lambda good: good.decode().encode("utf-16"), ""),
    "UTF-32": (lambda good: good.decode().encode("utf-32"), ""),
    "a byte that is not UTF-8": (lambda good: good.replace(b'"', b'"\xff', 1), _NOT_JSON),
    "an overlong encoding": (lambda good: good.replace(b'"', b'"\xc0\x80', 1), _NOT_JSON),
    "a surrogate in UTF-8": (lambda good: good.replace(b'"', b'"\xed\xa0\x80', 1), _NOT_JSON),
    "a zero byte": (lambda good: good + b"\0", _NOT_JSON),
    "a line feed within a string": (lambda good: good.replace(b'"', b'"\n', 1), _NOT_JSON),
    "a list": (lambda good: b"[" + good + b"]", "expected `object`"),
    "a string": (lambda good: json.dumps(good.decode()).encode(), "expected `object`"),
    "a number": (lambda _: b"1", "expected `object`"),
    "null": (lambda _: b"null", "expected `object`"),
    "lists deeper than are read": (
        lambda _: b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
        "is nested too deeply",
    ),
    "five thousand lists": (
        lambda _: b"[" * 5_000 + b"]" * 5_000,
        "is nested too deeply",
    ),
    "objects without end": (lambda _: b'{"a":' * 4_000, ""),
    "a field twice": (
        lambda good: good[:-1] + b',"command_id":"","command_id":""}',
        "twice in one object",
    ),
}
"""What a document's bytes are made into, and words of the reason; the place is the document."""

VALUES: Final[dict[str, tuple[bytes, str]]] = {
    "NaN": (b"NaN", "holds NaN"),
    "Infinity": (b"Infinity", "holds Infinity"),
    "minus Infinity": (b"-Infinity", "holds -Infinity"),
    "a number of five thousand digits": (b"1" * 5_000, "holds a number out of range"),
    "a number with a leading zero": (b"01", _NOT_JSON),
    "a number with a plus": (b"+1", _NOT_JSON),
    "a hexadecimal number": (b"0x10", _NOT_JSON),
    "a word": (b"undefined", _NOT_JSON),
    "a lone surrogate": (b'"\\ud800"', ""),
    "surrogates in the wrong order": (b'"\\udc00\\ud800"', ""),
    "an escape that is none": (b'"\\x41"', _NOT_JSON),
}
"""What stands for a value, and words of the reason; the place is the document."""
