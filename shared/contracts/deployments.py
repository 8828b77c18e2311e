# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments: what operators asked for, what it was resolved to, and its revisions."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from shared.contracts.base import Bucket, Document, Message
from shared.contracts.catalog import SignedPackage
from shared.contracts.desired import Cause, MapConfig
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.health import HealthSpec
from shared.contracts.licences import StatedLicence
from shared.contracts.link_options import LinkWishes
from shared.contracts.metrics import MetricSource
from shared.contracts.node_choice import NodeChoice
from shared.contracts.node_companions import CompanionWish, DesiredCompanion
from shared.contracts.node_overlays import Overlays
from shared.contracts.package_facts import MapFacts, ProgramRequirements
from shared.contracts.package_manifest import MapPolicy, PlaceInChain, PlatformKey, Symbol
from shared.contracts.probes import ProbeTarget
from shared.contracts.rollouts import RolloutSpec, RolloutState
from shared.contracts.selectors import InterfaceGlob, InterfaceSelector, NetnsGlob, NodeShare
from shared.contracts.spaces import SpaceText
from shared.deployment_keys import NEIGHBOUR_PATTERN, deployment_key
from shared.identifiers import Hook, ProceedOn, Token, render_place
from shared.packed_places import unpack_places

DEFAULT_ORDER: Final = 500
MAX_TARGETS: Final = 16
"""Probes of one deployment on one node."""


Neighbours = Annotated[
    tuple[
        Annotated[
            str,
            Meta(
                pattern=NEIGHBOUR_PATTERN,
                description="package:NAME or deployment:KEY, as package:rate-limit",
            ),
        ],
        ...,
    ],
    Meta(max_length=32),
]
"""Programs by their package or their deployment."""


MomentText = Annotated[
    str,
    Meta(
        pattern=r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d))?(?!\n)$",
        description="RFC 3339 with a time zone, as 2027-03-01T00:00:00Z",
    ),
]


OnWaiverExpired = Literal["alarm", "stop"]
ON_REVOKED: Final = r"^(stop|alarm|replace:[0-9A-Za-z.,<>=^~*+ -]{1,200})(?!\n)$"


class DeploymentSpec(Document, frozen=True, kw_only=True):
    """What a deployment file says: one program of one package, and where it shall run."""

    name: Token
    package: Token
    version: str = "*"
    """Constraint, as `^1.2`, `>=1,<3`, `1.4.0` or `*`."""
    program: str = ""
    """May be left out when the package has only one program for the hook."""
    hook: Hook
    interfaces: Annotated[tuple[InterfaceGlob | InterfaceSelector, ...], Meta(min_length=1)] = ()
    """Of a network hook, which interfaces; a probe has `attach` instead."""
    attach: Annotated[tuple[ProbeTarget, ...], Meta(min_length=1, max_length=MAX_TARGETS)] = ()
    """Of a probe: what it is attached to, an instance with maps of its own for each."""
    nodes: NodeShare = NodeShare()
    order: PlaceInChain | None = None
    """Position key, lower runs first.  Two deployments may not hold one place in a chain.
    Left out: the package's, then 500; with `before` or `after` none."""
    before: Neighbours = ()
    """Which programs of each hook point it runs before, as far as they are there."""
    after: Neighbours = ()
    proceed_on: ProceedOn = ()
    """Left out: the package's, then the hook's default."""
    config: dict[str, MapConfig] = {}
    """Map name to entries.  Entries not named are removed, except in array maps (set to zero), and
    in maps of which the package says `merge`."""
    variables: dict[Symbol, Any] = {}
    """Values of global variables that the package declares."""
    map_policies: dict[Symbol, MapPolicy] = {}
    """What happens to a map whose layout changes, where that is not what the package says."""
    metrics: dict[Token, MetricSource] = {}
    companions: Annotated[dict[Token, CompanionWish], Meta(max_length=16)] = {}
    """What the package's companions are told; one that is not named runs with its defaults."""
    link: LinkWishes = LinkWishes()
    """How the chains that it is part of are linked and attached."""
    overlays: Overlays = ()
    """What is different on some of its nodes; later ones win."""
    rollout: RolloutSpec = RolloutSpec()
    """How a new revision reaches the nodes."""
    health: HealthSpec = HealthSpec()
    """What must hold of the nodes that have it, for others to get it."""
    channel: Token = "stable"
    """Which of the package's channels the version is picked from."""
    on_revoked: Annotated[str, Meta(pattern=ON_REVOKED)] = "alarm"
    """What happens when the version that runs is revoked: `stop`, `alarm`, or `replace:` and a
    constraint, as `replace:>=1.4.3`."""
    on_waiver_expired: OnWaiverExpired = "alarm"
    """What happens when the licence waiver ends that it runs by the grace of: it goes on and an
    event says so, or it is removed."""
    network_namespaces: Annotated[tuple[NetnsGlob, ...], Meta(min_length=1)] = ("",)
    """Names or globs of those below /run/netns; the empty name is the executor's own, which no
    glob matches."""
    space: SpaceText = PUBLIC
    """Whose members alone see it, and where its package is looked for beside `public`."""
    owner: Annotated[str, Meta(max_length=200)] = ""
    """Who answers for it, in words of their own; shown and in its events, and no right to it."""
    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why it is there; that of a command which states none."""
    expiry: MomentText = ""
    """From when on it shall not run any more, RFC 3339; empty: it has no end."""
    on_expiry: Literal["remove", "alarm"] = "remove"
    """What the scheduler does then: removes it, or says once that it is over."""

    @property
    def key(self) -> str:
        """What it is known by: its name, in another space than `public` `<space>.<name>`."""
        return deployment_key(self.space, self.name)


class Placement(Message, frozen=True, kw_only=True):
    """One place where a revision runs."""

    node: str
    interface: str
    """Of a probe: its place (`shared.probe_targets`)."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ResolvedObject(Message, frozen=True, kw_only=True):
    """What nodes of one platform get."""

    object: str
    requires: ProgramRequirements | None = None


