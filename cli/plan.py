# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af plan`: what deployment files would do together, node by node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.console import CredentialsOption, JsonFlag, emit, run, say
from cli.deployment_files import read_deployments
from cli.plan_view import render_plan
from cli.rollout import insist
from cli.session import connected
from shared.contracts.scheduler import PLAN_DEPLOYMENT, DeploymentPlan, PlanDeployment


def plan(
    file: Path,
    /,
    *more: Path,
    node: Annotated[str, Parameter(name="--node", help="Only this node.")] = "",
    timeout: Annotated[float, Parameter(help="Seconds to wait for what is away.")] = 60.0,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What deployments would do: chains, digests, what changes, who is left out and why.

    Their nodes fetch, verify and link, and attach nothing.

    Parameters
    ----------
    file
        A deployment, several of them, or a directory of such files.
    more
        Further ones, as if all were applied together.
    """

    async def planned() -> DeploymentPlan:
        first, *also = read_deployments((file, *more))
        deadline = asyncio.get_running_loop().time() + timeout
        async with connected(credentials) as bus:
            return await insist(
                bus,
                PLAN_DEPLOYMENT,
                PlanDeployment(spec=first, also=tuple(also), node=node),
                deadline=deadline,
                waiting=lambda what: say(f"waiting: {what}", json=json),
            )

    emit(run(planned(), json=json), render_plan, json=json)
