# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""All versions, by their terms.

Pure but for its own state: what it answers depends on what was put into it and on nothing else.

Rules:
 * Nothing about a version is read, counted or passed over unless its space is among those that are
   asked for.
 * A version's content never changes, so only its state is ever taken out again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final, TypeVar, cast

from services.catalog.search.documents import (
    FACETS,
    NAME,
    NAME_WORD,
    SPACE,
    TAG_WORD,
    WORD,
    ContentTerms,
    Document,
    ShownFacets,
    Term,
    content_terms,
    documents_of,
)
from services.catalog.search.postings import Posting, union
from shared.contracts.events import Audience
from shared.contracts.package_records import PackageRecord
from shared.moments import render_time

MERGED_AT: Final = 1000
"""New words that are looked through one by one before they are sorted in."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ValueT = TypeVar("ValueT")

Package = tuple[str, Audience]
"""Name and space."""


class SearchIndex:
    """What is asked is a set of numbers, one for each version."""

    def __init__(self) -> None:
        self.documents: Final[list[Document]] = []
        """By number."""
        self.packages: Final[list[Package]] = []
        """Ascending."""
        self.numbers: Final[dict[Package, list[int]]] = {}
        """Of a package's versions, the newest first."""
        self._contents: Final[list[tuple[Posting, ...]]] = []
        self._states: Final[dict[frozenset[Term], tuple[Posting, ...]]] = {}
        """By a version's own terms, those that are counted."""
        self._times: Final = array("q")
        self._by_time: Final[list[int]] = []
        self._postings: Final[dict[str, dict[str, Posting]]] = {}
        self._largest: Final[dict[str, list[Posting]]] = {}
        """As `largest` gave it, while it is so."""
        self._words: Final[Vocabulary] = Vocabulary()
        self._shared: Final[dict[object, object]] = {}

    def put(self, record: PackageRecord, space: Audience) -> None:
        """The package is as the record says."""
        package = (record.name, space)
        known = {self.documents[one].version: one for one in self.numbers.get(package, ())}
        if record.versions and not known:
            insort(self.packages, package)
        numbers: list[int] = []
        stated: dict[Term, list[int]] = {}
        contents: dict[ContentTerms, list[int]] = {}
        for document, entry in documents_of(record, space):
            number = known.pop(document.version, None)
            if number is None:
                number = self._append(document, entry.published_at)
                contents.setdefault(content_terms(record.name, entry.facets), []).append(number)
                for term in document.terms:
                    stated.setdefault(term, []).append(number)
            else:
                self._change(number, document)
            numbers.append(number)
        for content, added in contents.items():
            self._add_content(content, added)
        for term, added in stated.items():
            self._posting(term).add(added, len(self.documents))
        for number in known.values():
            self._forget(number)
        numbers.sort(key=lambda one: self.documents[one].order, reverse=True)
        self._list(package, numbers)

    def drop(self, name: str, space: Audience) -> None:
        """There is no such package."""
        for number in self.numbers.get((name, space), ()):
            self._forget(number)
        self._list((name, space), [])

    def having(self, field: str, value: str) -> int:
        """The versions with a term."""
        found = self._postings.get(field, {}).get(value)
        return found.bits if found is not None else 0

    def values(self, field: str) -> Mapping[str, Posting]:
        """Every value of a field."""
        return self._postings.get(field, {})

    def largest(self, field: str) -> Sequence[Posting]:
        """Every value of a field, the one that most versions have first, then by name."""
        known = self._largest.get(field)
        if known is None:
            values = self._postings.get(field, {}).values()
            known = self._largest[field] = sorted(values, key=lambda one: (-one.size, one.value))
        return known

    def in_spaces(self, spaces: Iterable[Audience]) -> int:
        """The versions in any of these spaces."""
        found = 0
        for space in spaces:
            found |= self.having(SPACE, space)
        return found

    def beginning(self, prefix: str) -> tuple[int, int]:
        """The versions with a word that begins so: in their name or tags, and anywhere."""
        words = list(self._words.beginning(prefix))
        better = union(self._those(words, NAME_WORD, TAG_WORD), len(self.documents))
        return better, better | union(self._those(words, WORD), len(self.documents))

    def _those(self, words: Iterable[str], *fields: str) -> Iterator[Posting]:
        known = [self._postings.get(field, {}) for field in fields]
        return (found[word] for word in words for found in known if word in found)

    def named(self, name: str) -> int:
        """The versions of the packages of that name."""
        return self.having(NAME, name)

    def facets_of(self, numbers: Sequence[int]) -> Iterator[Posting]:
        """Every term of these versions that facets count, as often as there is one."""
        contents = map(self._contents.__getitem__, numbers)
        states = (self._states[self.documents[one].terms] for one in numbers)
        return chain(chain.from_iterable(contents), chain.from_iterable(states))

    @property
    def facet_values(self) -> int:
        """How many values there are of all fields that are counted."""
        return sum(len(self.values(field)) for field in FACETS)

    def number_of(self, name: str, space: Audience, version: str) -> int | None:
        """Of one version; None: there is no such version."""
        for number in self.numbers.get((name, space), ()):
            if self.documents[number].version == version:
                return number
        return None

    def at(self, place: int) -> Sequence[int]:
        """The versions of a package by its place among all, the newest first."""
        return self.numbers[self.packages[place]]

    def time_of(self, number: int) -> int:
        """When a version was published, in microseconds since 1970."""
        return self._times[number]

    def moment_of(self, number: int) -> str:
        """The same in words."""
        return render_time(_EPOCH + timedelta(microseconds=self._times[number]))

    def backwards(self, latest: float | None) -> Iterator[int]:
        """All versions, the last to be published first, from this moment on back."""
        end = len(self._by_time)
        if latest is not None:
            end = bisect_right(self._by_time, latest, key=self.time_of)
        return (self._by_time[place] for place in range(end - 1, -1, -1))

    def _change(self, number: int, document: Document) -> None:
        before = self.documents[number].terms
        for term in before - document.terms:
            self._posting(term).discard(number)
        for term in document.terms - before:
            self._posting(term).add((number,), len(self.documents))
        self.documents[number] = self._compact(document)

    def _forget(self, number: int) -> None:
        for term in self.documents[number].terms:
            self._posting(term).discard(number)

    def _list(self, package: Package, numbers: list[int]) -> None:
        if numbers:
            self.numbers[package] = numbers
        elif package in self.numbers:
            del self.numbers[package]
            del self.packages[bisect_left(self.packages, package)]

    def _add_content(self, content: ContentTerms, numbers: list[int]) -> None:
        counted = tuple(self._posting(term) for term in content.facets)
        others = (self._posting(term) for term in (content.runs, *content.words))
        for posting in (*counted, *others):
            posting.add(numbers, len(self.documents))
        for number in numbers:
            self._contents[number] = counted

    def _append(self, document: Document, published_at: str) -> int:
        number = len(self.documents)
        self.documents.append(self._compact(document))
        self._contents.append(())
        self._times.append(_microseconds(published_at))
        insort(self._by_time, number, key=self.time_of)
        return number

    def _posting(self, term: Term) -> Posting:
        """The versions with a term, to be changed."""
        field, value = term
        self._largest.pop(field, None)
        values = self._postings.setdefault(field, {})
        posting = values.get(value)
        if posting is None:
            posting = values[value] = Posting(field, value)
            if field in (WORD, TAG_WORD):
                self._words.add(value)
        return posting

    def _compact(self, document: Document) -> Document:
        """The same with values that others have too."""
        one = self._one
        shown = document.facets
        facets = ShownFacets(
            one(shown.summary),
            one(shown.licence),
            one(shown.hooks),
            one(shown.owners),
            one(shown.minimum_kernel),
        )
        if document.terms not in self._states:
            counted = (self._posting(term) for term in document.terms if term[0] in FACETS)
            self._states[document.terms] = tuple(counted)
        return Document(
            name=one(document.name),
            version=one(document.version),
            space=one(document.space),
            facets=one(facets),
            channels=one(document.channels),
            tags=one(document.tags),
            state=document.state,
            is_yanked=document.is_yanked,
            publisher=one(document.publisher),
            terms=one(document.terms),
        )

    def _one(self, value: ValueT) -> ValueT:
        return cast("ValueT", self._shared.setdefault(value, value))


class Vocabulary:
    """Words, found by how they begin."""

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._new: Final[set[str]] = set()
        self._known: Final[set[str]] = set()

    def add(self, word: str) -> None:
        """The word is there."""
        if word in self._known:
            return
        self._known.add(word)
        self._new.add(word)

    def beginning(self, prefix: str) -> Iterator[str]:
        """Every word that begins so."""
        if len(self._new) > MERGED_AT:
            self._sorted = sorted(self._known)
            self._new.clear()
        for place in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            if not self._sorted[place].startswith(prefix):
                break
            yield self._sorted[place]
        yield from (word for word in self._new if word.startswith(prefix))


def _microseconds(moment: str) -> int:
    at = datetime.fromisoformat(moment)
    return (at - _EPOCH) // timedelta(microseconds=1)
