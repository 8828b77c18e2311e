# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a package is what it claims to be, and whether a desired program is one of its own.

Pure: bytes in, verified files out.  Nothing is loaded that did not come out of `open_package`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from shared.archive_files import ArchiveBytes
from shared.canonical import sha256_hex
from shared.companion_arguments import desired_problems
from shared.configuration.entries import PROCESSORS
from shared.contracts.catalog import SignedPackage
from shared.contracts.compilation import Compilation
from shared.contracts.desired import DesiredProgram, MapConfig
from shared.contracts.node import ObservedProgram, verdicts_of
from shared.contracts.package_manifest import MapEntry, PackageManifest, ProgramEntry
from shared.errors import Reason, RefusedError, VerificationError
from shared.identifiers import Hook
from shared.package_archive import read_archive
from shared.trust.packages import Trust, check_package


class PackageMismatchError(RefusedError):
    """A desired program is not one that its signed manifest offers; with every difference."""


@dataclass(frozen=True, slots=True)
class OpenedPackage:
    """A package whose digests all hold, and whose signatures do or are not asked for here."""

    manifest: PackageManifest
    files: Mapping[str, bytes]
    publisher: str
    compilation: Compilation | None = None
    """How this node made the program's object, if the archive holds its source."""
    unverified: str = ""
    """What trust mode `normal` let pass; empty: its signatures hold."""


def open_package(
    signed: SignedPackage, archive: ArchiveBytes, *, trust: Trust, now: datetime
) -> OpenedPackage:
    """The files of the archive, once every byte of them is known to be the publisher's.

    Args:
        signed: As the node was told.
        archive: As it was fetched.
        trust: Whom to believe.
        now: Aware.

    Raises:
        VerificationError: The archive's digest, a signature, the publisher's certificate or a
            file's digest does not match; or those who signed are not trusted.
    """
    digest = sha256_hex(archive)
    if digest != signed.archive_sha256:
        reason = Reason(
            path="signed.archive_sha256",
            rule="the archive has another digest",
            got=digest,
            allowed=signed.archive_sha256,
        )
        raise VerificationError("the archive is not the one that was desired", [reason])
    checked = check_package(signed, trust, now=now)
    files = read_archive(archive, checked.manifest)
    return OpenedPackage(
        manifest=checked.manifest,
        files=files,
        publisher=checked.publisher,
        unverified=checked.note.warning,
    )


def unverified_warnings(
    programs: Sequence[DesiredProgram], packages: Sequence[OpenedPackage]
) -> tuple[str, ...]:
    """What is to be known of the programs of a chain whose signatures do not hold."""
    return tuple(
        f"{program.deployment}: {package.unverified}"
        for program, package in zip(programs, packages, strict=True)
        if package.unverified
    )


def with_origins(
    programs: Sequence[ObservedProgram], packages: Sequence[OpenedPackage]
) -> tuple[ObservedProgram, ...]:
    """The bodies of a chain, each with how its package was signed and compiled; both in order."""
    return tuple(
        msgspec.structs.replace(
            program, compilation=package.compilation, unverified=package.unverified
        )
        for program, package in zip(programs, packages, strict=True)
    )


def instance_problems(programs: Sequence[DesiredProgram], *, path: str) -> Iterator[Reason]:
    """Maps and counters belong to an instance, so its name stands in a chain once."""
    seen: set[str] = set()
    for index, program in enumerate(programs):
        if program.deployment in seen:
            yield Reason(
                path=f"{path}[{index}].deployment",
                rule="is in the chain twice",
                got=program.deployment,
            )
        seen.add(program.deployment)


