# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the deployment commands read, and how they show what they were told."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from rich.console import Console, RenderableType

from cli.chain import only_on
from cli.chain_view import render_chains
from cli.deploy import CommandDone, deploy, render_done
from cli.deployment_document import read_deployment
from cli.node import parse_changes, render_list, render_node
from cli.plan_view import render_plan
from cli.rollout import insist
from cli.status import render_deployment, without_gone
from cli.status import render_list as render_list_of_deployments
from services.scheduler.acceptance import draft_application
from services.scheduler.liveness import Silence
from services.scheduler.status import deployment_status, node_status
from shared.adapters.bus import Bus
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import ChainShown, ChainsShown, MetricValue
from shared.contracts.rollout_policy import PolicyEffect
from shared.contracts.scheduler import (
    LIST_DEPLOYMENTS,
    DeploymentList,
    DeploymentPlan,
    DeploymentStatus,
    ListDeployments,
    NodeList,
    UnfitDeployment,
)
from shared.errors import FaultError, Reason, Refusal, RefusedError
from tests.fleets import (
    a_command,
    a_fleet,
    a_node,
    a_node_record,
    a_package,
    a_spec,
    all_observing,
    applied,
    observing,
    rules,
)

HEARD = Silence(seconds=2.0, is_silent=False)
DOCUMENT = """\
name = "edge"
package = "rate-limit"
version = "^1.0"
hook = "xdp"
interfaces = ["eth*"]
order = 20
proceed_on = ["pass"]
[nodes]
names = ["edge-*"]
labels = { role = "edge" }
[config.limits]
80 = 100
[metrics.dropped]
map = "drops"
key = "*"
"""


def _shown(part: RenderableType) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(part)
    return text.getvalue()


def _document(folder: Path, text: str) -> Path:
    path = folder / "edge.toml"
    path.write_text(text)
    return path


def _status(*, refusal: Refusal | None = None) -> DeploymentStatus:
    fleet = applied(a_fleet(), a_spec())
    observed = {"n1": observing(fleet.desired["n1"], refusal=refusal)}
    return deployment_status(fleet.deployments["edge"], fleet, observed, silences={"n1": HEARD})


def test_a_deployment_file_has_the_keys_of_a_specification(tmp_path: Path) -> None:
    """Top level, nodes, config and metrics as the contract names them."""
    spec = read_deployment(_document(tmp_path, DOCUMENT))

    assert (spec.name, spec.order, spec.interfaces) == ("edge", 20, ("eth*",))
    assert (spec.nodes.names, spec.nodes.labels) == (("edge-*",), {"role": "edge"})
    assert spec.config == {"limits": {"80": 100}}
    assert (spec.metrics["dropped"].map, spec.metrics["dropped"].key) == ("drops", "*")


def test_every_problem_of_a_file_is_named_with_its_path(tmp_path: Path) -> None:
    """An unknown field, a value out of range and a hook that does not exist, at once."""
    text = DOCUMENT.replace("order = 20", 'order = 5000\ncolour = "blue"').replace("xdp", "xpd")

    with pytest.raises(RefusedError) as caught:
        read_deployment(_document(tmp_path, text))

    assert set(rules(caught.value.reasons)) == {"order", "colour", "hook"}


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"x = 1\n" * 60_000])
def test_a_file_that_is_no_deployment_is_refused(tmp_path: Path, content: bytes) -> None:
    """Not TOML, not text, or far too large."""
    path = tmp_path / "edge.toml"
    path.write_bytes(content)

    with pytest.raises(RefusedError, match=r"edge\.toml"):
        read_deployment(path)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    """With what the system says."""
    with pytest.raises(RefusedError, match=r"nowhere\.toml: cannot be read: No such file"):
        read_deployment(tmp_path / "nowhere.toml")


def test_an_empty_proceed_on_is_refused_and_the_default_is_to_say_nothing(tmp_path: Path) -> None:
    """Nobody who writes an empty set means the default."""
    said = 'proceed_on = ["pass"]\n'
    assert said in DOCUMENT
    assert read_deployment(_document(tmp_path, DOCUMENT.replace(said, ""))).proceed_on == ()

    with pytest.raises(RefusedError) as caught:
        read_deployment(_document(tmp_path, DOCUMENT.replace(said, "proceed_on = []\n")))

    (reason,) = caught.value.reasons
    assert (reason.path, reason.got) == ("proceed_on", 0)
    assert reason.allowed == "at least one verdict; leave the field out for the default"


