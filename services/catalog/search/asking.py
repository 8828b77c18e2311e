# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A question, and the page that answers it.

Pure.

Rules:
 * Everything that is counted, sorted or shown is first cut down to the spaces that are asked for.
 * Words are words: whatever they hold, they are compared and never interpreted.
 * A page begins behind what the page before ended with, whatever was published meanwhile.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from typing import ClassVar, Final

from services.catalog.search.documents import (
    FACETS,
    MAP,
    OWNER,
    RUNS,
    STANDS,
    WITHDRAWN,
    folded,
    helper_value,
    licence_value,
    words_in,
)
from services.catalog.search.index import SearchIndex
from services.catalog.search.postings import (
    Posting,
    bits_of,
    members_of,
    numbers_in,
)
from services.catalog.search.ranking import (
    LISTED,
    Known,
    ordered,
    place_of,
    ranked,
    written,
)
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.search import (
    MAX_FACET_VALUES,
    MAX_WORDS_ASKED,
    Facet,
    FacetCount,
    FoundPackage,
    PackagesFound,
    SearchPackages,
)
from shared.errors import Reason, RefusedError
from shared.kernel_versions import is_in_range, kernel_version

VERSIONS_A_VALUE: Final = 1
"""Whose facets are counted one by one in the time that the versions with a value are."""
NODE_STEPS: Final = (1, 10, 100, 1000, 10_000)


class TooManyWordsError(RefusedError):
    """The question has more words than are looked up."""

    code: ClassVar[ErrorCode] = "invalid_request"


def search(
    index: SearchIndex,
    asked: SearchPackages,
    seen: frozenset[Audience],
    known: Known,
    *,
    sorted_up_to: int = LISTED,
    counted_up_to: int | None = None,
) -> PackagesFound:
    """The page.

    Args:
        index: All versions.
        asked: What must hold.
        seen: The spaces that whoever asks sees, cut down to those that are asked for.
        known: What else there is to say.
        sorted_up_to: Versions; of more, those that are shown are looked for in order.
        counted_up_to: Versions that facets are counted in one by one; of more, value by value.
            None: whichever takes less time.

    Raises:
        AfterError: The page cannot begin there.
        TooManyWordsError: More are asked for than MAX_WORDS_ASKED.
    """
    nodes = {
        number: count
        for number, uses in known.nodes.items()
        if (count := sum(nodes for space, nodes in uses.items() if space in seen))
    }
    found = index.in_spaces(seen) & _filtered(index, asked, nodes, known)
    words = _words(asked)
    tiers = [index.beginning(word) for word in words]
    for _, anywhere in tiers:
        found &= anywhere
    if not words and asked.words.strip():
        found = 0
    after = place_of(asked.after)
    groups = ranked(
        index,
        asked,
        found,
        tiers=tiers,
        nodes=nodes,
        known=known,
        after=after,
        sorted_up_to=sorted_up_to,
    )
    page = list(islice(ordered(index, groups, after, sorted_up_to), asked.limit + 1))
    shown = page[: asked.limit]
    return PackagesFound(
        total=found.bit_count(),
        packages=tuple(_shown(index, number, nodes, known) for _, number in shown),
        facets=_facets(index, found, nodes, counted_up_to) if asked.facets else {},
        next=written(index, *shown[-1]) if len(page) > len(shown) else "",
    )


def _words(asked: SearchPackages) -> list[str]:
    """Each word once."""
    words = list(dict.fromkeys(words_in(asked.words)))
    if len(words) > MAX_WORDS_ASKED:
        rule = "are too many words"
        reason = Reason(path="words", rule=rule, got=len(words), allowed=MAX_WORDS_ASKED)
        raise TooManyWordsError(f"words: {rule}", [reason])
    return words


