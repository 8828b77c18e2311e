# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile C sources for bcc, which are read at publication and compiled by nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from shared.bytecode.c_sources import MAX_SOURCE_BYTES
from tests.package_builders import a_program
from tests.support.hostile.publications import Kind, Publication, good_files, with_files

PATH: Final = "gate.c"
_GOOD: Final = b"int gate(struct xdp_md *ctx)\n{\n\treturn 2;\n}\n"
_NO_PROGRAM: Final = "manifest.programs[0].function"
_FILLED: Final = MAX_SOURCE_BYTES - len(_GOOD)
_SOURCES: Final[dict[str, tuple[bytes, str, str]]] = {
    "that is not UTF-8": (b"\xff" + _GOOD, PATH, "is not UTF-8"),
    "in UTF-16": (_GOOD.decode().encode("utf-16"), PATH, "is not UTF-8"),
    "that is too large": (b" " * MAX_SOURCE_BYTES + _GOOD, PATH, "is too large"),
    "that is empty": (b"", _NO_PROGRAM, "has no such program"),
    "that is an object": (b"\x7fELF" + bytes(60), _NO_PROGRAM, "has no such program"),
    "with its program in a comment": (b"/*" + _GOOD + b"*/", _NO_PROGRAM, "has no such program"),
    "with its program in an open comment": (b"/*" + _GOOD, _NO_PROGRAM, "has no such program"),
    "with its program in a string": (
        b'char *s = "' + _GOOD.replace(b"\n", b" ") + b'";',
        _NO_PROGRAM,
        "has no such program",
    ),
    "with a static program": (b"static " + _GOOD, _NO_PROGRAM, "has no such program"),
    "with a program of another name": (
        _GOOD.replace(b"gate", b"fate"),
        _NO_PROGRAM,
        "has no such program",
    ),
    "of open comments": (b"/*" * (_FILLED // 2), _NO_PROGRAM, "has no such program"),
    "of open strings": (b'"' * _FILLED, _NO_PROGRAM, "has no such program"),
    "of backslashes": (b'"' + b"\\" * _FILLED, _NO_PROGRAM, "has no such program"),
    "of open brackets": (b"gate(" * (_FILLED // 5), _NO_PROGRAM, "has no such program"),
    "of blanks": (b"gate(" + b" " * _FILLED, _NO_PROGRAM, "has no such program"),
    "of maps without end": (b"\nBPF_HASH(a" * (_FILLED // 11), _NO_PROGRAM, "has no such program"),
    "of structs without end": (b"struct " * (_FILLED // 7), _NO_PROGRAM, "has no such program"),
    "with a licence without end": (
        b"#define BPF_LICENSE " + b"G" * 200_000 + b"\n" + _GOOD,
        f"archive[{PATH}].license",
        "neither a string that the kernel knows",
    ),
    "with a licence that moves the cursor": (
        b"#define BPF_LICENSE GPL\x1b[2J\n" + _GOOD,
        f"archive[{PATH}].license",
        "neither a string that the kernel knows",
    ),
}


def source_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, (source, path, rule) in _SOURCES.items():
        yield Kind(f"source {name}", partial(with_source, source), path, rule)


def with_source(source: bytes) -> Publication:
    """A package of this one source."""
    entry = a_program(object=PATH, compiler="bcc", function="gate")
    texts = {path: data for path, data in good_files().items() if path.startswith("LICENSES/")}
    files = {**texts, PATH: source}
    return with_files(files, programs=(entry,), maps={}, metrics={}, tests=None)


def good_source() -> Publication:
    """What is accepted."""
    return with_source(b"#define BPF_LICENSE Dual BSD/GPL\n" + _GOOD)
