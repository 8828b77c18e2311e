# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what a manifest says of companions fits together and fits its files.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.contracts.node_companions import MAX_ARGUMENTS, ArgumentValue
from shared.contracts.package_manifest import CompanionArgument, CompanionEntry, PackageManifest
from shared.errors import Reason
from shared.portability.capability_needs import CAPABILITIES

_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def companion_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    """Every statement about companions that cannot be kept."""
    files = {file.path for file in manifest.files}
    for name, entry in manifest.companions.items():
        path = f"manifest.companions.{name}"
        for platform, executable in entry.executables.items():
            place = f"{path}.executables.{platform}"
            if executable not in files:
                yield Reason(
                    path=place, rule="no file of the archive has this path", got=executable
                )
            if platform.partition("-")[0] not in manifest.platforms:
                yield Reason(
                    path=place,
                    rule="the package is not meant for this platform",
                    allowed=list(manifest.platforms),
                )
        yield from _capability_reasons(entry, path=path)
        if len(entry.arguments) > MAX_ARGUMENTS:
            yield Reason(
                path=f"{path}.arguments",
                rule="are too many",
                got=len(entry.arguments),
                allowed=MAX_ARGUMENTS,
            )
        for argument, stated in entry.arguments.items():
            yield from _argument_reasons(stated, path=f"{path}.arguments.{argument}")


def _capability_reasons(entry: CompanionEntry, *, path: str) -> Iterator[Reason]:
    unknown = sorted(set(entry.capabilities) - CAPABILITIES)
    if unknown:
        yield Reason(path=f"{path}.capabilities", rule="is no capability of Linux", got=unknown)
    if len(set(entry.capabilities)) != len(entry.capabilities):
        got = list(entry.capabilities)
        yield Reason(path=f"{path}.capabilities", rule="names a capability twice", got=got)


def _argument_reasons(stated: CompanionArgument, *, path: str) -> Iterator[Reason]:
    default, minimum, maximum = stated.default, stated.minimum, stated.maximum
    if stated.type != "integer" and (minimum is not None or maximum is not None):
        yield Reason(path=path, rule="only an integer has a range", got=stated.type)
    if minimum is not None and maximum is not None and minimum > maximum:
        yield Reason(
            path=f"{path}.minimum", rule="is above the maximum", got=minimum, allowed=maximum
        )
    if default is None:
        return
    if stated.required:
        yield Reason(path=path, rule="is required, so its default is never used", got=default)
    if type(default) is not _TYPES[stated.type]:
        yield Reason(
            path=f"{path}.default", rule="has another type", got=default, allowed=stated.type
        )
    elif type(default) is int and not (
        (minimum is None or minimum <= default) and (maximum is None or default <= maximum)
    ):
        yield Reason(path=f"{path}.default", rule="is outside its range", got=default)
    else:
        yield from _value_reasons(default, path=f"{path}.default")


def _value_reasons(default: str | int, *, path: str) -> Iterator[Reason]:
    """Nodes read no record with a value that a deployment could not have given."""
    try:
        msgspec.convert(default, ArgumentValue)
    except msgspec.ValidationError as error:
        yield Reason(path=path, rule=f"is no value of an argument: {error}")
