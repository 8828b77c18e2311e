# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package in several spaces: each version once, the space that comes first before the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.catalog.package_places import (
    Part,
    has_version,
    held_of,
    in_order,
    key_of,
    place_of,
)
from shared.contracts.events import PUBLIC
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.versions import precedence

SPACES = (PUBLIC, "p_acme", f"r_{'0' * 16}")
NUMBERS = ("1.0.0", "1.0.0+acme.1", "1.0.0+other.1", "1.0.1", "1.1.0-rc.1", "1.1.0", "2.0.0")


def _part(space: str, versions: list[str]) -> Part:
    entries = tuple(
        VersionEntry(
            version=one,
            published_at=f"2026-01-0{NUMBERS.index(one) + 1}T00:00:00.000000Z",
            published_by="UA",
            manifest_sha256="",
            archive_sha256="",
            space=space,
        )
        for one in versions
    )
    return Part(space, PackageRecord(name="one", versions=entries), revision=1)


def _parts(found: dict[str, list[str]]) -> list[Part]:
    return [_part(space, versions) for space, versions in found.items()]


numbers = st.lists(st.sampled_from(NUMBERS), unique=True)
parts = st.dictionaries(st.sampled_from(SPACES), numbers).map(_parts)


@given(parts)
def test_every_version_is_there_once_from_the_first_space_that_has_it(found: list[Part]) -> None:
    """And the one that was published last is at the end."""
    held = held_of("one", found)

    seen: dict[str, str] = {}
    for part in found:
        for one in part.record.versions:
            seen.setdefault(one.version, part.space)
    assert {one.version: one.space for one in held.record.versions} == seen
    if len(found) != 1:
        moments = [one.published_at for one in held.record.versions]
        assert moments == sorted(moments)


@given(
    st.sets(st.sampled_from((*SPACES, "p_b", "r_open"))),
    st.sampled_from(SPACES),
    st.sets(st.sampled_from(SPACES[1:])),
)
def test_what_everybody_sees_goes_before_what_is_closed(
    spaces: set[str], first: str, closed: set[str]
) -> None:
    """Behind the space that is asked about, and `public` before other open ones."""
    order = in_order(spaces, first=first, closed=closed)

    assert set(order) == spaces
    assert len(order) == len(spaces)
    rest = [one for one in order if one != first]
    assert order[: len(order) - len(rest)] == [one for one in (first,) if one in spaces]
    assert rest == sorted(rest, key=lambda one: (one != PUBLIC, one in closed, one))


@given(parts, st.sampled_from(SPACES))
def test_a_part_is_what_its_space_has(found: list[Part], space: str) -> None:
    """Nothing if that is nothing, and what is written goes to its key."""
    held = held_of("one", found)
    known = {part.space: part for part in found}

    part = held.part(space)

    assert part == known.get(space, Part(space, PackageRecord(name="one")))
    assert place_of(part.key) == (space, "one")


@given(parts, st.sampled_from((*NUMBERS, "1.0", "", "1.0.0+build", "x")))
def test_a_version_is_known_by_its_precedence(found: list[Part], version: str) -> None:
    """What is no version is in no record."""
    record = held_of("one", found).record
    known = {precedence(one.version) for one in record.versions}

    is_version = version not in ("1.0", "", "x")
    assert has_version(record, version) == (is_version and precedence(version) in known)


@given(st.sampled_from(SPACES), st.sampled_from(("one", "p-acme", "r-0")))
def test_keys_of_spaces_never_meet(space: str, name: str) -> None:
    """A key says space and name, and a public package is kept where it always was."""
    assert place_of(key_of(space, name)) == (space, name)
    assert key_of(PUBLIC, name) == name
