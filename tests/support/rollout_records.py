# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments on their way, as the scheduler keeps them."""

from __future__ import annotations

from typing import Any

from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, Placement
from shared.contracts.rollouts import RolloutState
from tests.fleets import a_spec

AUTHOR = "UAUTHOR"


def a_rollout(name: str, state: RolloutState | None, **fields: Any) -> DeploymentRecord:
    """A deployment of one revision that AUTHOR asked for, placed on the nodes of its waves.

    Without a state it is placed on `n1`.  `fields` are those of its specification.
    """
    nodes = [one for wave in state.waves for one in wave.names] if state is not None else ["n1"]
    spec = a_spec(name, **fields)
    revision = DeploymentRevision(
        revision=state.revision if state is not None else 1,
        spec=spec,
        version="1.0.0",
        archive_sha256="a" * 64,
        placements=tuple(Placement(node=one, interface="eth0") for one in dict.fromkeys(nodes)),
        command_id="command-1",
        actor_key=AUTHOR,
        actor_role="operator",
        at="2026-11-23T10:00:00.000000Z",
    )
    return DeploymentRecord(name=name, space=spec.space, revisions=(revision,), rollout=state)