class Grace(Message, frozen=True, kw_only=True):
    """What a version was excused from when it was published, and may be no longer."""

    version: str
    rules: tuple[str, ...]
    """Of the licence policy; where it runs, a waiver for each must be in force."""
    space: Audience = PUBLIC
    """Where the version is; waivers of `public` and of this space count."""


class LicenceStanding(Message, frozen=True, kw_only=True):
    """What was said last of a deployment and the rules of the licence policy."""

    rules: tuple[str, ...] = ()
    """That it broke somewhere without a waiver."""
    changes: int = 0
    """How often that changed."""


class RevocationAlarm(Message, frozen=True, kw_only=True):
    """What was said of a revoked version that runs."""

    version: str
    archive_sha256: str
    at: str
    """When it was revoked."""
    why: str


class KeptArtifact(Message, frozen=True, kw_only=True):
    """What nodes of a platform run on, because nothing changed there."""

    revision: int
    """That they were told it with."""
    version: str
    signed: SignedPackage
    licence: StatedLicence | None = None


class ResolvedProgram(Message, frozen=True, kw_only=True):
    """What a specification and a package version lead to.

    Kept so that desired state can be derived when the catalog is not there.
    """

    program: str
    function: str
    object: str
    """For every platform that `objects` does not name; empty: there is none for these."""
    objects: dict[PlatformKey, ResolvedObject] = {}
    """For nodes of one platform each."""
    order: int | None = None
    """What the package says of its place in a chain."""
    proceed_on: tuple[str, ...]
    config: dict[str, MapConfig] | None = None
    """With the package's defaults; null: accepted by a release that knew none."""
    constants: dict[str, Any] = {}
    """Global variables that are part of the code."""
    variables: dict[str, Any] = {}
    """Global variables that change while the program runs."""
    map_policies: dict[str, MapPolicy] = {}
    metrics: dict[str, MetricSource] = {}
    companions: dict[str, DesiredCompanion] = {}
    """All of the package."""
    companion_platforms: dict[str, tuple[str, ...]] = {}
    """Of each: what it was made for."""
    needs: tuple[str, ...] = ()
    """Features that a node must have, beside the one of the hook."""
    requires: ProgramRequirements | None = None
    """What a node must not be known to lack; null: not computed when the version was published."""
    kernels: str = ""
    """Range that a node's kernel must be in; empty: every one is."""
    grace: Grace | None = None
    """Null: it was excused from nothing."""
    signed: SignedPackage
    licences: dict[str, StatedLicence] = {}
    """What was stated of each object that nodes may get; empty: accepted by a release that did not
    keep it."""
    shared_maps: tuple[MapFacts, ...] = ()
    """Maps that its objects declare to be one for all who declare them, by name."""
    instructions: dict[str, int] = {}
    """Of each object that nodes may get, as its bytes say; of a source nobody knows."""
    kept: dict[str, KeptArtifact] = {}
    """Platform to what its nodes run on; not named: they get this version."""

    def on_platform(self, platform: str) -> ResolvedObject:
        """What a node of this platform gets; without an object: nothing is made for it."""
        others = ResolvedObject(object=self.object, requires=self.requires)
        return {str(key): one for key, one in self.objects.items()}.get(platform, others)


