# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a version can be found by, and what is said of it when it is found.

Pure.  Terms are pairs of a field and a value.  What people write is compared without regard to
case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final

from services.catalog.releasing import state_of
from services.catalog.resolution import descending, is_revoked, newest_release
from shared.bytecode.helper_names import helper_name
from shared.contracts.events import Audience
from shared.contracts.lifecycle import ReviewState
from shared.contracts.package_records import (
    PackageFacets,
    PackageRecord,
    SharedMap,
    VersionEntry,
)
from shared.contracts.search import Facet
from shared.identifiers import Hook
from shared.licensing.expressions import ExpressionError, parse_expression
from shared.versions import Precedence, precedence

MAX_WORD_CHARACTERS: Final = 64
MAX_WORDS: Final = 1000
"""Of one version, those of its name and summary first."""
MAX_MAPS: Final = 500
"""Of one version; it is found by no others."""
_HELPER: Final = "bpf_"
_WORD: Final = re.compile(r"[^\W_]+")

Term = tuple[str, str]
"""Field, or one of those below, and value."""

FACETS: Final[tuple[Facet, ...]] = (
    *("hook", "helper", "licence", "kernel", "owner", "publisher"),
    *("channel", "tag", "shared-map", "platform", "state"),
)
"""Fields that are counted."""
WORD: Final = "word"
"""Of name, summary, owners, programs, maps or companions."""
NAME_WORD: Final = "name-word"
TAG_WORD: Final = "tag-word"
MAP: Final = "map"
SHARED_LAYOUT: Final = "shared-layout"
"""A shared map with its layout, as `layout_value` writes it."""
OWNER: Final = "folded-owner"
NAME: Final = "name"
"""The whole name."""
STANDS: Final = "stands"
"""Empty: it stands for its package; a channel: it does there."""
RUNS: Final = "runs"
"""What is known of the kernels that it runs on: the oldest, `|`, and the range it asks for."""
WITHDRAWN: Final = "withdrawn"
"""Empty: it was yanked or revoked."""
SPACE: Final = "space"


@dataclass(frozen=True, slots=True)
class Document:
    """One version, with as much of it as is shown; equal values are one value in memory."""

    name: str
    version: str
    space: Audience
    facets: ShownFacets
    channels: tuple[str, ...]
    tags: tuple[str, ...]
    state: ReviewState
    is_yanked: bool
    publisher: str
    terms: frozenset[Term]
    """That may change, or are of this version alone."""

    @property
    def order(self) -> tuple[Precedence, str]:
        """Ascending among the versions of one package."""
        return precedence(self.version), self.version


@dataclass(frozen=True, slots=True)
class ShownFacets:
    """What is shown of a version's content, which never changes."""

    summary: str
    licence: str
    hooks: tuple[Hook, ...]
    owners: tuple[str, ...]
    minimum_kernel: str


def documents_of(record: PackageRecord, space: Audience) -> Iterator[tuple[Document, VersionEntry]]:
    """One for each version of a package, the newest first, and its entry."""
    versions = descending(record)
    standing = _standing(record, versions)
    for one in versions:
        yield _document(record.name, one, space, standing.get(one.version, ())), one


def words_in(text: str) -> list[str]:
    """The words of a text, as they are compared: `rate_limit` is two.

    >>> words_in("Rate_limit, STRASSE")
    ['rate', 'limit', 'strasse']
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [word[:MAX_WORD_CHARACTERS] for word in _WORD.findall(folded)]


def folded(value: str) -> str:
    """A value of a facet, as it is compared."""
    return unicodedata.normalize("NFKC", value).casefold()


def helper_value(text: str) -> str:
    """A helper as it is compared: its name without `bpf_`, or its number if it has no name."""
    is_number = text.isascii() and text.isdecimal()
    return _helper(int(text[:9])) if is_number else folded(text).removeprefix(_HELPER)


@lru_cache(maxsize=512)
def _helper(number: int) -> str:
    return helper_name(number).removeprefix(_HELPER) or str(number)


def layout_value(one: SharedMap) -> str:
    """A shared map as one value."""
    return "|".join(str(getattr(one, name)) for name in SharedMap.__struct_fields__)


def read_layout(value: str) -> SharedMap:
    """What `layout_value` wrote."""
    name, kind, key, size, entries = value.rsplit("|", 4)
    return SharedMap(
        name=name,
        type=kind,
        key_size_bytes=int(key),
        value_size_bytes=int(size),
        max_entries=int(entries),
    )


def licence_value(text: str) -> str:
    """A licence as it is compared: as the SPDX list writes it."""
    named = _licences(text)
    return named[0] if len(named) == 1 else text


@dataclass(frozen=True, slots=True)
class ContentTerms:
    """What every version with one content is found by."""

    facets: tuple[Term, ...]
    """Those that are counted."""
    runs: Term
    words: frozenset[Term]
    """And what else is not counted."""


@lru_cache(maxsize=64)
def content_terms(name: str, facets: PackageFacets) -> ContentTerms:
    """Those of a package's versions with these facets."""
    kernel = facets.minimum_kernel
    texts = (facets.summary, *facets.programs, *facets.companions, *facets.maps)
    return ContentTerms(
        facets=(
            *(("hook", hook) for hook in facets.hooks),
            *(("helper", _helper(one)) for one in facets.helpers),
            *(("licence", one) for one in _licences(facets.licence)),
            *((("kernel", kernel),) if kernel else ()),
            *(("owner", one) for one in dict.fromkeys(facets.owners)),
            *(("shared-map", one.name) for one in facets.shared_maps),
            *(("platform", one) for one in facets.platforms),
        ),
        runs=(RUNS, f"{kernel}|{facets.needs_kernel}"),
        words=_words(name, facets.owners, texts)
        | {(MAP, one) for one in facets.maps[:MAX_MAPS]}
        | {(SHARED_LAYOUT, layout_value(one)) for one in facets.shared_maps},
    )


