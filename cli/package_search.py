# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package search`: find packages by words and by what they use, offer and are."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.rollout import SpaceOption
from shared.contracts.events import PUBLIC
from shared.contracts.package_manifest import Platform
from shared.contracts.search import (
    MAX_FOUND,
    SEARCH_PACKAGES,
    FoundPackage,
    PackagesFound,
    SearchPackages,
    Sort,
)
from shared.identifiers import Hook
from shared.validation import convert_document

FACETS_SHOWN = 8


def search(
    *words: str,
    hook: Annotated[tuple[Hook, ...], Parameter(negative=())] = (),
    helper: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    licence: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    kernel: str = "",
    owner: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    publisher: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    channel: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    map: Annotated[tuple[str, ...], Parameter(negative=())] = (),  # noqa: A002 because it is the option
    shared_map: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    platform: Annotated[tuple[Platform, ...], Parameter(negative=())] = (),
    min_nodes: int = 0,
    min_stars: float = 0,
    every_version: Annotated[bool, Parameter(negative=())] = False,
    withdrawn: Annotated[bool, Parameter(negative=())] = False,
    space: SpaceOption = "",
    sort: Sort = "relevance",
    limit: Annotated[int, Parameter(help=f"Lines to show, 1 to {MAX_FOUND}.")] = 20,
    after: str = "",
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Find packages; everything that is named must hold.

    One version stands for its package: the newest release, and with --channel the newest there.

    Parameters
    ----------
    words
        Beginnings of words in names, summaries, tags, owners, programs and maps.
    hook
        Where a program can be attached.
    helper
        That a program calls, as map_lookup_elem or its number.
    licence
        SPDX identifier that the kernel code is offered under.
    kernel
        Release that is not known to lack anything, as 5.15.
    owner
        Who answers for the code, as the package says.
    publisher
        Whose signature it has.
    channel
        That it was released to.
    map
        That an object declares.
    shared_map
        That an object declares to be one for all (LIBBPF_PIN_BY_NAME).
    tag
        Given at its submission or promotion.
    platform
        That it is meant for.
    min_nodes
        That run it, at least.
    min_stars
        Mean of its ratings, at least.
    every_version
        Look at all versions.
    withdrawn
        Find yanked and revoked versions too.
    sort
        Equal ones by name, the newest version first.
    after
        What the page before said about the next one.
    """
    fields = {
        "words": " ".join(words),
        "hooks": hook,
        "helpers": helper,
        "licences": licence,
        "kernel": kernel,
        "owners": owner,
        "publishers": publisher,
        "channels": channel,
        "tags": tag,
        "maps": map,
        "shared_maps": shared_map,
        "platforms": platform,
        "minimum_nodes": min_nodes,
        "minimum_stars": min_stars,
        "every_version": every_version,
        "withdrawn": withdrawn,
        "space": space,
        "sort": sort,
        "limit": limit,
        "after": after,
    }
    with console.refusing(json=json):
        wanted = convert_document(fields, SearchPackages, what="request")
    found = console.run(session.ask(SEARCH_PACKAGES, wanted, credentials), json=json)
    console.emit(found, _render, json=json)


def _render(found: PackagesFound) -> RenderableType:
    if not found.packages:
        return Text("nothing is found")
    table = Table("package", "version", "summary", "hooks", "licence", "nodes", "stars")
    for one in found.packages:
        table.add_row(
            plain(one.name),
            plain(_version(one)),
            plain(one.summary),
            ", ".join(one.hooks),
            plain(one.licence),
            str(one.nodes),
            f"{one.stars:.1f} of {one.ratings}" if one.ratings else "",
        )
    facets = Table.grid(padding=(0, 2))
    for name, counts in found.facets.items():
        shown = [f"{one.value} {one.count}" for one in counts[:FACETS_SHOWN]]
        facets.add_row(Text(name, style="bold"), plain(", ".join(shown)))
    parts: list[RenderableType] = [Text(f"{found.total} found"), table, facets]
    if found.next:
        parts.append(Text(plain(f"more with --after '{found.next}'")))
    return Group(*parts)


def _version(one: FoundPackage) -> str:
    remarks = [one.space] if one.space != PUBLIC else []
    remarks += [one.state] if one.state in ("deprecated", "revoked") else []
    remarks += ["yanked"] if one.is_yanked else []
    return f"{one.version} ({', '.join(remarks)})" if remarks else one.version
