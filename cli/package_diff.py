# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package diff`: two packages side by side, and what an upgrade keeps."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_difference import PackageDifference, package_difference, with_drift
from cli.package_licence import finding_table
from cli.package_reference import find_package
from shared.adapters.licence_policies import load_policy
from shared.licensing.policies import DEFAULT_POLICY

_STYLES: Final = {"refused": "red", "fresh": "yellow", "gone": "yellow"}


def diff(
    before: str,
    after: str,
    /,
    *,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Compare two packages: programs, maps, helpers, licences, configuration, digests.

    Says whether an instance that goes from the first to the second keeps its maps and its
    configuration.

    Parameters
    ----------
    before
        A package's folder, an archive that `build` wrote, or NAME@VERSION in the catalog.
    after
        Another one.
    """

    async def compared() -> PackageDifference:
        old = await find_package(before, credentials)
        new = await find_package(after, credentials)
        return with_drift(package_difference(old, new), old, new, load_policy(DEFAULT_POLICY))

    console.emit(console.run(compared(), json=json), _render, json=json)


def _render(found: PackageDifference) -> RenderableType:
    parts: list[RenderableType] = []
    if found.is_same_archive:
        parts.append(Text("both are the same archive"))
    if found.changes:
        changes = Table("what", plain(found.before), plain(found.after))
        for change in found.changes:
            changes.add_row(plain(change.path), _value(change.before), _value(change.after))
        parts.append(changes)
    if found.maps:
        maps = Table("program", "map", "when upgraded", "why")
        for one in found.maps:
            fate = Text(one.fate, style=_STYLES.get(one.fate, ""))
            maps.add_row(plain(one.program), plain(one.map), fate, plain(one.why))
        parts.append(maps)
    parts += [
        Text(plain(f"  {reason.path}: {reason.rule}"), style="yellow")
        for reason in found.configuration
    ]
    if found.licences:
        parts += [Text("licences, were the second released after the first:")]
        parts.append(finding_table(found.licences))
    parts.append(_verdict("maps", is_kept=found.do_maps_carry_over))
    parts.append(_verdict("configuration", is_kept=found.does_configuration_carry_over))
    parts += [Text(plain(f"note: {note}"), style="dim") for note in found.notes]
    return Group(*parts)


def _verdict(what: str, *, is_kept: bool) -> Text:
    verb = "carries" if what == "configuration" else "carry"
    if is_kept:
        return Text(f"{what}: {verb} over", style="bold green")
    return Text(f"{what}: not everything carries over", style="bold red")


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return plain(", ".join(value))
    return plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())
