# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile manifests, well signed: their bytes, their fields, and what their files do not keep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from shared.package_archive import describe_files
from tests.support.hostile.documents import ABSENT, BYTES, VALUES, Steps, changed, encoded, spliced
from tests.support.hostile.publications import (
    OBJECT,
    Kind,
    Publication,
    good_files,
    manifest_document,
    with_files,
    with_payload,
)

_PAYLOAD: Final = "signed.manifest.payload"
_FORM: Final = "has characters or a length that are not allowed"
_EXPECTED: Final = "expected `"
_NOT_CANONICAL: Final = "is not in canonical form"

_FIELDS: Final[tuple[tuple[str, Steps, Any, str], ...]] = (
    ("a field nobody knows", ("surprise",), 1, "is not a known field"),
    ("a field of another case", ("Name",), "one", "is not a known field"),
    ("a field of a prototype", ("__proto__",), {}, "is not a known field"),
    ("no name", ("name",), ABSENT, "is missing"),
    ("no version", ("version",), ABSENT, "is missing"),
    ("no licence", ("licence",), ABSENT, "is missing"),
    ("no summary", ("summary",), ABSENT, "is missing"),
    ("no programs", ("programs",), ABSENT, "is missing"),
    ("an empty name", ("name",), "", _FORM),
    ("a name in capitals", ("name",), "One", _FORM),
    ("a name with a dot", ("name",), "one.two", _FORM),
    ("a name that is a wildcard", ("name",), ">", _FORM),
    ("a name that is a path", ("name",), "../one", _FORM),
    ("a name with a line feed behind it", ("name",), "one\n", _FORM),
    ("a name of 64 characters", ("name",), "a" * 64, _FORM),
    ("a name that is a number", ("name",), 1, _EXPECTED),
    ("a name that is null", ("name",), None, _EXPECTED),
    ("a name that is a list", ("name",), ["one"], _EXPECTED),
    ("a name with a zero byte", ("name",), "one\0", _FORM),
    ("another schema", ("schema",), 2, _EXPECTED),
    ("a schema as a string", ("schema",), "1", _EXPECTED),
    ("a schema as a fraction", ("schema",), 1.5, _EXPECTED),
    ("a schema that is true", ("schema",), True, _EXPECTED),
    ("a schema of 2**64", ("schema",), 2**64 - 1, _EXPECTED),
    ("a version that is a number", ("version",), 1, _EXPECTED),
    ("an empty summary", ("summary",), "", _EXPECTED),
    ("a summary without end", ("summary",), "s" * 201, _EXPECTED),
    ("programs that are an object", ("programs",), {}, _EXPECTED),
    ("an empty list of programs", ("programs",), [], _EXPECTED),
    ("a program that is null", ("programs", 0), None, _EXPECTED),
    ("a program without a name", ("programs", 0, "name"), ABSENT, "is missing"),
    ("a program without an object", ("programs", 0, "object"), ABSENT, "is missing"),
    ("a program without a function", ("programs", 0, "function"), ABSENT, "is missing"),
    ("a program without hooks", ("programs", 0, "hooks"), ABSENT, "is missing"),
    ("an empty list of hooks", ("programs", 0, "hooks"), [], _EXPECTED),
    ("a hook that nobody knows", ("programs", 0, "hooks", 0), "xpd", "invalid enum value"),
    ("a hook that is a number", ("programs", 0, "hooks", 0), 1, _EXPECTED),
    ("a compiler that nobody knows", ("programs", 0, "compiler"), "gcc", "invalid enum value"),
    ("an object that is a path out", ("programs", 0, "object"), "../one.o", _FORM),
    ("an object that is an absolute path", ("programs", 0, "object"), "/one.o", _FORM),
    ("an object with a line feed behind it", ("programs", 0, "object"), "one.bpf.o\n", _FORM),
    ("a function with a blank", ("programs", 0, "function"), "one two", _FORM),
    ("a function of 128 characters", ("programs", 0, "function"), "f" * 128, ""),
    ("no verdict to go on", ("programs", 0, "proceed_on"), [], _EXPECTED),
    ("a verdict that is null", ("programs", 0, "proceed_on"), [None], ""),
    ("a field of a program nobody knows", ("programs", 0, "priority"), 1, "is not a known field"),
    ("maps that are a list", ("maps",), [], _EXPECTED),
    ("a map that is null", ("maps", "limits"), None, _EXPECTED),
    ("a map with a limit in words", ("maps", "limits", "key_minimum"), "1", _EXPECTED),
    ("a map with a fraction as a limit", ("maps", "limits", "key_minimum"), 0.5, _EXPECTED),
    ("a map policy nobody knows", ("maps", "limits", "on_layout_change"), "drop", _FORM),
    ("a metric without a map", ("metrics", "seen", "map"), ABSENT, "is missing"),
    ("a metric whose map is a path", ("metrics", "seen", "map"), "a/b", _FORM),
    ("no platform", ("platforms",), [], _EXPECTED),
    ("a platform nobody knows", ("platforms",), ["beos"], "invalid enum value"),
    ("tests that are a list", ("tests",), [], _EXPECTED),
    ("tests at a path out", ("tests",), "../tests.json", _FORM),
    ("a recipe without a compiler", ("build",), {"stripper": "", "arguments": []}, "is missing"),
    ("files that are an object", ("files",), {}, _EXPECTED),
    ("a file at a path out", ("files", 0, "path"), "../../etc/passwd", _FORM),
    ("a file that is absolute", ("files", 0, "path"), "/etc/passwd", _FORM),
    ("a file of negative size", ("files", 0, "size_bytes"), -1, _EXPECTED),
    ("a file over the limit", ("files", 0, "size_bytes"), 2**40, _EXPECTED),
    ("a file with its size in words", ("files", 0, "size_bytes"), "4", _EXPECTED),
    ("a digest in capitals", ("files", 0, "sha256"), "A" * 64, _FORM),
    ("a digest too short", ("files", 0, "sha256"), "a" * 63, _FORM),
    ("a digest too long", ("files", 0, "sha256"), "a" * 65, _FORM),
    ("a digest that is a number", ("files", 0, "sha256"), 0, _EXPECTED),
)
"""Refused by the manifest's own form: name, where, what stands there, words of the reason."""
_PLACES: Final = {
    "a program without a name": "programs[0].name",
    "a verdict that is null": "programs[0].proceed_on[0]",
    "a platform nobody knows": "platforms[0]",
    "a recipe without a compiler": "build.compiler",
}
"""Where the place is not where the change is."""