def _filtered(
    index: SearchIndex, asked: SearchPackages, nodes: Mapping[int, int], known: Known
) -> int:
    found = (1 << len(index.documents)) - 1
    for name, values in (
        ("hook", asked.hooks),
        ("helper", map(helper_value, asked.helpers)),
        ("licence", map(licence_value, asked.licences)),
        (OWNER, map(folded, asked.owners)),
        ("publisher", map(folded, asked.publishers)),
        ("channel", asked.channels),
        ("tag", map(folded, asked.tags)),
        (MAP, asked.maps),
        ("shared-map", asked.shared_maps),
        ("platform", asked.platforms),
    ):
        for value in values:
            found &= index.having(name, value)
    if not asked.every_version:
        found &= index.having(STANDS, asked.channels[0] if asked.channels else "")
    if not asked.withdrawn:
        found &= ~index.having(WITHDRAWN, "")
    if asked.kernel:
        found &= _runs_on(index, asked.kernel)
    if asked.minimum_nodes:
        found &= bits_of([one for one, count in nodes.items() if count >= asked.minimum_nodes])
    if asked.minimum_stars:
        rated = known.stars.items()
        found &= bits_of([one for one, (n, sum_) in rated if sum_ >= asked.minimum_stars * n])
    return found


def _runs_on(index: SearchIndex, kernel: str) -> int:
    release = kernel_version(kernel)
    assert release is not None
    found = 0
    for value, posting in index.values(RUNS).items():
        oldest, _, kernels = value.partition("|")
        least = kernel_version(oldest) if oldest else None
        if (least is None or least <= release) and is_in_range(kernel, kernels):
            found |= posting.bits
    return found


def _facets(
    index: SearchIndex, found: int, nodes: Mapping[int, int], counted_up_to: int | None
) -> dict[Facet, tuple[FacetCount, ...]]:
    members = members_of(found, len(index.documents))
    counted: dict[Facet, tuple[FacetCount, ...]] = {}
    if counted_up_to is None:
        counted_up_to = max(LISTED, VERSIONS_A_VALUE * index.facet_values)
    if found.bit_count() <= counted_up_to:
        counts = Counter(index.facets_of(list(numbers_in(found))))
        by_field: dict[str, list[tuple[int, str]]] = {}
        for posting, count in counts.items():
            by_field.setdefault(posting.field, []).append((count, posting.value))
        counted |= {name: _listed(by_field.get(name, ())) for name in FACETS}
    else:
        counted |= {name: _counted(index.largest(name), found, members) for name in FACETS}
    spread = [count for number, count in nodes.items() if members[number]]
    steps = [(sum(count >= step for count in spread), f"{step}+") for step in NODE_STEPS]
    counted["nodes"] = _listed(steps)
    return {name: values for name, values in counted.items() if values}


def _counted(postings: Sequence[Posting], found: int, members: bytes) -> tuple[FacetCount, ...]:
    """The same of all values, the largest given first: what cannot be among them is not counted."""
    best: list[tuple[int, str]] = []
    for posting in postings:
        # As many of those that are found as there are in all, at most.
        if len(best) == MAX_FACET_VALUES and (-posting.size, posting.value) > best[-1]:
            break
        count = posting.count_in(found, members)
        if count:
            insort(best, (-count, posting.value))
            del best[MAX_FACET_VALUES:]
    return tuple(FacetCount(value=value, count=-count) for count, value in best)


def _listed(counts: Iterable[tuple[int, str]]) -> tuple[FacetCount, ...]:
    """The most frequent first; equal ones by name."""
    best = nsmallest(MAX_FACET_VALUES, ((-count, value) for count, value in counts if count))
    return tuple(FacetCount(value=value, count=-count) for count, value in best)


def _shown(index: SearchIndex, number: int, nodes: Mapping[int, int], known: Known) -> FoundPackage:
    one = index.documents[number]
    count, total = known.stars.get(number, (0, 0))
    return FoundPackage(
        name=one.name,
        version=one.version,
        space=one.space,
        summary=one.facets.summary,
        licence=one.facets.licence,
        hooks=one.facets.hooks,
        channels=one.channels,
        tags=one.tags,
        state=one.state,
        is_yanked=one.is_yanked,
        publisher=one.publisher,
        owners=one.facets.owners,
        minimum_kernel=one.facets.minimum_kernel,
        published_at=index.moment_of(number),
        nodes=nodes.get(number, 0),
        stars=total / count if count else 0.0,
        ratings=count,
    )
