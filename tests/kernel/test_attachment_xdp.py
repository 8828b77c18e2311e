# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""XDP in the driver, behind it or in hardware: what was asked for, or why not."""

from __future__ import annotations

import msgspec
import pytest
from pyroute2 import IPRoute

from services.node_executor.adapters import hooks, xdp_netlink
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.interface_facts import read_interface_facts
from services.node_executor.attachment import AttachmentRefusedError
from services.node_executor.generations import Point
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import AttachChoice, FragsChoice, LinkOptions
from shared.errors import RefusedError
from tests.support.chain_reference import a_source
from tests.support.executors import Executor, Wire, a_chain, a_program
from tests.support.interfaces import Veth

JUMBO = 9000


pytestmark = pytest.mark.usefixtures("nothing_leaks")


def make_jumbo(*interfaces: str) -> None:
    """Their MTU is 9,000 bytes."""
    with IPRoute() as route:
        for name in interfaces:
            route.link("set", index=route.link_lookup(ifname=name)[0], mtu=JUMBO)


def a_plain_chain() -> LinkedChain:
    """A chain that does not take packets in several buffers."""
    return link_chain([a_source("passes")], "xdp", name="plain")


def a_chain_with_frags() -> LinkedChain:
    """A chain that does."""
    return link_chain([a_source("reads_frags")], "xdp", name="frags")


def wanting(wire: Wire, **options: object) -> DesiredChain:
    """A chain with these link options."""
    link = msgspec.convert(options, LinkOptions)
    return msgspec.structs.replace(a_chain(wire.name, a_program("one")), link=link)


@pytest.mark.parametrize("choice", ["native", "generic"])
def test_a_way_that_is_asked_for_is_the_way_it_runs(veth: Veth, choice: AttachChoice) -> None:
    """As the kernel says afterwards."""
    with a_plain_chain() as chain:
        made = hooks.attach(chain.program, veth.index, "xdp", hook_point="p", choice=choice)
        with made.link:
            assert made.kind == f"xdp-{choice}" == xdp_netlink.kind_on(veth.index)
            assert made.reason == ""


def test_a_refusal_of_the_driver_is_given_in_its_words(veth: Veth) -> None:
    """Native was asked for, so generic is not taken in silence."""
    make_jumbo(veth.name, veth.peer)

    with a_plain_chain() as chain, pytest.raises(AttachmentRefusedError) as caught:
        hooks.attach(chain.program, veth.index, "xdp", hook_point="p", choice="native")

    message = caught.value.message
    assert caught.value.refusal_code == "unsupported_by_kernel"
    for part in ("driver veth", "Peer MTU is too large to set XDP", "ERANGE", "9000", "frags"):
        assert part in message
    assert xdp_netlink.kind_on(veth.index) == ""


def test_what_falls_back_says_why(veth: Veth) -> None:
    """The driver's words are kept as the reason for generic."""
    make_jumbo(veth.name, veth.peer)

    with a_plain_chain() as chain:
        made = hooks.attach(chain.program, veth.index, "xdp", hook_point="p")
        with made.link:
            assert made.kind == "xdp-generic"
            assert "Peer MTU is too large to set XDP (ERANGE)" in made.reason


def test_hardware_that_cannot_is_refused(veth: Veth) -> None:
    """No driver here runs programs on its device."""
    with a_plain_chain() as chain, pytest.raises(AttachmentRefusedError) as caught:
        hooks.attach(chain.program, veth.index, "xdp", hook_point="p", choice="offload")

    assert "refused xdp-offload" in caught.value.message


def test_a_chain_without_frags_does_not_follow_one_with_them_at_a_large_mtu(veth: Veth) -> None:
    """The driver refuses the swap, the refusal says why, and what ran goes on."""
    make_jumbo(veth.name, veth.peer)

    with a_chain_with_frags() as first, a_plain_chain() as second:
        made = hooks.attach(first.program, veth.index, "xdp", hook_point="p", choice="native")
        with made.link as link:
            with pytest.raises(AttachmentRefusedError) as caught:
                hooks.replace_program(link, second.program, expected_id=first.info.id)

            assert "ERANGE" in caught.value.message
            assert "MTU is 9000" in caught.value.message
            assert xdp_netlink.program_on(veth.index) == first.info.id


def test_frags_may_be_dropped_at_an_ordinary_mtu(veth: Veth) -> None:
    """A packet fits one buffer."""
    with a_chain_with_frags() as first, a_plain_chain() as second:
        made = hooks.attach(first.program, veth.index, "xdp", hook_point="p", choice="native")
        with made.link as link:
            hooks.replace_program(link, second.program, expected_id=first.info.id)

            assert xdp_netlink.program_on(veth.index) == second.info.id


