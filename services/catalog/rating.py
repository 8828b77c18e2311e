# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may say what they think of a version, and what is kept of it.

Pure.

Rules:
 * One rating of each principal for a version; saying it again changes it.
 * Nobody rates what they published or submitted, by key or by name.
 * A rating is removed by its author or by an administrator, with its text: what stays is that it
   was there.  The audit log has the stars and the text's digest, so nothing that had to go is kept.
 * A revoked version is rated no more; what was said of it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

import msgspec

from services.catalog.resolution import is_revoked
from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, EventBody
from shared.contracts.package_records import VersionEntry
from shared.contracts.ratings import (
    ListRatings,
    RatePackage,
    RatingList,
    RatingRecord,
    RemoveRating,
    ShownRating,
)
from shared.errors import Reason, RefusedError
from shared.moments import render_time

REMOVES_ANY: Final = "administrator"
_DIGEST_DIGITS: Final = 32


class RatingError(RefusedError):
    """The version, or the rating, is not as the command needs it."""

    code: ClassVar[ErrorCode] = "conflict"


class NotYourRatingError(RefusedError):
    """Who asks may not say this of this version."""

    code: ClassVar[ErrorCode] = "not_permitted"


class UnknownRatingError(RefusedError):
    """There is no such rating."""

    code: ClassVar[ErrorCode] = "not_found"


@dataclass(frozen=True, slots=True)
class Rater:
    """Who gives a command."""

    actor: Actor
    name: str
    """As the server vouches for it."""
    now: datetime


def rating_prefix(name: str, entry: VersionEntry) -> str:
    """What the keys of all ratings of a version begin with."""
    return f"{entry.space}.{name}.{entry.manifest_sha256[:_DIGEST_DIGITS]}."


def rated(
    name: str,
    entry: VersionEntry,
    before: RatingRecord | None,
    request: RatePackage,
    rater: Rater,
) -> RatingRecord:
    """The rating.

    Raises:
        NotYourRatingError: The rater published or submitted the version.
        RatingError: It was revoked.
    """
    submitted = entry.lifecycle.submitted if entry.lifecycle else ()
    keys = {entry.published_by, *(one.by for one in submitted)}
    names = {entry.publisher, *(one.name for one in submitted)}
    if rater.actor.key in keys or rater.name in names:
        reason = Reason(path="version", rule="was published or submitted by the same principal")
        raise NotYourRatingError(f"{name} {entry.version} is not yours to rate", [reason])
    if is_revoked(entry):
        reason = Reason(path="version", rule="was revoked", got=entry.version)
        raise RatingError(f"{name} {entry.version} cannot be rated", [reason])
    is_there = before is not None and before.stars > 0
    moment = render_time(rater.now)
    return RatingRecord(
        package=name,
        version=entry.version,
        space=entry.space,
        author=rater.name,
        author_key=rater.actor.key,
        stars=request.stars,
        text=request.text,
        at=before.at if before is not None and is_there else moment,
        edited_at=moment if is_there else "",
    )


def removed(before: RatingRecord | None, request: RemoveRating, rater: Rater) -> RatingRecord:
    """The record without stars and text.

    Raises:
        NotYourRatingError: It is somebody else's, and the asker is no administrator.
        UnknownRatingError: There is none.
    """
    if request.author not in ("", rater.name) and rater.actor.role != REMOVES_ANY:
        reason = Reason(path="author", rule="is somebody else; an administrator can remove it")
        raise NotYourRatingError("this rating is not yours to remove", [reason])
    if before is None or not before.stars:
        reason = Reason(path="author", rule="has not rated this version")
        raise UnknownRatingError("there is no such rating", [reason])
    return msgspec.structs.replace(before, stars=0, text="", edited_at=render_time(rater.now))


def rating_event(action: str, before: RatingRecord | None, after: RatingRecord) -> EventBody:
    """What the audit log says.

    `details`: author, stars, stars_before, and of a text its characters and text_sha256.
    """
    details = {
        "author": after.author,
        "stars": after.stars,
        "stars_before": before.stars if before else 0,
    }
    if after.text:
        details |= {"characters": len(after.text), "text_sha256": sha256_hex(after.text.encode())}
    return EventBody(
        action=action,
        outcome="accepted",
        package=after.package,
        version=after.version,
        before=canonical_digest(before) if before else "",
        after=canonical_digest(after),
        details=details,
    )


def listed(
    name: str, entry: VersionEntry, ratings: Sequence[RatingRecord], request: ListRatings
) -> RatingList:
    """One page of what was said of a version."""
    given = sorted((one for one in ratings if one.stars), key=lambda one: one.author)
    behind = [one for one in given if one.author > request.after]
    page = behind[: request.limit]
    return RatingList(
        name=name,
        version=entry.version,
        space=entry.space,
        stars=sum(one.stars for one in given) / len(given) if given else 0.0,
        count=len(given),
        ratings=tuple(
            ShownRating(
                author=one.author,
                stars=one.stars,
                text=one.text,
                at=one.at,
                edited_at=one.edited_at,
            )
            for one in page
        ),
        next=page[-1].author if len(behind) > len(page) else "",
    )
