# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's messages: deployments, their plans and their state, and nodes as it sees them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.cordons import Cordon, CordonStatus
from shared.contracts.deployments import (
    DeploymentRevision,
    DeploymentSpec,
    RevocationAlarm,
)
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.node import Labels, NodeRecord, ObservedChain
from shared.contracts.node_overlays import OverlaidNodes
from shared.contracts.planned_chains import PlannedChain
from shared.contracts.probes import ProbeTarget
from shared.contracts.rollout_policy import PolicyEffect
from shared.contracts.rollouts import PlannedRollout, RolloutState
from shared.contracts.spaces import SpaceText
from shared.deployment_keys import deployment_key
from shared.errors import Reason
from shared.identifiers import Hook, Token, render_place


class NodeLabels(Message, frozen=True, kw_only=True):
    """KV `node_labels`, key = node: labels set by operators; they win over the node's own."""

    node: str
    labels: dict[str, str]
    command_id: str = ""
    forgotten: bool = False
    """Whether an operator gave the node up: nothing is placed on it and nothing waits for it."""
    cordon: Cordon | None = None
    """Null: whatever means the node is put on it."""


NODE_LABELS: Final = Bucket("node_labels", NodeLabels, is_fenced=True)


class ExcludedNode(Message, frozen=True, kw_only=True):
    """A node that the deployment does not reach, and the first requirement it fails."""

    node: str
    why: str


FurtherSpecs = Annotated[tuple[DeploymentSpec, ...], Meta(max_length=15)]


class PlanDeployment(Request, frozen=True, kw_only=True):
    """What applying this would do; stages on the nodes, changes nothing."""

    spec: DeploymentSpec
    also: FurtherSpecs = ()
    """Further deployments that would be applied with it, as one."""
    node: Annotated[str, Meta(max_length=63)] = ""
    """What is listed is what happens there; empty: everywhere.  Nodes try their chains all the
    same."""


IfGeneration = Annotated[int, Meta(ge=0, le=2**31)] | None
"""What the deployment's generation must be, so that nobody's change is overwritten unseen; 0: there
must never have been one of the name; null: whatever it is."""


class DeploymentPlan(Message, frozen=True, kw_only=True):
    """What would change."""

    deployment: str
    """By its key; several with commas between them."""
    version: str
    archive_sha256: str
    chains: tuple[PlannedChain, ...]
    """By node and hook point, as many as have room in a message."""
    more_chains: int = 0
    """That change, too, and are not listed."""
    excluded: tuple[ExcludedNode, ...] = ()
    more_excluded: int = 0
    warnings: tuple[str, ...] = ()
    generation: int = 0
    """The deployment's before the change, for `if_generation`; of several 0."""
    overlaid: tuple[OverlaidNodes, ...] = ()
    """Nodes that overlays are for, and what these set there."""
    policy: tuple[PolicyEffect, ...] = ()
    """What would hold their rollouts now; deployments of which nothing is said are not there."""
    rollouts: tuple[PlannedRollout, ...] = ()
    """Of each deployment that does not reach all its nodes at once; `chains` are those of the end.
    """


class ApplyDeployment(Command, frozen=True, kw_only=True):
    """Make the deployment what the specification says: new, or the next revision."""

    spec: DeploymentSpec
    also: FurtherSpecs = ()
    """Further deployments of the same space; all of them are accepted, or none is."""
    if_generation: IfGeneration = None
    """Of `spec`'s deployment."""
    if_generations: dict[str, Annotated[int, Meta(ge=0, le=2**31)]] = {}
    """The same for any of them, by key."""


class RollBackDeployment(Command, frozen=True, kw_only=True):
    """Bring an earlier revision back, as a new revision."""

    name: Token
    space: SpaceText = PUBLIC
    to_revision: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """0: the one before the current."""
    if_generation: IfGeneration = None


class RemoveDeployment(Command, frozen=True, kw_only=True):
    """Take the deployment off every node."""

    name: Token
    space: SpaceText = PUBLIC
    if_generation: IfGeneration = None


