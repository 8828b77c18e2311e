# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waiting for an accepted command: how long, for what, and how it ends."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console

from cli.deploy import CommandDone, render_done
from cli.deploy_progress import following
from cli.rollout import DeploymentFailedError, bake_seconds, until_over
from shared.adapters.bus import Bus
from shared.contracts.deployments import DeploymentRevision, DeploymentSpec
from shared.contracts.rollouts import RolloutSpec, RolloutState
from shared.contracts.scheduler import DeploymentAccepted, DeploymentPlan, DeploymentStatus
from shared.errors import FaultError, Reason
from tests.support.rollout_statuses import a_place, a_state, a_status

PLAN = DeploymentPlan(deployment="edge", version="1.0.0", archive_sha256="", chains=())
ACCEPTED = DeploymentAccepted(command_id="command-2", name="edge", revision=2, plan=PLAN)
EVIDENCE = (Reason(path="nodes.n1.eth0", rule="drops 9 of 10 packets"),)


class Played:
    """Answers what is asked with one status after the other, and with the last for ever."""

    def __init__(self, statuses: Iterable[DeploymentStatus]) -> None:
        self._statuses = list(statuses)

    async def request(self, *_asked: object, **_how: object) -> DeploymentStatus:
        """The next one."""
        await asyncio.sleep(0)
        return self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]


def of(state: RolloutState, *places: Any, revision: int = 2, **fields: Any) -> DeploymentStatus:
    """What is said while the rollout is in this state."""
    status = a_status(state, *places)
    return msgspec.structs.replace(status, revision=revision, **fields)


async def seen_through(
    *statuses: DeploymentStatus, patience_seconds: float = 30.0
) -> list[DeploymentStatus]:
    """What was shown on the way; nobody waits for anything but a rollout."""
    shown: list[DeploymentStatus] = []
    await until_over(
        cast("Bus", Played(statuses)),
        ACCEPTED,
        deadline=asyncio.get_running_loop().time(),
        patience_seconds=patience_seconds,
        progressed=shown.append,
    )
    return shown


async def test_a_rollout_is_waited_for_as_long_as_it_comes_further() -> None:
    """Though the time for places is long over; what fails meanwhile is for it to judge."""
    story = (
        of(a_state(phase="waiting", wave=0, released=0)),
        of(a_state(wave=0), a_place("n1", "pending")),
        of(a_state(wave=0), a_place("n1", "failed", "refused")),
        of(a_state(phase="baking")),
        of(a_state(phase="complete"), a_place("n1", "pending")),
        of(a_state(phase="complete")),
    )

    assert tuple(await seen_through(*story)) == story


async def test_a_rollout_that_stands_still_is_not_waited_for() -> None:
    """It goes on; where it stands and why is said."""
    standing = of(a_state(phase="waiting", why="outside its windows"))

    with pytest.raises(FaultError, match=r"waiting, wave 2 of 3: outside its windows"):
        await seen_through(standing, patience_seconds=0.0)


@pytest.mark.parametrize(
    ("removed", "says"), [(False, "revision 1 is back"), (True, "it is on no node")]
)
async def test_what_went_back_failed_with_its_evidence(removed: bool, says: str) -> None:
    """Though the deployment has another revision by then."""
    over = a_state(phase="rolled-back", base_revision=1, why="it dropped", evidence=EVIDENCE)

    with pytest.raises(DeploymentFailedError, match=f"{says}: it dropped") as refused:
        await seen_through(of(a_state()), of(over, revision=3, removed=removed))

    assert refused.value.reasons == EVIDENCE


async def test_who_waits_for_an_approval_is_told_how_to_go_on() -> None:
    """It is not said to be done by itself."""
    standing = of(a_state(phase="waiting", why="waits for an operator (l3af approve)"))

    with pytest.raises(FaultError, match=r"\(l3af approve\).*l3af status edge --watch") as waited:
        await seen_through(standing, patience_seconds=0.0)

    assert "will be done" not in waited.value.message


async def test_what_was_taken_off_meanwhile_does_not_run() -> None:
    """Though nothing of it is pending any more; of an undeployment that is the end."""
    gone = msgspec.structs.replace(of(a_state()), removed=True, rollout=None, places=())
    revision = DeploymentRevision(
        revision=2,
        spec=gone.spec,
        version="1.0.0",
        archive_sha256="",
        placements=(),
        command_id=ACCEPTED.command_id,
        actor_key="U",
        actor_role="operator",
        at="2026-01-01T00:00:00Z",
    )

    with pytest.raises(DeploymentFailedError, match="revision 2 is over") as over:
        await seen_through(of(a_state()), msgspec.structs.replace(gone, revisions=(revision,)))

    assert [one.rule for one in over.value.reasons] == ["it was taken off every node meanwhile"]
    assert len(await seen_through(msgspec.structs.replace(gone, states={}))) == 1


async def test_what_is_paused_waits_for_somebody_else() -> None:
    """Whoever deployed is told so, with what was bad."""
    paused = a_state(phase="paused", why="it dropped", evidence=EVIDENCE)

    with pytest.raises(DeploymentFailedError, match=r"in wave 2 of 3 .*: it dropped") as refused:
        await seen_through(of(paused))

    assert refused.value.reasons == EVIDENCE


async def test_a_rollout_of_an_earlier_revision_is_none_of_this_command() -> None:
    """A rollback that is accepted after one that went back runs, and that is all."""
    over = a_state(revision=1, phase="rolled-back", evidence=EVIDENCE)

    assert len(await seen_through(of(over))) == 1


def test_time_that_must_pass_is_no_standstill() -> None:
    """While a wave bakes, as long as its deployment says."""
    spec = DeploymentSpec(
        name="edge",
        package="p",
        hook="xdp",
        interfaces=("eth0",),
        rollout=RolloutSpec(strategy="canary", bake_seconds=600),
    )

    assert bake_seconds(of(a_state(phase="baking"), spec=spec)) == 600
    assert bake_seconds(of(a_state(phase="rolling-out"), spec=spec)) == 0


def test_off_a_terminal_each_step_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr; with `--json` there is none."""
    for json in (False, True):
        with following("edge", json=json) as tell:
            for state in (a_state(), a_state(), a_state(wave=2)):
                tell(of(state))

    assert capsys.readouterr().err.splitlines() == [
        "edge revision 2: rolling-out, wave 2 of 3",
        "edge revision 2: rolling-out, wave 3 of 3",
    ]


def test_on_a_terminal_all_is_drawn_in_one_place() -> None:
    """Waves, nodes and reasons, as they come; a deployment without a rollout has its count."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, height=40, color_system=None)
    going = of(a_state(), a_place("n1", "running"), a_place("n2", "pending", "not read back yet"))

    with following("edge", json=False, console=console) as draw:
        draw(msgspec.structs.replace(going, rollout=None))
        draw(going)

    drawn = text.getvalue()
    assert "edge: 1 of 2 places as wanted" in drawn
    assert "revision 2: rolling-out, wave 2 of 3" in drawn
    assert "n2 eth0: pending, not read back yet" in drawn
    assert drawn.rstrip().endswith("\x1b[2K"), "at the end nothing of it is left"


def test_who_does_not_wait_is_told_how_to_look() -> None:
    """And nothing of places."""
    assert "l3af status edge --watch" in str(render_done(CommandDone(accepted=ACCEPTED)))
