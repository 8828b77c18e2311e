# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package made of object files that say nothing of packages.

Pure.  Programs, hooks and maps come from the ELF files; what they cannot tell is stated by whoever
takes them over.

Rules:
 * Every program that fits a hook becomes one of the package's; every other one is left out by name.
 * Every map whose entries a deployment can give is offered.
 * The kernel's licence string is a promise, and the expression that fits it is assumed only where
   there is a usual one; the assumption is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from shared.bytecode.elf import declares_fragments, read_elf_facts
from shared.bytecode.elf_sections import read_sections
from shared.bytecode.probe_sections import probes_of
from shared.bytecode.program_kinds import section_kind
from shared.configuration.entries import CONFIGURABLE
from shared.contracts.package_facts import ElfFacts, ProgramFacts
from shared.contracts.package_manifest import (
    MapEntry,
    PackageManifest,
    PlatformKey,
    ProgramEntry,
    SourceLocation,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook
from shared.licensing.expressions import licences_named, text_path
from shared.package_archive import describe_files, write_archive
from shared.versions import parse_version

ORIGIN_FILE: Final = "IMPORTED.txt"
USUAL_EXPRESSIONS: Final = {
    "GPL": "GPL-2.0-only",
    "GPL v2": "GPL-2.0-only",
    "Dual BSD/GPL": "GPL-2.0-only OR BSD-2-Clause",
    "Dual MIT/GPL": "GPL-2.0-only OR MIT",
    "Dual MPL/GPL": "GPL-2.0-only OR MPL-2.0",
}
"""The kernel's licence string to what is meant by it, unless somebody says otherwise."""

_LABEL_LENGTH: Final = 63
_FILE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_EVERYWHERE: Final = ""

Objects = Mapping[str, Mapping[str, bytes]]
"""File name to the object for each platform; `""` is every platform."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What the objects cannot tell."""

    name: str
    version: str
    summary: str
    origin: str
    """Where they are from, one line."""
    licence: str = ""
    """SPDX expression; empty: the usual one for the kernel's licence string."""
    source: SourceLocation | None = None


@dataclass(frozen=True, slots=True)
class ForeignPackage:
    """What became of them, ready to be signed."""

    manifest: PackageManifest
    archive: bytes
    elf: tuple[ElfFacts, ...]
    remarks: tuple[Reason, ...] = ()
    """What was left out or assumed."""


def package_of(
    objects: Objects, statement: Statement, *, texts: Mapping[str, bytes]
) -> ForeignPackage:
    """The package.

    Args:
        objects: At least one.
        statement: By whoever takes them over.
        texts: Licence to its text; those that are needed become part of the archive.

    Raises:
        RefusedError: An object is none, no program fits a hook, or the licence is not stated and
            cannot be told; with every reason.
    """
    parse_version(statement.version, path="version")
    files = {path: data for path, _, data in _files(objects)}
    facts = {path: read_elf_facts(data, path) for path, data in files.items()}
    if old := [path for path, data in files.items() if read_sections(data, path).named("maps")]:
        rule = "declares maps in a section `maps`, which libbpf 1.0 removed: build it with `.maps`"
        raise RefusedError(f"{old[0]} {rule}", [Reason(path=path, rule=rule) for path in old])
    remarks: list[Reason] = []
    programs = tuple(_programs(objects, facts, remarks))
    if not programs:
        reasons = [*remarks, Reason(path="programs", rule="no program fits a hook")]
        raise RefusedError(f"{statement.name}: no program fits a hook", reasons)
    licence = statement.licence or _usual_licence(facts, remarks)
    for name in licences_named(licence):
        if name in texts:
            files[text_path(name)] = texts[name]
        else:
            rule = f"the text of {name} is not at hand, and the package has none"
            remarks.append(Reason(path=text_path(name), rule=rule))
    files[ORIGIN_FILE] = f"{statement.origin}\n".encode()
    manifest = PackageManifest(
        name=statement.name,
        version=statement.version,
        summary=statement.summary,
        licence=licence,
        source=statement.source,
        programs=programs,
        maps=_maps(facts),
        files=describe_files(files),
    )
    return ForeignPackage(manifest, write_archive(files), tuple(facts.values()), tuple(remarks))


def hooks_of(program: ProgramFacts, file_name: str) -> tuple[Hook, ...]:
    """Where the program can run; the file's name tells the direction if its section does not.

    >>> hooks_of(ProgramFacts(function="a", section="tc_flow", instructions=1, helpers=()), "in.o")
    ('tc-ingress', 'tc-egress')
    """
    if probes := probes_of(program.section):
        return probes
    kind = section_kind(program.section)
    if kind.type == "xdp" and kind.attach in ("", "xdp"):
        return ("xdp",)
    if kind.type not in ("sched_cls", "sched_act") or kind.attach == "netkit":
        return ()
    for text in (program.section, program.function, file_name):
        told = [hook for hook in ("ingress", "egress") if hook in text]
        if len(told) == 1:
            return (cast("Hook", f"tc-{told[0]}"),)
    return ("tc-ingress", "tc-egress")


def label_of(text: str, *, path: str) -> str:
    """A name for packages and programs, made of what others call it.

    >>> label_of("_xdp_ratelimiting", path="name")
    'xdp-ratelimiting'

    Raises:
        RefusedError: Nothing is left of it.
    """
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LABEL_LENGTH].strip("-")
    if not label:
        reason = Reason(path=path, rule="no name can be made of this", got=text)
        raise RefusedError(f"{path}: {reason.rule}", [reason])
    return label


