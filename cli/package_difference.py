# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How one package differs from another, and what an instance keeps that goes from one to the other.

Pure.  What becomes of maps is decided by the same rules as on a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from cli.package_reference import DescribedPackage
from services.node_executor.map_carry_over import CarryOver, MapShape, plan_carry_over
from services.node_executor.map_types import describe_types
from shared.bytecode.elf import ObjectFile, read_object
from shared.bytecode.helper_names import helper_name
from shared.bytecode.map_declarations import map_type_name
from shared.configuration.entries import map_layout
from shared.contracts.base import Message
from shared.contracts.configuration import MemberEntry, VariableEntry
from shared.contracts.licences import LicenceFinding
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import InnerMapEntry, PackageManifest, ProgramEntry
from shared.contracts.value_types import ArrayType, EnumType, IntegerType, Layout
from shared.errors import Reason
from shared.licensing.drift import drift_findings
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy

MAX_MAP_TYPE: Final = 64
_TYPE_NUMBERS: Final = {map_type_name(number): number for number in range(MAX_MAP_TYPE)}
_ABSENT: Final = object()
_TYPED: Final = ("key", "value", "inner.key", "inner.value")
_Stated: TypeAlias = InnerMapEntry | VariableEntry

CarryText = Literal["kept", "migrated", "fresh", "refused", "new", "gone"]


class Change(Message, frozen=True, kw_only=True):
    """One statement that is not the same in both."""

    path: str
    """As `programs.limit.helpers`."""
    before: Any = None
    """None: not there."""
    after: Any = None


class MapFate(Message, frozen=True, kw_only=True):
    """What becomes of a map of an instance that goes from the first package to the second."""

    program: str
    map: str
    fate: CarryText
    why: str = ""


class PackageDifference(Message, frozen=True, kw_only=True):
    """What is not the same, and what carries over."""

    before: str
    after: str
    is_same_archive: bool
    changes: tuple[Change, ...] = ()
    maps: tuple[MapFate, ...] = ()
    do_maps_carry_over: bool = True
    """Whether an upgrade is accepted and no map that both have begins empty."""
    configuration: tuple[Reason, ...] = ()
    """What a configuration for the first package may hold and the second would refuse."""
    does_configuration_carry_over: bool = True
    licences: tuple[LicenceFinding, ...] = ()
    """What became of the licence, as if the second were released after the first."""
    notes: tuple[str, ...] = ()


def package_difference(before: DescribedPackage, after: DescribedPackage) -> PackageDifference:
    """Everything that is said of the two packages and is not the same; licences not judged."""
    old, new = dict(_statements(before)), dict(_statements(after))
    changes = tuple(
        Change(path=path, before=old.get(path), after=new.get(path))
        for path in sorted({*old, *new})
        if old.get(path, _ABSENT) != new.get(path, _ABSENT)
    )
    notes: list[str] = []
    has_types = before.files is not None and after.files is not None
    if not has_types:
        notes.append(
            "the catalog shows sizes and no types: maps are compared by type, sizes and number of "
            "entries; name an archive or a folder to compare their structure by BTF"
        )
    fates = tuple(_fates(before, after, notes, has_types=has_types))
    refused = tuple(_configuration_reasons(before, after, has_types=has_types))
    return PackageDifference(
        before=before.label,
        after=after.label,
        is_same_archive=before.archive_sha256 == after.archive_sha256,
        changes=changes,
        maps=fates,
        do_maps_carry_over=not any(one.fate in ("refused", "fresh") for one in fates),
        configuration=refused,
        does_configuration_carry_over=not refused,
        notes=tuple(dict.fromkeys(notes)),
    )


def with_drift(
    found: PackageDifference,
    before: DescribedPackage,
    after: DescribedPackage,
    policy: LicencePolicy,
) -> PackageDifference:
    """With what became of the licence.

    Args:
        found: What differs.
        before: The one that is there.
        after: The one that follows.
        policy: By which licences are elected.
    """
    old, new = (LicensedPackage(one.manifest, one.elf, policy) for one in (before, after))
    drift = drift_findings(old, new, is_released=True)
    licences = tuple(one for one in drift if one.outcome != "passed")
    return msgspec.structs.replace(found, licences=licences)


def _statements(package: DescribedPackage) -> Iterator[tuple[str, Any]]:
    """Everything that is said of a package, by its path."""
    manifest = package.manifest
    yield "archive.sha256", package.archive_sha256
    for name in ("name", "version", "summary", "licence"):
        yield name, getattr(manifest, name)
    yield from _terms(manifest)
    for program in manifest.programs:
        yield from _program_statements(program, package.elf)
    for kind, entries in (("configuration", manifest.maps), ("metrics", manifest.metrics)):
        for name, entry in entries.items():
            for field, value in msgspec.to_builtins(entry).items():
                yield f"{kind}.{name}.{field}", value
    for facts in package.elf:
        yield from _object_statements(facts)
    for file in manifest.files:
        yield f"files.{file.path}", file.sha256
    if manifest.build is not None:
        for field, value in msgspec.to_builtins(manifest.build).items():
            yield f"build.{field}", value


