# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What publication would refuse of a built package, and what its users would miss.

Pure.  Refusals come from the same rules that the catalog follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from services.catalog.manifest import manifest_reasons
from services.catalog.publication import MAX_MANIFEST_BYTES, MAX_VERSION_BYTES
from shared.bytecode.elf import declares_fragments, read_object
from shared.bytecode.probe_sections import NEED_KERNEL_TYPES, names_its_target
from shared.canonical import canonical_bytes
from shared.configuration.entries import map_layout
from shared.configuration.package_rules import offered_types
from shared.contracts.base import Message
from shared.contracts.node import NODE_FEATURES
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import PackageTest
from shared.contracts.value_types import ArrayType, Layout, OpaqueType, StructType, UnionType
from shared.errors import Reason, RefusedError
from shared.identifiers import is_network, is_probe
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.source_tags import source_licences
from shared.licensing.verdict import check_licences
from shared.package_tests import compilers_by_file
from shared.portability.companions import analyse_companions
from shared.portability.libbpf_removals import GONE_SINCE

Severity = Literal["error", "warning"]

_FIXES: Final = (
    (r"\.hooks$", "name the hooks that the section of the program is for"),
    (r"\.function$", "name a function that stands in a section for programs"),
    (r"\.proceed_on$", "use verdicts of every hook that the program names"),
    (r"^LICENSES/", "put the licence's text there, as REUSE does"),
    (r"^manifest\.(maps|metrics)", 'name a map that the program declares in SEC(".maps")'),
    (r"^tests?\b", "correct the test, or what it is about"),
    (r"file_groups\.\w+\[", "name files of the folder, or leave the glob out"),
    (r"(owners|features)\[\d+\]$", "name it once"),
    (r":\d+:\d+$", "correct the source"),
    (r"version$", "write a version as SemVer 2.0.0 says, as 1.0.0"),
)
"""Pattern of a path to what helps there, where the rule does not say what would be accepted."""


class LintFinding(Message, frozen=True, kw_only=True):
    """One thing to better."""

    severity: Severity
    """`error`: publication would refuse it."""
    path: str
    rule: str
    fix: str
    got: Any = None


def error_of(reason: Reason) -> LintFinding:
    """A refusal, with what would help."""
    return LintFinding(
        severity="error",
        path=reason.path,
        rule=reason.rule,
        fix=_fix(reason),
        got=reason.got,
    )


def package_findings(
    manifest: PackageManifest,
    files: Mapping[str, bytes],
    elf: tuple[ElfFacts, ...],
    tests: tuple[PackageTest, ...],
    policy: LicencePolicy,
) -> Iterator[LintFinding]:
    """Everything that is to be said of a package that could be built."""
    for reason in manifest_reasons(manifest, elf):
        yield error_of(reason)
    size_bytes = len(canonical_bytes(manifest))
    if size_bytes > MAX_MANIFEST_BYTES:
        yield LintFinding(
            severity="error",
            path="manifest",
            rule=f"is larger than {MAX_MANIFEST_BYTES} bytes",
            fix="shorten summaries, or split the package",
            got=size_bytes,
        )
    kept_bytes = _kept_bytes(manifest, elf)
    if kept_bytes > MAX_VERSION_BYTES:
        yield LintFinding(
            severity="error",
            path="manifest",
            rule=f"the catalog keeps at most {MAX_VERSION_BYTES} bytes of a version",
            fix="offer fewer maps, or smaller ones, for configuration, or split the package",
            got=kept_bytes,
        )
    yield from _licence_findings(manifest, files, elf, policy)
    yield from _document_warnings(manifest, files)
    yield from _statement_warnings(manifest, elf)
    yield from _test_warnings(manifest, tests)
    yield from _probe_warnings(manifest, elf)
    yield from _unused_warnings(manifest, elf)
    yield from _map_warnings(manifest, files)
    yield from _user_space_findings(manifest, files)


