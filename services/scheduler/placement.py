# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes and interfaces a deployment runs on, and why it does not run on the others.

Rules:
 * Nothing is placed on a node that was forgotten, and nothing new on one that is cordoned.
 * A node must be selected (`selection`), then be able to run the program (`fitness`), then have an
   interface that is selected and can; the first requirement it fails is what is said.
 * What is named without a wildcard must exist: an interface on some matching node, a node in the
   inventory.  Otherwise a misspelt name would be ignored.
 * A probe has a place of its own for each of its targets on every node that can run it.
 * A place once taken is kept while the interface is away: a flapping link costs no counters.
 * A place once taken is kept too when the node can no longer run the program: what runs was loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final

from services.scheduler.fitness import (
    Demand,
    InterfaceAbilities,
    demand,
    interface_lack,
    node_lack,
)
from services.scheduler.selection import (
    is_in_namespaces,
    is_selected,
    probe_targets,
    selector_mismatch,
    selector_text,
)
from shared.contracts.deployments import DeploymentSpec, Placement
from shared.contracts.errors import ErrorCode
from shared.contracts.node import NodeRecord
from shared.contracts.node_choice import NodeChoice
from shared.contracts.scheduler import ExcludedNode, NodeLabels
from shared.contracts.waivers import Waiver
from shared.errors import Reason, RefusedError
from shared.identifiers import is_probe, split_place
from shared.kernel_abilities import NOTHING_KNOWN, KernelAbilities, kernel_abilities
from shared.node_labels import effective_labels

KEPT_KINDS: Final = 4096
REASONS_SHOWN: Final = 100
"""Nodes named one by one in a refusal."""
_WILDCARDS: Final = frozenset("*?[")


class NoEligibleNodeError(RefusedError):
    """No node, or no interface on one, meets the selector; a reason for each node."""

    code: ClassVar[ErrorCode] = "no_eligible_node"


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as placement sees it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Effective: those set by operators win over the node's own."""
    interfaces: tuple[str, ...] = ()
    """Their written form: those of named network namespaces as `<netns>/<interface>`."""
    features: Mapping[str, bool] = field(default_factory=dict)
    feature_notes: Mapping[str, str] = field(default_factory=dict)
    """By feature: why it is missing."""
    kernel: str = ""
    """As `uname -r` says."""
    platform: str = ""
    """As `linux-` and what `uname -m` says; empty: not known."""
    probed: KernelAbilities = NOTHING_KNOWN
    """What the kernel answered when it was asked."""
    interface_abilities: Mapping[str, InterfaceAbilities] = field(default_factory=dict)
    """By their written form."""
    is_forgotten: bool = False
    stays: frozenset[str] | None = None
    """Keys of the deployments that may be on it, since it is cordoned; None: all."""
    left: frozenset[str] = frozenset()
    """Keys of the deployments that a drain took off it."""
    is_draining: bool = False
    waivers: tuple[Waiver, ...] = ()
    """In force anywhere."""
    kind: object = field(init=False, compare=False, repr=False)
    """The same for nodes whose kernel, platform and features are the same."""

    def __post_init__(self) -> None:
        """What is the same for many nodes is known as such."""
        features = frozenset(self.features.items()), frozenset(self.feature_notes.items())
        kind = _kind(*features, self.kernel, self.platform, self.probed)
        object.__setattr__(self, "kind", kind)


