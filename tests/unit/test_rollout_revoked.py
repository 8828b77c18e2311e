# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A version that is revoked while nodes are being changed to it."""

from __future__ import annotations

import msgspec

from services.scheduler.rollout.commands import aborted
from shared.contracts.deployments import RevocationAlarm
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_spec
from tests.support.rollout_world import RolloutWorld, a_world

CANARY = RolloutSpec(strategy="canary")


def _on(world: RolloutWorld) -> list[str]:
    """The nodes that are told the new version."""
    return [name for name, version in world.versions().items() if version == "1.1.0"]


def _revoke(world: RolloutWorld, *, version: str) -> None:
    """The alarm is given, as by a deployment that says so."""
    alarm = RevocationAlarm(
        version=version,
        archive_sha256=world.record.revisions[-1].archive_sha256,
        at="2026-01-01T00:00:00Z",
        why="a hole",
    )
    world.store(msgspec.structs.replace(world.record, alarm=alarm))


def test_what_is_revoked_meanwhile_reaches_no_further_node() -> None:
    """Neither the next wave nor the rest of this one; who has it keeps it, until it is aborted."""
    for rollout in (CANARY, RolloutSpec(max_unavailable=1)):
        world = a_world()
        world.apply(a_spec())
        world.until_quiet()
        world.apply(a_spec(rollout=rollout), version="1.1.0")
        _revoke(world, version="1.1.0")
        world.until_quiet()
        assert _on(world) == ["n1"]
        assert world.state.why.startswith("1.1.0 was revoked, abort it or deploy another version")
        assert world.actions()[-1] == "wait"
        world.command(aborted)
        world.until_quiet()
        assert _on(world) == []


def test_a_change_of_what_runs_everywhere_and_was_revoked_goes_on() -> None:
    """It brings nobody what was revoked."""
    world = a_world()
    world.apply(a_spec())
    world.until_quiet()
    world.apply(a_spec(rollout=CANARY, proceed_on=("pass", "tx")))
    _revoke(world, version="1.0.0")
    world.until_quiet()
    assert world.phase() == "complete"