def program_problems(
    program: DesiredProgram, manifest: PackageManifest, *, hook: Hook, platform: str, path: str
) -> Iterator[Reason]:
    """How a desired program differs from what its signed manifest offers on this platform."""
    yield from _differences(
        path,
        ("package", program.package, manifest.name),
        ("version", program.version, manifest.version),
    )
    entry = next((one for one in manifest.programs if one.name == program.program), None)
    if entry is None:
        yield Reason(
            path=f"{path}.program",
            rule="the signed manifest has no such program",
            got=program.program,
            allowed=[one.name for one in manifest.programs],
        )
    else:
        yield from _entry_problems(program, entry, hook=hook, platform=platform, path=path)
    yield from configuration_problems(program.config, manifest.maps, path=f"{path}.config")
    yield from desired_problems(
        program.companions, manifest.companions, platform=platform, path=f"{path}.companions"
    )
    for field, values in (("constants", program.constants), ("variables", program.variables)):
        for name in values:
            if name not in manifest.variables:
                yield Reason(
                    path=f"{path}.{field}.{name}",
                    rule="the package offers no such variable for configuration",
                    got=name,
                    allowed=sorted(manifest.variables),
                )


def _differences(path: str, *fields: tuple[str, str, str]) -> Iterator[Reason]:
    """One reason for each (field, got, allowed) where the two are not the same."""
    for field, got, allowed in fields:
        if got != allowed:
            yield Reason(
                path=f"{path}.{field}",
                rule="differs from the signed manifest",
                got=got,
                allowed=allowed,
            )


def _entry_problems(
    program: DesiredProgram, entry: ProgramEntry, *, hook: Hook, platform: str, path: str
) -> Iterator[Reason]:
    own = entry.object_on(platform)
    if own and program.object in entry.all_objects and program.object != own:
        yield Reason(
            path=f"{path}.object",
            rule=f"is not the one for {platform}",
            got=program.object,
            allowed=own,
        )
    elif not own:
        yield Reason(
            path=f"{path}.object",
            rule=f"the program is not made for {platform}",
            got=program.object,
            allowed=sorted(entry.objects),
        )
    else:
        yield from _differences(path, ("object", program.object, own))
    yield from _differences(path, ("function", program.function, entry.function))
    if hook not in entry.hooks:
        yield Reason(
            path=f"{path}.program",
            rule="is not made for this hook",
            got=hook,
            allowed=list(entry.hooks),
        )
    known = verdicts_of(hook)
    if not program.proceed_on and known:
        yield Reason(path=f"{path}.proceed_on", rule="names no verdict", allowed=list(known))
    for index, verdict in enumerate(program.proceed_on):
        if verdict not in known:
            yield Reason(
                path=f"{path}.proceed_on[{index}]",
                rule="is no verdict of this hook",
                got=verdict,
                allowed=list(known),
            )


def configuration_problems(
    configured: Mapping[str, MapConfig], entries: Mapping[str, MapEntry], *, path: str
) -> Iterator[Reason]:
    """How a configuration (map to entries) goes beyond what the manifest offers."""
    for name, config in configured.items():
        entry = entries.get(name)
        if entry is None:
            yield Reason(
                path=f"{path}.{name}",
                rule="the package offers no such map for configuration",
                got=name,
                allowed=sorted(entries),
            )
            continue
        for key, value in config.items():
            place = f"{path}.{name}.{key}"
            yield from _range_problems(
                _scalars(_read_key(key)), entry.key_minimum, entry.key_maximum, f"{place} (key)"
            )
            yield from _range_problems(
                _scalars(value), entry.value_minimum, entry.value_maximum, place
            )


def _range_problems(
    scalars: Iterator[int], minimum: int | None, maximum: int | None, path: str
) -> Iterator[Reason]:
    for scalar in scalars:
        is_low = minimum is not None and scalar < minimum
        is_high = maximum is not None and scalar > maximum
        if is_low or is_high:
            yield Reason(
                path=path,
                rule="is outside the range that the package states",
                got=scalar,
                allowed={"minimum": minimum, "maximum": maximum},
            )


def _read_key(text: str) -> Any:
    """The key as a value; a text that is none is reported where the map's type is known."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None


def _scalars(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for item in value:
            yield from _scalars(item)
    elif isinstance(value, dict) and value.keys() == {PROCESSORS}:
        yield from _scalars(value[PROCESSORS])
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