@lru_cache(maxsize=KEPT_KINDS)
def _kind(*_facts: object) -> object:
    return object()


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a deployment runs, by node and interface, and which nodes it does not reach."""

    places: tuple[Placement, ...]
    excluded: tuple[ExcludedNode, ...]
    kept: tuple[ExcludedNode, ...] = ()
    """Nodes that would be excluded, if the same program did not run there already."""
    choice: NodeChoice | None = None
    """Of a deployment for so many nodes, which."""
    missing: int = 0
    """How many nodes more it is for."""


def view_node(
    record: NodeRecord, labels: NodeLabels | None, waivers: tuple[Waiver, ...] = ()
) -> NodeView:
    """What placement needs to know of a node; of waivers those in force, wherever they are for."""
    return NodeView(
        name=record.node,
        labels=effective_labels(record, labels),
        interfaces=tuple(sorted(one.place for one in record.interfaces)),
        features=record.features,
        feature_notes=record.feature_notes,
        kernel=record.kernel,
        platform=f"linux-{record.architecture}",
        probed=kernel_abilities(record.capabilities),
        interface_abilities={
            one.place: InterfaceAbilities(one.driver, one.xdp_features, one.default_routes)
            for one in record.interfaces
        },
        is_forgotten=labels is not None and labels.forgotten,
        stays=frozenset(cordon.stays) if (cordon := labels and labels.cordon) else None,
        left=frozenset(cordon.left if cordon else ()),
        is_draining=bool(cordon and cordon.drains),
        waivers=waivers,
    )


def places_on(
    spec: DeploymentSpec,
    node: NodeView,
    *,
    held: Collection[str] = (),
    wanted: Demand | None = None,
    lack: Callable[[NodeView], str | None] | None = None,
) -> list[str]:
    """The interfaces of `node` on which the deployment runs, ascending.

    Args:
        spec: The deployment.
        node: Where.
        held: The interfaces where the same revision is placed already, present now or not.
        wanted: What it asks of the node; None: no more than its specification says.
        lack: Says what a node lacks for that, if somebody knows it better than by asking.
    """
    if selector_mismatch(spec, node) is not None:
        return []
    wanted = wanted or demand(spec)
    lacks = node_lack(wanted, node) if lack is None else lack(node)
    free = [] if lacks else candidate_places(spec, node)
    fit = (one for one in free if interface_lack(wanted, node, one) is None)
    return sorted(
        place for place in {*fit, *held} if is_selected(place, spec, node, is_held=place in held)
    )


def candidate_places(spec: DeploymentSpec, node: NodeView) -> Collection[str]:
    """Where a deployment for such a hook could be on the node, selected or not.

    Of a probe, a place for each of its targets, which are nobody else's.
    """
    if is_probe(spec.hook):
        return probe_targets(spec).keys()
    return node.interfaces


def place(
    spec: DeploymentSpec,
    nodes: Collection[NodeView],
    *,
    wanted: Demand | None = None,
    wanted_on: Callable[[NodeView], Demand] | None = None,
    running: Mapping[str, Collection[str]] | None = None,
) -> Placing:
    """Every place that the specification reaches now.

    Args:
        spec: The deployment.
        nodes: All that ever registered.
        wanted: What it asks of a node; None: no more than its specification says.
        wanted_on: What it asks of each, if that is not the same for all.
        running: Node to the interfaces where the very same program runs for it already.

    Raises:
        NoEligibleNodeError: It reaches none, or it names a node or an interface that is not there.
    """
    of_all = wanted or demand(spec)
    placing = _Placing(spec, wanted_on or (lambda _: of_all), running or {})
    for node in sorted(nodes, key=lambda node: node.name):
        placing.look_at(node)
    places, excluded, matching = placing.places, placing.excluded, placing.matching
    missing = [*_missing_nodes(spec, nodes), *_missing_interfaces(spec, matching)]
    if missing or not places:
        raise NoEligibleNodeError(
            _headline(spec, nodes, missing), [*missing, *_reasons_by_node(excluded)]
        )
    return Placing(tuple(places), tuple(excluded), tuple(placing.kept))


class _Placing:
    """The answer as one node after the other is looked at."""

    def __init__(
        self,
        spec: DeploymentSpec,
        wanted_on: Callable[[NodeView], Demand],
        running: Mapping[str, Collection[str]],
    ) -> None:
        self._spec: Final = spec
        self._wanted_on: Final = wanted_on
        self._running: Final = running
        self.places: Final[list[Placement]] = []
        self.excluded: Final[list[ExcludedNode]] = []
        self.kept: Final[list[ExcludedNode]] = []
        self.matching: Final[list[NodeView]] = []

    def look_at(self, node: NodeView) -> None:
        """Its places are known, or why it has none."""
        mismatch = selector_mismatch(self._spec, node)
        if mismatch is not None:
            self._exclude(node, mismatch)
            return
        running = self._running.get(node.name, ())
        wanted = self._wanted_on(node)
        lack = node_lack(wanted, node)
        if lack is not None and not running:
            self._exclude(node, lack)
            return
        self.matching.append(node)
        selected = sorted(
            one
            for one in candidate_places(self._spec, node)
            if is_selected(one, self._spec, node, is_held=one in running)
        )
        if not selected:
            self._exclude(node, no_interface(self._spec, node))
        for place in selected:
            why = lack or interface_lack(wanted, node, place)
            if why is None or place in running:
                self.places.append(_placement(node.name, place))
            if why is not None:
                left_out = self.kept if place in running else self.excluded
                left_out.append(ExcludedNode(node=node.name, why=why))

    def _exclude(self, node: NodeView, why: str) -> None:
        self.excluded.append(ExcludedNode(node=node.name, why=why))


def _placement(node: str, place: str) -> Placement:
    interface, netns = split_place(place)
    return Placement(node=node, interface=interface, netns=netns)


def _is_literal(glob: str) -> bool:
    return not _WILDCARDS.intersection(glob)


def no_interface(spec: DeploymentSpec, node: NodeView) -> str:
    """Why the deployment has no place on a node that is meant."""
    has = ", ".join(node.interfaces) or "none"
    named = ", ".join(one or "its own" for one in spec.network_namespaces)
    within = "" if spec.network_namespaces == ("",) else f" in the network namespaces {named}"
    wanted = " or ".join(map(selector_text, spec.interfaces))
    return f"no interface matches {wanted}{within} (it has {has})"


def _missing_nodes(spec: DeploymentSpec, nodes: Collection[NodeView]) -> list[Reason]:
    known = sorted(node.name for node in nodes)
    return [
        Reason(
            path=f"nodes.names[{index}]",
            rule="no node of this name ever registered",
            got=name,
            allowed=known[:REASONS_SHOWN],
        )
        for index, name in enumerate(spec.nodes.names)
        if _is_literal(name) and name not in known
    ]


def _missing_interfaces(spec: DeploymentSpec, matching: Collection[NodeView]) -> list[Reason]:
    if not matching or is_probe(spec.hook):
        return []
    places = {split_place(place) for node in matching for place in node.interfaces}
    known = sorted({name for name, netns in places if is_in_namespaces(netns, spec)})
    namespaces = sorted({netns for _, netns in places if netns})
    unknown = [
        Reason(
            path=f"network_namespaces[{index}]",
            rule="no node that the selector matches has this network namespace",
            got=name,
            allowed=namespaces[:REASONS_SHOWN],
        )
        for index, name in enumerate(spec.network_namespaces)
        if name and _is_literal(name) and name not in namespaces
    ]
    return unknown + [
        Reason(
            path=f"interfaces[{index}]",
            rule="no node that the selector matches has this interface",
            got=name,
            allowed=known[:REASONS_SHOWN],
        )
        for index, name in enumerate(spec.interfaces)
        if isinstance(name, str) and _is_literal(name) and name not in known
    ]


def _reasons_by_node(excluded: Collection[ExcludedNode]) -> list[Reason]:
    reasons = [Reason(path=f"nodes.{one.node}", rule=one.why) for one in excluded]
    if len(reasons) > REASONS_SHOWN:
        left_out = len(reasons) - REASONS_SHOWN
        return [
            *reasons[:REASONS_SHOWN],
            Reason(path="nodes", rule=f"{left_out} more nodes are excluded"),
        ]
    return reasons


def _headline(
    spec: DeploymentSpec, nodes: Collection[NodeView], missing: Collection[Reason]
) -> str:
    if not nodes:
        return f"{spec.name}: no node ever registered"
    if missing:
        named = ", ".join(str(reason.got) for reason in missing)
        return f"{spec.name}: not found on any node it may run on: {named}"
    return f"{spec.name}: no node is eligible"
