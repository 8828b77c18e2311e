# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Finding packages: words, facets, and what is known of each that is found."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.lifecycle import ReviewState
from shared.contracts.package_manifest import Platform
from shared.contracts.package_records import SharedMap
from shared.contracts.spaces import SpaceOrAny
from shared.identifiers import Hook, Token

MAX_WORDS_CHARACTERS: Final = 200
MAX_WORDS_ASKED: Final = 16
MAX_VALUES: Final = 8
"""Of one facet in one request."""
MAX_FOUND: Final = 100
"""Of one page."""
MAX_FACET_VALUES: Final = 20
"""Of one facet in a reply: the most frequent."""

Facet = Literal[
    "hook",
    "helper",
    "licence",
    "kernel",
    "owner",
    "publisher",
    "channel",
    "tag",
    "shared-map",
    "platform",
    "state",
    "nodes",
]
Sort = Literal["relevance", "name", "newest", "nodes", "stars"]

_Value = Annotated[str, Meta(min_length=1, max_length=200)]
_Values = Annotated[tuple[_Value, ...], Meta(max_length=MAX_VALUES)]


class SearchPackages(Request, frozen=True, kw_only=True):
    """What must hold of a version; all of it."""

    words: Annotated[str, Meta(max_length=MAX_WORDS_CHARACTERS)] = ""
    """Each must be the beginning of a word in its name, summary, tags, owners, programs or maps.
    They are words and nothing else: there is no query language."""
    hooks: Annotated[tuple[Hook, ...], Meta(max_length=MAX_VALUES)] = ()
    helpers: _Values = ()
    """That it calls: names with or without `bpf_`, or numbers."""
    licences: _Values = ()
    """SPDX identifiers that its kernel code is offered under."""
    kernel: Annotated[str, Meta(pattern=r"^([0-9]{1,3}(\.[0-9]{1,4}){0,2})?(?!\n)$")] = ""
    """Release that is not known to lack anything it needs, as `5.15`."""
    owners: _Values = ()
    publishers: _Values = ()
    channels: Annotated[tuple[Token, ...], Meta(max_length=MAX_VALUES)] = ()
    tags: _Values = ()
    maps: _Values = ()
    """Names of maps that its objects declare."""
    shared_maps: _Values = ()
    """Names of those among them that are declared to be one for all (`LIBBPF_PIN_BY_NAME`)."""
    platforms: Annotated[tuple[Platform, ...], Meta(max_length=MAX_VALUES)] = ()
    minimum_nodes: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """That run it, as far as the caller sees deployments."""
    minimum_stars: Annotated[float, Meta(ge=0, le=5)] = 0
    every_version: bool = False
    """Whether all versions are looked at, and not only the one that stands for its package: the
    newest release, and where channels are named the newest in the first of them."""
    withdrawn: bool = False
    """Whether yanked and revoked versions are found too."""
    space: SpaceOrAny = ""
    sort: Sort = "relevance"
    """Equal ones by name, and the newest version first."""
    after: Annotated[str, Meta(max_length=600)] = ""
    """`next` of the page before; empty: the first page."""
    limit: Annotated[int, Meta(ge=1, le=MAX_FOUND)] = 20
    facets: bool = True
    """Whether facets are counted."""


class FoundPackage(Message, frozen=True, kw_only=True):
    """One version."""

    name: str
    version: str
    space: Audience = PUBLIC
    summary: str
    licence: str
    hooks: tuple[Hook, ...]
    channels: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    state: ReviewState
    is_yanked: bool = False
    publisher: str = ""
    owners: tuple[str, ...] = ()
    minimum_kernel: str = ""
    published_at: str
    nodes: int = 0
    """That run it, as far as the caller sees deployments; up to a minute old.  A node counts once
    for each space that it runs it for."""
    stars: float = 0.0
    """Mean of all ratings, 1 to 5; 0: there are none."""
    ratings: int = 0


class FacetCount(Message, frozen=True, kw_only=True):
    """How many of all that are found have a value."""

    value: str
    count: int


class PackagesFound(Message, frozen=True, kw_only=True):
    """One page."""

    total: int
    """On all pages."""
    packages: tuple[FoundPackage, ...] = ()
    facets: dict[Facet, tuple[FacetCount, ...]] = {}
    """The most frequent first."""
    next: str = ""
    """Where the next page begins; empty: this is the last."""


class FindSharing(Request, frozen=True, kw_only=True):
    """Which packages declare the same shared maps; empty version: the newest release."""

    name: Token
    version: Annotated[str, Meta(max_length=256)] = ""
    space: SpaceOrAny = ""


class SharingPackage(Message, frozen=True, kw_only=True):
    """Another package, by the version that stands for it."""

    name: str
    version: str
    space: Audience = PUBLIC
    differs: tuple[str, ...] = ()
    """In what its declaration differs, so that both cannot have one map: type, key_size_bytes,
    value_size_bytes, max_entries."""


class SharedMapUse(Message, frozen=True, kw_only=True):
    """One map that is declared to be one for all."""

    map: SharedMap
    total: int
    """Other packages that declare it."""
    packages: tuple[SharingPackage, ...] = ()
    """By name, the first MAX_FOUND."""


class PackageSharing(Message, frozen=True, kw_only=True):
    """What a version would share where maps are shared by name; here each instance has its own."""

    name: str
    version: str
    space: Audience = PUBLIC
    maps: tuple[SharedMapUse, ...] = ()


SEARCH_PACKAGES: Final = Endpoint(f"{API}.catalog.package.search", SearchPackages, PackagesFound)
FIND_SHARING: Final = Endpoint(f"{API}.catalog.package.sharing", FindSharing, PackageSharing)
