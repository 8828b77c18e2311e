# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments of probes: what they say, which nodes take them, what each node is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import Draft, draft_application
from services.scheduler.audiences import EVERYTHING, Sight
from services.scheduler.desired_state import EMPTY_PROBES, Fleet
from services.scheduler.hook_terms import UnfitTermsError, refuse_unfit_terms
from services.scheduler.liveness import Silence
from services.scheduler.placement import NodeView, NoEligibleNodeError
from services.scheduler.program_choice import ProgramChoiceError
from services.scheduler.status import deployment_status, node_status
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import REDACTION
from shared.contracts.package_facts import ElfFacts, ProgramFacts, ProgramRequirements
from shared.contracts.probes import (
    CgroupTarget,
    IteratorTarget,
    KprobeTarget,
    ProbeTarget,
    TracepointTarget,
    UprobeTarget,
)
from shared.errors import RefusedError
from shared.identifiers import ProbeHook
from shared.kernel_abilities import kernel_abilities
from shared.probe_targets import probe_places
from tests.fleets import (
    OBJECT,
    a_command,
    a_fleet,
    a_node_record,
    a_package,
    a_program,
    a_spec,
    observing,
    removed,
    told,
)

EXEC = TracepointTarget(category="sched", name="sched_process_exec")
EXIT = TracepointTarget(category="sched", name="sched_process_exit")


def a_probing_node(name: str = "n1", *features: str, **notes: str) -> NodeView:
    """A node that can have these probes, or tracepoints, and says why it has no others."""
    known = dict.fromkeys(features or ("tracepoint",), True)
    return NodeView(
        name=name,
        interfaces=("eth0",),
        features={REDACTION: True, **known, **dict.fromkeys(notes, False)},
        feature_notes=notes,
        kernel="6.12.0",
    )


def a_probe(*targets: ProbeTarget, name: str = "watch", **fields: Any) -> DeploymentSpec:
    """A deployment of the package `watch`, of a tracepoint for execs if nothing else is said."""
    said: dict[str, Any] = {"hook": "tracepoint", "interfaces": (), "attach": targets or (EXEC,)}
    return a_spec(name, package="watch", **{**said, **fields})


def a_probe_package(
    hook: ProbeHook = "tracepoint", section: str = "tracepoint/sched/sched_process_exec"
) -> PackageVersion:
    """One program in that section."""
    version = a_package("watch", programs=[a_program("watch", hooks=(hook,))])
    facts = ElfFacts(
        path=OBJECT,
        licence="GPL",
        has_btf=True,
        needs_kernel_btf=False,
        programs=(
            ProgramFacts(
                function="watch",
                section=section,
                instructions=2,
                helpers=(16,),
                requires=ProgramRequirements(helpers=(16,), licence="GPL"),
            ),
        ),
        maps=version.elf[0].maps,
    )
    return msgspec.structs.replace(version, elf=(facts,))


def drafted(fleet: Fleet, spec: DeploymentSpec, package: PackageVersion | None = None) -> Draft:
    """What applying it would do."""
    return draft_application(fleet, spec, package or a_probe_package(), a_command(1))


def deployed(fleet: Fleet, spec: DeploymentSpec, *, at: int = 1) -> Fleet:
    """The fleet once it was accepted and every node told."""
    draft = draft_application(fleet, spec, a_probe_package(), a_command(at))
    return told(fleet.with_deployment(draft.record))