def manifest_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, steps, value, rule in _FIELDS:
        make = partial(_with_change, steps, value)
        path = _PLACES.get(name) or _written(steps)
        yield Kind(f"manifest: {name}", make, f"{_PAYLOAD}.{path}", rule)
    for name, (damage, rule) in BYTES.items():
        make = partial(lambda damage: with_payload(damage(encoded(manifest_document()))), damage)
        yield Kind(f"manifest: {name}", make, _PAYLOAD, rule)
    for name, (text, rule) in VALUES.items():
        yield Kind(f"manifest: {name}", partial(_with_text, text), _PAYLOAD, rule)
    yield from _spellings()
    yield from _statements()


def _written(steps: Steps) -> str:
    parts = (f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)
    return "".join(parts).removeprefix(".")


def _with_change(steps: Steps, value: Any) -> Publication:
    return with_payload(encoded(changed(manifest_document(), steps, value)))


def _with_text(text: bytes) -> Publication:
    return with_payload(spliced(manifest_document(), ("summary",), text))


def _spellings() -> Iterator[Kind]:
    """The same values, spelled in another way: two byte strings must never mean one manifest."""
    good = encoded(manifest_document())
    for name, payload in {
        "white space": good.replace(b":", b": ", 1),
        "a line feed at its end": good + b"\n",
        "another order of fields": b'{"version":"1.0.0",'
        + good[1:].replace(b',"version":"1.0.0"', b""),
        "a letter as an escape": good.replace(b'"one"', b'"\\u006fne"'),
        "an escaped slash": good.replace(b"LICENSES/", b"LICENSES\\/"),
        "a default written out": good[:-1] + b',"schema":1}',
    }.items():
        yield Kind(f"manifest: {name}", partial(with_payload, payload), _PAYLOAD, _NOT_CANONICAL)
    for name, text, rule in (
        ("a number with an exponent", b"4e0", "expected `int`"),
        ("a number with a fraction", b"4.0", "expected `int`"),
    ):
        steps: Steps = ("files", 0, "size_bytes")
        make = partial(_spliced_payload, steps, text)
        yield Kind(f"manifest: {name}", make, f"{_PAYLOAD}.{_written(steps)}", rule)
    limit: Steps = ("maps", "limits", "key_minimum")
    for name, text, path, rule in (
        ("an integer over 128 bits", b"1" * 50, f"manifest.{_written(limit)}", "is no value"),
        ("a float without end", b"1e400", f"{_PAYLOAD}.{_written(limit)}", ""),
    ):
        yield Kind(f"manifest: {name}", partial(_spliced_payload, limit, text), path, rule)
    twice = good.replace(b'"name":"one"', b'"name":"one","name":"two"', 1)
    yield Kind("manifest: a program's name twice", partial(with_payload, twice), _PAYLOAD, "twice")
    huge = changed(manifest_document(), ("licence",), "MIT AND " * 5_000 + "MIT")
    yield Kind(
        "manifest: larger than is kept",
        partial(with_payload, encoded(huge)),
        _PAYLOAD,
        "the manifest is too large",
    )


