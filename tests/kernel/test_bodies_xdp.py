# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of XDP program stands in a chain, inline and called, and does what it does alone."""

from __future__ import annotations

import mmap
import socket
import struct
import time

import pytest

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.map_access import entries, update
from services.node_executor.adapters.programs import run_packet
from services.node_executor.linking.plan import LinkMode
from shared.contracts.node import XDP_VERDICTS
from shared.errors import RefusedError
from tests.support.kinds import MODES, PACKET, a_chain_around, a_kind, results, runs_after
from tests.support.tracepoints import attached_tracepoint

PASS = XDP_VERDICTS["pass"]
DEADLINE_SECONDS = 30.0

FOUND: dict[str, dict[int, int]] = {
    "uses_globals": {1: 2_040_701},
    "loops": {2: 120},
    "walks_map": {3: 36},
    "sets_timer": {4: 1},
    "calls_functions": {5: 36_064},
    "looks_inside": {6: 3},
    "fills_tables": {7: 771_111},
    "tells": {8: 2},
    "locks": {9: 50},
    "exchanges": {14: 7, 15: 1_773},
    "iterates": {16: 45_009},
    "older_root": {17: 1},
    "older_name": {18: 1},
    "named": {19: 1},
    "on_demand": {20: 1},
}
"""What each program finds in one packet of 64 bytes."""


def a_little(number: int, size_bytes: int = 4) -> bytes:
    """A number as programs store it."""
    return number.to_bytes(size_bytes, "little")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", FOUND)
def test_every_kind_of_program_does_in_a_chain_what_it_does_alone(
    function: str, mode: LinkMode
) -> None:
    """It finds what it finds alone, passes, and the next program runs."""
    with a_chain_around(a_kind(function), mode) as chain:
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert results(chain.maps[function.replace("_", "-")]) == FOUND[function]
        assert results(chain.maps["before"]) == {0: 1}
        assert runs_after(chain) == 1


@pytest.mark.parametrize("mode", MODES)
def test_global_variables_are_as_they_were_set_before_loading(mode: LinkMode) -> None:
    """Constants, arrays, data, zeroed data and a variable in a section of its own."""
    variables = {
        "factor": a_little(3),
        "label": bytes([0, 0, 0, 9]),
        "hidden": a_little(7, 2),
        "start": a_little(20, 8),
        "runs": a_little(4, 8),
    }

    with a_chain_around(a_kind("uses_globals", variables=variables), mode) as chain:
        run_packet(chain.program, PACKET)

        assert results(chain.maps["uses-globals"]) == {1: 3_000_000 + 90_000 + 800 + 20 + 5}


def test_a_constant_that_is_set_decides_what_the_verifier_keeps() -> None:
    """It is set before the program is verified, so code that it rules out is not even kept."""
    sizes = []
    for on in (0, 1):
        source = a_kind("is_optional", variables={"is_wanted": bytes([on])})
        with a_chain_around(source) as chain:
            run_packet(chain.program, PACKET)
            assert results(chain.maps["is-optional"]) == ({24: 1} if on else {})
            sizes.append(chain.info.xlated_bytes)

    assert sizes[0] < sizes[1]


def test_variables_that_do_not_fit_are_refused_all_at_once() -> None:
    """Each by its name, with what would fit."""
    variables = {"factor": bytes(8), "absent": bytes(4), "hidden": bytes(2)}

    with (
        pytest.raises(RefusedError) as refused,
        a_chain_around(a_kind("uses_globals", variables=variables)),
    ):
        pass

    assert {(reason.path, reason.got) for reason in refused.value.reasons} == {
        ("uses-globals.globals.factor", 8),
        ("uses-globals.globals.absent", "absent"),
    }


def test_a_variable_in_a_map_that_is_carried_over_keeps_its_value() -> None:
    """Constants belong to the code; counters of a running instance do not start again."""
    with a_chain_around(a_kind("uses_globals")) as first:
        run_packet(first.program, PACKET)
        maps = {name: found.handle for name, found in first.maps["uses-globals"].items()}
        variables = {"factor": a_little(1), "runs": a_little(50, 8)}
        source = a_kind("uses_globals", variables=variables, maps=maps)
        with a_chain_around(source) as second:
            run_packet(second.program, PACKET)

            assert results(second.maps["uses-globals"])[1] == 2_040_701 + 1_040_802


@pytest.mark.parametrize("mode", MODES)
def test_a_timer_rings_out_of_a_linked_chain(mode: LinkMode) -> None:
    """Its callback is a function of the linked program and runs later, without a packet."""
    with a_chain_around(a_kind("sets_timer"), mode) as chain:
        run_packet(chain.program, PACKET)
        alarms = chain.maps["sets-timer"]["alarms"].handle
        deadline = time.monotonic() + DEADLINE_SECONDS
        while struct.unpack_from("<Q", dict(entries(alarms))[bytes(4)], 16) != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.001)


