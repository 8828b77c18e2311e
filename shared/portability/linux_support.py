# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The oldest Linux that can run a program, with every reason.

Rules:
 * What a program cannot do without counts; calls behind a question that it asks at load time are
   said beside it.
 * A feature that no table knows makes the minimum unknown: nothing is promised then.
 * An architecture is named if its JIT compiler takes the program's instructions, with the younger
   of the program's and the compiler's release.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shared.bytecode.program_kinds import SectionKind
from shared.contracts.package_analysis import MAX_REASONS, KernelReason, LinuxSupport
from shared.contracts.package_facts import ProgramFacts, ProgramRequirements
from shared.kernel_abilities import spoken_helper
from shared.portability import linux_versions as since

WORTH_SAYING: Final = (4, 18)
"""Older than every kernel that nodes are supported on."""
_LEARNT_APART: Final = frozenset(since.FEATURE_OF_ARCHITECTURE)


@dataclass(frozen=True, slots=True)
class ProgramUse:
    """What is known of one program."""

    facts: ProgramFacts
    kind: SectionKind
    features: frozenset[str] = frozenset()
    """Of `shared.bytecode.code_use`, of all its functions."""
    has_global_data: bool = False
    """Whether its object has variables: they are made with it."""
    map_flags: frozenset[int] = frozenset()
    """Flags of its object's maps."""

    @property
    def requires(self) -> ProgramRequirements:
        """What it cannot do without; where that is not computed, all that it calls."""
        return self.facts.requires or ProgramRequirements(
            helpers=self.facts.helpers, kernel_functions=self.facts.kernel_functions
        )


def linux_support(use: ProgramUse) -> LinuxSupport:
    """Which Linux the program needs, and why."""
    reasons = sorted(set(_reasons(use)), key=_age, reverse=True)
    unknown = [one for one in reasons if not one.since]
    youngest = reasons[0]
    worth_saying = [one for one in reasons if _is_worth_saying(one)]
    optional = sorted(set(_optional(use)), key=_age, reverse=True)
    return LinuxSupport(
        minimum=youngest.since,
        because=youngest.feature,
        reasons=tuple(worth_saying[:MAX_REASONS]),
        optional=tuple(optional[:MAX_REASONS]),
        architectures={} if unknown else _architectures(use, youngest.since),
    )


def _age(reason: KernelReason) -> tuple[bool, since.Release, str]:
    known = since.release(reason.since) if reason.since else (0, 0)
    return not reason.since, known, reason.feature


def _is_worth_saying(reason: KernelReason) -> bool:
    return not reason.since or since.release(reason.since) > WORTH_SAYING


def _reasons(use: ProgramUse) -> Iterator[KernelReason]:
    requires, kind = use.requires, use.kind
    yield KernelReason(
        feature=f"program type {kind.type or f'of section {use.facts.section}'}",
        since=since.PROGRAM_TYPE_SINCE.get(kind.type, ""),
    )
    yield from _of_helpers(requires.helpers)
    yield from _of_functions(requires.kernel_functions)
    for name in requires.map_types:
        yield KernelReason(feature=f"map type {name}", since=since.MAP_TYPE_SINCE.get(name, ""))
    for bit, name, came in since.MAP_FLAGS:
        if any(flags & bit for flags in use.map_flags):
            yield KernelReason(feature=f"map flag {name}", since=came)
    for feature in use.features:
        if feature != "kfunc-calls" or requires.kernel_functions:
            words, came = since.INSTRUCTION_SETS[feature]
            yield KernelReason(feature=words, since=came)
    for holds, feature, came in (
        (
            kind.attach in since.ATTACH_SINCE,
            f"attaching to {kind.attach}",
            since.ATTACH_SINCE.get(kind.attach, ""),
        ),
        (
            use.facts.instructions > since.LONG_PROGRAM,
            f"more than {since.LONG_PROGRAM} instructions",
            since.LONG_PROGRAMS_SINCE,
        ),
        (use.has_global_data, "global variables", since.GLOBAL_DATA_SINCE),
        (requires.kernel_types, "the kernel's own types (CO-RE)", since.KERNEL_TYPES_SINCE),
        (
            requires.fragments,
            "XDP for packets in several buffers (frags)",
            since.FRAGMENTS_SINCE,
        ),
        (
            kind.is_sleepable and kind.type != "syscall",
            "programs that sleep",
            since.SLEEPABLE_SINCE,
        ),
    ):
        if holds:
            yield KernelReason(feature=feature, since=came)


def _optional(use: ProgramUse) -> Iterator[KernelReason]:
    if use.facts.requires is None:
        return
    certain = use.facts.requires
    yield from _of_helpers(sorted(set(use.facts.helpers) - set(certain.helpers)))
    yield from _of_functions(
        sorted(set(use.facts.kernel_functions) - set(certain.kernel_functions))
    )


def _of_helpers(helpers: Iterable[int]) -> Iterator[KernelReason]:
    for helper in helpers:
        yield KernelReason(
            feature=f"helper {spoken_helper(helper)}", since=since.helper_since(helper)
        )


def _of_functions(names: Iterable[str]) -> Iterator[KernelReason]:
    for name in names:
        yield KernelReason(
            feature=f"kernel function {name}", since=since.KERNEL_FUNCTION_SINCE.get(name, "")
        )


def _architectures(use: ProgramUse, minimum: str) -> dict[str, str]:
    if use.kind.type in since.PROCESSOR_BOUND_TYPES:
        return {}
    kind = use.kind
    has_trampoline = (
        kind.type in ("tracing", "lsm", "ext") and kind.attach not in since.WITHOUT_TRAMPOLINE
    )
    learnt = {*use.features, *(["tracing"] if has_trampoline else [])}
    tables = [since.FEATURE_OF_ARCHITECTURE[one] for one in learnt & _LEARNT_APART]
    return {
        name: max((minimum, jit, *(table[name] for table in tables)), key=since.release)
        for name, jit in since.JIT_SINCE.items()
        if all(name in table for table in tables)
    }
