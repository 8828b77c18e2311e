# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What principals think of versions: stars and a few words, one of each principal for a version."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import API, Accepted, Bucket, Command, Endpoint, Message, Request
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.spaces import SpaceOrAny
from shared.identifiers import Token

MAX_TEXT_CHARACTERS: Final = 1000
MAX_RATINGS: Final = 50
"""Of one page."""

Stars = Annotated[int, Meta(ge=1, le=5)]
VersionText = Annotated[str, Meta(min_length=1, max_length=256)]


class RatingRecord(Message, frozen=True, kw_only=True):
    """KV `package_ratings`, key = space, package, digits of the manifest's digest, and author."""

    package: str
    version: str
    space: Audience = PUBLIC
    author: str
    """Name, as the server read it in the JWT."""
    author_key: str
    stars: int
    """1 to 5; 0: it was removed, and its text with it."""
    text: str = ""
    at: str
    """When it was given first."""
    edited_at: str = ""
    """When it was changed last; empty: never."""
    command_id: str = ""
    """The command that wrote this revision."""


PACKAGE_RATINGS: Final = Bucket("package_ratings", RatingRecord, max_value_bytes=16 * 1024)


class RatePackage(Command, frozen=True, kw_only=True):
    """Say what one thinks of a version; what one said before of it is replaced."""

    name: Token
    version: VersionText
    space: SpaceOrAny = ""
    stars: Stars
    text: Annotated[str, Meta(max_length=MAX_TEXT_CHARACTERS)] = ""


class RemoveRating(Command, frozen=True, kw_only=True):
    """Take a rating away, with its text: one's own, and as an administrator anybody's."""

    name: Token
    version: VersionText
    space: SpaceOrAny = ""
    author: Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?(?!\n)$")] = ""
    """Name of a principal; empty: one's own."""


class RatingChanged(Accepted, frozen=True, kw_only=True):
    """The rating is so, or gone."""

    name: str
    version: str
    space: Audience = PUBLIC
    author: str
    stars: int
    """0: there is none any more."""


class ListRatings(Request, frozen=True, kw_only=True):
    """What was said of a version; empty version: the newest release in `stable`."""

    name: Token
    version: Annotated[str, Meta(max_length=256)] = ""
    space: SpaceOrAny = ""
    after: Annotated[str, Meta(max_length=64)] = ""
    """`next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=MAX_RATINGS)] = 20


class ShownRating(Message, frozen=True, kw_only=True):
    """One principal's."""

    author: str
    stars: int
    text: str = ""
    at: str
    edited_at: str = ""


class RatingList(Message, frozen=True, kw_only=True):
    """One page, by author."""

    name: str
    version: str
    space: Audience = PUBLIC
    stars: float
    """Mean of all; 0: there are none."""
    count: int
    """Of all."""
    ratings: tuple[ShownRating, ...] = ()
    next: str = ""


RATE_PACKAGE: Final = Endpoint(f"{API}.catalog.package.rate", RatePackage, RatingChanged)
REMOVE_RATING: Final = Endpoint(f"{API}.catalog.package.unrate", RemoveRating, RatingChanged)
LIST_RATINGS: Final = Endpoint(f"{API}.catalog.package.ratings", ListRatings, RatingList)
