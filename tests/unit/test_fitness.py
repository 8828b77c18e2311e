# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a node that cannot run a program: each requirement in its words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.fitness import demand, interface_lack, node_lack
from services.scheduler.liveness import Silence
from services.scheduler.placement import NoEligibleNodeError, place, view_node
from services.scheduler.status import deployment_status
from services.scheduler.unfit import stays, unfit_deployments
from shared.contracts.capabilities import ProgramTypeSupport
from shared.contracts.interfaces import Interface
from shared.contracts.link_options import LinkWishes
from shared.contracts.node import NodeRecord
from shared.contracts.package_facts import ProgramRequirements
from shared.identifiers import Hook
from shared.kernel_abilities import kernel_abilities, kernel_lack
from tests.fleets import a_command, a_spec, all_observing, rules, told
from tests.support.kernels import a_demanding_package, a_kernel, a_node_with

OLD, MIDDLE, NEW = "5.4.0", "5.15.0", "6.18.0"
ONLY = "for GPL-compatible programs only, not for the licence"
NO_NATIVE = "eth0's driver veth has no native XDP and attach = native"
HEARD = Silence(seconds=1.0, is_silent=False)


def _lack(record: NodeRecord, requires: dict[str, Any], **fields: Any) -> str | None:
    """What is said of the node and its eth0."""
    requirements = ProgramRequirements(**{"licence": "GPL", **requires})
    wanted = demand(a_spec(**fields), requires=requirements)
    node = view_node(record, None)
    return node_lack(wanted, node) or interface_lack(wanted, node, "eth0")


@pytest.mark.parametrize(
    ("release", "requires", "why"),
    [
        (OLD, {"helpers": (1, 181)}, "kernel 5.4.0 has no helper bpf_loop (181) for XDP programs"),
        (
            MIDDLE,
            {"helpers": (181, 212)},
            "kernel 5.15.0 has no helpers bpf_loop (181), 212 for XDP programs",
        ),
        (NEW, {"helpers": (1, 181, 189)}, None),
        (OLD, {"helpers": (6, 36)}, None),
        (OLD, {"helpers": (130,)},
         "kernel 5.4.0 has no helper bpf_ringbuf_output (130) for XDP programs"),
        (OLD, {"map_types": ("hash", "ringbuf")}, "kernel 5.4.0 has no map type ringbuf"),
        (MIDDLE, {"map_types": ("hash", "ringbuf")}, None),
        (
            OLD,
            {"kernel_types": True},
            "kernel 5.4.0 has no BTF, which the program is relocated against (CO-RE)",
        ),
        (NEW, {"kernel_types": True}, None),
        (
            MIDDLE,
            {"fragments": True},
            "kernel 5.15.0 has no XDP programs for packets in several buffers (frags)",
        ),
        (NEW, {"fragments": True}, None),
        (NEW, {"kernel_functions": ("bpf_wq_init",)},
         "kernel 6.18.0 has no kernel function bpf_wq_init"),
        (NEW, {"kernel_functions": ("bpf_rcu_read_lock",)}, None),
        (NEW, {"kernel_functions": ("bpf_xdp_ct_lookup",)}, None),
        (OLD, {"kernel_functions": ("bpf_wq_init",)}, None),
        (
            NEW,
            {"helpers": (1, 25), "licence": "Proprietary"},
            f"kernel 6.18.0 has helper bpf_perf_event_output (25) {ONLY} 'Proprietary'",
        ),
        (NEW, {"helpers": (1,), "licence": "Proprietary"}, None),
        (
            NEW,
            {"kernel_functions": ("bpf_rcu_read_lock",), "licence": "MIT"},
            f"kernel 6.18.0 has kernel function bpf_rcu_read_lock {ONLY} 'MIT'",
        ),
    ],
)  # fmt: skip
def test_a_requirement_that_a_kernel_fails_is_named(
    release: str, requires: dict[str, Any], why: str | None
) -> None:
    """With the kernel and what it lacks; a kernel that fails none is chosen."""
    assert _lack(a_node_with("a", release), requires) == why


