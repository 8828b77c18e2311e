# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an object file uses beyond its facts, and where each of its programs could run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from shared.bytecode.call_graph import ReachedFunction
from shared.bytecode.code_use import CodeUse, read_code_use
from shared.bytecode.elf import ElfReading
from shared.bytecode.instructions import INSTRUCTION_BYTES, TAIL_CALL_HELPER
from shared.bytecode.object_data import Variable
from shared.bytecode.program_kinds import section_kind
from shared.bytecode.type_needs import read_source_names, read_type_needs
from shared.contracts.package_analysis import (
    MAX_NAMED,
    DataSection,
    NamedThings,
    ObjectAnalysis,
    ProgramAnalysis,
    WindowsSupport,
)
from shared.contracts.package_facts import ElfFacts, ProgramFacts, ProgramRequirements
from shared.portability.linux_support import ProgramUse, linux_support
from shared.portability.windows_support import windows_support

_FRAME_STEP_BYTES: Final = 16
"""To which the kernel rounds a function's frame under a JIT (round_up_stack_depth)."""
_WINDOWS_TAIL_CALL: Final = 5


def analyse_object(
    reading: ElfReading, *, made_for_windows: bool = False
) -> tuple[ObjectAnalysis, tuple[ProgramAnalysis, ...]]:
    """What the object uses, and each of its programs.

    Raises:
        MalformedObjectError: Its BTF contradicts itself.
    """
    sections, parsed, path = reading.sections, reading.object, reading.facts.path
    types = read_type_needs(sections, parsed.btf, path)
    analysis = ObjectAnalysis(
        path=path,
        kernel_types=named_things(types.needed),
        asked_types=named_things(types.asked),
        sources=named_things(read_source_names(sections, parsed.btf, path)),
        data=_data_sections(parsed.variables.values()),
    )
    uses = _FunctionUses(reading)
    flags = frozenset(declared.flags for declared in parsed.maps)
    programs = []
    for entry, facts in zip(reading.entries, reading.facts.programs, strict=True):
        functions = reading.graph.functions(entry)
        own = [uses.of(function) for function in functions]
        use = ProgramUse(
            facts=facts,
            kind=section_kind(facts.section),
            features=_features(functions, own, facts),
            has_global_data=bool(parsed.variables),
            map_flags=flags,
        )
        tail_call = _WINDOWS_TAIL_CALL if made_for_windows else TAIL_CALL_HELPER
        programs.append(
            ProgramAnalysis(
                object=path,
                function=facts.function,
                type=use.kind.type,
                attach=use.kind.attach,
                stack_bytes=deepest_stack(functions, [one.stack_bytes for one in own]),
                tail_calls=tail_call in facts.helpers,
                linux=linux_support(use),
                windows=windows_support(use, made_for_windows=made_for_windows),
            )
        )
    return analysis, tuple(programs)


def analyse_source(facts: ElfFacts) -> tuple[ProgramAnalysis, ...]:
    """Programs of a C source, of which only names, types and maps are known."""
    map_types = tuple(sorted({declared.type for declared in facts.maps}))
    found = []
    for program in facts.programs:
        requires = ProgramRequirements(map_types=map_types, licence=facts.licence)
        known = msgspec.structs.replace(program, requires=requires)
        use = ProgramUse(known, section_kind(program.section))
        found.append(
            ProgramAnalysis(
                object=facts.path,
                function=program.function,
                type=use.kind.type,
                attach=use.kind.attach,
                linux=linux_support(use),
                windows=WindowsSupport(blocker="no bcc, which nodes compile it with"),
            )
        )
    return tuple(found)


def deepest_stack(functions: Sequence[ReachedFunction], own_bytes: Sequence[int]) -> int:
    """Stack of the deepest chain of calls from the first function.

    A function that calls itself, which the kernel refuses, counts once in a chain.
    """
    deepest: dict[int, int] = {}
    pending: set[int] = set()
    stack = [0]
    while stack:
        index = stack[-1]
        waits = [to for to in functions[index].calls if to not in deepest and to not in pending]
        pending.add(index)
        if waits:
            stack.append(waits[0])
            continue
        below = max((deepest.get(to, 0) for to in functions[index].calls), default=0)
        deepest[index] = -(-own_bytes[index] // _FRAME_STEP_BYTES) * _FRAME_STEP_BYTES + below
        pending.discard(index)
        stack.pop()
    return deepest[0]


def named_things(names: Sequence[str]) -> NamedThings:
    """The first of the list and their number."""
    return NamedThings(names=tuple(names[:MAX_NAMED]), total=len(names))


class _FunctionUses:
    """What functions of one object use; each is read once, however many programs reach it."""

    def __init__(self, reading: ElfReading) -> None:
        self._code: Final = {
            section.index: section.data
            for section in reading.sections.sections
            if section.is_executable
        }
        self._known: Final[dict[tuple[int, int, int], CodeUse]] = {}

    def of(self, function: ReachedFunction) -> CodeUse:
        """What its own instructions use."""
        key = function.section, function.first, function.last
        if key not in self._known:
            code = self._code[function.section]
            self._known[key] = read_code_use(
                code[function.first * INSTRUCTION_BYTES : function.last * INSTRUCTION_BYTES]
            )
        return self._known[key]


def _features(
    functions: Sequence[ReachedFunction], own: Sequence[CodeUse], facts: ProgramFacts
) -> frozenset[str]:
    found = set().union(*(one.features for one in own))
    # Before relocation a call of a kernel function looks like one of the object's own.
    found.discard("calls")
    if any(function.calls for function in functions):
        found.add("calls")
    if facts.kernel_functions:
        found.add("kfunc-calls")
    return frozenset(found)


def _data_sections(variables: Iterable[Variable]) -> tuple[DataSection, ...]:
    sizes: dict[str, list[int]] = {}
    for variable in variables:
        sizes.setdefault(variable.section, []).append(variable.offset_bytes + variable.size_bytes)
    return tuple(
        DataSection(name=name, size_bytes=max(ends), variables=len(ends))
        for name, ends in sorted(sizes.items())
    )