def rules(error: Any) -> dict[str, str]:
    """Path to rule of a refusal."""
    return {reason.path: reason.rule for reason in error.value.reasons}


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"hook": "xdp", "interfaces": (), "attach": ()}, {"interfaces"}),
        ({"hook": "xdp", "interfaces": ("eth0",), "attach": (EXEC,)}, {"attach"}),
        ({"attach": (), "interfaces": ("eth0",)}, {"attach", "interfaces"}),
        (
            {
                "order": 0,
                "before": ("package:rate-limit",),
                "after": ("deployment:edge",),
                "proceed_on": ("pass",),
                "network_namespaces": ("red",),
                "link": LinkWishes(attach="native", counters=False, keep_seconds=5, drift="alarm"),
            },
            {
                *("order", "before", "after", "proceed_on", "network_namespaces"),
                *("link.attach", "link.counters"),
            },
        ),
        (
            {"attach": (EXEC, EXEC, KprobeTarget(function="vfs_unlink"))},
            {"attach[1]", "attach[2].kind"},
        ),
        (
            {"hook": "uprobe", "attach": (UprobeTarget(path="/bin/true"),)},
            {"attach[0].symbol"},
        ),
        (
            {
                "hook": "iterator",
                "attach": (
                    IteratorTarget(over="bpf_map_elem"),
                    IteratorTarget(over="task", map="blocked"),
                ),
            },
            {"attach[0].map", "attach[1].map"},
        ),
    ],
)
def test_a_deployment_says_what_its_hook_takes_and_nothing_else(
    fields: dict[str, Any], paths: set[str]
) -> None:
    """Interfaces or targets, exactly one of both; every problem is named at once."""
    with pytest.raises(UnfitTermsError) as error:
        refuse_unfit_terms(a_probe(**fields))

    assert set(rules(error)) == paths
    with pytest.raises(RefusedError) as refused:
        drafted(a_fleet(a_probing_node()), a_probe(**fields))
    assert set(rules(refused)) >= paths


def test_a_probe_runs_on_every_node_that_can_have_it_whatever_its_interfaces() -> None:
    """Its place is the deployment's, and each node is told what it is attached to."""
    fleet = deployed(a_fleet(a_probing_node("n1"), a_probing_node("n2")), a_probe())

    for node in ("n1", "n2"):
        (chain,) = fleet.desired[node].chains
        assert (chain.interface, chain.hook, chain.target) == ("watch", "tracepoint", EXEC)
        (program,) = chain.programs
        assert (program.proceed_on, program.deployment) == ((), "watch")


def test_a_node_whose_kernel_refuses_the_kind_is_left_out_by_the_feature_and_its_reason() -> None:
    """Before anything is fetched or staged; what a node does not report it does not have."""
    fleet = a_fleet(
        a_probing_node("able", "kprobe"),
        a_probing_node("unable", kprobe="CONFIG_KPROBES is off"),
        a_probing_node("older"),
    )
    spec = a_probe(KprobeTarget(function="vfs_unlink"), hook="kprobe")
    package = a_probe_package("kprobe", "kprobe/vfs_unlink")

    plan = drafted(fleet, spec, package).plan

    assert {one.node: one.why for one in plan.excluded} == {
        "unable": "it has no kprobe, which the hook needs: CONFIG_KPROBES is off",
        "older": "it has no kprobe, which the hook needs",
    }
    assert [chain.node for chain in plan.chains] == ["able"]


def test_if_no_node_can_have_the_probe_the_refusal_has_the_reason_of_each() -> None:
    """As for any requirement."""
    with pytest.raises(NoEligibleNodeError) as error:
        drafted(
            a_fleet(a_probing_node(kprobe="CONFIG_KPROBES is off")),
            a_probe(KprobeTarget(function="vfs_unlink"), hook="kprobe"),
            a_probe_package("kprobe", "kprobe/vfs_unlink"),
        )

    assert rules(error) == {
        "nodes.n1": "it has no kprobe, which the hook needs: CONFIG_KPROBES is off"
    }


def test_helpers_are_asked_of_the_type_that_the_target_decides() -> None:
    """A program of a cgroup has the helpers of its attach type."""
    abilities = Capabilities(
        kernel_build="6.12.0 #1",
        program_types=(
            ProgramTypeSupport(name="cgroup_sock_addr", helpers="1-3"),
            ProgramTypeSupport(name="cgroup_skb", helpers="1-20"),
        ),
    )
    node = replace(a_probing_node("n1", "cgroup"), probed=kernel_abilities(abilities))
    path = "/sys/fs/cgroup"

    drafted(
        a_fleet(node),
        a_probe(CgroupTarget(path=path, attach="egress"), hook="cgroup"),
        a_probe_package("cgroup", "cgroup_skb/egress"),
    )
    with pytest.raises(NoEligibleNodeError) as error:
        drafted(
            a_fleet(node),
            a_probe(CgroupTarget(path=path, attach="connect4"), hook="cgroup"),
            a_probe_package("cgroup", "cgroup/connect4"),
        )

    assert "has no helper bpf_get_current_comm (16) for cgroup programs" in rules(error)["nodes.n1"]