@pytest.mark.parametrize(("frags", "kind"), [("on", "xdp-native"), ("off", "xdp-generic")])
def test_frags_can_be_forced(veth: Veth, frags: FragsChoice, kind: str) -> None:
    """The operator declares for programs what they do not declare themselves, or takes it back."""
    make_jumbo(veth.name, veth.peer)
    function = "passes" if frags == "on" else "reads_frags"
    policy = LinkPolicy(hook="xdp", frags=frags)

    with link_chain([a_source(function)], "xdp", name="forced", policy=policy) as chain:
        made = hooks.attach(chain.program, veth.index, "xdp", hook_point="p")
        with made.link:
            assert made.kind == kind


def test_what_is_known_of_an_interface(veth: Veth) -> None:
    """Driver, MTU, merged packets, and what the driver says of XDP."""
    facts = read_interface_facts(veth.name, veth.index)

    assert (facts.name, facts.driver, facts.mtu) == (veth.name, "veth", 1500)
    assert facts.xdp_features is None or "basic" in facts.xdp_features
    assert not facts.has_receive_offload


def test_what_is_gone_is_not_known() -> None:
    """And nothing fails."""
    facts = read_interface_facts("absent", 2_000_000_000)

    assert (facts.driver, facts.mtu, facts.xdp_features) == ("", 0, None)


def test_words_of_a_refusal_leave_nothing_on_the_interface(veth: Veth) -> None:
    """Should the second attempt succeed where the first did not, it is taken back."""
    with a_plain_chain() as chain:
        words = xdp_netlink.words_of_refusal(veth.index, chain.program, "xdp-native")

        assert words == ""
        assert xdp_netlink.program_on(veth.index) == 0


def test_loopback_is_refused_before_anything_is_linked(executor: Executor) -> None:
    """The kernel says beforehand that there is no driver for it."""
    wire = Wire("lo", "lo")

    with pytest.raises(RefusedError) as caught:
        executor.points.admit(Point("lo", "xdp"), wanting(wire, attach="native"))

    assert caught.value.reasons[0].path == "link.attach"
    assert caught.value.reasons[0].allowed == ["auto", "generic"]


def test_offload_is_refused_before_anything_is_linked(executor: Executor, wire: Wire) -> None:
    """With what the interface offers instead."""
    with pytest.raises(RefusedError) as caught:
        executor.points.admit(Point(wire.name, "xdp"), wanting(wire, attach="offload"))

    assert "veth" in caught.value.message
    assert caught.value.reasons[0].got == "offload"


def test_the_way_is_reported_with_its_reason_also_after_a_restart(
    executor: Executor, wire: Wire
) -> None:
    """Another process repeats the words of the moment when it was attached."""
    make_jumbo(wire.name, wire.peer)
    point, chain = Point(wire.name, "xdp"), wanting(wire)
    executor.settle(chain, point, 1)
    before = executor.points.describe(point, chain, desired_generation=1)

    executor.stop()
    executor.start()
    after = executor.points.describe(point, chain, desired_generation=1)

    assert (before.attachment, before.xdp_mode) == ("xdp-generic", "generic")
    assert "Peer MTU is too large" in before.attachment_reason
    assert after == before


def test_another_way_for_the_same_program_attaches_it_anew(executor: Executor, wire: Wire) -> None:
    """Nothing is linked, and counters go on."""
    point = Point(wire.name, "xdp")
    executor.settle(wanting(wire), point, 1)
    program_id = executor.kernel.observe(point).link_program_id

    was_linked = executor.settle(wanting(wire, attach="generic"), point, 2)

    hook = executor.kernel.observe(point)
    assert (hook.attachment, hook.link_program_id) == ("xdp-generic", program_id)
    assert not was_linked


def test_a_way_that_is_refused_leaves_the_chain_as_it_was(executor: Executor, wire: Wire) -> None:
    """It runs behind the driver, which does not take it at this MTU."""
    point = Point(wire.name, "xdp")
    make_jumbo(wire.name, wire.peer)
    executor.settle(wanting(wire, attach="generic"), point, 1)
    before = executor.kernel.observe(point)

    with pytest.raises(AttachmentRefusedError):
        executor.settle(wanting(wire, attach="native"), point, 2)

    after = executor.kernel.observe(point)
    assert (after.attachment, after.link_program_id) == ("xdp-generic", before.link_program_id)
