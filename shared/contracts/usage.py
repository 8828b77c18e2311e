# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who runs a package, and what would become of it if a version were revoked."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, INTERNAL, Endpoint, Message, Request
from shared.contracts.events import PUBLIC, Audience
from shared.errors import Reason
from shared.identifiers import Hook, Token

MAX_PLACES: Final = 500
"""Of one reply."""
MAX_USES: Final = 2000
"""Of one reply between services."""
MAX_NODES_NAMED: Final = 100
"""Of one deployment in one reply; their number is said beside them."""

Version = Annotated[str, Meta(min_length=1, max_length=256)]


class FindUsers(Request, frozen=True, kw_only=True):
    """Where a package runs, or shall run; empty version: every one."""

    name: Token
    version: Annotated[str, Meta(max_length=256)] = ""
    after: Annotated[str, Meta(max_length=512)] = ""
    """`next` of the page before; empty: the first."""
    limit: Annotated[int, Meta(ge=1, le=MAX_PLACES)] = 200
    """Places."""


class VersionUse(Message, frozen=True, kw_only=True):
    """How far one version is spread; a node counts once."""

    version: str
    nodes_running: int
    """That read it back."""
    nodes_told: int
    """That shall run it."""


class UsedPlace(Message, frozen=True, kw_only=True):
    """One program of a chain that is of the package."""

    deployment: str
    """Name; in another space than `public` `<space>.<name>`."""
    node: str
    interface: str
    """With its network namespace, if that is a named one: `<netns>/<interface>`."""
    hook: Hook
    program: str
    running: str = ""
    """The version that the node read back; empty: none of the package."""
    told: str = ""
    """The version that it shall run; empty: none of the package any more."""


class PackageUsers(Message, frozen=True, kw_only=True):
    """As far as the caller sees deployments."""

    name: str
    version: str
    versions: tuple[VersionUse, ...] = ()
    """Of all places, the newest first."""
    deployments: tuple[str, ...] = ()
    """All of them, ascending."""
    places: tuple[UsedPlace, ...] = ()
    """By deployment, node and place."""
    next: str = ""
    """Where the next page begins; empty: this is the last."""


class FindImpact(Request, frozen=True, kw_only=True):
    """What would become of deployments if a version were revoked."""

    name: Token
    version: Version


class ImpactedDeployment(Message, frozen=True, kw_only=True):
    """One deployment that runs the version, and what it would do."""

    deployment: str
    space: Audience = PUBLIC
    revision: int
    hook: Hook
    on_revoked: str
    does: Literal["alarm", "stop", "replace"]
    """What would happen: a replacement that cannot be had is an alarm."""
    replacement: str = ""
    """The version that would replace it, if the nodes take it."""
    why_not: tuple[Reason, ...] = ()
    """Why it cannot be replaced."""
    node_count: int
    nodes: tuple[str, ...] = ()
    """Ascending, the first MAX_NODES_NAMED."""
    emptied: int = 0
    """Hook points that nothing of ours would be left on."""


class PackageImpact(Message, frozen=True, kw_only=True):
    """By deployment; as far as the caller sees deployments."""

    name: str
    version: str
    node_count: int
    """All nodes concerned, each once."""
    deployments: tuple[ImpactedDeployment, ...] = ()
    rollbacks: tuple[str, ...] = ()
    """Deployments that run another version, and could not be brought back to this one."""


class GetUsage(Request, frozen=True, kw_only=True):
    """How far every version is spread, by space of the deployments."""

    after: str = ""
    """`next` of the page before."""


class SpaceUse(Message, frozen=True, kw_only=True):
    """Nodes that run one version for deployments of one space."""

    package: str
    version: str
    space: Audience = PUBLIC
    nodes: int


class FleetUsage(Message, frozen=True, kw_only=True):
    """By package, version and space."""

    uses: tuple[SpaceUse, ...] = ()
    next: str = ""


FIND_USERS: Final = Endpoint(f"{API}.scheduler.package.users", FindUsers, PackageUsers)
FIND_IMPACT: Final = Endpoint(f"{API}.scheduler.package.impact", FindImpact, PackageImpact)
GET_USAGE: Final = Endpoint(f"{INTERNAL}.scheduler.package.usage", GetUsage, FleetUsage)
