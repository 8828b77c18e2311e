# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes and interfaces a deployment runs on, and why it does not run on the others.

Rules:
 * Nothing is placed on a node that was forgotten.
 * A node must match the name globs, then every label, then have the kernel feature of the hook,
   then have an interface that matches; the first requirement it fails is what is said of it.
 * What is named without a wildcard must exist: an interface on some matching node, a node in the
   inventory.  Otherwise a misspelt name would be ignored.
 * A place once taken is kept while the interface is away: a flapping link costs no counters.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar, Final

from shared.contracts.errors import ErrorCode
from shared.contracts.node import NodeRecord
from shared.contracts.scheduler import DeploymentSpec, ExcludedNode, NodeLabels, Placement
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, split_place

FEATURE_OF_HOOK: Final[dict[Hook, str]] = {"xdp": "xdp", "tc-ingress": "tcx", "tc-egress": "tcx"}
"""The probed feature that a hook needs.  A node that did not probe it is not excluded by it."""
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
    is_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Placing:
    """Where a deployment runs, by node and interface, and which nodes it does not reach."""

    places: tuple[Placement, ...]
    excluded: tuple[ExcludedNode, ...]


def effective_labels(record: NodeRecord, labels: NodeLabels | None) -> dict[str, str]:
    """The node's own labels, and over them those that operators set."""
    return {**record.labels, **(labels.labels if labels else {})}


def view_node(record: NodeRecord, labels: NodeLabels | None) -> NodeView:
    """What placement needs to know of a node."""
    return NodeView(
        name=record.node,
        labels=effective_labels(record, labels),
        interfaces=tuple(sorted(one.place for one in record.interfaces)),
        features=record.features,
        feature_notes=record.feature_notes,
        is_forgotten=labels is not None and labels.forgotten,
    )


def unmet_requirement(spec: DeploymentSpec, node: NodeView) -> str | None:
    """The first requirement, other than an interface, that `node` fails; None if it meets all."""
    if node.is_forgotten:
        return "was forgotten"
    if not _matches_any(node.name, spec.nodes.names):
        return f"its name matches none of {', '.join(spec.nodes.names)}"
    for key, wanted in sorted(spec.nodes.labels.items()):
        if key not in node.labels:
            return f"it has no label {key}"
        if node.labels[key] != wanted:
            return f"its label {key} is {node.labels[key]}, not {wanted}"
    feature = FEATURE_OF_HOOK[spec.hook]
    if node.features.get(feature) is False:
        return f"its kernel has no {feature}, which the hook {spec.hook} needs"
    return None


def missing_feature(node: NodeView, needs: Iterable[str]) -> str | None:
    """Why `node` cannot take a program with these needs; None if it can.

    A node that did not probe a feature does not have it: it is of a release before the need.
    """
    for feature in needs:
        if not node.features.get(feature, False):
            note = node.feature_notes.get(feature, "")
            return f"it has no {feature}, which the package needs{': ' if note else ''}{note}"
    return None


def places_on(
    spec: DeploymentSpec, node: NodeView, *, held: Collection[str] = (), needs: Iterable[str] = ()
) -> list[str]:
    """The interfaces of `node` on which the deployment runs, ascending.

    `held` are the interfaces where the same revision is placed already, present now or not.  What
    runs there was compiled, so a node that lost a feature since then keeps them.
    """
    if unmet_requirement(spec, node) is not None:
        return []
    free = node.interfaces if missing_feature(node, needs) is None else ()
    return sorted(place for place in {*free, *held} if _is_selected(place, spec))


def place(
    spec: DeploymentSpec, nodes: Collection[NodeView], *, needs: Collection[str] = ()
) -> Placing:
    """Every place that the specification reaches now.

    Raises:
        NoEligibleNodeError: It reaches none, or it names a node or an interface that is not there.
    """
    places: list[Placement] = []
    excluded: list[ExcludedNode] = []
    matching: list[NodeView] = []
    for node in sorted(nodes, key=lambda node: node.name):
        unmet = unmet_requirement(spec, node) or missing_feature(node, needs)
        if unmet is None:
            matching.append(node)
            found = places_on(spec, node)
            places += [_placement(node.name, place) for place in found]
            unmet = None if found else _no_interface(spec, node)
        if unmet is not None:
            excluded.append(ExcludedNode(node=node.name, why=unmet))
    missing = [*_missing_nodes(spec, nodes), *_missing_interfaces(spec, matching)]
    if missing or not places:
        raise NoEligibleNodeError(
            _headline(spec, nodes, missing), [*missing, *_reasons_by_node(excluded)]
        )
    return Placing(places=tuple(places), excluded=tuple(excluded))


def _placement(node: str, place: str) -> Placement:
    interface, netns = split_place(place)
    return Placement(node=node, interface=interface, netns=netns)


def _is_selected(place: str, spec: DeploymentSpec) -> bool:
    interface, netns = split_place(place)
    return _is_in(netns, spec) and _matches_any(interface, spec.interfaces)


def _is_in(netns: str, spec: DeploymentSpec) -> bool:
    """Whether the namespace is one of those named; only the empty name means the executor's own."""
    if not netns:
        return "" in spec.network_namespaces
    return _matches_any(netns, (glob for glob in spec.network_namespaces if glob))


def _matches_any(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _is_literal(glob: str) -> bool:
    return not _WILDCARDS.intersection(glob)


def _no_interface(spec: DeploymentSpec, node: NodeView) -> str:
    has = ", ".join(node.interfaces) or "none"
    named = ", ".join(one or "its own" for one in spec.network_namespaces)
    within = "" if spec.network_namespaces == ("",) else f" in the network namespaces {named}"
    return f"no interface matches {', '.join(spec.interfaces)}{within} (it has {has})"


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
    if not matching:
        return []
    places = {split_place(place) for node in matching for place in node.interfaces}
    known = sorted({name for name, netns in places if _is_in(netns, spec)})
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
        if _is_literal(name) and name not in known
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