def _kept_bytes(manifest: PackageManifest, elf: tuple[ElfFacts, ...]) -> int:
    """What the catalog would keep of this version at least: the manifest twice, once in base64."""
    facts = tuple(offered_types(one, manifest) for one in elf)
    return len(canonical_bytes(manifest)) * 7 // 3 + len(canonical_bytes(facts))


def _user_space_findings(
    manifest: PackageManifest, files: Mapping[str, bytes]
) -> Iterator[LintFinding]:
    try:
        found = analyse_companions(manifest, files)
    except RefusedError as error:
        for reason in error.reasons:
            yield error_of(reason)
        return
    for call in found.removed_calls:
        yield _warning(
            f"{call.path}:{call.line}" if call.line else call.path,
            f"calls {call.name}, which libbpf {GONE_SINCE} removed",
            f"begin with {call.replacement} instead",
        )
    for one in found.companions:
        for need in one.capabilities:
            if not need.declared:
                yield _warning(
                    f"companions.{one.companion}.capabilities",
                    f"{one.path} calls {need.because}, which asks for {need.name}",
                    "declare it, or leave the call out",
                )


def _licence_findings(
    manifest: PackageManifest,
    files: Mapping[str, bytes],
    elf: tuple[ElfFacts, ...],
    policy: LicencePolicy,
) -> Iterator[LintFinding]:
    package = LicensedPackage(manifest, elf, policy, source_licences(files))
    for found in check_licences(package).findings:
        if found.outcome in ("refused", "review"):
            yield LintFinding(
                severity="error" if found.outcome == "refused" else "warning",
                path=found.path,
                rule=f"{found.text} [{found.rule}]",
                fix=found.fix,
                got=found.evidence or None,
            )


def _document_warnings(
    manifest: PackageManifest, files: Mapping[str, bytes]
) -> Iterator[LintFinding]:
    if "README.md" not in files:
        yield _warning(
            "README.md", "is missing", "write what the package does and how it is configured"
        )
    for name, entry in manifest.maps.items():
        missing = [field for field in ("summary", "key", "value") if not getattr(entry, field)]
        if missing:
            yield _warning(
                f"maps.{name}",
                f"does not say: {', '.join(missing)}",
                "say what keys and values are, with their units",
            )
    for name, metric in manifest.metrics.items():
        missing = [field for field in ("unit", "summary") if not getattr(metric, field)]
        if missing:
            yield _warning(
                f"metrics.{name}",
                f"does not say: {', '.join(missing)}",
                "say what is counted, and in what",
            )


def _statement_warnings(
    manifest: PackageManifest, elf: tuple[ElfFacts, ...]
) -> Iterator[LintFinding]:
    """What nobody could find out from the archive, and what it says in another place."""
    if not manifest.owners:
        yield _warning(
            "owners", "nobody is named who answers for the code", 'owners = ["name or team"]'
        )
    if manifest.source is None:
        yield _warning(
            "source",
            "does not say where the sources are kept",
            'source = { repository = "https://…", revision = "v1.0.0" }',
        )
    for index, name in enumerate(manifest.needs.features):
        if name not in NODE_FEATURES:
            yield _warning(
                f"needs.features[{index}]",
                f"{name} is no feature that nodes of this release report, so none takes it",
                f"use one of: {', '.join(NODE_FEATURES)}",
            )
    sections = {(one.path, entry.function): entry.section for one in elf for entry in one.programs}
    for index, program in enumerate(manifest.programs):
        if program.order is None and any(map(is_network, program.hooks)):
            yield _warning(
                f"programs[{index}].order",
                "does not say where in a chain it runs, and two such deployments cannot be in one",
                "order = 0 to 1000, smaller is earlier",
            )
        found = {sections.get((path, program.function), "") for path in program.all_objects}
        if "frags" not in program.flags and any(map(declares_fragments, found)):
            yield _warning(
                f"programs[{index}].flags",
                "reads packets in several buffers and does not say so",
                'flags = ["frags"]',
            )


