# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Review and release: code owners approve, a promotion releases, and what is bad is taken back."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import (
    API,
    INTERNAL,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.lifecycle import Lifecycle, ReviewState
from shared.contracts.spaces import SpaceOrAny, SpaceText
from shared.identifiers import DigestText, Token

MAX_NOTES_CHARACTERS: Final = 4096
MAX_TAGS: Final = 16
MAX_OWNER_RULES: Final = 500
MAX_NAMES_ASKED: Final = 256

REVOKE: Final = "package.revoke"
"""The event that a version is forbidden."""

Glob = Annotated[str, Meta(min_length=1, max_length=200)]
Notes = Annotated[str, Meta(max_length=MAX_NOTES_CHARACTERS)]
Tags = Annotated[tuple[Token, ...], Meta(max_length=MAX_TAGS)]


class OwnerRule(Document, frozen=True, kw_only=True):
    """Who owns which files of which packages."""

    packages: Glob
    """Glob over names of packages."""
    paths: Glob = "*"
    """Glob over paths in the archive; `*` also matches `/`."""
    owners: Annotated[tuple[Token, ...], Meta(min_length=1, max_length=64)]
    """Names of principals."""
    space: SpaceText = PUBLIC
    """Whose versions it is for; those of `public` are for all versions."""


class OwnerTable(Message, frozen=True, kw_only=True):
    """KV `code_owners`, key = space; of `public` it is `table`."""

    rules: tuple[OwnerRule, ...] = ()
    command_id: str = ""
    """The command that wrote this revision."""


CODE_OWNERS: Final = Bucket("code_owners", OwnerTable)
OWNERS_KEY: Final = "table"


class SetOwners(Command, frozen=True, kw_only=True):
    """Give the files of packages these owners, and no others; without owners the rule is gone."""

    packages: Glob
    paths: Glob = "*"
    owners: Annotated[tuple[Token, ...], Meta(max_length=64)] = ()
    space: SpaceText = PUBLIC


class OwnersSet(Accepted, frozen=True, kw_only=True):
    """The table of that space is so."""

    rules: tuple[OwnerRule, ...]


class ListOwners(Request, frozen=True, kw_only=True):
    """The rules for a package; empty: all."""

    package: str = ""


class OwnerList(Message, frozen=True, kw_only=True):
    """By space, then in the order in which they were set; only what the caller sees."""

    rules: tuple[OwnerRule, ...]


class SubmitPackage(Command, frozen=True, kw_only=True):
    """Ask that a published version be reviewed for a channel."""

    name: Token
    version: str
    space: SpaceOrAny = ""
    channel: Token = "stable"
    notes: Notes = ""
    """Replaces those that the version has; empty: they stay."""
    tags: Tags = ()
    """Given to the version, beside those that it has."""


class ReviewPackage(Command, frozen=True, kw_only=True):
    """Say that one looks at a version; `reason` is the remark."""

    name: Token
    version: str
    space: SpaceOrAny = ""


class ApprovePackage(Command, frozen=True, kw_only=True):
    """Approve exactly these bytes."""

    name: Token
    version: str
    space: SpaceOrAny = ""
    manifest_sha256: DigestText


class PromotePackage(Command, frozen=True, kw_only=True):
    """Release a version to a channel."""

    name: Token
    version: str
    space: SpaceOrAny = ""
    to: Token
    notes: Notes = ""
    tags: Tags = ()


class DeprecatePackage(Command, frozen=True, kw_only=True):
    """Say that a version should no longer be chosen; `reason` must say why."""

    name: Token
    version: str
    space: SpaceOrAny = ""


class YankPackage(Command, frozen=True, kw_only=True):
    """Hide a version: only who names it exactly gets it, with a warning; `reason` must say why."""

    name: Token
    version: str
    space: SpaceOrAny = ""
    undo: bool = False
    """It is seen again."""


class RevokePackage(Command, frozen=True, kw_only=True):
    """Forbid a version, for ever; `reason` must say why."""

    name: Token
    version: str
    space: SpaceOrAny = ""


class PackageMoved(Accepted, frozen=True, kw_only=True):
    """Where the version stands now."""

    name: str
    version: str
    space: Audience = PUBLIC
    state: ReviewState
    channels: tuple[str, ...]
    """That it is in."""
    targets: tuple[str, ...] = ()
    """That it is submitted for."""
    approvals: tuple[str, ...] = ()
    """Names whose approvals count."""
    awaits: dict[str, int] = {}
    """Channels that it enters once so many different kernels have passed it."""
    waits_for: tuple[str, ...] = ()
    """One sentence for each thing that keeps it from the channels that it is submitted for."""


class GetReview(Request, frozen=True, kw_only=True):
    """Where a version stands; empty version: the one that was published last."""

    name: Token
    version: str = ""
    space: SpaceOrAny = ""


class PackageReview(Message, frozen=True, kw_only=True):
    """Where a version stands, and what would keep it from each channel."""

    name: str
    version: str
    manifest_sha256: str
    """What an approval names."""
    state: ReviewState
    channels: tuple[str, ...]
    lifecycle: Lifecycle
    approvals: tuple[str, ...] = ()
    """Names whose approvals count."""
    waits_for: dict[str, tuple[str, ...]] = {}
    """Channel that it is submitted for to what is missing; nothing: it can be promoted."""


class FindRevoked(Request, frozen=True, kw_only=True):
    """Which versions of these packages are forbidden."""

    packages: Annotated[tuple[Token, ...], Meta(max_length=MAX_NAMES_ASKED)]


class RevokedVersion(Message, frozen=True, kw_only=True):
    """One that must not run."""

    package: str
    version: str
    archive_sha256: str
    at: str
    why: str
    space: Audience = PUBLIC
    """Where it is: deployments of this space, and if it is open all others, must not run it."""


class RevokedVersions(Message, frozen=True, kw_only=True):
    """By package and version."""

    revoked: tuple[RevokedVersion, ...]


SET_OWNERS: Final = Endpoint(f"{API}.catalog.owners.set", SetOwners, OwnersSet)
LIST_OWNERS: Final = Endpoint(f"{API}.catalog.owners.list", ListOwners, OwnerList)
GET_REVIEW: Final = Endpoint(f"{API}.catalog.package.standing", GetReview, PackageReview)
SUBMIT_PACKAGE: Final = Endpoint(f"{API}.catalog.package.submit", SubmitPackage, PackageMoved)
REVIEW_PACKAGE: Final = Endpoint(f"{API}.catalog.package.review", ReviewPackage, PackageMoved)
APPROVE_PACKAGE: Final = Endpoint(f"{API}.catalog.package.approve", ApprovePackage, PackageMoved)
PROMOTE_PACKAGE: Final = Endpoint(f"{API}.catalog.package.promote", PromotePackage, PackageMoved)
DEPRECATE_PACKAGE: Final = Endpoint(
    f"{API}.catalog.package.deprecate", DeprecatePackage, PackageMoved
)
YANK_PACKAGE: Final = Endpoint(f"{API}.catalog.package.yank", YankPackage, PackageMoved)
REVOKE_PACKAGE: Final = Endpoint(f"{API}.catalog.package.revoke", RevokePackage, PackageMoved)
FIND_REVOKED: Final = Endpoint(f"{INTERNAL}.catalog.package.revoked", FindRevoked, RevokedVersions)
