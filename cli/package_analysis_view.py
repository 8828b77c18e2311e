# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How an analysis is shown: where each program could run, and what objects use."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from cli.console import plain
from shared.bytecode.helper_names import helper_name
from shared.contracts.package_analysis import (
    CapabilityNeed,
    NamedThings,
    PackageAnalysis,
    ProgramAnalysis,
)
from shared.contracts.package_facts import ElfFacts, ProgramFacts


def portability_table(analysis: PackageAnalysis) -> Table:
    """One line for each program."""
    table = Table("program", "type", "Linux", "because of", "architectures", "Windows")
    for one in analysis.programs:
        table.add_row(
            plain(f"{one.object}:{one.function}"),
            plain(one.attach if one.attach.startswith(one.type) else f"{one.type} {one.attach}"),
            plain(f"{one.linux.minimum} or newer" if one.linux.minimum else "not known"),
            plain(one.linux.because),
            plain(_architectures(one)),
            "yes" if one.windows.possible else plain(f"no: {one.windows.blocker}"),
        )
    return table


def analysis_tables(elf: Sequence[ElfFacts], analysis: PackageAnalysis) -> RenderableType:
    """All that was found out."""
    return Group(
        portability_table(analysis),
        _uses_table(elf, analysis),
        _reasons_table(analysis),
        _objects_table(elf, analysis),
        *companion_tables(analysis),
    )


def companion_tables(analysis: PackageAnalysis) -> list[RenderableType]:
    """Executables of user space, and calls that libbpf has no more; nothing if there are none."""
    parts: list[RenderableType] = []
    if analysis.companions:
        table = Table("companion", "platform", "linked to", "libbpf in it", "capabilities")
        for one in analysis.companions:
            table.add_row(
                plain(f"{one.companion} ({one.path})"),
                plain(one.platform),
                plain(", ".join(one.libraries) or "nothing"),
                plain(one.libbpf or "none found"),
                plain(", ".join(map(_capability, one.capabilities)) or "none found"),
            )
        parts.append(table)
    if analysis.removed_calls:
        table = Table("gone since libbpf 1.0", "where", "instead")
        for call in analysis.removed_calls:
            where = f"{call.path}:{call.line}" if call.line else call.path
            table.add_row(plain(call.name), plain(where), plain(call.replacement))
        more = analysis.removed_call_count - len(analysis.removed_calls)
        if more:
            table.add_row(f"and {more} more", "", "")
        parts.append(table)
    return parts


def _capability(need: CapabilityNeed) -> str:
    return f"{need.name} for {need.because}{'' if need.declared else ', not declared'}"


def _architectures(program: ProgramAnalysis) -> str:
    if not program.linux.architectures:
        return "the one it is compiled for" if program.linux.minimum else "not known"
    return ", ".join(
        name if since == program.linux.minimum else f"{name} {since}"
        for name, since in program.linux.architectures.items()
    )


def _uses_table(elf: Sequence[ElfFacts], analysis: PackageAnalysis) -> Table:
    facts = {(one.path, program.function): program for one in elf for program in one.programs}
    table = Table("program", "instructions", "stack", "tail calls", "calls")
    for one in analysis.programs:
        program = facts.get((one.object, one.function))
        if program is not None:
            table.add_row(
                plain(f"{one.object}:{one.function}"),
                str(program.instructions or "not compiled"),
                f"{one.stack_bytes} bytes",
                "yes" if one.tail_calls else "no",
                plain(", ".join(_calls(program)) or "nothing of the kernel"),
            )
    return table


def _calls(program: ProgramFacts) -> list[str]:
    return [
        *(helper_name(helper) or str(helper) for helper in program.helpers),
        *program.kernel_functions,
    ]


def _reasons_table(analysis: PackageAnalysis) -> RenderableType:
    """What raises the minimum, once for each feature; nothing if nothing is young."""
    table = Table("feature", "since Linux", "programs")
    rows: dict[tuple[str, str], list[str]] = {}
    for one in analysis.programs:
        for reason in one.linux.reasons:
            rows.setdefault((reason.feature, reason.since or "?"), []).append(one.function)
        for reason in one.linux.optional:
            key = (f"{reason.feature}, where it is there", reason.since or "?")
            rows.setdefault(key, []).append(one.function)
    for (feature, since), functions in rows.items():
        table.add_row(plain(feature), since, plain(", ".join(functions)))
    return table if rows else ""


def _objects_table(elf: Sequence[ElfFacts], analysis: PackageAnalysis) -> Table:
    analysed = {one.path: one for one in analysis.objects}
    table = Table("object", "licence", "BTF", "maps", "global data", "kernel types", "sources")
    for facts in elf:
        one = analysed.get(facts.path)
        data = [f"{part.name} {part.size_bytes} bytes" for part in one.data] if one else []
        table.add_row(
            plain(facts.path),
            plain(facts.licence),
            "yes" if facts.has_btf else "no",
            plain(", ".join(sorted({declared.type for declared in facts.maps}))),
            plain(", ".join(data)),
            plain(_listed(one.kernel_types, one.asked_types) if one else ""),
            plain(_listed(one.sources) if one else ""),
        )
    return table


def _listed(needed: NamedThings, asked: NamedThings | None = None) -> str:
    names = [*needed.names, *(f"{name} (asked for)" for name in (asked.names if asked else ()))]
    more = needed.total - len(needed.names) + (asked.total - len(asked.names) if asked else 0)
    return ", ".join(names) + (f" and {more} more" if more else "")