def _terms(manifest: PackageManifest) -> Iterator[tuple[str, Any]]:
    """What it says of itself as a whole."""
    yield "owners", list(manifest.owners)
    yield "platforms", list(manifest.platforms)
    yield "node_maps", list(manifest.node_maps)
    for part in ("licences", "file_groups", "source", "needs"):
        for field, value in (msgspec.to_builtins(getattr(manifest, part)) or {}).items():
            yield f"{part}.{field}", value


def _object_statements(facts: ElfFacts) -> Iterator[tuple[str, Any]]:
    path = f"objects.{facts.path}"
    yield f"{path}.licence", facts.licence
    yield f"{path}.needs_kernel_btf", facts.needs_kernel_btf
    for one in facts.maps:
        for field, value in msgspec.to_builtins(one).items():
            if field != "name":
                yield f"{path}.maps.{one.name}.{field}", value


def _program_statements(
    program: ProgramEntry, elf: tuple[ElfFacts, ...]
) -> Iterator[tuple[str, Any]]:
    path = f"programs.{program.name}"
    for field, value in msgspec.to_builtins(program).items():
        if field != "name":
            yield f"{path}.{field}", value
    made_for = {file: f"{path}.{key}" for key, file in program.objects.items()}
    made_for |= {program.object: path}
    for facts in elf:
        for one in facts.programs:
            if facts.path not in made_for or one.function != program.function:
                continue
            path = made_for[facts.path]
            yield f"{path}.section", one.section
            yield f"{path}.instructions", one.instructions
            yield f"{path}.helpers", [helper_name(helper) for helper in one.helpers]
            yield f"{path}.kernel_functions", list(one.kernel_functions)


def _fates(
    before: DescribedPackage, after: DescribedPackage, notes: list[str], *, has_types: bool
) -> Iterator[MapFate]:
    """Program by program, as each instance has maps of its own."""
    earlier = {program.name: program for program in before.manifest.programs}
    for program in after.manifest.programs:
        if program.name not in earlier:
            continue
        if program.compiler or earlier[program.name].compiler:
            notes.append(f"{program.name}: nodes compile it, so its maps are not compared here")
            continue
        yield from dict.fromkeys(
            fate
            for platform in ("", *earlier[program.name].objects, *program.objects)
            for fate in _fates_on(
                platform, (before, earlier[program.name]), (after, program), has_types=has_types
            )
        )


def _fates_on(
    platform: str,
    old: tuple[DescribedPackage, ProgramEntry],
    new: tuple[DescribedPackage, ProgramEntry],
    *,
    has_types: bool,
) -> Iterator[MapFate]:
    """On nodes of one platform, empty for those that no object is made for alone."""
    (before, was), (after, program) = old, new
    files = was.object_on(platform), program.object_on(platform)
    if all(files):
        running = _shapes(before, files[0], has_types=has_types)
        declared = _shapes(after, files[1], has_types=has_types)
        plan = plan_carry_over(
            program.name,
            declared=declared,
            running=running,
            policies={name: one.on_layout_change for name, one in after.manifest.maps.items()},
            is_same_code=before.archive_sha256 == after.archive_sha256,
        )
        for name in sorted({*declared, *running}):
            yield _fate(program.name, name, plan, is_declared=name in declared)


def _fate(program: str, name: str, plan: CarryOver, *, is_declared: bool) -> MapFate:
    refused = {reason.path.rpartition(".maps.")[2]: reason for reason in plan.problems}
    fate: CarryText = "new"
    why = ""
    if name in refused:
        fate, why = "refused", _layouts(refused[name])
    elif name in plan.taken:
        source = plan.taken[name]
        fate = "kept" if source == name else "migrated"
        why = "" if source == name else f"goes on with the content of {source}"
    elif name in plan.fresh:
        fate, why = "fresh", "begins empty, as its package says or because it holds timers"
    elif not is_declared:
        fate = "gone"
        user = next((one for one, source in plan.taken.items() if source == name), "")
        why = f"its content goes to {user}" if user else ""
    return MapFate(program=program, map=name, fate=fate, why=why)


def _layouts(reason: Reason) -> str:
    now, was = reason.got or {}, reason.allowed or {}
    parts = [
        f"{field} {was.get(field)} -> {now[field]}" for field in now if now[field] != was.get(field)
    ]
    return "another layout: " + ", ".join(parts)


