# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes and interfaces a deployment means, whatever they can do.

Pure.

Rules:
 * A node must not be cordoned, unless the deployment was on it; then match the name globs, then
   every label, then every rule, then be in the share.
 * A node is in a share of p percent if its place, from 0 up to 100, is below p.  The place is a
   digest of the deployment's key and the node's name: nodes that join or leave move no other one,
   and a share that grows keeps who is in it.
 * An interface must match any of the selectors; of one selector, everything it says must hold.
 * Of an interface that is away, what it was is believed.  While no interface of a node has a
   default route, the one that was taken for it stays: a link that flaps costs no counters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import ClassVar, Final, Protocol

import msgspec

from services.scheduler.fitness import InterfaceAbilities
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.errors import ErrorCode
from shared.contracts.probes import ProbeTarget
from shared.contracts.selectors import InterfaceSelector
from shared.errors import Reason, RefusedError
from shared.identifiers import is_probe, split_place
from shared.node_labels import label_mismatch, rule_problems
from shared.probe_targets import probe_places

_PLACES: Final = 1 << 32


class SelectorError(RefusedError):
    """What selects nodes or interfaces cannot mean anything."""

    code: ClassVar[ErrorCode] = "invalid_request"


def _count_problems(spec: DeploymentSpec) -> Iterator[Reason]:
    if spec.nodes.count is not None and spec.nodes.percent is not None:
        yield Reason(path="nodes.percent", rule="excludes count", got=spec.nodes.percent)
    if spec.nodes.count is None and spec.nodes.spread is not None:
        yield Reason(path="nodes.spread", rule="needs count", got=spec.nodes.spread)


class SelectableNode(Protocol):
    """A node by what can be selected."""

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Effective."""

    @property
    def is_forgotten(self) -> bool:
        """Whether it was given up."""

    @property
    def stays(self) -> Collection[str] | None:
        """Keys of the deployments that may be on it; None: all."""

    @property
    def left(self) -> Collection[str]:
        """Keys of the deployments that a drain took off it."""

    @property
    def interfaces(self) -> Sequence[str]:
        """Their written form."""

    @property
    def interface_abilities(self) -> Mapping[str, InterfaceAbilities]:
        """By their written form."""


def check_selectors(spec: DeploymentSpec) -> None:
    """Nothing, if all that selects can select something.

    Raises:
        SelectorError: With every rule and selector that cannot.
    """
    problems = [*rule_problems(spec.nodes, path="nodes"), *_count_problems(spec)]
    problems += [
        Reason(
            path=f"interfaces[{index}]",
            rule="says nothing of the interfaces it means",
            allowed=list(InterfaceSelector.__struct_fields__),
        )
        for index, one in enumerate(spec.interfaces)
        if one == InterfaceSelector()
    ]
    if problems:
        raise SelectorError(f"{spec.key}: a selector cannot mean anything", problems)


def selector_mismatch(spec: DeploymentSpec, node: SelectableNode) -> str | None:
    """Why the deployment does not mean this node; None if it does."""
    if node.is_forgotten:
        return "was forgotten"
    if node.stays is not None and spec.key not in node.stays:
        return "was drained" if spec.key in node.left else "is cordoned"
    if spec.nodes.names != ("*",) and not matches_any(node.name, spec.nodes.names):
        return f"its name matches none of {', '.join(spec.nodes.names)}"
    mismatch = label_mismatch(spec.nodes, node.labels)
    if mismatch is not None:
        return mismatch
    percent = spec.nodes.percent
    if percent is not None and (found := place_in_share(spec.key, node.name)) >= percent:
        return f"it is not among the {percent} percent of nodes: its place is {found:.1f} of 100"
    return None


def place_in_share(key: str, node: str) -> float:
    """Where a node stands among all that a deployment could have, from 0 up to 100."""
    digest = hashlib.sha256(f"{key}\n{node}".encode()).digest()
    return int.from_bytes(digest[:4]) * 100 / _PLACES


def is_selected(
    place: str, spec: DeploymentSpec, node: SelectableNode, *, is_held: bool = False
) -> bool:
    """Whether the deployment means the interface, or the place of its probe.

    Args:
        place: Its written form.
        spec: The deployment.
        node: Where it is, or was.
        is_held: Whether the deployment is there already.
    """
    if is_probe(spec.hook):
        return place in probe_targets(spec)
    return selected_by(place, spec, node, is_held=is_held) is not None


def probe_targets(spec: DeploymentSpec) -> dict[str, ProbeTarget]:
    """What a deployment's probe is attached to in each of its places; of other hooks nothing."""
    return probe_places(spec.key, spec.attach) if is_probe(spec.hook) else {}


def selected_by(
    place: str, spec: DeploymentSpec, node: SelectableNode, *, is_held: bool = False
) -> str | InterfaceSelector | None:
    """The first of the deployment's selectors that means the interface; None: none does."""
    interface, netns = split_place(place)
    if not is_in_namespaces(netns, spec):
        return None
    for one in spec.interfaces:
        if isinstance(one, str):
            if fnmatchcase(interface, one):
                return one
        elif _means(one, interface, place, node, is_held=is_held):
            return one
    return None


def selector_text(one: str | InterfaceSelector) -> str:
    """A selector of interfaces as one reads it."""
    if isinstance(one, str):
        return one
    said = msgspec.to_builtins(one)
    named = (f"{name} {value}" for name, value in said.items() if name != "default_route")
    route = {None: "", True: "default route", False: "no default route"}[one.default_route]
    return " and ".join((*named, *([route] if route else [])))


def is_in_namespaces(netns: str, spec: DeploymentSpec) -> bool:
    """Whether the namespace is one of those named; only the empty name means the executor's own."""
    if not netns:
        return "" in spec.network_namespaces
    return matches_any(netns, (glob for glob in spec.network_namespaces if glob))


def matches_any(name: str, globs: Iterable[str]) -> bool:
    """Whether one of the globs matches."""
    return any(fnmatchcase(name, glob) for glob in globs)


def _means(
    one: InterfaceSelector, interface: str, place: str, node: SelectableNode, *, is_held: bool
) -> bool:
    if one.glob is not None and not fnmatchcase(interface, one.glob):
        return False
    if one.label is not None and node.labels.get(one.label) != interface:
        return False
    if one.driver is None and one.default_route is None:
        return True
    known = node.interface_abilities.get(place)
    if known is None:
        return is_held
    if one.driver is not None and not fnmatchcase(known.driver, one.driver):
        return False
    return one.default_route is None or _has_route(
        known, node, wanted=one.default_route, is_held=is_held
    )


def _has_route(
    known: InterfaceAbilities, node: SelectableNode, *, wanted: bool, is_held: bool
) -> bool:
    if known.default_routes is None:
        return is_held
    if is_held and not any(one.default_routes for one in node.interface_abilities.values()):
        return True
    return bool(known.default_routes) == wanted
