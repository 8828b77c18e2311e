# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a program's objects for several platforms are one program.

Pure.

Rules:
 * Every platform that the package is meant for has an object, and no other has one.
 * Every object has the entry function; a section that fits the hooks is checked for each of them.
 * All objects declare the same maps, so that configuration, metrics and what an upgrade keeps mean
   the same on every node.  Windows numbers types of maps in its own way, so they are compared among
   objects for one operating system.
 * Flags are what the objects say.
 * C source for nodes to compile serves every platform and has no flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from shared.bytecode.elf import declares_fragments
from shared.contracts.package_facts import ElfFacts, ProgramFacts
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.errors import Reason

_Shape = dict[str, tuple[str, int, int]]


def platform_reasons(
    manifest: PackageManifest, program: ProgramEntry, objects: Mapping[str, ElfFacts], *, path: str
) -> Iterator[Reason]:
    """Every statement on platforms and flags of one program that cannot be kept.

    Args:
        manifest: What the program is of.
        program: One of it.
        objects: Facts of the files that could be read, by path.
        path: Of the program in the manifest.
    """
    if program.compiler:
        if program.objects:
            rule = "names objects of a program that nodes compile"
            yield Reason(path=f"{path}.objects", rule=rule, got=sorted(program.objects))
    else:
        yield from _coverage_reasons(manifest, program, path=path)
        yield from _map_reasons(program, objects, path=path)
    yield from _flag_reasons(program, objects, path=path)


def _coverage_reasons(
    manifest: PackageManifest, program: ProgramEntry, *, path: str
) -> Iterator[Reason]:
    for key in program.objects:
        if key.partition("-")[0] not in manifest.platforms:
            yield Reason(
                path=f"{path}.objects.{key}",
                rule="is for a platform that the package is not meant for",
                got=key,
                allowed=list(manifest.platforms),
            )
    served = {key.partition("-")[0] for key in program.objects}
    for platform in manifest.platforms:
        if not program.object and platform not in served:
            rule = f"has nothing for {platform}, which the package is meant for"
            yield Reason(path=f"{path}.object", rule=rule, allowed="an object")


def _map_reasons(
    program: ProgramEntry, objects: Mapping[str, ElfFacts], *, path: str
) -> Iterator[Reason]:
    known = [objects[name] for name in program.all_objects if name in objects]
    for_windows = {
        name for key, name in program.objects.items() if key.partition("-")[0] == "windows"
    }
    known.sort(key=lambda facts: facts.path in for_windows)
    for other in known[1:]:
        has_types = (known[0].path in for_windows) == (other.path in for_windows)
        first, shape = _shape(known[0], has_types=has_types), _shape(other, has_types=has_types)
        differing = sorted(
            name for name in first.keys() | shape.keys() if first.get(name) != shape.get(name)
        )
        if differing:
            yield Reason(
                path=f"{path}.objects",
                rule=f"{other.path} declares other maps than {known[0].path}",
                got=differing,
                allowed="the same names, types and sizes of keys and values",
            )


def _shape(facts: ElfFacts, *, has_types: bool) -> _Shape:
    return {
        one.name: (one.type if has_types else "", one.key_size_bytes, one.value_size_bytes)
        for one in facts.maps
    }


def _flag_reasons(
    program: ProgramEntry, objects: Mapping[str, ElfFacts], *, path: str
) -> Iterator[Reason]:
    if len(set(program.flags)) != len(program.flags):
        yield Reason(path=f"{path}.flags", rule="names a flag twice", got=list(program.flags))
    if "frags" not in program.flags:
        return
    if "xdp" not in program.hooks:
        rule = "frags is for programs of the hook xdp"
        yield Reason(path=f"{path}.flags", rule=rule, got=list(program.hooks))
    for name in program.all_objects:
        entry = _function(objects.get(name), program.function)
        if entry is not None and not declares_fragments(entry.section):
            yield Reason(
                path=f"{path}.flags",
                rule=f"{program.function} of {name} is not declared to read packets in several"
                " buffers",
                got=entry.section,
                allowed="a section xdp.frags, or no flag frags",
            )


def _function(facts: ElfFacts | None, name: str) -> ProgramFacts | None:
    return next((one for one in facts.programs if one.function == name), None) if facts else None
