# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of companions: what a deployment may say, what follows from it, the words of a command.

Pure.

Rules:
 * Only what the manifest declares may be given, of its type, within its range.
 * What is not given has the package's default; what has none is not handed over, and must be given
   if the package requires it.
 * An argument is handed over as `--<name>=<value>`, in the order of names; a boolean is `true` or
   `false`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shared.contracts.node_companions import ArgumentValue, CompanionWish, DesiredCompanion
from shared.contracts.package_manifest import CompanionArgument, CompanionEntry
from shared.errors import Reason

_TYPES: Final[dict[str, type]] = {"string": str, "integer": int, "boolean": bool}


def whole_companions(
    wishes: Mapping[str, CompanionWish], entries: Mapping[str, CompanionEntry]
) -> dict[str, DesiredCompanion]:
    """Every companion of a package with all its arguments."""
    nothing = CompanionWish()
    return {
        name: DesiredCompanion(
            arguments=whole_arguments(wishes.get(name, nothing).arguments, entry)
        )
        for name, entry in sorted(entries.items())
    }


def whole_arguments(
    given: Mapping[str, ArgumentValue], entry: CompanionEntry
) -> dict[str, ArgumentValue]:
    """What is given, and the package's defaults for the rest."""
    defaults = {
        name: stated.default
        for name, stated in entry.arguments.items()
        if stated.default is not None
    }
    return dict(sorted({**defaults, **given}.items()))


def companion_problems(
    wishes: Mapping[str, CompanionWish], entries: Mapping[str, CompanionEntry]
) -> Iterator[Reason]:
    """Every way in which a deployment says something that the package does not take."""
    for name in sorted(wishes):
        if name not in entries:
            yield Reason(
                path=f"companions.{name}",
                rule="the package has no such companion",
                got=name,
                allowed=sorted(entries),
            )
    nothing = CompanionWish()
    for name, entry in sorted(entries.items()):
        given = wishes.get(name, nothing).arguments
        yield from argument_problems(given, entry, path=f"companions.{name}.arguments")


def desired_problems(
    desired: Mapping[str, DesiredCompanion],
    entries: Mapping[str, CompanionEntry],
    *,
    platform: str,
    path: str,
) -> Iterator[Reason]:
    """Every way in which what a node is told differs from what the signed manifest offers there."""
    for name in sorted(desired.keys() - entries.keys()):
        rule = "the signed manifest has no such companion"
        yield Reason(path=f"{path}.{name}", rule=rule, got=name, allowed=sorted(entries))
    for name, entry in sorted(entries.items()):
        given = desired.get(name, DesiredCompanion()).arguments
        if executable_on(entry, platform) == "":
            yield Reason(
                path=f"{path}.{name}",
                rule=f"is not made for {platform}",
                allowed=sorted(entry.executables),
            )
        yield from argument_problems(given, entry, path=f"{path}.{name}.arguments")


def executable_on(entry: CompanionEntry, platform: str) -> str:
    """The file for nodes of this platform; empty: there is none."""
    return {str(key): path for key, path in entry.executables.items()}.get(platform, "")


def argument_problems(
    given: Mapping[str, ArgumentValue], entry: CompanionEntry, *, path: str
) -> Iterator[Reason]:
    """Every argument that is not declared, misses, or is not what is declared."""
    for name, value in sorted(given.items()):
        stated = entry.arguments.get(name)
        if stated is None:
            yield Reason(
                path=f"{path}.{name}",
                rule="the companion declares no such argument",
                got=value,
                allowed=sorted(entry.arguments),
            )
        else:
            yield from _value_problems(value, stated, path=f"{path}.{name}")
    for name, stated in sorted(entry.arguments.items()):
        if stated.required and name not in given:
            yield Reason(path=f"{path}.{name}", rule="is required", allowed=stated.type)


def rendered_arguments(
    arguments: Mapping[str, ArgumentValue],
) -> tuple[str, ...]:
    """The words that they are handed over as.

    >>> rendered_arguments({"verbose": True, "port": 9100})
    ('--port=9100', '--verbose=true')
    """
    return tuple(f"--{name}={_word(value)}" for name, value in sorted(arguments.items()))


def _word(value: ArgumentValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _value_problems(
    value: ArgumentValue, stated: CompanionArgument, *, path: str
) -> Iterator[Reason]:
    if type(value) is not _TYPES[stated.type]:
        yield Reason(path=path, rule="has another type", got=value, allowed=stated.type)
        return
    if isinstance(value, bool) or not isinstance(value, int):
        return
    low, high = stated.minimum, stated.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        allowed = {"minimum": low, "maximum": high}
        yield Reason(path=path, rule="is outside its range", got=value, allowed=allowed)
