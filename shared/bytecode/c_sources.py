# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What C source for bcc says of itself, read without compiling it.

Pure.  No preprocessor runs, so only what is written out is seen: functions that take `struct
xdp_md *` or `struct __sk_buff *`, maps that bcc's own macros declare, and `BPF_LICENSE`.  How large
maps are, which helpers are called and how many instructions come out, only a compiler can tell.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final

from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts
from shared.errors import Reason, RefusedError

DEFAULT_LICENCE: Final = "GPL"
"""What bcc tells the kernel for a source without `BPF_LICENSE`."""
MAX_SOURCE_BYTES: Final = 256 * 1024

# Every pattern is bounded or always matches where it begins, so that no text takes long.
_NOISE: Final = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:\\.|[^"\\\n])*(?:"|(?=\n)|\\?\Z)', re.DOTALL
)
_LICENCE: Final = re.compile(r"^[ \t]*#[ \t]*define[ \t]+BPF_LICENSE[ \t](.+)$", re.MULTILINE)
_INCLUDE: Final = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
_FUNCTION: Final = re.compile(
    r"\b(?P<name>[A-Za-z_]\w*)\s{0,80}\(\s{0,80}(?:const\s{1,80})?"
    r"struct\s{1,80}(?P<context>xdp_md|__sk_buff)\s{0,80}\*\s{0,80}[A-Za-z_]\w*\s{0,80}\)\s{0,80}\{"
)
_DECLARATION_START: Final = re.compile(r"[;{}#()]")
_LONGEST_DECLARATION: Final = 200
_MAP: Final = re.compile(
    r"^[ \t]*(BPF_[A-Z0-9_]+)\s{0,80}\(([^;]{0,500}?)\)\s{0,80};", re.MULTILINE
)
_BLOCK: Final = re.compile(r"\{[^{}]{0,2000}\}")
"""A struct that is written where a map names its key or value."""
_SECTIONS: Final = {"xdp_md": "xdp", "__sk_buff": "tc"}
_TABLES: Final = frozenset({"BPF_TABLE", "BPF_F_TABLE", "BPF_TABLE_PUBLIC", "BPF_F_TABLE_PUBLIC"})
_TABLE_NAME: Final = 3
"""Which argument of theirs is the name."""
_TYPES: Final[dict[str, str]] = {
    "BPF_HASH": "hash",
    "BPF_F_HASH": "hash",
    "BPF_ARRAY": "array",
    "BPF_PERCPU_ARRAY": "percpu_array",
    "BPF_PERCPU_HASH": "percpu_hash",
    "BPF_HISTOGRAM": "hash",
    "BPF_LPM_TRIE": "lpm_trie",
    "BPF_F_LPM_TRIE": "lpm_trie",
    "BPF_PROG_ARRAY": "prog_array",
    "BPF_PERF_ARRAY": "perf_event_array",
    "BPF_PERF_OUTPUT": "perf_event_array",
    "BPF_RINGBUF_OUTPUT": "ringbuf",
    "BPF_DEVMAP": "devmap",
    "BPF_CPUMAP": "cpumap",
    "BPF_XSKMAP": "xskmap",
    "BPF_SOCKMAP": "sockmap",
    "BPF_SOCKHASH": "sockhash",
    "BPF_QUEUE": "queue",
    "BPF_QUEUESTACK": "queue",
    "BPF_STACK": "stack",
    "BPF_STACK_TRACE": "stack_trace",
    "BPF_CGROUP_ARRAY": "cgroup_array",
    "BPF_SK_STORAGE": "sk_storage",
}
"""bcc's macros whose first argument is the name of the map (bcc, docs/reference_guide.md)."""


class SourceError(RefusedError):
    """The source cannot be read, or is not complete."""


def read_source_facts(data: bytes, path: str) -> ElfFacts:
    """What can be said of the source before a node compiles it.

    `path`, the file's path in its archive, is how refusals call it.

    Raises:
        SourceError: It is no text, or too large.
    """
    text = _text(data, path)
    licence = _LICENCE.search(_without_comments(text))
    bare = code_alone(text)
    return ElfFacts(
        path=path,
        compiler="bcc",
        licence=licence[1].strip() if licence else DEFAULT_LICENCE,
        has_btf=False,
        needs_kernel_btf=False,
        programs=tuple(
            ProgramFacts(
                function=found["name"],
                section=_SECTIONS[found["context"]],
                instructions=0,
                helpers=(),
            )
            for found in _FUNCTION.finditer(bare)
            if not _is_static(bare, found.start())
        ),
        maps=tuple(_maps(_without_comments(text))),
    )


def included_files(data: bytes, path: str) -> Iterator[str]:
    """Paths, in the archive, of the files that the source includes by `#include "…"`.

    Raises:
        SourceError: One of them lies outside the archive.
    """
    for name in _INCLUDE.findall(_without_comments(_text(data, path))):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        if target.startswith(("../", "/")):
            reason = Reason(path=path, rule="includes a file outside the package", got=name)
            raise SourceError(f"{path} includes {name}, which lies outside the package", [reason])
        yield target


def code_alone(text: str) -> str:
    """C text without comments and strings, with as many lines."""
    return _NOISE.sub(_blank, text)


def sources_of(files: Mapping[str, bytes], path: str) -> dict[str, bytes]:
    """The source and every header of the package, by path: all that a compiler may read."""
    return {name: files[name] for name in sorted(files) if name == path or name.endswith(".h")}


def _text(data: bytes, path: str) -> str:
    if len(data) > MAX_SOURCE_BYTES:
        reason = Reason(path=path, rule="is too large", got=len(data), allowed=MAX_SOURCE_BYTES)
        raise SourceError(f"{path} is too large for a source", [reason])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        reason = Reason(path=path, rule=f"is not UTF-8: {error.reason} at byte {error.start}")
        raise SourceError(f"{path} is no text", [reason]) from error


def _is_static(text: str, position: int) -> bool:
    """Whether the declaration of the name at `position` begins with `static`."""
    before = text[max(0, position - _LONGEST_DECLARATION) : position]
    return "static" in _DECLARATION_START.split(before)[-1].split()


def _maps(text: str) -> Iterator[MapFacts]:
    for macro, inside in _MAP.findall(_BLOCK.sub(" ", text)):
        arguments = [" ".join(one.split()) for one in inside.split(",")]
        if macro in _TABLES and len(arguments) > _TABLE_NAME:
            kind, name = arguments[0].strip('"'), arguments[_TABLE_NAME]
        elif macro in _TYPES:
            kind, name = _TYPES[macro], arguments[0]
        else:
            continue
        yield MapFacts(name=name, type=kind, key_size_bytes=0, value_size_bytes=0, max_entries=0)


def _without_comments(text: str) -> str:
    return _NOISE.sub(lambda found: found[0] if found[0][0] == '"' else _blank(found), text)


def _blank(found: re.Match[str]) -> str:
    """As many lines, and nothing in them."""
    return "\n" * found[0].count("\n") or " "