def test_a_target_that_the_program_was_not_made_for_is_refused_with_what_it_was_made_for() -> None:
    """Programs of cgroups and iterators are loaded for one thing."""
    with pytest.raises(ProgramChoiceError) as error:
        drafted(
            a_fleet(a_probing_node("n1", "cgroup")),
            a_probe(
                CgroupTarget(path="/sys/fs/cgroup", attach="connect4"),
                CgroupTarget(path="/sys/fs/cgroup", attach="bind6"),
                hook="cgroup",
            ),
            a_probe_package("cgroup", "cgroup/connect4"),
        )

    (reason,) = error.value.reasons
    assert (reason.path, reason.got, reason.allowed) == (
        "attach[1]",
        "/sys/fs/cgroup bind6",
        "connect4",
    )


def test_each_of_several_targets_has_a_place_and_others_can_come_and_go() -> None:
    """What stays is not touched: its place is its target's."""
    fleet = deployed(a_fleet(a_probing_node()), a_probe(EXEC, EXIT), at=1)
    places = probe_places("watch", (EXEC, EXIT))
    assert {one.interface: one.target for one in fleet.desired["n1"].chains} == places

    third = TracepointTarget(category="sched", name="sched_switch")
    after = deployed(fleet, a_probe(EXEC, third), at=2)

    found = {one.target: one for one in after.desired["n1"].chains if one.programs}
    assert set(found) == {EXEC, third}
    (emptied,) = (one for one in after.desired["n1"].chains if not one.programs)
    assert emptied.interface in places
    assert emptied.target is None


def test_another_target_is_a_change_of_the_same_place() -> None:
    """So that the node replaces one by the other, and maps go on."""
    fleet = deployed(a_fleet(a_probing_node()), a_probe(EXEC), at=1)

    draft = drafted(fleet, a_probe(EXIT))

    (planned,) = draft.plan.chains
    assert (planned.interface, planned.target) == ("watch", EXIT)
    assert not planned.configuration_only
    (staged,) = draft.staging["n1"]
    assert staged.target == EXIT


def test_a_removed_probe_is_told_of_and_in_time_forgotten() -> None:
    """The node learns why it takes it off; its record does not grow for ever."""
    fleet = a_fleet(a_probing_node())
    for number in range(EMPTY_PROBES + 3):
        fleet = deployed(fleet, a_probe(name=f"w{number}"), at=2 * number + 1)
        fleet = removed(fleet, f"w{number}", at=2 * number + 2)

    chains = fleet.desired["n1"].chains
    assert all(not one.programs and one.target is None for one in chains)
    assert {one.interface for one in chains} == {f"w{one}" for one in range(3, EMPTY_PROBES + 3)}
    assert told(fleet).desired == fleet.desired


def test_the_status_of_a_place_says_what_the_probe_shall_be_attached_to() -> None:
    """With several targets, which of them the place is for."""
    fleet = deployed(a_fleet(a_probing_node()), a_probe(EXEC, EXIT))
    record = fleet.deployments["watch"]
    observed = {"n1": observing(fleet.desired["n1"])}

    status = deployment_status(record, fleet, observed, silences={}, sight=EVERYTHING)

    assert {(one.interface, one.state, one.target) for one in status.places} == {
        (place, "running", target) for place, target in probe_places("watch", (EXEC, EXIT)).items()
    }


def test_a_probe_of_a_space_that_is_not_seen_is_not_named_at_its_node() -> None:
    """Its place is its deployment's, so even its place would say what nobody may know."""
    node = a_probing_node()
    fleet = deployed(a_fleet(node), a_probe())
    fleet = deployed(fleet, a_probe(space="p_acme"), at=2)
    record = a_node_record("n1")
    observed = observing(fleet.desired["n1"])
    silence = Silence(seconds=1.0, is_silent=False)

    def places(sight: Sight) -> list[str]:
        return [
            one.interface for one in node_status(record, fleet, observed, silence, sight).chains
        ]

    assert places(Sight()) == ["watch"]
    assert places(Sight(frozenset({"public", "p_acme"}))) == ["p_acme.watch", "watch"]