class AcceptedBeside(Message, frozen=True, kw_only=True):
    """Another deployment that the same command changed."""

    name: str
    space: Audience = PUBLIC
    revision: int

    @property
    def key(self) -> str:
        """What it is known by."""
        return deployment_key(self.space, self.name)


class DeploymentAccepted(Accepted, frozen=True, kw_only=True):
    """Durable and staged on every node it reaches; nodes attach it within moments."""

    name: str
    space: Audience = PUBLIC
    revision: int
    also: tuple[AcceptedBeside, ...] = ()
    plan: DeploymentPlan
    node_generations: dict[str, int] = {}
    """The desired generation of each node that holds this change; observed catching up = done.
    Empty if a rollout decides when nodes are told."""

    @property
    def key(self) -> str:
        """What the deployment is known by."""
        return deployment_key(self.space, self.name)


class ListDeployments(Request, frozen=True, kw_only=True):
    """All deployments that the caller sees, without those that were removed unless asked for."""

    removed: bool = False
    space: SpaceText | None = None
    """Those of one space alone."""


class GetDeployment(Request, frozen=True, kw_only=True):
    """One deployment, with what every node observes of it; one that is not seen does not exist."""

    name: Token
    space: SpaceText = PUBLIC
    node: Annotated[str, Meta(max_length=63)] = ""
    """Whose places are listed; empty: those of every node."""


