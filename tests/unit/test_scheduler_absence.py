# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Applications while nodes are away: who is asked to try, and what is said of the others."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from cli.deploy import CommandDone, render_done
from cli.node import render_list, render_node
from services.scheduler.absence import SILENT_SHOWN, without_silent
from services.scheduler.acceptance import draft_application
from services.scheduler.deployment import accepted_event
from services.scheduler.liveness import Silence
from services.scheduler.status import deployment_status, node_status
from shared.contracts.scheduler import NodeList
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    applied,
    observing,
    removed,
)

HEARD = Silence(seconds=1.0, is_silent=False)
SILENT = Silence(seconds=45.0, is_silent=True)
FLAPPING = Silence(seconds=1.0, is_silent=True, losses=3, steady_seconds=120.0)
UNHEARD = Silence(seconds=None, is_silent=True)


def test_silent_nodes_are_told_and_not_asked() -> None:
    """Each is warned of; the desired records are those of all nodes."""
    silences = {"n1": HEARD, "n2": SILENT, "n3": FLAPPING, "n4": UNHEARD}
    drafted = draft_application(a_fleet(*map(a_node, silences)), a_spec(), a_package(), a_command())

    draft = without_silent(drafted, silences.__getitem__)

    what = "it has not tried this, and gets it when it returns"
    assert set(draft.staging) == {"n1"}
    assert draft.desired == drafted.desired
    assert draft.plan.warnings == (
        f"n2 is silent for 45 s: {what}",
        f"n3 {FLAPPING.why}: {what}",
        f"n4 was never heard by this scheduler: {what}",
    )


def test_a_fleet_that_is_there_is_asked_as_it_is() -> None:
    """Nothing is warned of."""
    drafted = draft_application(a_fleet(), a_spec(), a_package(), a_command())

    assert without_silent(drafted, lambda _: HEARD) is drafted


def test_of_many_silent_nodes_some_are_named_and_all_are_counted() -> None:
    """In the plan, and in the audit log's record of the command."""
    names = [f"n{number:03d}" for number in range(SILENT_SHOWN + 40)]
    facts = a_command()
    drafted = draft_application(a_fleet(*map(a_node, names)), a_spec(), a_package(), facts)

    draft = without_silent(drafted, lambda _: SILENT)
    event = accepted_event("deployment.apply", draft.record, None, facts, silent=draft.silent)

    assert len(draft.plan.warnings) == SILENT_SHOWN + 1
    assert draft.plan.warnings[-1] == "40 more nodes are silent"
    assert event.details["silent_count"] == len(names)
    assert event.details["silent"] == names[:50]


def _shown(part: RenderableType) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(part)
    return text.getvalue()


@pytest.mark.parametrize(
    ("is_removed", "headline"), [(False, "edge revision 1 runs"), (True, "on no node that answers")]
)
def test_whoever_deployed_is_told_which_nodes_follow_later(is_removed: bool, headline: str) -> None:
    """The command line is done without them."""
    ran = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec())
    fleet = removed(ran, "edge", at=2) if is_removed else ran
    observed = {"n2": observing(ran.desired["n2"])}
    status = deployment_status(
        fleet.deployments["edge"], fleet, observed, silences={"n1": HEARD, "n2": SILENT}
    )
    accepted = draft_application(a_fleet(), a_spec(), a_package(), a_command()).reply("c")

    shown = _shown(render_done(CommandDone(accepted=accepted, status=status)))

    assert headline in shown
    assert "n2 is silent: it follows when it returns" in shown


def test_a_node_that_comes_and_goes_is_shown_as_such() -> None:
    """In the list as in few words, and with the reason when asked for one."""
    node = node_status(a_node_record("n1"), a_fleet(), None, FLAPPING)

    assert "comes and goes" in _shown(render_list(NodeList(nodes=(node,))))
    assert "it comes and goes: it was lost 3 times in 10 minutes" in _shown(render_node(node))
