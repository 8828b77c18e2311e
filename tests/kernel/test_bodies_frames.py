# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that ask more of the device: packets in several buffers, and what its driver knows."""

from __future__ import annotations

import errno
import time

import pytest

from services.node_executor.adapters import hooks
from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.program_array import fill_program_array, make_program_array
from services.node_executor.adapters.programs import run_packet
from services.node_executor.linking.plan import LinkPolicy, LinkRefusedError
from shared.contracts.node import XDP_VERDICTS
from tests.support.executors import send_frames
from tests.support.interfaces import a_veth
from tests.support.kinds import PACKET, a_kind, results

LARGE = bytes(8000)
"""More than a page, so it lies in several buffers."""
PASS = XDP_VERDICTS["pass"]
DEADLINE_SECONDS = 30.0
ASKS = a_kind("asks_driver", object_name="metadata")


def test_programs_that_read_fragments_make_a_chain_that_does() -> None:
    """The section says so; the linked program gets packets of several buffers as they are."""
    sources = [a_kind("reads_parts", name=name) for name in "ab"]

    with link_chain(sources, "xdp", name="parts") as chain:
        assert chain.plan.has_frags
        assert run_packet(chain.program, LARGE).verdict == PASS
        assert [results(chain.maps[name]) for name in "ab"] == [{22: 8000}] * 2


def test_the_choice_of_the_operator_decides_for_all_programs() -> None:
    """On: also those that do not say so get large packets.  Off: none does."""
    sources = [a_kind("goes_on"), a_kind("reads_parts")]
    with pytest.raises(LinkRefusedError, match="on or off, is for all of them"):
        link_chain(sources, "xdp", name="parts")

    on = LinkPolicy(hook="xdp", frags="on")
    off = LinkPolicy(hook="xdp", frags="off")
    with (
        link_chain(sources, "xdp", name="parts", policy=on) as chain,
        link_chain(sources, "xdp", name="whole", policy=off) as other,
        make_program_array(2) as array,
    ):
        assert run_packet(chain.program, LARGE).verdict == PASS
        assert results(chain.maps["reads-parts"]) == {22: 8000}
        assert results(chain.maps["goes-on"]) == {0: 1}

        assert run_packet(other.program, PACKET).verdict == PASS
        # The kernel mixes the two kinds in no program array.
        fill_program_array(array, (chain.program, chain.program))
        with pytest.raises(KernelFaultError) as refused:
            fill_program_array(array, (chain.program, other.program))
        assert refused.value.number == errno.EINVAL


def test_own_tail_calls_agree_with_the_operator_s_choice() -> None:
    """What its own array holds is loaded with the same flag, or the array would refuse it."""
    policy = LinkPolicy(hook="xdp", frags="on")

    with link_chain([a_kind("jumps"), a_kind("goes_on")], "xdp", name="p", policy=policy) as chain:
        assert run_packet(chain.program, LARGE).verdict == PASS
        assert results(chain.maps["jumps"]) == {10: 1}
        assert results(chain.maps["goes-on"]) == {0: 1}


def test_a_program_that_asks_the_driver_is_linked_for_its_device() -> None:
    """With real packets, because the kernel runs such a program on its device only."""
    sources = [a_kind("goes_on", name="before"), ASKS, a_kind("goes_on", name="after")]
    with (
        a_veth() as veth,
        link_chain(sources, "xdp", name="bound", interface_index=veth.index) as chain,
    ):
        assert chain.plan.segments[0].is_device_bound
        with pytest.raises(KernelFaultError) as refused:
            run_packet(chain.program, PACKET)
        assert refused.value.number == errno.EINVAL
        with hooks.attach(chain.program, veth.index, "xdp", hook_point=veth.name).link:
            send_frames(veth.peer, 3)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while results(chain.maps["after"]).get(0, 0) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        # The driver knew the time of every packet.
        passed = results(chain.maps["after"])[0]
        assert results(chain.maps["asks-driver"]) == {1: 1000 * passed}


def test_without_a_device_it_is_refused_by_rule() -> None:
    """Nothing is loaded: the interface is not there, or not known."""
    with pytest.raises(LinkRefusedError, match="for an interface only"):
        link_chain([ASKS], "xdp", name="bound")


def test_the_kernel_enters_a_bound_program_from_the_hook_only() -> None:
    """So it is in the head segment, and a program array does not take it."""
    with (
        a_veth() as veth,
        link_chain([ASKS], "xdp", name="bound", interface_index=veth.index) as chain,
        make_program_array(2) as array,
        pytest.raises(KernelFaultError) as refused,
    ):
        fill_program_array(array, (chain.program, chain.program))

    assert refused.value.number == errno.EINVAL
