# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the headers of an object's sections agree with one another.

What is read twice in different ways is where hostile files hide: of two sections of one name we
might read the first and libbpf the last.  So whatever has two readings is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

PROGRAM_BITS: Final = 1
SYMBOL_TABLE: Final = 2
STRING_TABLE: Final = 3
RELOCATIONS_WITH_ADDENDS: Final = 4
NO_BITS: Final = 8
RELOCATIONS: Final = 9
EXECUTABLE: Final = 0x4
COMPRESSED: Final = 0x800
MAX_NAME_BYTES: Final = 511
SYMBOL_BYTES: Final = 24
RELOCATION_BYTES: Final = 16
_ONLY_ONCE: Final = frozenset({"license", "version", ".BTF", ".BTF.ext", ".maps", "maps"})
_ENTRY_BYTES: Final = {SYMBOL_TABLE: SYMBOL_BYTES, RELOCATIONS: RELOCATION_BYTES}
_FILE_HEADER_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class SectionHeader:
    """One section as the file says it is."""

    name: str
    kind: int
    flags: int
    offset: int
    data: bytes
    link: int
    target: int
    entry_bytes: int

    @property
    def is_executable(self) -> bool:
        """Whether it holds code."""
        return bool(self.flags & EXECUTABLE) and self.kind == PROGRAM_BITS


def overlap_problem(places: Sequence[tuple[int, int]]) -> str | None:
    """Why contents at these offsets, of these sizes, are not one behind the other.

    Asked before any content is copied: a thousand sections may say that each is the whole file.
    """
    occupied = sorted(place for place in places if place[1])
    if any(start + size > after for (start, size), (after, _) in pairwise(occupied)) or (
        occupied and occupied[0][0] < _FILE_HEADER_BYTES
    ):
        return "has sections that overlap"
    return None


def header_problems(headers: Sequence[SectionHeader]) -> Iterator[str]:
    """Every rule that the headers break."""
    names = Counter(header.name for header in headers if header.name in _ONLY_ONCE)
    for name, count in sorted(names.items()):
        if count > 1:
            yield f"has two sections {name}"
    if sum(header.kind == SYMBOL_TABLE for header in headers) > 1:
        yield "has two tables of symbols"
    for header in headers:
        if (wanted := _ENTRY_BYTES.get(header.kind)) is not None and header.entry_bytes != wanted:
            yield f"has section {header.name} with entries of another length"
        if header.kind == SYMBOL_TABLE and (
            header.link >= len(headers) or headers[header.link].kind != STRING_TABLE
        ):
            yield "has symbols without a table of names"
    yield from _relocation_problems(headers)


def _relocation_problems(headers: Sequence[SectionHeader]) -> Iterator[str]:
    targets: set[int] = set()
    for index, header in enumerate(headers):
        if header.kind not in (RELOCATIONS, RELOCATIONS_WITH_ADDENDS):
            continue
        if not 0 < header.target < len(headers) or header.target == index:
            yield f"has relocations {header.name} of no section"
            continue
        if header.kind == RELOCATIONS_WITH_ADDENDS and headers[header.target].is_executable:
            yield f"has relocations {header.name} with addends, which eBPF does not have"
        if header.link >= len(headers) or headers[header.link].kind != SYMBOL_TABLE:
            yield f"has relocations {header.name} by other symbols than its own"
        if header.target in targets:
            yield f"has two tables of relocations of {headers[header.target].name}"
        targets.add(header.target)
