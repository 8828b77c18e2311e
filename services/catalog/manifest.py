# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a manifest says only what its object files can keep.

Pure.  The manifest's shape was checked when it was decoded, and that the archive holds exactly its
files when the archive was read; here its statements meet the facts of the object files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from services.catalog.companion_checks import companion_reasons
from services.catalog.package_statements import statement_reasons
from services.catalog.platform_objects import platform_reasons
from shared.bytecode.probe_sections import fits_probe
from shared.configuration.entries import UNDECLARED, map_codec
from shared.configuration.metric_selection import UnfitMetricError, select
from shared.configuration.package_rules import configuration_reasons, layout_of
from shared.contracts.node import verdicts_of
from shared.contracts.package_facts import ElfFacts, MapFacts
from shared.contracts.package_manifest import MapEntry, PackageManifest, ProgramEntry
from shared.errors import Reason, RefusedError
from shared.identifiers import HOOKS, Hook, is_probe, parse_token
from shared.package_tests import are_all_read
from shared.reason_lists import below
from shared.versions import parse_version

_SECTIONS: Final[dict[Hook, str]] = {
    "xdp": r"xdp.*",
    "tc-ingress": r"(?:tc|tcx|classifier|action)(?!.*egress).*",
    "tc-egress": r"(?:tc|tcx|classifier|action)(?!.*ingress).*",
}
"""Names of sections whose programs fit a hook.  libbpf's own names (Documentation/bpf/libbpf/
program_types.rst) and what is built on them: the node sets the type itself."""

_LARGEST: Final = 1 << 128
"""Above every number that a map can hold."""
_KEY: Final = re.compile(r"\*|-?[0-9]+|\[-?[0-9]+(,-?[0-9]+)*\]")


def manifest_reasons(manifest: PackageManifest, elf: Sequence[ElfFacts]) -> Iterator[Reason]:
    """Every statement of the manifest that cannot be kept.

    Args:
        manifest: As the publisher signed it.
        elf: Facts of every object file that its programs name and that could be read.
    """
    yield from _name_reasons(manifest)
    yield from statement_reasons(manifest)
    objects = {facts.path: facts for facts in elf}
    seen: dict[str, int] = {}
    for index, program in enumerate(manifest.programs):
        path = f"manifest.programs[{index}]"
        if (earlier := seen.setdefault(program.name, index)) != index:
            yield Reason(
                path=f"{path}.name",
                rule=f"programs[{earlier}] has this name already",
                got=program.name,
            )
        yield from _compiler_reasons(program, manifest.programs[:index], path=path)
        yield from platform_reasons(manifest, program, objects, path=path)
        yield from _program_reasons(program, objects, path=path)
    yield from companion_reasons(manifest)
    yield from _map_reasons(manifest, elf)
    yield from _common_reasons(manifest, elf)
    yield from configuration_reasons(manifest, elf)


def _name_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    try:
        parse_token(manifest.name, path="manifest.name")
    except RefusedError as error:
        yield from error.reasons
    try:
        parse_version(manifest.version, path="manifest.version")
    except RefusedError as error:
        yield from error.reasons


def _compiler_reasons(
    program: ProgramEntry, earlier: Sequence[ProgramEntry], *, path: str
) -> Iterator[Reason]:
    """A file is either an object or the source that nodes compile."""
    if program.compiler and not program.object.endswith(".c"):
        yield Reason(path=f"{path}.object", rule="is not a C file", got=program.object)
    for other in earlier:
        both = sorted(set(other.all_objects).intersection(program.all_objects))
        if both and other.compiler != program.compiler:
            yield Reason(
                path=f"{path}.compiler",
                rule=f"{both[0]} has another compiler in program {other.name}",
                got=program.compiler,
                allowed=other.compiler,
            )
            return


def _program_reasons(
    program: ProgramEntry, objects: Mapping[str, ElfFacts], *, path: str
) -> Iterator[Reason]:
    if len(set(program.hooks)) != len(program.hooks):
        yield Reason(path=f"{path}.hooks", rule="names a hook twice", got=list(program.hooks))
    yield from _probe_reasons(program, path=path)
    for hook in program.hooks:
        if is_probe(hook):
            continue
        unknown = [name for name in program.proceed_on if name not in verdicts_of(hook)]
        if unknown:
            yield Reason(
                path=f"{path}.proceed_on",
                rule=f"is not a verdict of {hook}",
                got=unknown,
                allowed=list(verdicts_of(hook)),
            )
    for name in program.all_objects:
        if name in objects:
            yield from _function_reasons(program, objects[name], path=path)


