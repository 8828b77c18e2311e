# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts in words, for who plans one and for who asks why a node runs what it runs.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import WHOLE, assignment, is_rolling
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.rollouts import PlannedRollout, PlannedWave, RolloutWave

NODES_SHOWN: Final = 1000
"""Of all waves of a plan, at up to 66 bytes each."""


def planned_rollouts(
    records: Iterable[DeploymentRecord], *, node: str = ""
) -> tuple[PlannedRollout, ...]:
    """How each of them would reach its nodes, if not at once; of a node that is named."""
    found: list[PlannedRollout] = []
    room = NODES_SHOWN
    for record in records:
        if record.rollout is None or not is_rolling(record):
            continue
        waves = tuple(_planned(record.rollout.waves, node, room))
        room -= sum(len(one.nodes) for one in waves)
        found.append(
            PlannedRollout(
                deployment=record.key, base_revision=record.rollout.base_revision, waves=waves
            )
        )
    return tuple(found)


def overtaken_sentences(previous: DeploymentRecord | None) -> tuple[str, ...]:
    """What becomes of a revision that is on its way while a further one is accepted."""
    if previous is None or previous.rollout is None or not is_rolling(previous):
        return ()
    state = previous.rollout
    where = _at(state.wave, len(state.waves))
    who = "who has it keeps it until the next one comes"
    return (f"revision {state.revision} is on its way ({where}) and is overtaken: {who}",)


def rollout_reason(record: DeploymentRecord, node: NodeView, place: str = WHOLE) -> str:
    """Why the node has the revision that it has there, while another is on its way; else empty."""
    now, state = assignment(record), record.rollout
    if now is None or now.is_whole or state is None:
        return ""
    wave, count = now.wave_of(node, place), len(state.waves)
    if wave is None:
        return f"revision {state.revision} comes when its rollout is over: it is in no wave"
    said = f"revision {state.revision} {{}} with {_at(wave, count)}"
    if now.facts_on(node, place) is now.newest:
        return said.format("came")
    why = f", {state.why}" if state.why else ""
    return f"{said.format('comes')}; {state.phase} at {_at(state.wave, count)}{why}"


def _planned(waves: Iterable[RolloutWave], node: str, room: int) -> Iterator[PlannedWave]:
    for wave in waves:
        names = wave.names
        shown = names[:room] if not node else tuple(one for one in names if one == node)
        room -= len(shown)
        yield PlannedWave(
            nodes=shown,
            more_nodes=len(names) - len(shown),
            domain=wave.domain,
            interface_label=wave.interface_label,
        )


def _at(wave: int, count: int) -> str:
    return f"wave {wave + 1} of {count}"