def _shapes(package: DescribedPackage, path: str, *, has_types: bool) -> dict[str, MapShape]:
    if has_types and package.files is not None:
        parsed = _object(package.files, path)
        return {
            one.name: MapShape(
                type_number=one.type_number,
                key_size_bytes=one.key_size_bytes,
                value_size_bytes=one.value_size_bytes,
                max_entries=one.max_entries,
                flags=one.flags,
                types=describe_types(one, parsed.btf),
            )
            for one in parsed.maps
        }
    return {
        one.name: MapShape(
            type_number=_TYPE_NUMBERS.get(one.type, -1),
            key_size_bytes=one.key_size_bytes,
            value_size_bytes=one.value_size_bytes,
            max_entries=one.max_entries,
            flags=0,
        )
        for facts in package.elf
        if facts.path == path
        for one in facts.maps
    }


def _configuration_reasons(
    before: DescribedPackage, after: DescribedPackage, *, has_types: bool
) -> Iterator[Reason]:
    settable = after.manifest.variables
    for name, stated in before.manifest.variables.items():
        path = f"variables.{name}"
        if name in settable:
            yield from _narrowed(stated, settable[name], path)
        else:
            yield Reason(path=path, rule="is not offered any more", allowed=sorted(settable))
    offered = after.manifest.maps
    for name, entry in before.manifest.maps.items():
        path = f"config.{name}"
        if name not in offered:
            yield Reason(path=path, rule="is not offered any more", allowed=sorted(offered))
            continue
        yield from _narrowed(entry, offered[name], path)
        if has_types:
            old, new = _layout_of(before, name), _layout_of(after, name)
            for what, one, other in zip(_TYPED, old, new, strict=False):
                if not _takes(other, one):
                    yield Reason(
                        path=f"{path}.{what}", rule="does not take everything that it took before"
                    )


def _narrowed(before: _Stated, after: _Stated, path: str) -> Iterator[Reason]:
    """Limits that take less, and values that are written in another form."""
    for field in before.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if field.endswith(("minimum", "maximum")):
            is_minimum = field.endswith("minimum")
            if new is not None and (old is None or (new > old if is_minimum else new < old)):
                yield Reason(
                    path=f"{path}.{field}", rule="is narrower than before", got=new, allowed=old
                )
        elif field.endswith("format") and old != new:
            rule = "is another form than before"
            yield Reason(path=f"{path}.{field}", rule=rule, got=new, allowed=old)
        elif field.endswith("members"):
            yield from _narrowed_members(old, new, f"{path}.{field}")
        elif field == "inner":
            nothing = InnerMapEntry()
            yield from _narrowed(old or nothing, new or nothing, f"{path}.inner")


def _narrowed_members(
    before: Mapping[str, MemberEntry], after: Mapping[str, MemberEntry], path: str
) -> Iterator[Reason]:
    for name in sorted({*before, *after}):
        old, new = before.get(name, MemberEntry()), after.get(name, MemberEntry())
        yield from _narrowed(_as_variable(old), _as_variable(new), f"{path}.{name}")


def _as_variable(entry: MemberEntry) -> VariableEntry:
    return VariableEntry(format=entry.format, minimum=entry.minimum, maximum=entry.maximum)


def _layout_of(package: DescribedPackage, name: str) -> tuple[Layout, ...]:
    """Of key and value of the first object that has the map, and of maps in it; empty: none has."""
    for path in dict.fromkeys(_objects(package.manifest)):
        parsed = _object(package.files or {}, path)
        for one in parsed.maps:
            if one.name == name:
                layout = map_layout(one, parsed.btf)
                held = layout.inner
                return (layout.key, layout.value, *((held.key, held.value) if held else ()))
    return ()


def _objects(manifest: PackageManifest) -> Iterator[str]:
    for program in manifest.programs:
        yield from () if program.compiler else program.all_objects


def _object(files: Mapping[str, bytes], path: str) -> ObjectFile:
    return read_object(files[path], path)


def _takes(new: Layout, old: Layout) -> bool:
    """Whether every value that could be configured before still can."""
    if isinstance(new, IntegerType) and isinstance(old, IntegerType):
        if new.is_signed == old.is_signed:
            return new.size_bytes >= old.size_bytes
        return new.is_signed and new.size_bytes > old.size_bytes
    if isinstance(new, ArrayType) and isinstance(old, ArrayType):
        return new.count == old.count and _takes(new.element, old.element)
    if isinstance(new, EnumType) and isinstance(old, EnumType):
        return set(new.values) >= set(old.values)
    return type(new) is type(old)