class DeploymentRevision(Message, frozen=True, kw_only=True):
    """One accepted specification, resolved."""

    revision: int
    spec: DeploymentSpec
    version: str
    """The version the constraint resolved to, fixed for this revision."""
    archive_sha256: str
    placements: tuple[Placement, ...] = ()
    """Where it was accepted for, by node and interface; kept, as `resolved`, in the newest revision
    only.  Of more than PACKED_FROM places none."""
    packed_placements: str = ""
    """Of more than PACKED_FROM places all, packed (`shared.packed_places`)."""
    command_id: str
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""
    rollback_of: int = 0
    """The revision this one brought back; 0 if it is not a rollback."""
    instance: int = 0
    """The revision with which its program instances began anew, this one included; 0: none."""
    told_as: int = 0
    """The revision that it brings back just as it was, under whose number nodes are told of it; 0:
    under its own."""
    resolved: ResolvedProgram | None = None
    """Kept in the newest revision only: older ones are resolved again when brought back."""
    choice: NodeChoice | None = None
    """Of a revision for so many nodes, which; kept in the newest revision only."""
    together: dict[str, int] = {}
    """All deployments that its command changed as one, by key, with the generation that each has
    by it; empty: it changed this one alone."""

    @property
    def accepted_for(self) -> tuple[Placement, ...]:
        """The placements, packed or not, by node."""
        return _unpacked(self.packed_placements) if self.packed_placements else self.placements

    def told_on(self, platform: str) -> tuple[int, str]:
        """Revision and archive that nodes of the platform are told."""
        kept = self.resolved.kept.get(platform) if self.resolved is not None else None
        if kept is None:
            return self.told_as or self.revision, self.archive_sha256
        return kept.revision, kept.signed.archive_sha256

    @property
    def order(self) -> int:
        """Its place in every chain: as the deployment says, else the package, else the middle."""
        if self.spec.order is not None:
            return self.spec.order
        packaged = self.resolved.order if self.resolved is not None else None
        return DEFAULT_ORDER if packaged is None else packaged

    @property
    def has_number(self) -> bool:
        """Whether it has a place of its own, and not only one beside others."""
        return self.spec.order is not None or not (self.spec.before or self.spec.after)

    @property
    def has_packages_order(self) -> bool:
        """Whether the package decides its place."""
        return (
            self.has_number
            and self.spec.order is None
            and self.resolved is not None
            and (self.resolved.order is not None)
        )


MAX_EARLIER: Final = 3
"""Revisions that are on their way to nodes, or stay until the newest one is everywhere."""
PACKED_FROM: Final = 512
"""Placements; a record would have no room for ten thousand."""


@lru_cache(maxsize=256)
def _unpacked(packed: str) -> tuple[Placement, ...]:
    return tuple(
        Placement(node=node, interface=interface, netns=netns)
        for node, interface, netns in unpack_places(packed)
    )


class EarlierRevision(Message, frozen=True, kw_only=True):
    """A revision that nodes still have while a newer one is on its way to them."""

    revision: DeploymentRevision
    """With what it resolved to and where it was placed."""
    packed_places: str = ""
    """Who has it (`shared.packed_places`), without an interface for all of a node; empty: it was
    everywhere, and is where no other revision is named."""
    changed_by: Cause | None = None
    """Who gave the command that it came by."""
    changed_at: str = ""
    """When that was accepted, RFC 3339 UTC."""


class DeploymentRecord(Message, frozen=True, kw_only=True):
    """KV `deployments`, key = `key`.  Revisions oldest first, at most KEPT_REVISIONS."""

    name: str
    space: Audience = PUBLIC
    """Where it is for ever; the same name elsewhere is another deployment."""
    revisions: tuple[DeploymentRevision, ...]
    removed: bool = False
    """Undeployed: holds no place, but its history stays and its name may be used again."""
    command_id: str = ""
    """The command that wrote this revision."""
    changed_by: Cause | None = None
    """Who gave that command."""
    changed_at: str = ""
    """When it was accepted, RFC 3339 UTC."""
    unfinished: tuple[str, ...] = ()
    """Commands whose `deployment.complete` event is still to come, oldest first."""
    licence: LicenceStanding | None = None
    """Null: nothing was ever said of it."""
    alarm: RevocationAlarm | None = None
    """What the newest revision runs was revoked; null: it was not, or that was acted upon."""
    expired: int = 0
    """The newest revision of which it was said that its time is over; 0: none."""
    generation: int = 0
    """Up by one with every accepted command; 0: written by a release that did not count."""
    written_by: str = ""
    """What wrote it last, if not `command_id`: a step of its rollout, or a command about that."""
    rollout: RolloutState | None = None
    """How far the newest revision came; null: it went everywhere at once."""
    earlier: Annotated[tuple[EarlierRevision, ...], Meta(max_length=MAX_EARLIER)] = ()
    """What nodes have that do not have the newest revision yet, newest first."""

    @property
    def generation_now(self) -> int:
        """The generation, also of a record of an earlier release; never less than its revisions."""
        newest = self.revisions[-1].revision if self.revisions else 0
        return max(self.generation, newest + self.removed)

    @property
    def key(self) -> str:
        """What it is known by: its name, in another space than `public` `<space>.<name>`."""
        return deployment_key(self.space, self.name)


KEPT_REVISIONS: Final = 20
DEPLOYMENTS: Final = Bucket("deployments", DeploymentRecord, is_fenced=True)