def semver_of(text: str) -> str:
    """The version by SemVer that others write as `v1.2`; empty: it is none.

    >>> semver_of("v1.2"), semver_of("1.2.3-rc1"), semver_of("latest")
    ('1.2.0', '1.2.3-rc1', '')
    """
    match = re.fullmatch(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+][0-9A-Za-z.+-]+)?", text)
    if match is None:
        return ""
    numbers = ".".join(str(int(part or 0)) for part in match.groups()[:3])
    try:
        return str(parse_version(numbers + (match[4] or ""), path="version"))
    except RefusedError:
        return ""


def _files(objects: Objects) -> Iterator[tuple[str, str, bytes]]:
    """Path in the archive, platform and bytes of every object."""
    for name, variants in objects.items():
        kept = _FILE.sub("_", name).lstrip("._-") or "object.o"
        stem = kept.removesuffix(".o")
        for platform, data in variants.items():
            yield f"{stem}.{platform}.o" if platform else f"{stem}.o", platform, data


def _programs(
    objects: Objects, facts: Mapping[str, ElfFacts], remarks: list[Reason]
) -> Iterator[ProgramEntry]:
    taken: set[str] = set()
    for name, variants in objects.items():
        paths = {platform: path for path, platform, _ in _files({name: variants})}
        first = facts[next(iter(paths.values()))]
        for program in first.programs:
            hooks = hooks_of(program, name)
            if not hooks:
                rule = f"left out: section {program.section} fits no hook"
                remarks.append(Reason(path=f"{first.path}: {program.function}", rule=rule))
                continue
            label = _free(label_of(program.function, path=first.path), taken)
            objects_of = {key: path for key, path in paths.items() if key}
            yield ProgramEntry(
                name=label,
                object=paths.get(_EVERYWHERE, ""),
                objects=cast("dict[PlatformKey, str]", objects_of),
                function=program.function,
                hooks=hooks,
                flags=("frags",) if declares_fragments(program.section) else (),
            )


def _free(label: str, taken: set[str]) -> str:
    found, number = label, 2
    while found in taken:
        found = f"{label[: _LABEL_LENGTH - 4]}-{number}"
        number += 1
    taken.add(found)
    return found


def _maps(facts: Mapping[str, ElfFacts]) -> dict[str, MapEntry]:
    """Those that a deployment may give entries for; without BTF nobody knows what they hold."""
    return {
        one.name: MapEntry()
        for held in facts.values()
        if held.has_btf
        for one in held.maps
        if one.type in CONFIGURABLE and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", one.name)
    }


def _usual_licence(facts: Mapping[str, ElfFacts], remarks: list[Reason]) -> str:
    strings = {held.licence: path for path, held in facts.items()}
    usual = {USUAL_EXPRESSIONS.get(string, "") for string in strings}
    if len(usual) == 1 and (expression := usual.pop()):
        said = ", ".join(sorted(strings))
        rule = f'assumed to be "{expression}", because the objects say "{said}"'
        remarks.append(Reason(path="licence", rule=rule))
        return expression
    rule = "cannot be told from what the objects say: state it"
    reason = Reason(path="licence", rule=rule, got=sorted(strings), allowed="an SPDX expression")
    raise RefusedError(f"licence: {rule}", [reason])
