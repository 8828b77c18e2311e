# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a deployment is on a node that some of its overlays are for, and who set what there.

Pure.

Rules:
 * Of what several say, the last word counts: the package, the deployment, then each overlay that is
   for the node, in the order of the deployment.
 * Entries of maps, arguments of companions and link options are set one by one; a variable and a
   metric as a whole.
 * With an overlay a deployment is, on that node, what it would be if it said the same itself.  So
   nothing but this module knows of overlays once it is known which of them are for a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.placement import NodeView
from services.scheduler.selection import matches_any, selector_mismatch
from shared.contracts.deployments import DeploymentRevision, DeploymentSpec, ResolvedProgram
from shared.contracts.errors import ErrorCode
from shared.contracts.link_options import LinkWishes
from shared.contracts.node_companions import CompanionWish, DesiredCompanion
from shared.contracts.node_overlays import (
    NodeOverlay,
    OverlaidNodes,
    OverlaidSetting,
    SaidValue,
)
from shared.errors import Reason, RefusedError
from shared.node_labels import label_mismatch, rule_problems

NODES_SHOWN: Final = 50
COMBINATIONS_SHOWN: Final = 16
SETTINGS_SHOWN: Final = 50
"""Of each combination."""
Applying = tuple[int, ...]
"""Overlays by their position, ascending."""
_RESERVED: Final = ("package", "deployment")
_OPTIONS: Final = LinkWishes.__struct_fields__


class OverlayError(RefusedError):
    """An overlay cannot mean anything; a reason for each thing that does not."""

    code: ClassVar[ErrorCode] = "invalid_request"


def check_overlays(spec: DeploymentSpec) -> None:
    """Nothing, if each overlay has a name of its own, can be for some node, and sets something.

    Raises:
        OverlayError: With everything that is not so.
    """
    problems: list[Reason] = []
    first: dict[str, int] = {}
    for place, overlay in enumerate(spec.overlays):
        path = f"overlays[{place}]"
        if overlay.name in _RESERVED:
            rule = "is how the deployment and its package are called where it is told who set what"
            problems.append(Reason(path=f"{path}.name", rule=rule, got=overlay.name))
        if (earlier := first.setdefault(overlay.name, place)) != place:
            rule = f"is the name of overlays[{earlier}] already"
            problems.append(Reason(path=f"{path}.name", rule=rule, got=overlay.name))
        problems += rule_problems(overlay.nodes, path=f"{path}.nodes")
        if not any(True for _ in _said(overlay)):
            allowed = ["config", "variables", "metrics", "companions", "link"]
            problems.append(Reason(path=path, rule="sets nothing", allowed=allowed))
    if problems:
        raise OverlayError(f"{spec.key}: {problems[0].path} {problems[0].rule}", problems)


def applying(spec: DeploymentSpec, node: NodeView) -> Applying:
    """The overlays that are for the node, if the deployment is."""
    return tuple(place for place, overlay in enumerate(spec.overlays) if _is_for(overlay, node))


def combinations(spec: DeploymentSpec, nodes: Iterable[NodeView]) -> dict[Applying, list[str]]:
    """Which overlays are for the same nodes of the deployment, and those nodes by name."""
    found: dict[Applying, list[str]] = {}
    if spec.overlays:
        for node in sorted(nodes, key=lambda one: one.name):
            if selector_mismatch(spec, node) is None:
                found.setdefault(applying(spec, node), []).append(node.name)
    return found


def overlaid(
    spec: DeploymentSpec, resolved: ResolvedProgram, which: Applying
) -> tuple[DeploymentSpec, ResolvedProgram]:
    """The deployment as it is where these overlays apply: without any, saying the same itself."""
    overlays = [spec.overlays[place] for place in which]
    config = {
        name: dict(entries)
        for name, entries in (spec.config if resolved.config is None else resolved.config).items()
    }
    variables, metrics, wishes = dict(spec.variables), dict(spec.metrics), dict(spec.companions)
    whole, link = dict(resolved.companions), spec.link
    for overlay in overlays:
        for name, entries in overlay.config.items():
            config[name] = {**config.get(name, {}), **entries}
        variables |= overlay.variables
        metrics |= overlay.metrics
        for name, wish in overlay.companions.items():
            stated = wishes.get(name, CompanionWish()).arguments
            wishes[name] = CompanionWish(arguments={**stated, **wish.arguments})
            known = whole.get(name, DesiredCompanion()).arguments
            arguments = dict(sorted({**known, **wish.arguments}.items()))
            whole[name] = DesiredCompanion(arguments=arguments)
        link = msgspec.structs.replace(link, **_options(overlay.link))
    set_anew = {name: value for one in overlays for name, value in one.variables.items()}
    # Every variable that changes while the program runs is stated; all others are constants.
    live = {name: value for name, value in set_anew.items() if name in resolved.variables}
    fixed = {name: value for name, value in set_anew.items() if name not in resolved.variables}
    return (
        msgspec.structs.replace(
            spec,
            overlays=(),
            config=config,
            variables=variables,
            metrics=metrics,
            companions=wishes,
            link=link,
        ),
        msgspec.structs.replace(
            resolved,
            config=config,
            variables={**resolved.variables, **live},
            constants={**resolved.constants, **fixed},
            metrics={
                **resolved.metrics,
                **{k: v for one in overlays for k, v in one.metrics.items()},
            },
            companions=whole,
        ),
    )


