# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The programs that random chains are made of, with what their maps hold at the start."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.node_executor.adapters.map_access import update
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from shared.identifiers import Hook
from tests.support.bpf_objects import corpus_object

Family = Literal["xdp", "tc"]
Entries = tuple[tuple[bytes, bytes], ...]

PREFIXES = ((0, (0, 0, 0, 0)), (8, (198, 0, 0, 0)), (24, (198, 19, 0, 0)), (32, (198, 19, 0, 2)))


@dataclass(frozen=True)
class TestProgram:
    """One program of tests/support/programs."""

    __test__ = False

    family: Family
    object_name: str
    function: str
    entries: Mapping[str, Entries] = field(default_factory=dict)
    """What its maps hold before the first packet, by map."""
    own_programs: tuple[str, ...] = ()
    """Functions of the same object that it tail-calls, by slot of its map `own_programs`."""
    is_closed: bool = False
    """Whether its licence is not GPL-compatible."""

    @property
    def can_leave(self) -> bool:
        """Whether it can end without an exit of its own: by a tail call or a direct load."""
        return bool(self.own_programs) or self.function.startswith("loads_")

    def __str__(self) -> str:
        return f"{self.object_name}.{self.function}"

    def source(
        self,
        proceed_on: tuple[str, ...],
        *,
        name: str = "",
        maps: Mapping[str, LoadedMap] | None = None,
    ) -> ProgramSource:
        """The program as a package would give it."""
        return ProgramSource(
            name=name or self.function.replace("_", "-"),
            object_path=f"{self.object_name}.bpf.o",
            data=corpus_object(self.object_name),
            function=self.function,
            proceed_on=proceed_on,
            maps={key: found.handle for key, found in (maps or {}).items()},
        )

    def fill(self, maps: Mapping[str, LoadedMap]) -> None:
        """The maps hold what they hold at the start."""
        for name, entries in self.entries.items():
            for key, value in entries:
                update(maps[name].handle, key, value)


def _number(value: int) -> bytes:
    return struct.pack("<i", value)


def _verdicts(*values: int) -> Mapping[str, Entries]:
    return {"verdicts": tuple((_number(key), _number(value)) for key, value in enumerate(values))}


def _prefixes(*values: int) -> Mapping[str, Entries]:
    return {
        "prefixes": tuple(
            (struct.pack("<I4B", length, *address), _number(value))
            for (length, address), value in zip(PREFIXES, values, strict=True)
        )
    }


def _family(family: Family, functions: Mapping[str, str]) -> tuple[TestProgram, ...]:
    return tuple(
        TestProgram(family, f"{family}_{name}", function, is_closed="closed" in name)
        for name, listed in functions.items()
        for function in listed.split()
    )


_SHARED = {
    "maps": "counts_per_processor counts_by_byte counts_by_byte_and_processor remembers_recent",
    "calls": "calls_functions calls_back keeps_globals follows_constant adds_atomically locks",
    "untyped": "untyped_obeys untyped_remembers untyped_calls",
    "closed": "closed_counts_packets closed_obeys",
    "restricted": "asks_for_routes",
}

XDP_PROGRAMS: tuple[TestProgram, ...] = (
    *_family(
        "xdp",
        {
            "headers": "passes obeys answers_oddly reads_types lowers_ttl swaps_addresses"
            " rewrites_bytes answers_wide nearly_fills_stack fills_stack may_loop older_section",
            "sizes": "grows_head shrinks_head strips_a_tag grows_tail shrinks_tail"
            " writes_metadata reads_metadata",
            **_SHARED,
        },
    ),
    TestProgram("xdp", "xdp_maps", "looks_up_prefixes", _prefixes(2, 1, 3, 4)),
    TestProgram("xdp", "xdp_maps", "is_configured", _verdicts(2, 3, 4, 0)),
    TestProgram("xdp", "xdp_tail_calls", "tail_calls", own_programs=("is_tail_called",)),
)
TC_PROGRAMS: tuple[TestProgram, ...] = (
    *_family(
        "tc",
        {
            "headers": "leaves_open accepts obeys answers_oddly reads_types rewrites_bytes"
            " stores_bytes grows_head changes_tail marks reads_marks sets_priority reads_priority"
            " writes_control reads_control loads_directly loads_indirectly answers_narrow"
            " nearly_fills_stack fills_stack may_loop older_section",
            **_SHARED,
        },
    ),
    TestProgram("tc", "tc_maps", "looks_up_prefixes", _prefixes(0, 2, 3, 7)),
    TestProgram("tc", "tc_maps", "is_configured", _verdicts(0, -1, 8, 6)),
    TestProgram("tc", "tc_tail_calls", "tail_calls", own_programs=("is_tail_called",)),
)


def programs_for(hook: Hook) -> tuple[TestProgram, ...]:
    """Every program of the family that runs on `hook`."""
    return XDP_PROGRAMS if hook == "xdp" else TC_PROGRAMS


def program(hook: Hook, function: str) -> TestProgram:
    """The program of that name."""
    (found,) = (one for one in programs_for(hook) if one.function == function)
    return found