def _test_warnings(
    manifest: PackageManifest, tests: tuple[PackageTest, ...]
) -> Iterator[LintFinding]:
    tested = {(test.program, test.hook) for test in tests}
    for index, program in enumerate(manifest.programs):
        for hook in filter(is_network, program.hooks):
            if (program.name, hook) not in tested:
                yield _warning(
                    f"programs[{index}]",
                    f"no test runs {program.name} on {hook}",
                    f'write a [[test]] with program = "{program.name}" and hook = "{hook}"',
                )


def _probe_warnings(manifest: PackageManifest, elf: tuple[ElfFacts, ...]) -> Iterator[LintFinding]:
    """Probes that cannot be loaded before a deployment says what they are attached to."""
    sections = {(one.path, entry.function): entry.section for one in elf for entry in one.programs}
    for index, program in enumerate(manifest.programs):
        found = {sections.get((path, program.function), "") for path in program.all_objects}
        for hook in filter(is_probe, program.hooks):
            for section in sorted(found):
                if section and not names_its_target(section, hook):
                    yield _warning(
                        f"programs[{index}]",
                        f"section {section} of {program.function} names no target, so neither "
                        "`l3af package test` nor a verifier can load it",
                        f'name what it is written for, as SEC("{section}/...")',
                    )


def _unused_warnings(manifest: PackageManifest, elf: tuple[ElfFacts, ...]) -> Iterator[LintFinding]:
    used = {(path, one.function) for one in manifest.programs for path in one.all_objects}
    for facts in elf:
        for program in facts.programs:
            if (facts.path, program.function) not in used and not facts.compiler:
                yield _warning(
                    f"{facts.path}.{program.function}",
                    "is a program that package.toml does not name, so nobody can deploy it",
                    "add it to [[programs]], or make it static or a tail call's target of its own",
                )
        hooks = {
            hook for one in manifest.programs if facts.path in one.all_objects for hook in one.hooks
        }
        if facts.needs_kernel_btf and hooks.isdisjoint(NEED_KERNEL_TYPES):
            yield _warning(
                facts.path,
                "needs the kernel's BTF (/sys/kernel/btf/vmlinux) on every node",
                "read types of the uapi headers where they are enough",
            )


def _map_warnings(manifest: PackageManifest, files: Mapping[str, bytes]) -> Iterator[LintFinding]:
    """Maps for configuration whose entries cannot be written."""
    objects = (path for path, compiler in compilers_by_file(manifest).items() if not compiler)
    for path in objects:
        parsed = read_object(files[path], path)
        for declared in parsed.maps:
            if declared.name not in manifest.maps:
                continue
            layout = map_layout(declared, parsed.btf)
            for what, one in (("keys", layout.key), ("values", layout.value)):
                if not _is_configurable(one):
                    yield _warning(
                        f"maps.{declared.name}",
                        f"{what} of this type cannot be configured",
                        "leave pointers and locks out of them, or leave the map out",
                    )


def _is_configurable(layout: Layout) -> bool:
    if isinstance(layout, ArrayType):
        return _is_configurable(layout.element)
    if isinstance(layout, StructType | UnionType):
        return all(_is_configurable(one.layout) for one in layout.members)
    return not isinstance(layout, OpaqueType)


def _warning(path: str, rule: str, fix: str) -> LintFinding:
    return LintFinding(severity="warning", path=path, rule=rule, fix=fix)


def _fix(reason: Reason) -> str:
    if reason.allowed is not None:
        allowed = reason.allowed
        if isinstance(allowed, list | tuple):
            return (
                f"use one of: {', '.join(str(one) for one in allowed)}" if allowed else "remove it"
            )
        return f"allowed: {allowed}"
    for pattern, fix in _FIXES:
        if re.search(pattern, reason.path):
            return fix
    return "correct it as the rule says"