@pytest.mark.parametrize("mode", MODES)
def test_an_inner_map_that_is_put_in_later_is_found(mode: LinkMode) -> None:
    """The linked program reads the same outer map as everybody else."""
    with a_chain_around(a_kind("looks_inside"), mode) as chain:
        maps = chain.maps["looks-inside"]
        update(maps["outer_hash"].handle, a_little(0), a_little(maps["first_inner"].handle.fd))
        run_packet(chain.program, PACKET)

        assert results(maps) == {6: 103}


@pytest.mark.parametrize("mode", MODES)
def test_a_message_arrives_in_user_space(mode: LinkMode) -> None:
    """A record lies in the ring buffer behind its header of 8 bytes (Documentation/bpf/ringbuf)."""
    with a_chain_around(a_kind("tells"), mode) as chain:
        run_packet(chain.program, PACKET)
        ring = chain.maps["tells"]["messages"]
        with mmap.mmap(ring.handle.fd, 2 * 4096, prot=mmap.PROT_READ, offset=4096) as pages:
            assert struct.unpack_from("<Q", pages) == (16,)
            assert struct.unpack_from("<I4xQ", pages, 4096) == (8, 0xABCD)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "map_name", "value"),
    [
        ("to_device", "devices", a_little(socket.if_nametoindex("lo"))),
        ("to_processor", "processors", a_little(64)),
        ("to_socket", "devices_by_key", a_little(socket.if_nametoindex("lo"))),
    ],
)
def test_a_redirect_leaves_the_chain_and_a_redirect_to_nowhere_does_not(
    function: str, map_name: str, value: bytes, mode: LinkMode
) -> None:
    """The chain goes on after pass, which an empty redirect map answers, and not after redirect."""
    with a_chain_around(a_kind(function), mode) as chain:
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert runs_after(chain) == 1
        target = chain.maps[function.replace("_", "-")][map_name]
        update(target.handle, a_little(0), value)

        assert run_packet(chain.program, PACKET).verdict == XDP_VERDICTS["redirect"]
        assert runs_after(chain) == 1


@pytest.mark.parametrize("function", ["jumps", "jumps_below"])
def test_a_program_s_own_tail_calls_come_back_to_the_chain(function: str) -> None:
    """Its array holds programs of its object from the start; what it jumps to answers for it."""
    with a_chain_around(a_kind(function)) as chain:
        assert chain.plan.bodies[1].mode == "call-global"
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert results(chain.maps[function.replace("_", "-")]) == {10: 1} | (
            {12: 1} if function == "jumps_below" else {}
        )
        assert runs_after(chain) == 1


def test_each_program_has_the_loop_budget_that_it_has_alone() -> None:
    """A program with may_goto is called, because the budget is one for a function."""
    with a_chain_around(a_kind("may_loop")) as chain:
        assert chain.plan.bodies[1].mode == "call-global"
        run_packet(chain.program, PACKET)

        assert results(chain.maps["may-loop"]) == {13: 100}
        assert runs_after(chain) == 1


def test_of_an_object_with_several_programs_only_the_chosen_one_is_loaded() -> None:
    """The one that watches system calls is not: its place is no hook of a chain."""
    with a_chain_around(a_kind("named")) as chain:
        assert set(chain.maps["named"]) >= {"results", "prices"}

    with pytest.raises(RefusedError, match="not for xdp"), a_chain_around(a_kind("watches")):
        pass


def test_two_programs_of_one_object_share_a_map_that_is_given_to_both() -> None:
    """As they would if one process had loaded the object."""
    with a_chain_around(a_kind("named")) as first:
        given = {"results": first.maps["named"]["results"].handle}
        with a_chain_around(a_kind("on_demand", maps=given)) as second:
            run_packet(first.program, PACKET)
            run_packet(second.program, PACKET)

            assert results(first.maps["named"]) == {19: 1, 20: 1}


def test_the_rest_of_an_object_runs_elsewhere_on_the_same_maps() -> None:
    """A filter in a chain drops once the tracepoint of its object, loaded apart, said so."""
    source = a_kind("drops_while_busy", object_name="watched")
    with a_chain_around(source) as chain:
        assert run_packet(chain.program, PACKET).verdict == PASS
        busy = chain.maps["drops-while-busy"]["busy"].handle
        with attached_tracepoint(source.data, "says_busy", {"busy": busy}):
            assert run_packet(chain.program, PACKET).verdict == XDP_VERDICTS["drop"]


def test_all_kinds_stand_in_one_chain_together() -> None:
    """Each still finds what it finds alone, and types of all are in one BTF."""
    sources = [a_kind(function) for function in FOUND]
    with link_chain(sources, "xdp", name="all") as chain:
        assert run_packet(chain.program, PACKET).verdict == PASS
        for function, found in FOUND.items():
            assert results(chain.maps[function.replace("_", "-")]) == found