class DeploymentPlaceStatus(Message, frozen=True, kw_only=True):
    """One place of a deployment: wanted and observed."""

    node: str
    interface: str
    state: Literal["running", "pending", "failed", "node-silent"]
    """`running`: the kernel was read back and holds exactly the wanted revision."""
    observed_version: str = ""
    why: tuple[Reason, ...] = ()
    chain: ObservedChain | None = None
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""
    target: ProbeTarget | None = None
    """What the probe shall be attached to; null: it is no probe, or is to be taken off."""
    revision: int = 0
    """Which shall run there; another than the deployment's while that is on its way to others.  0:
    none, it is to be taken off."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class LicenceViolation(Message, frozen=True, kw_only=True):
    """A rule of the licence policy that is broken where no waiver for it is in force any more."""

    node: str
    rule: str


class DeploymentStatus(Message, frozen=True, kw_only=True):
    """Wanted, and observed."""

    name: str
    space: Audience = PUBLIC
    revision: int
    removed: bool
    version: str
    package: str
    hook: Hook
    order: int
    spec: DeploymentSpec
    places: tuple[DeploymentPlaceStatus, ...]
    """By node, as many as have room in a message: those that run are left out first."""
    more_places: int = 0
    """That are not listed."""
    states: dict[str, int] = {}
    """How many of the places that were asked for are in each state, listed or not; empty: of a
    scheduler of an earlier release, which listed all."""
    alarm: RevocationAlarm | None = None
    """What it runs was revoked."""
    violations: tuple[LicenceViolation, ...] = ()
    """By node; empty: what it was excused from is covered by waivers in force."""
    more_violations: int = 0
    """That are not listed."""
    overlaid: tuple[OverlaidNodes, ...] = ()
    """Nodes that overlays are for, and what these set there; empty in lists of deployments."""
    revisions: tuple[DeploymentRevision, ...] = ()
    generation: int = 0
    """Up by one with every accepted command; 0: of a scheduler of an earlier release."""
    rollout: RolloutState | None = None
    """How far the newest revision came, or the one before it that went back; null: there is nothing
    to say, it went everywhere at once."""

    @property
    def key(self) -> str:
        """What it is known by."""
        return deployment_key(self.space, self.name)

    @property
    def place_count(self) -> int:
        """How many places there are, listed or not."""
        return len(self.places) + self.more_places

    def count_of(self, state: str) -> int:
        """How many places are in the state, listed or not."""
        listed = sum(place.state == state for place in self.places)
        return self.states.get(state, 0) if self.states else listed


class DeploymentList(Message, frozen=True, kw_only=True):
    """By key, ascending."""

    deployments: tuple[DeploymentStatus, ...]


class LabelNode(Command, frozen=True, kw_only=True):
    """Set and remove labels; deployments follow at once."""

    node: Token
    set: Labels = {}
    remove: tuple[str, ...] = ()


class NodeLabelled(Accepted, frozen=True, kw_only=True):
    """The labels as they are now."""

    node: str
    labels: dict[str, str]


class ForgetNode(Command, frozen=True, kw_only=True):
    """Give a lost node up: nothing is placed on it, and no command waits for it any more."""

    node: Token
    undo: bool = False
    """Take the node back instead."""


class NodeForgotten(Accepted, frozen=True, kw_only=True):
    """Whether the node is given up now."""

    node: str
    forgotten: bool


class ListNodes(Request, frozen=True, kw_only=True):
    """All nodes that ever registered, without those that were forgotten unless asked for."""

    forgotten: bool = False
    after: Annotated[str, Meta(max_length=63)] = ""
    """Those whose names come after this one; empty: from the first on."""


class GetNode(Request, frozen=True, kw_only=True):
    """One node."""

    node: Token


class UnfitDeployment(Message, frozen=True, kw_only=True):
    """A deployment that means the node, which is known to lack what it requires."""

    deployment: str
    why: str
    stays: bool = False
    """Whether it runs there all the same, because it did before the node lost it."""


class NodeStatus(Message, frozen=True, kw_only=True):
    """One node: inventory, effective labels, liveness, chains."""

    node: str
    alive: bool
    """Whether a heartbeat was received within three intervals."""
    silent_seconds: float | None = None
    """Since the last heartbeat received here; None if never since this service started."""
    labels: dict[str, str]
    record: NodeRecord
    desired_generation: int = 0
    observed_generation: int = 0
    chains: tuple[ObservedChain, ...] = ()
    forgotten: bool = False
    unfit_for: tuple[UnfitDeployment, ...] = ()
    """By name; empty in lists of nodes."""
    away: str = ""
    """Why it is not waited for: it missed three heartbeats, or comes and goes; empty: it is there.
    """
    cordon: CordonStatus | None = None
    """Null: whatever means the node is put on it."""


class NodeList(Message, frozen=True, kw_only=True):
    """By name, ascending, as many as have room in a message."""

    nodes: tuple[NodeStatus, ...]
    has_more: bool = False
    """Whether there are more after the last one listed."""


PLAN_DEPLOYMENT: Final = Endpoint(
    f"{API}.scheduler.deployment.plan", PlanDeployment, DeploymentPlan
)
APPLY_DEPLOYMENT: Final = Endpoint(
    f"{API}.scheduler.deployment.apply", ApplyDeployment, DeploymentAccepted
)
ROLL_BACK_DEPLOYMENT: Final = Endpoint(
    f"{API}.scheduler.deployment.rollback", RollBackDeployment, DeploymentAccepted
)
REMOVE_DEPLOYMENT: Final = Endpoint(
    f"{API}.scheduler.deployment.remove", RemoveDeployment, DeploymentAccepted
)
LIST_DEPLOYMENTS: Final = Endpoint(
    f"{API}.scheduler.deployment.list", ListDeployments, DeploymentList
)
GET_DEPLOYMENT: Final = Endpoint(f"{API}.scheduler.deployment.get", GetDeployment, DeploymentStatus)
LABEL_NODE: Final = Endpoint(f"{API}.scheduler.node.label", LabelNode, NodeLabelled)
FORGET_NODE: Final = Endpoint(f"{API}.scheduler.node.forget", ForgetNode, NodeForgotten)
LIST_NODES: Final = Endpoint(f"{API}.scheduler.node.list", ListNodes, NodeList)
GET_NODE: Final = Endpoint(f"{API}.scheduler.node.get", GetNode, NodeStatus)
