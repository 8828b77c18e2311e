# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Global variables of an eBPF object, and the programs that its maps name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.bytecode.elf_sections import FUNCTION_SYMBOL, Sections

_OBJECT_SYMBOL: Final = 1
_DATA_SECTION: Final = re.compile(r"\.(rodata|data|bss)(\..+)?")
_MAPS_SECTION: Final = ".maps"


@dataclass(frozen=True, slots=True)
class Variable:
    """Where a global variable lies."""

    section: str
    """`.rodata`, `.data`, `.bss`, or one of them with a name of its own behind a dot."""
    offset_bytes: int
    size_bytes: int

    @property
    def is_constant(self) -> bool:
        """Whether programs can only read it, so that the verifier knows its value."""
        return self.section.startswith(".rodata")


def read_variables(sections: Sections) -> Mapping[str, Variable]:
    """Every global or static variable, by name; of a static name used twice, the first."""
    names = {
        section.index: section.name
        for section in sections.sections
        if _DATA_SECTION.fullmatch(section.name)
    }
    found: dict[str, Variable] = {}
    for symbol in sections.symbols:
        if symbol.kind == _OBJECT_SYMBOL and symbol.section in names:
            place = Variable(names[symbol.section], symbol.offset_bytes, symbol.size_bytes)
            found.setdefault(symbol.name, place)
    return found


def read_array_programs(sections: Sections) -> tuple[str, ...]:
    """Functions that the declarations of program arrays name as their content, ascending."""
    section = sections.named(_MAPS_SECTION)
    if section is None:
        return ()
    return tuple(
        sorted(
            {
                relocation.symbol.name
                for relocation in section.relocations
                if relocation.symbol.kind == FUNCTION_SYMBOL
            }
        )
    )
