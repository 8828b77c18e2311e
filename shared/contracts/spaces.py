# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Spaces: who sees a package version, its events and its deployments.

A space is an audience: `public`, `p_<namespace>` (private) or `r_<16 hexadecimal digits>` (embargo,
whose name says nothing).  What lies in one lies there for ever; everybody sees it once the space is
lifted.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Accepted, Bucket, Command, Endpoint, Message, Request
from shared.contracts.events import Audience
from shared.identifiers import Token

SPACE_PATTERN: Final = r"^(public|p_[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?|r_[0-9a-f]{16})(?!\n)$"
PRIVATE_PREFIX: Final = "p_"
NAMESPACE_PATTERN: Final = r"^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?(?!\n)$"
MAX_MEMBERS: Final = 256
MAX_TITLE: Final = 200

SpaceText = Annotated[str, Meta(pattern=SPACE_PATTERN)]
SpaceOrAny = Annotated[str, Meta(pattern=rf"^$|{SPACE_PATTERN}")]
"""Empty: wherever the caller sees it, and in `public` if it is there too."""
ChannelOrNone = Annotated[str, Meta(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?(?!\n)$")]
Members = Annotated[tuple[Token, ...], Meta(max_length=MAX_MEMBERS)]
"""Names of principals, as the server reads them in their JWTs."""
SpaceKind = Literal["private", "embargo"]


class SpaceRecord(Message, frozen=True, kw_only=True):
    """KV `spaces`, key = audience.  `public` has none."""

    audience: Audience
    kind: SpaceKind
    title: str = ""
    """Shown to those who see the space, and to nobody else."""
    members: tuple[str, ...]
    """Names of principals, ascending; roles count for nothing."""
    created_at: str
    created_by: str
    """Public key."""
    lifts_at: str = ""
    """RFC 3339 UTC; from this moment on everybody sees what is in it.  Empty: no time is set."""
    lifts_on_release: str = ""
    """Channel; the first version of the space that enters it lifts the space.  Empty: none does."""
    lifted_at: str = ""
    """RFC 3339 UTC; since when everybody sees what is in it.  Empty: see `lifts_at`."""
    told: bool = False
    """Whether everybody was told that it is lifted."""
    command_id: str = ""
    """The command that wrote this revision."""


SPACES: Final = Bucket("spaces", SpaceRecord)


class CreateSpace(Command, frozen=True, kw_only=True):
    """A new space; who asks is a member of it."""

    kind: SpaceKind
    namespace: Annotated[str, Meta(pattern=NAMESPACE_PATTERN)] = ""
    """Of a private space, which is `p_<namespace>` then; an embargo gets a name by itself."""
    title: Annotated[str, Meta(max_length=MAX_TITLE)] = ""
    members: Members = ()
    lifts_at: Annotated[str, Meta(max_length=64)] = ""
    """Of an embargo: RFC 3339 with a zone, in the future."""
    lifts_on_release: ChannelOrNone = ""
    """Of an embargo: the first version that enters this channel lifts it."""


class SpaceCreated(Accepted, frozen=True, kw_only=True):
    """It holds nothing yet."""

    space: Audience
    members: tuple[str, ...]


class UpdateSpace(Command, frozen=True, kw_only=True):
    """Change who sees a space, or when it is lifted; by a member, until it is."""

    space: SpaceText
    title: Annotated[str, Meta(max_length=MAX_TITLE)] | None = None
    """None: as before."""
    add: Members = ()
    remove: Members = ()
    lifts_at: Annotated[str, Meta(max_length=64)] | None = None
    """None: as before; empty: at no time."""
    lifts_on_release: ChannelOrNone | None = None
    """None: as before; empty: by no release."""


class SpaceUpdated(Accepted, frozen=True, kw_only=True):
    """From now on."""

    space: Audience
    members: tuple[str, ...]
    lifts_at: str = ""
    lifts_on_release: str = ""


class LiftSpace(Command, frozen=True, kw_only=True):
    """Everybody sees what is in an embargo from now on, for ever; by a member."""

    space: SpaceText


class SpaceLifted(Accepted, frozen=True, kw_only=True):
    """It is public, with its history."""

    space: Audience
    lifted_at: str


class ListSpaces(Request, frozen=True, kw_only=True):
    """Those that the caller sees."""

    lifted: bool = False
    """With those that everybody sees by now."""


class SpaceView(Message, frozen=True, kw_only=True):
    """One space, and what is so now."""

    space: SpaceRecord
    is_open: bool
    """Whether everybody sees what is in it."""


class SpaceList(Message, frozen=True, kw_only=True):
    """By name, ascending."""

    spaces: tuple[SpaceView, ...]


class GetSpace(Request, frozen=True, kw_only=True):
    """One space that the caller sees; any other one does not exist."""

    space: SpaceText


class PackageInSpace(Message, frozen=True, kw_only=True):
    """One version in a space."""

    name: str
    version: str
    channels: tuple[str, ...] = ()


class SpaceShown(Message, frozen=True, kw_only=True):
    """The space and what is in it, by name, newest version first."""

    view: SpaceView
    packages: tuple[PackageInSpace, ...] = ()


CREATE_SPACE: Final = Endpoint(f"{API}.catalog.space.create", CreateSpace, SpaceCreated)
UPDATE_SPACE: Final = Endpoint(f"{API}.catalog.space.update", UpdateSpace, SpaceUpdated)
LIFT_SPACE: Final = Endpoint(f"{API}.catalog.space.lift", LiftSpace, SpaceLifted)
LIST_SPACES: Final = Endpoint(f"{API}.catalog.space.list", ListSpaces, SpaceList)
GET_SPACE: Final = Endpoint(f"{API}.catalog.space.get", GetSpace, SpaceShown)
