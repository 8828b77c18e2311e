# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package users` and `impact`: who runs a package, and what a revocation would do."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_statements import fact_table
from cli.rollout import SpaceOption
from shared.contracts.base import Message
from shared.contracts.search import FIND_SHARING, FindSharing, PackageSharing
from shared.contracts.usage import (
    FIND_IMPACT,
    FIND_USERS,
    MAX_PLACES,
    FindImpact,
    FindUsers,
    ImpactedDeployment,
    PackageImpact,
    PackageUsers,
)
from shared.validation import convert_document


class ImpactShown(Message, frozen=True, kw_only=True):
    """What a revocation would do, and with whom the version shares maps by name."""

    impact: PackageImpact
    sharing: PackageSharing


def users(
    name: str,
    version: str = "",
    *,
    after: str = "",
    limit: Annotated[int, Parameter(help=f"Places to show, 1 to {MAX_PLACES}.")] = 200,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show which deployments, nodes and hook points run a package, as nodes read it back.

    Parameters
    ----------
    version
        Left out: every version.
    after
        What the page before said about the next one.
    """
    fields = {"name": name, "version": version, "after": after, "limit": limit}
    with console.refusing(json=json):
        wanted = convert_document(fields, FindUsers, what="request")
    found = console.run(session.ask(FIND_USERS, wanted, credentials), json=json)
    console.emit(found, render_users, json=json)


def impact(
    name: str, version: str, *, credentials: CredentialsOption = None, json: JsonFlag = False
) -> None:
    """Show what would happen if a version were revoked now; nothing is changed.

    Each deployment does what its own `on_revoked` says.
    """
    with console.refusing(json=json):
        wanted = convert_document({"name": name, "version": version}, FindImpact, what="request")

    async def ask() -> ImpactShown:
        async with session.connected(credentials) as bus:
            # First, so that a version that does not exist is not said to be used by nobody.
            sharing = await bus.request(FIND_SHARING, FindSharing(name=name, version=version))
            return ImpactShown(impact=await bus.request(FIND_IMPACT, wanted), sharing=sharing)

    console.emit(console.run(ask(), json=json), render_impact, json=json)


def sharing(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show which packages declare the same maps to be one for all (LIBBPF_PIN_BY_NAME).

    On nodes every instance has its own maps; elsewhere these would be shared.

    Parameters
    ----------
    version
        Left out: the newest release.
    """
    fields = {"name": name, "version": version, "space": space}
    with console.refusing(json=json):
        wanted = convert_document(fields, FindSharing, what="request")
    found = console.run(session.ask(FIND_SHARING, wanted, credentials), json=json)
    console.emit(found, render_sharing, json=json)


def render_users(found: PackageUsers) -> RenderableType:
    """How far versions are spread, and the places."""
    if not found.places:
        return Text(plain(f"nothing runs {found.name} {found.version}".rstrip()))
    spread = Table("version", "nodes that run it", "nodes that shall run it")
    for one in found.versions:
        spread.add_row(plain(one.version), str(one.nodes_running), str(one.nodes_told))
    places = Table("deployment", "node", "interface", "hook", "program", "runs", "shall run")
    for place in found.places:
        places.add_row(
            plain(place.deployment),
            plain(place.node),
            plain(place.interface),
            place.hook,
            plain(place.program),
            plain(place.running) or "nothing of it",
            plain(place.told) or "nothing of it",
        )
    parts: list[RenderableType] = [spread, places]
    if found.next:
        parts.append(Text(plain(f"more with --after '{found.next}'")))
    return Group(*parts)


def render_sharing(found: PackageSharing) -> RenderableType:
    """Each shared map, and who else declares it."""
    if not found.maps:
        return Text(plain(f"{found.name} {found.version} declares no map to be one for all"))
    table = Table("map", "type", "key, value, entries", "other packages")
    for one in found.maps:
        layout = one.map
        others = [
            f"{other.name} {other.version}"
            + (f" (other {', '.join(other.differs)})" if other.differs else "")
            for other in one.packages
        ]
        more = one.total - len(others)
        table.add_row(
            plain(layout.name),
            plain(layout.type),
            f"{layout.key_size_bytes}, {layout.value_size_bytes}, {layout.max_entries}",
            plain(", ".join(others) + (f" and {more} more" if more else "")) or "none",
        )
    return table


def render_impact(shown: ImpactShown) -> RenderableType:
    """What each deployment would do."""
    found = shown.impact
    facts = {
        "if revoked": f"{found.name} {found.version}",
        "deployments": str(len(found.deployments)),
        "nodes": str(found.node_count),
    }
    if found.rollbacks:
        facts["no rollback to it"] = ", ".join(found.rollbacks)
    parts: list[RenderableType] = [fact_table(facts)]
    if found.deployments:
        table = Table("deployment", "hook", "nodes", "on_revoked", "what it would do")
        for one in found.deployments:
            table.add_row(
                plain(one.deployment),
                one.hook,
                plain(_nodes(one)),
                plain(one.on_revoked),
                plain(_deed(one)),
            )
        parts.append(table)
    if shown.sharing.maps:
        parts.append(render_sharing(shown.sharing))
    return Group(*parts)


def _nodes(one: ImpactedDeployment) -> str:
    more = one.node_count - len(one.nodes)
    return ", ".join(one.nodes) + (f" and {more} more" if more else "")


def _deed(one: ImpactedDeployment) -> str:
    if one.does == "stop":
        empty = f"; nothing of ours is left on {one.emptied} hook points" if one.emptied else ""
        return f"stops{empty}"
    if one.does == "replace":
        return f"is replaced by {one.replacement}, if the nodes take it"
    why = "; ".join(f"{reason.path}: {reason.rule}" for reason in one.why_not)
    return f"goes on, with an alarm{f': {why}' if why else ''}"