@pytest.mark.parametrize(
    ("features", "fields", "why"),
    [
        ({"tcx": False, "cls_bpf": True}, {"link": LinkWishes(attach="tcx")},
         "its kernel has no TCX and attach = tcx"),
        ({"tcx": False, "cls_bpf": True}, {}, None),
        ({"tcx": False}, {}, None),
        ({"tcx": False, "cls_bpf": False}, {},
         "its kernel has neither TCX nor cls_bpf, and the hook tc-ingress needs one"),
        ({"tcx": True, "cls_bpf": False}, {"link": LinkWishes(attach="cls_bpf")},
         "its kernel has no cls_bpf and attach = cls_bpf"),
        ({"tcx": False, "cls_bpf": True}, {"link": LinkWishes(position="first")},
         "its kernel has no TCX and position = first"),
        ({"tcx": False, "cls_bpf": True}, {"link": LinkWishes(end_verdict="ok")},
         "its kernel has no TCX and end_verdict = ok"),
    ],
)  # fmt: skip
def test_a_way_of_attaching_that_a_kernel_does_not_have_excludes_its_node(
    features: dict[str, bool], fields: dict[str, Any], why: str | None
) -> None:
    """Without TCX a chain is a cls_bpf filter, unless what was asked for needs TCX."""
    node = a_node_with("a", NEW, features=features)

    assert _lack(node, {}, hook="tc-ingress", **fields) == why


@pytest.mark.parametrize(
    ("attach", "driver", "xdp_features", "why"),
    [
        ("native", "veth", ("redirect",), NO_NATIVE),
        ("native", "veth", ("basic",), None),
        ("native", "veth", None, None),
        ("generic", "veth", (), None),
        ("auto", "veth", (), None),
        ("offload", "", ("basic",), "eth0's driver has no XDP in hardware and attach = offload"),
        ("offload", "nfp", ("basic", "hw-offload"), None),
    ],
)  # fmt: skip
def test_a_driver_that_cannot_do_what_is_asked_for_excludes_its_interface(
    attach: Any, driver: str, xdp_features: tuple[str, ...] | None, why: str | None
) -> None:
    """What the kernel does not say of a driver is left to the trial."""
    interface = Interface(name="eth0", index=1, driver=driver, xdp_features=xdp_features)
    node = msgspec.structs.replace(a_node_with("a", NEW), interfaces=(interface,))

    assert _lack(node, {}, link=LinkWishes(attach=attach)) == why


def test_interfaces_that_can_are_places_beside_those_that_cannot() -> None:
    """Only the others are said to be left out."""
    able = Interface(name="eth0", index=1, driver="ixgbe", xdp_features=("basic",))
    unable = Interface(name="eth1", index=2, driver="slow", xdp_features=())
    node = msgspec.structs.replace(a_node_with("a", NEW), interfaces=(able, unable))
    spec = a_spec(interfaces=("eth*",), link=LinkWishes(attach="native"))

    placing = place(spec, [view_node(node, None)])

    assert [one.interface for one in placing.places] == ["eth0"]
    assert [one.why for one in placing.excluded] == [
        "eth1's driver slow has no native XDP and attach = native"
    ]
    fleet = _fleet(node)
    record = draft_application(fleet, spec, a_demanding_package(), a_command(1)).record
    ahead = told(fleet.with_deployment(record))
    assert [one.stays for one in unfit_deployments(ahead.nodes["a"], ahead)] == [False]


def test_frags_that_a_deployment_asks_for_need_a_kernel_with_them() -> None:
    """And a program that declares them can be linked without."""
    node = a_node_with("a", MIDDLE)
    without = "kernel 5.15.0 has no XDP programs for packets in several buffers (frags)"

    assert _lack(node, {}, link=LinkWishes(frags="on")) == without
    assert _lack(node, {"fragments": True}, link=LinkWishes(frags="off")) is None


def test_a_kernel_without_programs_of_the_type_is_excluded_by_that() -> None:
    """Which is the first thing that is said."""
    capabilities = a_kernel(OLD, program_types=(), missing_program_types=("xdp",))
    node = a_node_with("a", OLD, capabilities=capabilities)

    assert _lack(node, {"helpers": (181,)}) == "kernel 5.4.0 has no XDP programs"


def test_a_kernel_without_programs_for_functions_can_have_iterators() -> None:
    """They are of the type that it is said not to have, and are tried by themselves."""
    kernel = kernel_abilities(a_kernel(OLD, program_types=(), missing_program_types=("tracing",)))
    requires = ProgramRequirements(licence="GPL")

    def lack(hook: Hook) -> str:
        return kernel_lack(kernel, hook, requires, fragments=False, probe_type="tracing")

    assert (lack("iterator"), lack("fentry")) == ("", "has no fentry programs")


def test_a_helper_that_the_loader_replaces_by_an_older_one_is_not_missing() -> None:
    """Libbpf calls bpf_probe_read where bpf_probe_read_kernel is not there."""
    types = (ProgramTypeSupport(name="xdp", helpers="1-4"),)
    node = a_node_with("a", OLD, capabilities=a_kernel(OLD, program_types=types))

    assert _lack(node, {"helpers": (1, 113)}) is None
    assert _lack(node, {"helpers": (115,)}) is not None