def overlaid_revision(revision: DeploymentRevision, which: Applying) -> DeploymentRevision:
    """The revision as nodes have it that these overlays are for."""
    if revision.resolved is None:
        raise AssertionError("unreachable: what nodes have is resolved")
    spec, resolved = overlaid(revision.spec, revision.resolved, which)
    return msgspec.structs.replace(revision, spec=spec, resolved=resolved)


def settings(
    spec: DeploymentSpec, resolved: ResolvedProgram | None, which: Applying
) -> tuple[OverlaidSetting, ...]:
    """Every parameter that one of these overlays sets, by path, and what it has set aside."""
    packages = dict(_packages(resolved)) if resolved is not None else {}
    deployments = dict(_said(spec))
    stacks: dict[str, list[SaidValue]] = {}
    for place in which:
        overlay = spec.overlays[place]
        for path, value in _said(overlay):
            stack = stacks.setdefault(path, [])
            if not stack and path in deployments:
                stack.append(SaidValue(by="deployment", value=deployments[path]))
            elif not stack and path in packages:
                stack.append(SaidValue(by="package", value=packages[path]))
            stack.append(SaidValue(by=overlay.name, value=value))
    return tuple(
        OverlaidSetting(
            path=path, value=said[-1].value, by=said[-1].by, instead_of=tuple(said[:-1])
        )
        for path, said in sorted(stacks.items())
    )


def overlaid_nodes(
    spec: DeploymentSpec, resolved: ResolvedProgram | None, nodes: Iterable[NodeView]
) -> tuple[OverlaidNodes, ...]:
    """For every combination of overlays, its nodes and what is set there; the first of them.

    Args:
        spec: The deployment.
        resolved: What it was resolved to, if that is known.
        nodes: Those that it has a place on.
    """
    found = sorted((which, names) for which, names in combinations(spec, nodes).items() if which)
    return tuple(
        OverlaidNodes(
            deployment=spec.key,
            overlays=tuple(spec.overlays[place].name for place in which),
            nodes=tuple(names[:NODES_SHOWN]),
            node_count=len(names),
            settings=(said := settings(spec, resolved, which))[:SETTINGS_SHOWN],
            more_settings=len(said[SETTINGS_SHOWN:]),
        )
        for which, names in found[:COMBINATIONS_SHOWN]
    )


def overlay_warnings(spec: DeploymentSpec, nodes: Iterable[NodeView]) -> tuple[str, ...]:
    """Overlays that are for no node now."""
    used = {place for which in combinations(spec, nodes) for place in which}
    return tuple(
        f"the overlay {overlay.name} is for none of its nodes"
        for place, overlay in enumerate(spec.overlays)
        if place not in used
    )


def _is_for(overlay: NodeOverlay, node: NodeView) -> bool:
    names = overlay.nodes.names
    if names != ("*",) and not matches_any(node.name, names):
        return False
    return label_mismatch(overlay.nodes, node.labels) is None


def _said(one: NodeOverlay | DeploymentSpec) -> Iterator[tuple[str, Any]]:
    """What is stated, by path."""
    yield from _entries(one.config)
    yield from ((f"variables.{name}", value) for name, value in one.variables.items())
    yield from (
        (f"metrics.{name}", msgspec.to_builtins(value)) for name, value in one.metrics.items()
    )
    yield from _arguments(one.companions)
    yield from ((f"link.{name}", value) for name, value in _options(one.link).items())


def _packages(resolved: ResolvedProgram) -> Iterator[tuple[str, Any]]:
    """What holds where nobody says more."""
    yield from _entries(resolved.config or {})
    variables = {**resolved.constants, **resolved.variables}
    yield from ((f"variables.{name}", value) for name, value in variables.items())
    yield from (
        (f"metrics.{name}", msgspec.to_builtins(value)) for name, value in resolved.metrics.items()
    )
    yield from _arguments(resolved.companions)


def _entries(config: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, entries in config.items():
        yield from ((f"config.{name}.{key}", value) for key, value in entries.items())


def _arguments(
    companions: Mapping[str, CompanionWish] | Mapping[str, DesiredCompanion],
) -> Iterator[tuple[str, Any]]:
    for name, one in companions.items():
        for argument, value in one.arguments.items():
            yield f"companions.{name}.{argument}", value


def _options(wishes: LinkWishes) -> dict[str, Any]:
    values = {name: getattr(wishes, name) for name in _OPTIONS}
    return {name: value for name, value in values.items() if value is not None}
