# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The deployment commands as processes, over a real bus with a scheduler and a small node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.errors import Reason, Refusal
from tests.integration.conftest import Buses
from tests.support.command_line import Answer, run_l3af
from tests.support.scheduler_neighbours import TestNode
from tests.support.scheduler_system import System, system

__all__ = ["system"]

DOCUMENT = """\
name = "{name}"
package = "rate-limit"
version = "{version}"
hook = "xdp"
interfaces = ["eth0"]
order = {order}
"""


@dataclass
class Shell:
    """Runs commands as an operator."""

    credentials: Path
    folder: Path

    async def l3af(self, *words: str) -> Answer:
        """The command has ended."""
        return await run_l3af(*words, credentials=self.credentials, folder=self.folder)

    def document(self, name: str = "edge", *, version: str = "*", order: int = 500) -> str:
        """A deployment file."""
        path = self.folder / f"{name}-{version.strip('*')}.toml"
        path.write_text(DOCUMENT.format(name=name, version=version, order=order))
        return str(path)


@pytest.fixture
async def shell(buses: Buses, tmp_path: Path) -> Shell:
    """Commands of an operator."""
    return Shell(buses.server.credentials("operator", "somebody"), tmp_path)


@pytest.fixture
async def node(system: System) -> TestNode:
    """A node, and a catalog."""
    await system.catalog()
    return await system.node("n1")


async def test_the_life_of_a_deployment_from_the_shell(shell: Shell, node: TestNode) -> None:
    """Plan, deploy, upgrade, look, roll back, undeploy; each ends when the node has done it."""
    planned = await shell.l3af("deploy", shell.document(), "--dry-run")
    assert (planned.status, "added" in planned.output) == (0, True)
    assert node.told == []

    deployed = await shell.l3af("deploy", shell.document(version="1.0.0"), "--reason", "first")
    assert deployed.status == 0, deployed
    assert "edge revision 1 runs: rate-limit 1.0.0" in deployed.output

    upgraded = await shell.l3af("deploy", shell.document(version="1.1.0"), "--json")
    assert upgraded.status == 0, upgraded
    assert upgraded.document["status"]["places"][0]["state"] == "running"

    back = await shell.l3af("rollback", "edge", "--command-id", "go-back-1", "--json")
    again = await shell.l3af("rollback", "edge", "--command-id", "go-back-1", "--json")
    assert (back.status, back.document["status"]["version"]) == (0, "1.0.0")
    assert again.document["accepted"] == back.document["accepted"]

    shown = await shell.l3af("status", "edge")
    assert "rollback of 1" in shown.output

    gone = await shell.l3af("undeploy", "edge")
    assert (gone.status, node.told[-1].chains[0].programs) == (0, ())
    assert "nothing is deployed" in (await shell.l3af("status")).output


async def test_several_deployments_are_one_command_from_the_shell(
    shell: Shell, node: TestNode
) -> None:
    """Files, or a directory: all of them or none, and never several without saying so."""
    files = shell.document("base", order=1), shell.document("late", order=900)

    unsaid = await shell.l3af("deploy", *files)
    refused = await shell.l3af(
        "deploy", *files, "--together", "--if-generation", "late=3", "--json"
    )
    unclear = await shell.l3af("deploy", *files, "--together", "--if-generation", "3")
    assert (unsaid.status, "apply them as one with --together" in unsaid.message) == (2, True)
    assert (refused.status, "its generation is 0 and not 3" in refused.message) == (2, True)
    assert (unclear.status, "NAME=N for each of several" in unclear.message) == (2, True)
    assert node.told == []

    deployed = await shell.l3af("deploy", *files, "--together")
    again = await shell.l3af("deploy", str(shell.folder), "--together", "--json")

    assert deployed.status == 0, deployed
    assert "base revision 1 runs" in deployed.output
    assert "late revision 1 runs" in deployed.output
    assert [one.deployment for one in node.told[0].chains[0].programs] == ["base", "late"]
    assert again.status == 0, again
    assert [one["revision"] for one in again.document["accepted"]["also"]] == [2]
    assert [one["name"] for one in again.document["also"]] == ["late"]


