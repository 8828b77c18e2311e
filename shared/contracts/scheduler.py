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
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.catalog import MapPolicy, ProgramRequirements, SignedPackage, Symbol
from shared.contracts.link_options import LinkOptions, LinkWishes
from shared.contracts.node import (
    Cause,
    Labels,
    MapConfig,
    MetricSource,
    NodeRecord,
    ObservedChain,
)
from shared.errors import Reason
from shared.identifiers import Hook, ProceedOn, Token, render_place

NetnsGlob = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:@+=*?\[\]!-]{0,66}(?!\n)$")]
InterfaceGlob = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@_.:*?\[\]!-]{1,32}(?!\n)$")]


class NodeSelector(Document, frozen=True, kw_only=True):
    """Which nodes: all labels must match, and the name any of the globs."""

    labels: Labels = {}
    names: tuple[str, ...] = ("*",)


class DeploymentSpec(Document, frozen=True, kw_only=True):
    """What a deployment file says: one program of one package, and where it shall run."""

    name: Token
    package: Token
    version: str = "*"
    """Constraint, as `^1.2`, `>=1,<3`, `1.4.0` or `*`."""
    program: str = ""
    """May be left out when the package has only one program for the hook."""
    hook: Hook
    interfaces: Annotated[tuple[InterfaceGlob, ...], Meta(min_length=1)]
    nodes: NodeSelector = NodeSelector()
    order: Annotated[int, Meta(ge=0, le=1000)] = 500
    """Position key, lower runs first.  Two deployments may not hold one place in a chain."""
    proceed_on: ProceedOn = ()
    """Left out: the package's, then the hook's default."""
    config: dict[str, MapConfig] = {}
    """Map name to entries.  Entries not named are removed, except in array maps (set to zero)."""
    map_policies: dict[Symbol, MapPolicy] = {}
    """What happens to a map whose layout changes, where that is not what the package says."""
    metrics: dict[Token, MetricSource] = {}
    link: LinkWishes = LinkWishes()
    """How the chains that it is part of are linked and attached."""
    network_namespaces: Annotated[tuple[NetnsGlob, ...], Meta(min_length=1)] = ("",)
    """Names or globs of those below /run/netns; the empty name is the executor's own, which no
    glob matches."""


class Placement(Message, frozen=True, kw_only=True):
    """One place where a revision runs."""

    node: str
    interface: str
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ResolvedProgram(Message, frozen=True, kw_only=True):
    """What a specification and a package version lead to, apart from map configuration.

    Kept so that desired state can be derived when the catalog is not there.
    """

    program: str
    function: str
    object: str
    proceed_on: tuple[str, ...]
    map_policies: dict[str, MapPolicy] = {}
    metrics: dict[str, MetricSource] = {}
    needs: tuple[str, ...] = ()
    """Features that a node must have, beside the one of the hook."""
    requires: ProgramRequirements | None = None
    """What a node must not be known to lack; null: not computed when the version was published."""
    signed: SignedPackage


class DeploymentRevision(Message, frozen=True, kw_only=True):
    """One accepted specification, resolved."""

    revision: int
    spec: DeploymentSpec
    version: str
    """The version the constraint resolved to, fixed for this revision."""
    archive_sha256: str
    placements: tuple[Placement, ...] = ()
    """Where it was accepted for, by node and interface; kept, as `resolved`, in the newest revision
    only."""
    command_id: str
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""
    rollback_of: int = 0
    """The revision this one brought back; 0 if it is not a rollback."""
    instance: int = 0
    """The revision with which its program instances began anew, this one included; 0: none."""
    resolved: ResolvedProgram | None = None
    """Kept in the newest revision only: older ones are resolved again when brought back."""


class DeploymentRecord(Message, frozen=True, kw_only=True):
    """KV `deployments`, key = name.  Revisions oldest first, at most KEPT_REVISIONS."""

    name: str
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


KEPT_REVISIONS: Final = 20
DEPLOYMENTS: Final = Bucket("deployments", DeploymentRecord)


class NodeLabels(Message, frozen=True, kw_only=True):
    """KV `node_labels`, key = node: labels set by operators; they win over the node's own."""

    node: str
    labels: dict[str, str]
    command_id: str = ""
    forgotten: bool = False
    """Whether an operator gave the node up: nothing is placed on it and nothing waits for it."""


NODE_LABELS: Final = Bucket("node_labels", NodeLabels)


class ProgramPlace(Message, frozen=True, kw_only=True):
    """One program in a planned chain."""

    deployment: str
    package: str
    version: str
    order: int
    proceed_on: tuple[str, ...]
    change: Literal["kept", "added", "changed", "removed"]


class PlannedChain(Message, frozen=True, kw_only=True):
    """One hook point after the change, first program first; removed ones last."""

    node: str
    interface: str
    hook: Hook
    programs: tuple[ProgramPlace, ...]
    link: LinkOptions = LinkOptions()
    """How the chain is linked and attached, from what all its deployments ask for."""
    configuration_only: bool = False
    """Whether only map entries change, so that nothing is linked anew."""
    draft: str = ""
    """Under which the node keeps the staged chain for some minutes, to be explained or tried;
    empty: the chain was not staged."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class ExcludedNode(Message, frozen=True, kw_only=True):
    """A node that the deployment does not reach, and the first requirement it fails."""

    node: str
    why: str


class PlanDeployment(Request, frozen=True, kw_only=True):
    """What applying this would do; stages on the nodes, changes nothing."""

    spec: DeploymentSpec
    also: Annotated[tuple[DeploymentSpec, ...], Meta(max_length=15)] = ()
    """Further deployments that would be applied after it, in this order."""


class DeploymentPlan(Message, frozen=True, kw_only=True):
    """What would change."""

    deployment: str
    version: str
    archive_sha256: str
    chains: tuple[PlannedChain, ...]
    excluded: tuple[ExcludedNode, ...] = ()
    warnings: tuple[str, ...] = ()


class ApplyDeployment(Command, frozen=True, kw_only=True):
    """Make the deployment what the specification says: new, or the next revision."""

    spec: DeploymentSpec


class RollBackDeployment(Command, frozen=True, kw_only=True):
    """Bring an earlier revision back, as a new revision."""

    name: Token
    to_revision: Annotated[int, Meta(ge=0, le=2**31)] = 0
    """0: the one before the current."""


class RemoveDeployment(Command, frozen=True, kw_only=True):
    """Take the deployment off every node."""

    name: Token


class DeploymentAccepted(Accepted, frozen=True, kw_only=True):
    """Durable and staged on every node it reaches; nodes attach it within moments."""

    name: str
    revision: int
    plan: DeploymentPlan
    node_generations: dict[str, int] = {}
    """The desired generation of each node that holds this change; observed catching up = done."""


class ListDeployments(Request, frozen=True, kw_only=True):
    """All deployments, without those that were removed unless asked for."""

    removed: bool = False


class GetDeployment(Request, frozen=True, kw_only=True):
    """One deployment, with what every node observes of it."""

    name: Token


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

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class DeploymentStatus(Message, frozen=True, kw_only=True):
    """Wanted, and observed."""

    name: str
    revision: int
    removed: bool
    version: str
    package: str
    hook: Hook
    order: int
    spec: DeploymentSpec
    places: tuple[DeploymentPlaceStatus, ...]
    revisions: tuple[DeploymentRevision, ...] = ()


class DeploymentList(Message, frozen=True, kw_only=True):
    """By name, ascending."""

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


class NodeList(Message, frozen=True, kw_only=True):
    """By name, ascending."""

    nodes: tuple[NodeStatus, ...]


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
