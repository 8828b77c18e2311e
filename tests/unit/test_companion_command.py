# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `l3af companion`, `l3af status` and `l3af node show` print of companions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cli.app import app
from cli.companion import (
    NodesListed,
    render_companions,
    render_everywhere,
    render_log,
    render_restarted,
)
from cli.status import render_deployment
from shared.contracts.node import ObservedChain
from shared.contracts.node_companions import (
    CompanionLine,
    CompanionLog,
    CompanionRestarted,
    CompanionShown,
    CompanionsListed,
    CompanionUsage,
    ObservedCompanion,
)
from shared.contracts.scheduler import DeploymentPlaceStatus, DeploymentStatus
from tests.fleets import a_spec
from tests.unit.test_cli_deployments import _shown as printed

OBSERVED = ObservedCompanion(
    deployment="edge", revision=1, companion="exporter", state="ready", pid=77, restarts=2
)
SHOWN = CompanionShown(
    interface="eth0",
    hook="xdp",
    companion=OBSERVED,
    package="one",
    version="1.0.0",
    usage=CompanionUsage(cpu_seconds=1.25, memory_bytes=3 << 20, processes=4),
)


def test_a_list_says_state_and_use() -> None:
    """And why one is not as it should be, below."""
    waits = msgspec.structs.replace(
        OBSERVED, companion="other", state="backing-off", reason="exited with status 1"
    )
    other = msgspec.structs.replace(SHOWN, companion=waits, usage=None)

    text = printed(render_companions(CompanionsListed(node="n1", companions=(SHOWN, other))))

    for word in ("edge", "exporter", "eth0/xdp", "one 1.0.0", "ready", "77", "3.0 MiB", "1.2 s"):
        assert word in text, text
    assert "companion other of edge is backing-off: exited with status 1" in text


def test_a_node_without_a_supervisor_says_why() -> None:
    """Also where nothing is listed."""
    listed = CompanionsListed(node="n1", companions=(), problem="nobody answers")

    text = printed(render_companions(listed))

    assert "nobody answers" in text
    assert "n1 runs no companions" in text


def test_all_nodes_are_listed_with_those_that_do_not_answer() -> None:
    """Those without companions are left out."""
    found = NodesListed(
        nodes=(
            CompanionsListed(node="n1", companions=(SHOWN,)),
            CompanionsListed(node="n2", companions=()),
        ),
        silent={"n3": "does not answer"},
    )

    text = printed(render_everywhere(found))

    assert "n1" in text
    assert "n2" not in text
    assert "n3: does not answer" in text
    assert "no node runs companions" in printed(render_everywhere(NodesListed(nodes=())))


def test_a_log_is_shown_as_it_was_written() -> None:
    """Without what would move a terminal's cursor, and with what is not there."""
    lines = (
        CompanionLine(at="2026-01-01T00:00:00.000000Z", stream="stdout", text="one\x1b[2J"),
        CompanionLine(
            at="2026-01-01T00:00:01.000000Z",
            stream="stderr",
            text="two",
            is_cut=True,
            left_out=7,
        ),
    )
    log = CompanionLog(
        node="n1",
        interface="eth0",
        hook="xdp",
        deployment="edge",
        companion="exporter",
        lines=lines,
    )

    text = printed(render_log(log))

    assert "\x1b" not in text
    assert "(7 lines are left out) two …" in text
    nothing = printed(render_log(msgspec.structs.replace(log, lines=())))
    assert "exporter of edge wrote nothing yet" in nothing


def test_a_restart_says_which() -> None:
    """On which node and hook point."""
    done = CompanionRestarted(node="n1", companion=SHOWN)

    assert "exporter of edge on n1 eth0/xdp is started anew" in printed(render_restarted(done))


def test_the_status_of_a_deployment_names_its_own_companions() -> None:
    """And not those of its neighbours in the chain."""
    theirs = msgspec.structs.replace(OBSERVED, deployment="other", companion="theirs")
    place = DeploymentPlaceStatus(
        node="n1",
        interface="eth0",
        state="running",
        chain=ObservedChain(
            interface="eth0", hook="xdp", state="attached", companions=(OBSERVED, theirs)
        ),
    )
    status = DeploymentStatus(
        name="edge",
        removed=False,
        revision=1,
        version="1.0.0",
        package="one",
        hook="xdp",
        order=10,
        spec=a_spec(),
        places=(place,),
        revisions=(),
    )

    text = printed(render_deployment(status))

    assert "n1 eth0: companion exporter of edge is ready" in text
    assert "theirs" not in text


@pytest.mark.parametrize("words", [["list"], ["logs"], ["restart"]])
def test_each_command_explains_itself(words: list[str], capsys: Any) -> None:
    """Its parameters and options."""
    app(["companion", *words, "--help"], exit_on_error=False, result_action="return_value")

    assert "companion" in capsys.readouterr().out.lower()