def _spliced_payload(steps: Steps, text: bytes) -> Publication:
    return with_payload(spliced(manifest_document(), steps, text))


_STATEMENTS: Final[tuple[tuple[str, Steps, Any, str, str], ...]] = (
    ("a version in words", ("version",), "one", "manifest.version", ""),
    ("a version of two numbers", ("version",), "1.0", "manifest.version", ""),
    ("a version with leading zeros", ("version",), "01.0.0", "manifest.version", ""),
    ("a version with a prefix", ("version",), "v1.0.0", "manifest.version", ""),
    ("a version with a line feed", ("version",), "1.0.0\n", "manifest.version", ""),
    ("a version without end", ("version",), "1.0.0-" + "a" * 5_000, "manifest.version", ""),
    ("a version of huge numbers", ("version",), "9" * 5_000 + ".0.0", "manifest.version", ""),
    ("a version in other digits", ("version",), "\u0661.0.0", "manifest.version", ""),
    ("a licence that is none", ("licence",), "whatever you like", "manifest.licence", ""),
    ("an empty licence", ("licence",), "", "manifest.licence", ""),
    ("a licence with open brackets", ("licence",), "(" * 500, "manifest.licence", ""),
    (
        "a licence nested without end",
        ("licence",),
        "(" * 900 + "MIT" + ")" * 900,
        "manifest.licence",
        "",
    ),
    (
        "a licence of many choices",
        ("licence",),
        " AND ".join(f"(MIT OR ISC OR LicenseRef-{one})" for one in range(40)),
        "manifest.licence",
        "",
    ),
    (
        "a licence that the object denies",
        ("licence",),
        "Apache-2.0",
        f"archive[{OBJECT}].license",
        "",
    ),
    (
        "an object nobody packed",
        ("programs", 0, "object"),
        "two.bpf.o",
        "manifest.programs[0].object",
        "does not list",
    ),
    ("an object that is a text", ("programs", 0, "object"), "README.md", "README.md", "ELF"),
    ("an object that is its source", ("programs", 0, "object"), "one.bpf.c", "one.bpf.c", "ELF"),
    (
        "a compiler for what is compiled",
        ("programs", 0, "compiler"),
        "bcc",
        "manifest.programs[0].object",
        "is not a C file",
    ),
    (
        "a function that is not there",
        ("programs", 0, "function"),
        "two",
        "manifest.programs[0].function",
        "has no such program",
    ),
    (
        "a function that is called only",
        ("programs", 0, "function"),
        "weigh",
        "manifest.programs[0].function",
        "has no such program",
    ),
    (
        "a hook that does not fit",
        ("programs", 0, "hooks"),
        ["tc-ingress"],
        "manifest.programs[0].hooks",
        "does not fit tc-ingress",
    ),
    (
        "a hook twice",
        ("programs", 0, "hooks"),
        ["xdp", "xdp"],
        "manifest.programs[0].hooks",
        "names a hook twice",
    ),
    (
        "a verdict of another hook",
        ("programs", 0, "proceed_on"),
        ["unspec"],
        "manifest.programs[0].proceed_on",
        "is not a verdict of xdp",
    ),
    (
        "a map that is not there",
        ("maps", "nowhere"),
        {},
        "manifest.maps.nowhere",
        "no object file has this map",
    ),
    (
        "limits in the wrong order",
        ("maps", "limits"),
        {"value_minimum": 9, "value_maximum": 1},
        "manifest.maps.limits.value_minimum",
        "is above the maximum",
    ),
    (
        "a metric of a map that is not there",
        ("metrics", "seen", "map"),
        "nowhere",
        "manifest.metrics.seen.map",
        "no object file has this map",
    ),
    (
        "a metric with a key in words",
        ("metrics", "seen", "key"),
        "first",
        "manifest.metrics.seen.key",
        "is not a key",
    ),
    (
        "a metric with a key in other digits",
        ("metrics", "seen", "key"),
        "\u0661",
        "manifest.metrics.seen.key",
        "is not a key",
    ),
    ("tests that are not there", ("tests",), "none.json", "manifest.tests", "not in the archive"),
    ("tests that are a text", ("tests",), "README.md", "README.md", "is not JSON"),
)
"""Well formed and not true: name, where, what stands there, the place and words of the reason."""