async def test_what_was_asked_for_is_told_from_the_shell(shell: Shell, node: TestNode) -> None:
    """A plan with what its nodes tried, revisions and what they changed, and why a chain is so."""
    await shell.l3af("deploy", shell.document("base", order=1))
    planned = await shell.l3af("plan", shell.document(), shell.document("late", order=900))
    await shell.l3af("deploy", shell.document(version="1.0.0"), "--if-generation", "0")
    late = await shell.l3af("deploy", shell.document(version="1.1.0"), "--if-generation", "0")
    await shell.l3af("deploy", shell.document(version="1.1.0"), "--reason", "faster")

    differing = await shell.l3af("diff", "edge", "1", "2", "--json")
    newest = await shell.l3af("diff", "edge", "--json")
    below_deploy = await shell.l3af("deploy", "diff", "edge", "1", "2", "--json")
    none_kept = await shell.l3af("diff", "edge", "1", "7")
    told = await shell.l3af("history", "edge")
    why = await shell.l3af("why", "n1", "eth0")
    nowhere = await shell.l3af("why", "n1", "eth9", "--json")

    assert planned.status == 0, planned
    assert "the verifier walked 300 instructions" in planned.output
    assert node.told[-1].chains[0].programs[-1].deployment == "edge"
    assert (late.status, "its generation is 1 and not 0" in late.message) == (2, True)
    changes = {one["path"]: one for one in differing.document["changes"]}
    assert (changes["version"]["before"], changes["version"]["after"]) == ("1.0.0", "1.1.0")
    assert (newest.document["before"], newest.document["after"]) == (1, 2)
    assert below_deploy.document == differing.document
    assert (none_kept.status, "7 is not a kept revision" in none_kept.message) == (2, True)
    assert told.status == 0, told
    assert ("faster" in told.output, "version: 1.0.0 -> 1.1.0" in told.output) == (True, True)
    assert why.status == 0, why
    assert "500 edge revision 2: rate-limit 1.1.0" in why.output
    assert "the deployment says so" in why.output
    assert [one["deployment"] for one in nowhere.document["absent"]] == ["base", "edge"]


async def test_taking_over_is_asked_for_in_the_file_or_by_a_flag(
    shell: Shell, node: TestNode
) -> None:
    """The nodes are told, and a file without it stays as it is."""
    asked = await shell.l3af("deploy", shell.document(), "--take-over", "--json")
    told = node.told[-1].chains[0].link.take_over
    await shell.l3af("deploy", shell.document())

    assert asked.document["accepted"]["plan"]["chains"][0]["link"] == {"take_over": True}
    assert told
    assert not node.told[-1].chains[0].link.take_over


@pytest.mark.usefixtures("node")
async def test_labels_and_nodes_from_the_shell(shell: Shell) -> None:
    """Set, seen, removed."""
    labelled = await shell.l3af("node", "label", "n1", "role=edge", "--json")
    assert labelled.document["labels"] == {"role": "edge"}

    listed = await shell.l3af("node", "list")
    assert "role=edge" in listed.output
    shown = await shell.l3af("node", "show", "n1", "--json")
    assert shown.document["alive"] is True

    removed = await shell.l3af("node", "label", "n1", "role-")
    assert (removed.status, "no labels" in removed.output) == (0, True)


async def test_a_refusal_exits_with_2_and_names_every_reason(shell: Shell, node: TestNode) -> None:
    """Whether the plan or a node says no."""
    await shell.l3af("deploy", shell.document("base"))
    taken = await shell.l3af("deploy", shell.document("other"))
    assert taken.status == 2
    assert "claimed by base and other" in taken.message

    node.refusal = Refusal(
        code="hook_owned", message="somebody else holds it", reasons=(Reason(path="x", rule="y"),)
    )
    failed = await shell.l3af("deploy", shell.document("late", order=1))
    assert failed.status == 2
    assert "late revision 1 is refused on n1" in failed.message
    assert "somebody else holds it" in failed.message


async def test_what_is_away_is_waited_for_and_then_a_fault_exits_with_3(
    system: System, shell: Shell
) -> None:
    """The catalog comes back in time once, and once it does not."""
    await system.node("n1")

    late = await shell.l3af("deploy", shell.document(), "--timeout", "0.5")
    assert late.status == 3
    assert "catalog is not answering" in late.message

    waiting = asyncio.create_task(shell.l3af("deploy", shell.document(), "--timeout", "20"))
    await system.catalog()
    assert (await waiting).status == 0


async def test_a_place_that_stays_pending_is_a_fault_that_says_what_is_certain(
    shell: Shell, node: TestNode
) -> None:
    """Accepted is accepted, though the waiting is over."""
    node.acts.clear()

    pending = await shell.l3af("deploy", shell.document(), "--timeout", "0.8")

    assert pending.status == 3
    assert "is accepted and will be done, but not in time: n1 (pending)" in pending.message
    node.acts.set()