def test_label_changes_set_and_remove() -> None:
    """`key=value`, also an empty one, sets; `key-` removes."""
    assert parse_changes(("role=edge", "tier=", "old-")) == ({"role": "edge", "tier": ""}, ["old"])


def test_words_that_are_no_label_changes_are_all_named() -> None:
    """And no words at all are refused too."""
    with pytest.raises(RefusedError) as caught:
        parse_changes(("role", "a=b", "=x", "-"))
    assert set(rules(caught.value.reasons)) == {"changes[0]", "changes[2]", "changes[3]"}

    with pytest.raises(RefusedError):
        parse_changes(())


def test_a_plan_is_shown_with_every_program_and_what_happens_to_it() -> None:
    """In the order they run, with who is left out and why."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2", "lo")), a_spec("base", order=1))
    draft = draft_application(fleet, a_spec(), a_package(version="1.1.0"), a_command(2))

    lines = _shown(render_plan(draft.plan)).splitlines()

    assert lines[0].startswith("edge: version 1.1.0")
    assert lines[2].split() == [
        "n1",
        "eth0/xdp",
        "1",
        "base",
        "rate-limit",
        "1.0.0",
        "c00cf1020f28",
        "pass",
        "kept",
    ]
    digest = draft.plan.archive_sha256[:12]
    assert lines[3].split() == ["500", "edge", "rate-limit", "1.1.0", digest, "pass", "added"]
    assert "not on n2: no interface matches eth0" in "\n".join(lines)


def test_a_plan_says_how_a_chain_will_be_linked() -> None:
    """A change of options alone is no change of any program."""
    fleet = applied(a_fleet(), a_spec())
    spec = a_spec(link=LinkWishes(attach="generic", counters=False))

    shown = _shown(render_plan(draft_application(fleet, spec, a_package(), a_command(2)).plan))

    assert 'link of n1 eth0/xdp: attach = "generic", counters = false' in shown
    assert "link of" not in _shown(
        render_plan(draft_application(fleet, a_spec(), a_package(), a_command(2)).plan)
    )


def test_what_was_removed_and_still_runs_is_listed() -> None:
    """A node that is silent may filter with it for days."""
    status = _status()
    gone = msgspec.structs.replace(status, name="gone", removed=True, places=())
    going = msgspec.structs.replace(status, name="going", removed=True)

    listed = without_gone(DeploymentList(deployments=(status, gone, going)))

    assert [one.name for one in listed.deployments] == [status.name, "going"]
    assert "to be removed" in _shown(render_list_of_deployments(listed))


def test_a_plan_of_map_entries_alone_says_that_nothing_is_linked() -> None:
    """The reader need not fear for packets."""
    fleet = applied(a_fleet(), a_spec(config={"limits": {"80": 1}}))
    draft = draft_application(
        fleet, a_spec(config={"limits": {"80": 2}}), a_package(), a_command(2)
    )

    assert "changed (only map entries, variables and arguments)" in _shown(render_plan(draft.plan))


def test_what_is_done_is_shown_with_what_the_kernel_holds() -> None:
    """Program id, tag and generation of each place."""
    draft = draft_application(a_fleet(), a_spec(), a_package(), a_command())

    shown = _shown(render_done(CommandDone(accepted=draft.reply("command-0001"), status=_status())))

    assert "edge revision 1 runs: rate-limit 1.0.0" in shown
    assert "0123456789abcdef" in shown


def test_a_status_shows_why_a_place_failed_and_the_history() -> None:
    """Escaped, so that no text from a node acts upon the terminal."""
    refusal = Refusal(
        code="verifier_rejected", message="no", reasons=(Reason(path="p", rule="bad \x1b[31m"),)
    )

    shown = _shown(render_deployment(_status(refusal=refusal)))

    assert "failed" in shown
    assert "n1 eth0: p: bad \\x1b[31m" in shown
    assert "command-0001" in shown


def test_nodes_are_shown_with_labels_chains_and_generations() -> None:
    """A line in the list, everything when asked for one."""
    fleet = applied(a_fleet(a_node("n1", role="edge")), a_spec())
    observed = all_observing(fleet)["n1"]
    node = node_status(a_node_record("n1"), fleet, observed, HEARD)
    silent = node_status(a_node_record("n1"), fleet, None, Silence(seconds=99.0, is_silent=True))

    listed = _shown(render_list(NodeList(nodes=(node, silent))))

    assert "role=edge" in listed
    assert "silent for 99 s" in listed
    assert "silent for 99 s (forgotten)" in _shown(
        render_list(NodeList(nodes=(msgspec.structs.replace(silent, forgotten=True),)))
    )
    assert "0 of 1" in listed
    assert "eth0/xdp" in _shown(render_node(node))


def test_a_node_is_shown_with_the_deployments_that_it_cannot_take() -> None:
    """And with those that run there all the same."""
    node = node_status(a_node_record("n1"), a_fleet(), None, HEARD)
    lack = "kernel 5.4.0 has no helper bpf_loop (181) for XDP programs"
    unfit = (
        UnfitDeployment(deployment="edge", why=lack),
        UnfitDeployment(deployment="old", why=lack, stays=True),
    )

    shown = _shown(render_node(msgspec.structs.replace(node, unfit_for=unfit)))

    assert f"edge is not put here: {lack}" in shown
    assert f"old stays here, although {lack}" in shown


def test_chains_are_shown_with_metrics_and_by_interface() -> None:
    """Programs in order, values or why there is none."""
    fleet = applied(a_fleet(a_node("n1", "eth0", "eth1")), a_spec(interfaces=("eth*",)))
    chains = observing(fleet.desired["n1"]).chains
    metrics = (
        MetricValue(deployment="edge", metric="dropped", map="drops", key="0", value=42),
        MetricValue(deployment="edge", metric="lost", map="x", key="0", problem="no such map"),
    )
    shown = ChainsShown(
        node="n1", chains=tuple(ChainShown(chain=one, metrics=metrics) for one in chains)
    )

    text = _shown(render_chains(only_on(shown, "eth1")))

    assert "n1 eth1/xdp: attached" in text
    assert "eth0" not in text
    assert "42" in text
    assert "no such map" in text


class _BusyScheduler:
    """Answers each request with the next fault."""

    def __init__(self, *faults: FaultError) -> None:
        self._faults = list(faults)
        self.patience_seconds: list[float] = []

    async def request(self, _endpoint: object, _message: object, *, timeout_seconds: float) -> Any:
        self.patience_seconds.append(timeout_seconds)
        await asyncio.sleep(0.02)
        raise self._faults.pop(0) if len(self._faults) > 1 else self._faults[0]


async def test_a_deadline_ends_with_the_last_fault_that_named_something() -> None:
    """That nobody answered in the second that was left says less than which node is away."""
    named = FaultError("n1 is away", [Reason(path="nodes.n1", rule="no answer")])
    bus = _BusyScheduler(named, FaultError("no answer within 1 s"))
    deadline = asyncio.get_running_loop().time() + 0.1

    with pytest.raises(FaultError, match="n1 is away"):
        await insist(
            cast("Bus", bus), LIST_DEPLOYMENTS, ListDeployments(), deadline=deadline, waiting=print
        )


def test_a_file_that_says_no_and_a_flag_that_says_yes_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither wins: nobody is asked, and the status is that of a refusal."""
    path = _document(tmp_path, DOCUMENT + "[link]\ntake_over = false\n")

    with pytest.raises(SystemExit) as ended:
        deploy(path, take_over=True)

    assert ended.value.code == 2
    assert "link.take_over" in capsys.readouterr().err


def test_a_plan_says_what_would_hold_the_rollout() -> None:
    """Until when at the earliest, why, and by which rules; and that nothing does."""
    held = PolicyEffect(
        deployment="edge", rules=("night",), why="it is outside", until="2026-12-24T21:00:00Z"
    )
    free = PolicyEffect(deployment="other", approvals=0, rules=("night", "eyes"))
    plan = DeploymentPlan(
        deployment="edge", version="1.0.0", archive_sha256="a" * 64, chains=(), policy=(held, free)
    )
    shown = _shown(render_plan(plan))
    assert (
        "rollout of edge would wait, until 2026-12-24 21:00 UTC at the earliest: it is outside "
        "(rules of the rollout policy: night)"
    ) in shown
    assert "rollout of other: nothing holds it now (rules of the rollout policy: night, eyes)" in (
        shown
    )