def _statements() -> Iterator[Kind]:
    for name, steps, value, path, rule in _STATEMENTS:
        yield Kind(f"manifest: {name}", partial(_with_change, steps, value), path, rule)
    good = manifest_document()
    program = good["programs"][0]
    other = {**program, "name": "two", "object": "one.bpf.c", "compiler": "bcc"}
    again = {name: value for name, value in other.items() if name != "compiler"} | {"name": "three"}
    for name, steps, value, path, rule in (
        ("two programs of one name", ("programs", 1), program, "[1].name", "has this name already"),
        (
            "one object with two compilers",
            ("programs",),
            [program, other, again],
            "[2].compiler",
            "has another compiler",
        ),
    ):
        make = partial(_with_change, steps, value)
        yield Kind(f"manifest: {name}", make, f"manifest.programs{path}", rule)
    yield from _file_lists()


def _file_lists() -> Iterator[Kind]:
    """Lists of files that are not the archive's."""
    files = describe_files(good_files())
    listed = [
        {"path": one.path, "sha256": one.sha256, "size_bytes": one.size_bytes} for one in files
    ]
    by_case = {**listed[2], "path": "readme.md"}
    below = {**listed[2], "path": "README.md/inside"}
    for name, value, path, rule in (
        ("no files", ABSENT, f"archive[{OBJECT}]", "does not name this file"),
        ("a file listed twice", [*listed, listed[2]], "files[README.md]", "is there twice"),
        ("a file listed in another case", [*listed, by_case], "files[readme.md]", "only by case"),
        ("a file below a file", [*listed, below], "files[README.md/inside]", "folder is a file"),
        ("a file that nobody packed", [*listed, {**by_case, "path": "x"}], "archive[x]", "lacks"),
    ):
        make = partial(_with_change, ("files",), value)
        yield Kind(f"manifest: {name}", make, path, rule)
    many = {**good_files(), "two.bpf.c": b"int two(struct xdp_md *ctx) { return 2; }\n"}
    unread = partial(with_files, many, tests=None, metrics={}, version="one", maps={})
    yield Kind("manifest: a version in words and nothing else", unread, "manifest.version", "")
