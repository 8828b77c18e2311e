# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile documents of tests in an archive that is otherwise good."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import msgspec

from shared.contracts.package_tests import MAX_TESTS, MAX_TESTS_BYTES
from shared.package_tests import TESTS_FILE
from tests.support.hostile.documents import ABSENT, BYTES, VALUES, Steps, changed, encoded, spliced
from tests.support.hostile.publications import Kind, Publication, good_files, with_file

_TEST: Final[Steps] = ("tests", 0)
_PACKET: Final[Steps] = (*_TEST, "packets", 0)
_ABOUT: Final = "tests[0]"
_FIELDS: Final[tuple[tuple[str, Steps, Any, str, str], ...]] = (
    ("no tests", ("tests",), [], ":tests", ""),
    ("more tests than are run", ("tests",), [{}] * (MAX_TESTS + 1), ":tests", ""),
    ("another schema", ("schema",), 2, ":schema", ""),
    ("a field nobody knows", ("script",), "reboot", ":script", "is not a known field"),
    ("a test without a name", (*_TEST, "name"), ABSENT, ":tests[0].name", "is missing"),
    ("a test without packets", (*_TEST, "packets"), [], ":tests[0].packets", ""),
    ("a packet in capitals", (*_PACKET, "packet"), "AB" * 64, ":tests[0].packets[0].packet", ""),
    ("a packet of half a byte", (*_PACKET, "packet"), "0" * 129, ":tests[0].packets[0].packet", ""),
    ("a packet too short", (*_PACKET, "packet"), "00", ":tests[0].packets[0].packet", ""),
    (
        "a packet without end",
        (*_PACKET, "packet"),
        "00" * 80_000,
        ":tests[0].packets[0].packet",
        "",
    ),
    ("a verdict that is null", (*_PACKET, "verdict"), None, ":tests[0].packets[0].verdict", ""),
    ("a hook nobody knows", (*_TEST, "hook"), "xpd", ":tests[0].hook", "invalid enum value"),
    ("a configuration that is a list", (*_TEST, "config"), [], ":tests[0].config", ""),
    ("a verdict of no hook", (*_PACKET, "verdict"), "maybe", f"{_ABOUT}.packets[0].verdict", ""),
    ("a program of nobody", (*_TEST, "program"), "two", f"{_ABOUT}.program", "no such program"),
    ("another hook", (*_TEST, "hook"), "tc-egress", f"{_ABOUT}.hook", "not made for this hook"),
    ("a map of nobody", (*_TEST, "maps"), {"nowhere": {}}, f"{_ABOUT}.maps.nowhere", ""),
    ("a setting of nobody", (*_TEST, "config"), {"x": {}}, f"{_ABOUT}.config.x", ""),
    ("a metric of nobody", (*_TEST, "metrics"), {"x": 1}, f"{_ABOUT}.metrics.x", ""),
)


def package_test_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, steps, value, path, rule in _FIELDS:
        place = f"{TESTS_FILE}{path}" if path.startswith(":") else path
        yield Kind(f"tests: {name}", partial(_with_change, steps, value), place, rule)
    for name, (damage, rule) in BYTES.items():
        make = partial(lambda damage: _with_bytes(damage(good_files()[TESTS_FILE])), damage)
        yield Kind(f"tests: {name}", make, TESTS_FILE, rule)
    for name, (text, rule) in VALUES.items():
        yield Kind(f"tests: {name}", partial(_with_text, text), TESTS_FILE, rule)
    test = _document()["tests"][0]
    twice = partial(_with_change, ("tests",), [test, test])
    yield Kind("tests: two tests of one name", twice, "tests[1].name", "has this name already")
    large = partial(_with_bytes, b" " * (MAX_TESTS_BYTES + 1))
    yield Kind("tests: larger than is read", large, TESTS_FILE, "is too large")


def _document() -> Any:
    return msgspec.json.decode(good_files()[TESTS_FILE])


def _with_bytes(data: bytes) -> Publication:
    return with_file(TESTS_FILE, data)


def _with_change(steps: Steps, value: Any) -> Publication:
    return _with_bytes(encoded(changed(_document(), steps, value)))


def _with_text(text: bytes) -> Publication:
    return _with_bytes(spliced(_document(), (*_TEST, "name"), text))
