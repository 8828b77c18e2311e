# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a deployment fits its package and its hook wherever overlays apply.

Pure.  Each overlay is tried for itself, whether there is a node for it or not, and so is each
combination that some node has; all with the rules that hold for a deployment without overlays.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.scheduler.hook_terms import refuse_unfit_terms
from services.scheduler.node_overlays import Applying, OverlayError, combinations, overlaid
from services.scheduler.placement import NodeView
from services.scheduler.program_choice import resolve_program
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec, ResolvedProgram
from shared.errors import Reason, RefusedError


def refuse_unfit_overlays(
    spec: DeploymentSpec,
    resolved: ResolvedProgram,
    package: PackageVersion,
    nodes: Iterable[NodeView],
) -> None:
    """Nothing, if the deployment is all right on each of these nodes.

    Raises:
        OverlayError: With everything that is not, led by the overlay that says it.
    """
    alone: list[Applying] = [(place,) for place in range(len(spec.overlays))]
    together = sorted(which for which in combinations(spec, nodes) if len(which) > 1)
    problems = _problems(spec, resolved, package, alone)
    problems = problems or _problems(spec, resolved, package, together)
    if problems:
        first = problems[0]
        raise OverlayError(f"{spec.key}: {first.path} {first.rule}", problems)


def _problems(
    spec: DeploymentSpec,
    resolved: ResolvedProgram,
    package: PackageVersion,
    tried: Iterable[Applying],
) -> list[Reason]:
    found: list[Reason] = []
    for which in tried:
        there, _ = overlaid(spec, resolved, which)
        try:
            refuse_unfit_terms(there)
            resolve_program(there, package)
        except RefusedError as error:
            path = f"overlays[{which[-1]}]"
            names = " and ".join(spec.overlays[place].name for place in which)
            beside = f" (where {names} apply)" if len(which) > 1 else ""
            found += [
                Reason(
                    path=f"{path}.{reason.path}",
                    rule=f"{reason.rule}{beside}",
                    got=reason.got,
                    allowed=reason.allowed,
                )
                for reason in error.reasons
            ]
    return found