def _function_reasons(program: ProgramEntry, facts: ElfFacts, *, path: str) -> Iterator[Reason]:
    found = {entry.function: entry for entry in facts.programs}
    if (entry := found.get(program.function)) is None:
        yield Reason(
            path=f"{path}.function",
            rule=f"{facts.path} has no such program",
            got=program.function,
            allowed=sorted(found),
        )
        return
    for hook in program.hooks:
        if not _fits(entry.section, hook):
            yield Reason(
                path=f"{path}.hooks",
                rule=f"section {entry.section} of {program.function} does not fit {hook}",
                got=hook,
                allowed=[name for name in HOOKS if _fits(entry.section, name)],
            )


def _fits(section: str, hook: Hook) -> bool:
    if is_probe(hook):
        return fits_probe(section, hook)
    return re.fullmatch(_SECTIONS[hook], section) is not None


def _probe_reasons(program: ProgramEntry, *, path: str) -> Iterator[Reason]:
    """What is said of a program that is a probe, and means nothing of one."""
    probes = [hook for hook in program.hooks if is_probe(hook)]
    if not probes:
        return
    said = (("order", program.order), ("proceed_on", list(program.proceed_on) or None))
    for field, value in (*said, ("flags", list(program.flags) or None)):
        if value is not None:
            rule = f"has no meaning for {probes[0]}, which is in no chain"
            yield Reason(path=f"{path}.{field}", rule=rule, got=value)
    if program.compiler:
        rule = f"makes programs for network hooks only, not for {probes[0]}"
        allowed = "an object that was compiled before"
        yield Reason(path=f"{path}.compiler", rule=rule, got=program.compiler, allowed=allowed)


def _map_reasons(manifest: PackageManifest, elf: Sequence[ElfFacts]) -> Iterator[Reason]:
    declared = {entry.name: facts for facts in elf for entry in facts.maps}
    are_known = are_all_read(manifest, elf)
    typed = {
        name: layout
        for name, one in _declared(elf).items()
        if (layout := layout_of(one)) is not None
    }
    for name, entry in manifest.maps.items():
        path = f"manifest.maps.{name}"
        if name not in declared and are_known:
            yield Reason(path=path, rule="no object file has this map", allowed=sorted(declared))
        elif name in declared and not declared[name].has_btf and not declared[name].compiler:
            yield Reason(
                path=path,
                rule=f"{declared[name].path} has no BTF, so nobody can tell what its maps hold",
            )
        yield from _huge_reasons(entry, path=path)
        if name not in typed:
            yield from _range_reasons(entry, path=path)
    for name, metric in manifest.metrics.items():
        path = f"manifest.metrics.{name}"
        if metric.map not in declared and are_known:
            yield Reason(
                path=f"{path}.map",
                rule="no object file has this map",
                got=metric.map,
                allowed=sorted(declared),
            )
        if metric.map in typed:
            codec = map_codec(typed[metric.map], manifest.maps.get(metric.map, UNDECLARED))
            try:
                select(metric, codec)
            except UnfitMetricError as error:
                yield from below(path, error)
        elif not _KEY.fullmatch(metric.key):
            yield Reason(
                path=f"{path}.key",
                rule="is not a key",
                got=metric.key,
                allowed="an integer, an array as [1,2], or * for the sum over all keys",
            )


def _common_reasons(manifest: PackageManifest, elf: Sequence[ElfFacts]) -> Iterator[Reason]:
    """A map that a node has once is one of the objects', and no single deployment's."""
    declared = _declared(elf)
    for index, name in enumerate(manifest.node_maps):
        path = f"manifest.node_maps[{index}]"
        if name not in declared and are_all_read(manifest, elf):
            rule = "no object file has this map"
            yield Reason(path=path, rule=rule, got=name, allowed=sorted(declared))
        if name in manifest.maps:
            rule = "is offered for configuration, so each deployment has one of its own"
            yield Reason(path=path, rule=rule, got=name)
        if name in manifest.node_maps[:index]:
            yield Reason(path=path, rule="is named twice", got=name)


def _declared(elf: Sequence[ElfFacts]) -> dict[str, MapFacts]:
    return {one.name: one for facts in elf for one in facts.maps}


def _huge_reasons(entry: MapEntry, *, path: str) -> Iterator[Reason]:
    """Numbers that other readers of the manifest could not even read."""
    for field in ("key_minimum", "key_maximum", "value_minimum", "value_maximum"):
        limit: int | None = getattr(entry, field)
        if limit is not None and not -_LARGEST < limit < _LARGEST:
            yield Reason(path=f"{path}.{field}", rule="is no value of any map")


def _range_reasons(entry: MapEntry, *, path: str) -> Iterator[Reason]:
    for what, minimum, maximum in (
        ("key", entry.key_minimum, entry.key_maximum),
        ("value", entry.value_minimum, entry.value_maximum),
    ):
        if minimum is not None and maximum is not None and minimum > maximum:
            yield Reason(
                path=f"{path}.{what}_minimum",
                rule="is above the maximum",
                got=minimum,
                allowed=maximum,
            )