def test_a_record_that_contradicts_itself_says_nothing() -> None:
    """One node's damaged record does not stop the scheduler."""
    capabilities = a_kernel(OLD, gpl_only_helpers="many")
    node = a_node_with("a", OLD, capabilities=capabilities)

    assert _lack(node, {"helpers": (181,)}) is None


def test_without_any_able_node_the_refusal_names_what_each_lacks() -> None:
    """By node."""
    fleet = _fleet(a_node_with("a", OLD), a_node_with("b", MIDDLE))

    with pytest.raises(NoEligibleNodeError) as caught:
        _applied(fleet, helpers=(181,))

    assert rules(caught.value.reasons) == {
        "nodes.a": "kernel 5.4.0 has no helper bpf_loop (181) for XDP programs",
        "nodes.b": "kernel 5.15.0 has no helper bpf_loop (181) for XDP programs",
    }


def test_a_version_from_before_requirements_were_computed_excludes_nobody() -> None:
    """The trial on the node decides, as it did."""
    fleet = _fleet(a_node_with("a", OLD))
    package = a_demanding_package(helpers=(181,))
    bare = tuple(msgspec.structs.replace(one, programs=()) for one in package.elf)

    draft = draft_application(
        fleet, a_spec(), msgspec.structs.replace(package, elf=bare), a_command(1)
    )

    assert draft.plan.excluded == ()


def test_what_runs_on_a_node_that_loses_a_capability_stays_and_is_reported() -> None:
    """In the deployment's places, at the node, and once in the log."""
    running = _running(helpers=(181,))
    lost = _with_node(running, a_node_with("a", OLD))
    why = "kernel 5.4.0 has no helper bpf_loop (181) for XDP programs"

    derived = derive_desired(lost)
    status = deployment_status(
        lost.deployments["edge"], lost, all_observing(lost), silences={"a": HEARD}
    )

    assert not derived.changed
    assert [(one.state, one.why[0].rule) for one in status.places] == [
        ("running", f"it stays here, although {why}")
    ]
    assert [(one.why, one.stays) for one in unfit_deployments(lost.nodes["a"], lost)] == [
        (why, True)
    ]
    assert [(one.deployment, one.node, one.why) for one in stays(lost)] == [("edge", "a", why)]
    assert list(stays(running)) == []


def test_a_new_configuration_does_not_take_it_off_the_node_either() -> None:
    """The same program stays, with a warning; another one is not put there."""
    lost = _with_node(_running(helpers=(181,)), a_node_with("a", OLD), a_node_with("b", NEW))

    changed = _draft(lost, 2, config={"limits": {"80": 5}}, helpers=(181,))
    another = _draft(lost, 2, version="2.0.0", helpers=(181,))

    assert [one.node for one in changed.record.revisions[-1].placements] == ["a", "b"]
    (warning,) = changed.plan.warnings
    assert warning.startswith("it stays on a, where it runs already, although kernel 5.4.0 has no")
    assert [one.node for one in another.record.revisions[-1].placements] == ["b"]
    assert [one.node for one in another.plan.excluded] == ["a"]


def test_a_new_interface_of_an_unable_node_gets_nothing_and_the_node_says_why() -> None:
    """It would have, on an able one."""
    fleet = _with_node(_running(helpers=(181,)), a_node_with("a", NEW), a_node_with("b", OLD))

    assert "b" not in derive_desired(fleet).desired
    (unfit,) = unfit_deployments(fleet.nodes["b"], fleet)
    assert (unfit.deployment, unfit.stays) == ("edge", False)


def _fleet(*records: NodeRecord) -> Fleet:
    views = {one.node: view_node(one, None) for one in records}
    return Fleet(deployments={}, nodes=views, desired={})


def _with_node(fleet: Fleet, *records: NodeRecord) -> Fleet:
    views = {one.node: view_node(one, None) for one in records}
    return Fleet(fleet.deployments, {**fleet.nodes, **views}, fleet.desired)


def _draft(fleet: Fleet, number: int, *, version: str = "1.0.0", **fields: Any) -> Any:
    spec = a_spec(**{name: fields.pop(name) for name in ("config",) if name in fields})
    return draft_application(fleet, spec, a_demanding_package(version, **fields), a_command(number))


def _applied(fleet: Fleet, **requirements: Any) -> Fleet:
    return fleet.with_deployment(_draft(fleet, 1, **requirements).record)


def _running(**requirements: Any) -> Fleet:
    return told(_applied(_fleet(a_node_with("a", NEW)), **requirements))
