# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may say what they think of a version, and what is kept of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.catalog.rating import (
    NotYourRatingError,
    Rater,
    RatingError,
    UnknownRatingError,
    listed,
    rated,
    rating_event,
    rating_prefix,
    removed,
)
from shared.contracts.events import Actor
from shared.contracts.lifecycle import Lifecycle, Statement
from shared.contracts.ratings import ListRatings, RatePackage, RatingRecord, RemoveRating
from tests.package_builders import NOW
from tests.unit.test_package_search import SAID, an_entry

ENTRY = an_entry()


def somebody(
    name: str = "ann", key: str = "UANN", role: str = "operator", *, hours: int = 0
) -> Rater:
    """Who gives a command, some hours after the first."""
    return Rater(Actor(key=key, role=role, attested=True), name, NOW + timedelta(hours=hours))


def given(stars: int = 4, text: str = "works", before: RatingRecord | None = None) -> RatingRecord:
    """Ann's rating."""
    request = RatePackage(name="one", version="1.0.0", stars=stars, text=text)
    return rated("one", ENTRY, before, request, somebody(hours=1 if before else 0))


def test_saying_it_again_replaces_what_was_said() -> None:
    """And keeps when it was said first."""
    first = given()
    second = given(2, "broke", before=first)

    assert (second.stars, second.text, second.at) == (2, "broke", first.at)
    assert first.edited_at == ""
    assert second.edited_at > first.at


@pytest.mark.parametrize(
    ("name", "key"), [("acme", "UOTHER"), ("other", "U"), ("sue", "UOTHER"), ("other", "USUE")]
)
def test_nobody_rates_what_they_published_or_submitted(name: str, key: str) -> None:
    """Neither by name nor by key."""
    submitted = Lifecycle(submitted=(Statement(by="USUE", name="sue", role="publisher", at=""),))
    entry = an_entry(lifecycle=submitted)

    with pytest.raises(NotYourRatingError):
        rated(
            "one",
            entry,
            None,
            RatePackage(name="one", version="1.0.0", stars=5),
            somebody(name, key),
        )


def test_a_revoked_version_is_rated_no_more() -> None:
    """What was said of it stays."""
    entry = an_entry(lifecycle=Lifecycle(revoked=SAID))

    with pytest.raises(RatingError):
        rated("one", entry, None, RatePackage(name="one", version="1.0.0", stars=5), somebody())


def test_a_rating_goes_with_its_text_by_its_author_or_an_administrator() -> None:
    """Nobody else removes it, and none is removed twice."""
    request = RemoveRating(name="one", version="1.0.0", author="ann")
    own = RemoveRating(name="one", version="1.0.0")
    gone = removed(given(), own, somebody())

    assert (gone.stars, gone.text) == (0, "")
    assert removed(given(), request, somebody("root", "UROOT", "administrator")).stars == 0
    with pytest.raises(NotYourRatingError):
        removed(given(), request, somebody("bob", "UBOB", "approver"))
    for nothing in (None, gone):
        with pytest.raises(UnknownRatingError):
            removed(nothing, own, somebody())


def test_what_is_given_again_after_it_was_removed_is_new() -> None:
    """It was not edited."""
    gone = removed(given(), RemoveRating(name="one", version="1.0.0"), somebody())

    again = given(5, "", before=gone)

    assert (again.stars, again.edited_at) == (5, "")
    assert again.at > gone.at


def test_the_log_has_no_words_that_may_have_to_go() -> None:
    """Stars before and after, and of the text its length and digest."""
    event = rating_event("package.rate", given(), given(1, "secret words", before=given()))

    assert "secret" not in str(event)
    assert (event.details["stars"], event.details["stars_before"]) == (1, 4)
    assert event.details["characters"] == 12
    assert event.before
    assert event.after not in ("", event.before)


def test_pages_are_by_author_and_count_all() -> None:
    """What was removed is not counted."""
    people = ["ann", "bob", "cid", "dan"]
    ratings = [
        rated(
            "one",
            ENTRY,
            None,
            RatePackage(name="one", version="1.0.0", stars=number + 1),
            somebody(name, f"U{name}"),
        )
        for number, name in enumerate(people)
    ]
    ratings[3] = removed(ratings[3], RemoveRating(name="one", version="1.0.0"), somebody("dan"))

    first = listed("one", ENTRY, ratings, ListRatings(name="one", limit=2))
    second = listed("one", ENTRY, ratings, ListRatings(name="one", limit=2, after=first.next))

    assert [one.author for one in (*first.ratings, *second.ratings)] == ["ann", "bob", "cid"]
    assert (first.count, first.stars, second.next) == (3, 2.0, "")


def test_ratings_are_of_exactly_these_bytes() -> None:
    """Another version's, or the same number's in another space, are others."""
    other = an_entry(manifest_sha256="c" * 64)

    assert rating_prefix("one", ENTRY) != rating_prefix("one", other)
    assert rating_prefix("one", ENTRY).startswith("public.one.")
