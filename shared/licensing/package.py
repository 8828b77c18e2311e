# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the rules are asked about: one package under one policy, on certain kernels.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from shared.bytecode.helper_names import helper_name
from shared.contracts.licences import LicenceFinding, LicenceOutcome
from shared.contracts.package_analysis import CompanionAnalysis
from shared.contracts.package_facts import ElfFacts, ProgramFacts
from shared.contracts.package_manifest import FileGroup, PackageManifest
from shared.file_groups import stated_groups
from shared.identifiers import is_probe
from shared.kernel_abilities import PROGRAM_TYPE_OF_HOOK, KernelAbilities
from shared.licensing.expressions import Arm, ExpressionError, parse_expression
from shared.licensing.kernel import ClosedCalls, ProgramKind, closed_calls, kind_of_section
from shared.licensing.policies import LicencePolicy
from shared.licensing.source_tags import group_by_suffix

NAMED: Final = 5


@dataclass(frozen=True)
class LicensedPackage:
    """What is known of a package before anything of it runs."""

    manifest: PackageManifest
    elf: tuple[ElfFacts, ...]
    policy: LicencePolicy
    source_licences: Mapping[str, str] = field(default_factory=dict)
    """The SPDX tag of each file that has one, by path."""
    kernels: tuple[KernelAbilities, ...] = ()
    """Those that the package may come to run on; none: the built-in table."""
    companions: tuple[CompanionAnalysis, ...] = ()
    """What was read of its executables of user space."""

    @cached_property
    def expressions(self) -> dict[FileGroup, str]:
        """What the manifest says of the kernel code, and of each group that it names."""
        manifest = self.manifest
        return {"kernel": manifest.licence, **manifest.licences}

    @property
    def platforms(self) -> tuple[str, ...]:
        """What the code is meant for."""
        return self.manifest.platforms

    @property
    def declared(self) -> str:
        """The expression of the kernel code."""
        return self.expressions["kernel"]

    def expression_path(self, group: FileGroup = "kernel") -> str:
        """Where the manifest says it."""
        is_named = group in self.manifest.licences
        return f"manifest.licences.{group}" if is_named else "manifest.licence"

    @cached_property
    def arms(self) -> frozenset[Arm]:
        """The choices that the kernel code is offered under; none if it is no expression."""
        return self.arms_of("kernel")

    def arms_of(self, group: FileGroup) -> frozenset[Arm]:
        """The choices that the group is offered under; none if it has no expression of its own."""
        try:
            return parse_expression(self.expressions.get(group, ""), path=group)
        except ExpressionError:
            return frozenset()

    def group_of(self, path: str) -> FileGroup:
        """What a file is for: as the manifest says, else by its suffix."""
        return group_of_file(self.manifest, path)

    def stated(self, facts: ElfFacts) -> frozenset[Arm]:
        """The choices that a string outside the kernel's list names; none if it names another.

        Words that SPDX does not know, as `Proprietary`, are the `LicenseRef-` of that name.
        """
        named = frozenset({_as_reference(facts.licence)})
        if not facts.licence or named in self.arms:
            return frozenset({named}) if facts.licence else self.arms
        try:
            stated = parse_expression(facts.licence, path="license")
        except ExpressionError:
            return frozenset()
        return stated if stated <= self.arms else frozenset()

    def kinds(self, facts: ElfFacts, program: ProgramFacts) -> frozenset[ProgramKind]:
        """What the function is loaded as: as its network hooks say, else its section."""
        hooked = self._hooked.get((facts.path, program.function))
        return frozenset(hooked or {kind_of_section(program.section)})

    @cached_property
    def _hooked(self) -> dict[tuple[str, str], set[ProgramKind]]:
        found: dict[tuple[str, str], set[ProgramKind]] = {}
        for entry in self.manifest.programs:
            for path in entry.all_objects:
                kinds = found.setdefault((path, entry.function), set())
                kinds.update(
                    ProgramKind(PROGRAM_TYPE_OF_HOOK[hook])
                    for hook in entry.hooks
                    if not is_probe(hook)
                )
        return found

    def closed(
        self, facts: ElfFacts, *, licence: str
    ) -> Iterator[tuple[ProgramFacts, ClosedCalls]]:
        """Each function of the object with what the kernel would close to it under the string."""
        for program in facts.programs:
            for kind in sorted(self.kinds(facts, program), key=lambda one: (one.type, one.attach)):
                yield (
                    program,
                    closed_calls(
                        kind,
                        licence,
                        helpers=program.helpers,
                        kernel_functions=program.kernel_functions,
                        kernels=self.kernels,
                    ),
                )


def group_of_file(manifest: PackageManifest, path: str) -> FileGroup:
    """What a file is for: as the manifest says, else by its suffix."""
    stated = stated_groups(path, manifest.file_groups)
    return stated[0] if stated else group_by_suffix(path)


def _as_reference(licence: str) -> str:
    """A licence string in the letters of an SPDX identifier (SPDX 2.3, annex D.1)."""
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", licence)


def finding(
    rule: str, outcome: LicenceOutcome, path: str, text: str, fix: str, **evidence: Any
) -> LicenceFinding:
    """A rule that does not hold at `path`; `allowed` among the evidence is what would do there."""
    allowed = tuple(evidence.pop("allowed", ()))
    return LicenceFinding(
        rule=rule,
        outcome=outcome,
        path=path,
        text=text,
        evidence=evidence,
        allowed=allowed,
        fix=fix,
    )


def listed(names: Sequence[str]) -> str:
    """The first of the names in words; evidence has all of them."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def spoken_helpers(helpers: tuple[int, ...]) -> list[str]:
    """As `bpf_loop (181)`."""
    return [f"{helper_name(one) or 'helper'} ({one})" for one in helpers]