@lru_cache(maxsize=64)
def _words(name: str, owners: tuple[str, ...], texts: tuple[str, ...]) -> frozenset[Term]:
    found = (word for text in (name, *texts[:1], *owners, *texts[1:]) for word in words_in(text))
    words = {(WORD, word) for word in islice(found, MAX_WORDS)}
    words |= {(NAME_WORD, word) for word in words_in(name)}
    words |= {(OWNER, folded(one)) for one in owners}
    return frozenset({*words, (NAME, name)})


def _document(name: str, entry: VersionEntry, space: Audience, stands: tuple[str, ...]) -> Document:
    found = entry.lifecycle
    tags = found.tags if found else ()
    is_yanked = found is not None and found.yanked is not None
    state = state_of(entry)
    own: list[Term] = [
        *(("channel", one) for one in entry.channels),
        *(("tag", folded(one)) for one in tags),
        *((TAG_WORD, word) for one in tags for word in words_in(one)),
        *(("publisher", folded(one)) for one in (entry.publisher,) if one),
        ("state", state),
        (SPACE, space),
        *((STANDS, one) for one in stands),
        *([(WITHDRAWN, "")] if is_yanked or is_revoked(entry) else []),
    ]
    return Document(
        name=name,
        version=entry.version,
        space=space,
        facets=_shown(entry.facets),
        channels=entry.channels,
        tags=tags,
        state=state,
        is_yanked=is_yanked,
        publisher=entry.publisher,
        terms=frozenset(own),
    )


def _standing(record: PackageRecord, versions: list[VersionEntry]) -> dict[str, tuple[str, ...]]:
    """Version to what it stands for its package in: empty is everywhere, else a channel."""
    found: dict[str, tuple[str, ...]] = {}
    first = newest_release(record) or _first(versions)
    if first is not None:
        found[first.version] = ("",)
    for channel in sorted({channel for one in versions for channel in one.channels}):
        among = (one for one in versions if channel in one.channels)
        offered = [one for one in among if not _is_left(one, channel)]
        stands = _first(offered)
        if stands is not None:
            found[stands.version] = (*found.get(stands.version, ()), channel)
    return found


def _first(versions: list[VersionEntry]) -> VersionEntry | None:
    """The newest that is no prerelease and was not withdrawn, as far as there is one."""
    kept = [one for one in versions if not _is_withdrawn(one)] or versions
    releases = (one for one in kept if "-" not in one.version.partition("+")[0])
    return next(releases, kept[0] if kept else None)


def _is_withdrawn(one: VersionEntry) -> bool:
    return is_revoked(one) or (one.lifecycle is not None and one.lifecycle.yanked is not None)


def _is_left(one: VersionEntry, channel: str) -> bool:
    """Whether nobody is given it there who does not name it."""
    return _is_withdrawn(one) or (one.lifecycle is not None and channel in one.lifecycle.retired)


@lru_cache(maxsize=4096)
def _shown(facets: PackageFacets) -> ShownFacets:
    return ShownFacets(
        summary=facets.summary,
        licence=facets.licence,
        hooks=facets.hooks,
        owners=facets.owners,
        minimum_kernel=facets.minimum_kernel,
    )


@lru_cache(maxsize=1024)
def _licences(expression: str) -> tuple[str, ...]:
    try:
        arms = parse_expression(expression, path="licence")
    except ExpressionError:
        return (expression,) if expression else ()
    return tuple(sorted({name for arm in arms for name in arm}))
