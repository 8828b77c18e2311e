# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What hooks, links and arrays of programs do that the linker has to know; by rule.

Nothing of the linker is used, but programs of the corpus are.
"""

from __future__ import annotations

import errno
import gc
import subprocess
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters import kernel_info, pins
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.map_access import entries, lookup
from services.node_executor.adapters.programs import run_packet
from shared.contracts.node import TC_VERDICTS
from tests.support.capabilities import BPF, NET_ADMIN, SYS_ADMIN, without
from tests.support.chain_corpus import TestProgram, program
from tests.support.chain_reference import loaded_apart
from tests.support.hand_attached import a_frame, a_link, frames_that_pass, link, swap
from tests.support.hand_linked import (
    ATTACH_XDP,
    DEVICE_BOUND,
    HAS_FRAGS,
    PASSING,
    PROGRAM_ARRAY,
    SCHED_CLS,
    TCX_EGRESS,
    TCX_INGRESS,
    Code,
    Kernel,
    add,
    kernel_call,
    kernel_function,
    move,
    put,
    returning,
    tail_calling,
    types,
)
from tests.support.interfaces import DEADLINE_SECONDS, Veth, program_exists

UNSPEC = returning(-1)
TIMER = TestProgram("xdp", "xdp_timers", "starts_timer")
LAST = a_frame(TC_VERDICTS["ok"] + 1, 255)


def frames() -> dict[str, bytes]:
    """A frame for each verdict that `obeys` then gives."""
    return {name: a_frame(value + 1, value + 1) for name, value in TC_VERDICTS.items()}


def test_tcx_verdicts_all_but_shot_and_redirect_let_the_packet_pass(veth: Veth) -> None:
    """Stolen, queued and trap too, so at the end of a chain they are translated."""
    sources = [program("tc-ingress", name).source(("ok",)) for name in ("obeys", "counts_by_byte")]
    sent = frames()

    with (
        loaded_apart(sources, "tc-ingress") as (obeys, counts),
        a_link(obeys.program, veth.index, TCX_INGRESS),
        a_link(counts.program, veth.index, TCX_INGRESS),
    ):
        passed = frames_that_pass(veth, list(sent.values()), last=LAST)
        seen_by_next = {key[0] - 1 for key, _ in entries(counts.maps["by_byte"].handle)}

    stopped = {name for name, frame in sent.items() if frame not in passed}
    assert stopped == {"shot", "redirect"}
    assert seen_by_next == {TC_VERDICTS["unspec"]}


def test_end_verdict_ok_hides_the_programs_of_other_owners(kernel: Kernel, veth: Veth) -> None:
    """Unspec lets them run, so a chain that ran to its end returns that unless told otherwise."""
    counts = program("tc-ingress", "counts_by_byte").source(("ok",))
    seen = {}
    for name in ("ok", "unspec"):
        ours = kernel.loaded(returning(TC_VERDICTS[name]), kind=SCHED_CLS)
        with (
            loaded_apart([counts], "tc-ingress") as (theirs,),
            a_link(ours, veth.index, TCX_INGRESS),
            a_link(theirs.program, veth.index, TCX_INGRESS),
        ):
            frames_that_pass(veth, [a_frame(7)], last=LAST)
            seen[name] = len(list(entries(theirs.maps["by_byte"].handle)))

    assert seen == {"ok": 0, "unspec": 2}


def test_tcx_verdicts_stolen_and_trap_end_a_packet_under_cls_bpf(veth: Veth) -> None:
    """There the verdicts mean what their names say, so they stay as they are."""
    sent = {name: frames()[name] for name in ("ok", "shot", "stolen", "trap", "unspec", "pipe")}
    pinned = PurePosixPath(f"/sys/fs/bpf/l3af_rule_{veth.name}/obeys")
    with loaded_apart([program("tc-ingress", "obeys").source(("ok",))], "tc-ingress") as (obeys,):
        pins.prepare_pin_directory(pinned.parent)
        pins.pin(obeys.program, pinned)
        try:
            for command in (
                f"tc qdisc add dev {veth.name} clsact",
                f"tc filter add dev {veth.name} ingress bpf da object-pinned {pinned}",
            ):
                subprocess.run(command.split(), check=True)
            passed = frames_that_pass(veth, list(sent.values()), last=LAST)
        finally:
            pins.unpin(pinned, base=pinned.parent)
            Path(pinned.parent).rmdir()

    assert {name for name, frame in sent.items() if frame not in passed} == {
        *("shot", "stolen", "trap"),
    }


def test_frags_an_array_of_programs_takes_one_kind_only(kernel: Kernel) -> None:
    """EINVAL when writing, and when loading without a word in the log: no segment helps there."""
    array = kernel.map(PROGRAM_ARRAY, value=4, entries=2)
    kernel.loaded(tail_calling(array, 1, 2))

    assert kernel.put_program(array, 1, kernel.loaded(PASSING)) == 0
    assert kernel.put_program(array, 1, kernel.loaded(PASSING, flags=HAS_FRAGS)) == errno.EINVAL
    refused = kernel.load(tail_calling(array, 1, 2), flags=HAS_FRAGS, log_level=1)
    assert refused.number == errno.EINVAL
    assert "processed" in refused.log or not refused.log.strip()
    assert "frags" not in refused.log


def test_attach_type_an_array_of_programs_takes_one_type_only(kernel: Kernel) -> None:
    """Ingress, egress and none refuse one another, so all programs of a hook get the same."""
    array = kernel.map(PROGRAM_ARRAY, value=4, entries=2)
    kernel.loaded(tail_calling(array, 1, 0), kind=SCHED_CLS)

    for attach_type in (TCX_EGRESS, 0):
        other = kernel.loaded(UNSPEC, kind=SCHED_CLS, attach_type=attach_type)
        assert kernel.put_program(array, 1, other) == errno.EINVAL
        refused = kernel.load(tail_calling(array, 1, 0), kind=SCHED_CLS, attach_type=attach_type)
        assert refused.number == errno.EINVAL


def test_device_bound_programs_can_neither_be_tail_called_nor_tried(
    kernel: Kernel, veth: Veth
) -> None:
    """So such a body can only be in the first segment, and a chain with it is not tried."""
    reads: Code = (
        *(put(8, 10, -8, 0), move(2, 10), add(2, -8)),
        kernel_call(kernel_function("bpf_xdp_metadata_rx_timestamp")),
        *PASSING,
    )
    named = [(0, types().static)]
    array = kernel.map(PROGRAM_ARRAY, value=4, entries=2)
    kernel.loaded(tail_calling(array, 1, 2))

    unbound = kernel.load(reads, functions=named)
    bound = kernel.loaded(reads, functions=named, flags=DEVICE_BOUND, interface_index=veth.index)

    assert "metadata kfuncs require device-bound program" in unbound.log
    assert kernel.put_program(array, 1, bound) == errno.EINVAL
    with pytest.raises(KernelFaultError, match="EINVAL"):
        run_packet(bound, bytes(64))


@pytest.mark.parametrize("attach_type", [ATTACH_XDP, TCX_INGRESS])
def test_generations_a_stale_writer_wins_after_a_b_a(
    kernel: Kernel, veth: Veth, attach_type: int
) -> None:
    """EPERM for who expects the wrong program, but after a rollback the stale one is right."""
    kind, code = (SCHED_CLS, UNSPEC) if attach_type == TCX_INGRESS else (6, PASSING)
    first, second, stale = (kernel.loaded(code, kind=kind) for _ in range(3))

    with a_link(first, veth.index, attach_type) as held:
        assert swap(held, stale, expected=second) == errno.EPERM
        assert swap(held, second, expected=first) == 0
        assert swap(held, first, expected=second) == 0
        assert swap(held, stale, expected=first) == 0


def test_generations_who_holds_the_link_needs_no_capability(kernel: Kernel, veth: Veth) -> None:
    """The descriptor is all it takes, so nothing but the generation lock is in between."""
    first, second = kernel.loaded(PASSING), kernel.loaded(PASSING)

    with a_link(first, veth.index, ATTACH_XDP) as held, without(BPF, NET_ADMIN, SYS_ADMIN):
        assert swap(held, second, expected=first) == 0
        with pytest.raises(KernelFaultError, match="EPERM"):
            kernel_info.program_by_id(1)


def test_hook_one_xdp_program_and_which_attach_types_a_link_takes(
    kernel: Kernel, veth: Veth
) -> None:
    """EBUSY for a second XDP link; TCX takes programs of any attach type, XDP does not."""
    xdp, bare = kernel.loaded(PASSING), kernel.loaded(PASSING, attach_type=0)
    egress = kernel.loaded(UNSPEC, kind=SCHED_CLS, attach_type=TCX_EGRESS)
    ingress = kernel.loaded(UNSPEC, kind=SCHED_CLS)

    with a_link(xdp, veth.index, ATTACH_XDP) as held:
        assert link(xdp, veth.index, ATTACH_XDP) == (None, errno.EBUSY)
        assert swap(held, bare) == errno.EINVAL
        assert swap(held, ingress) == errno.EINVAL
    with a_link(ingress, veth.index, TCX_INGRESS) as held:
        assert swap(held, egress) == 0


def test_hook_a_program_without_frags_is_refused_on_a_large_mtu(kernel: Kernel, veth: Veth) -> None:
    """ERANGE for the swap, though the flag may be changed while packets are small."""
    frags, plain = kernel.loaded(PASSING, flags=HAS_FRAGS), kernel.loaded(PASSING)

    with a_link(plain, veth.index, ATTACH_XDP) as held:
        assert (swap(held, frags), swap(held, plain)) == (0, 0)
    with a_link(frags, veth.index, ATTACH_XDP) as held:
        for name in (veth.name, veth.peer):
            subprocess.run(("ip", "link", "set", name, "mtu", "9000"), check=True)
        assert swap(held, plain) == errno.ERANGE


def test_hook_the_link_of_a_vanished_interface_answers_nolink(kernel: Kernel, veth: Veth) -> None:
    """The link lives on and holds nothing."""
    first, second = kernel.loaded(PASSING), kernel.loaded(PASSING)

    with a_link(first, veth.index, ATTACH_XDP) as held:
        subprocess.run(("ip", "link", "del", veth.name), check=True)
        assert swap(held, second, expected=first) == errno.ENOLINK


def test_timers_keep_the_program_of_their_callback() -> None:
    """An old generation never goes while its timer runs, and the next one cannot take over."""
    with loaded_apart([TIMER.source(("pass",))], "xdp") as (body,):
        run_packet(body.program, bytes(64))
        program_id = kernel_info.program_info(body.program.fd).id
        timers = body.maps["timers"]
        with kernel_info.map_by_id(timers.info.id) as kept:
            wait_for_more_rounds(kept)
            again = TIMER.source(("pass",), maps={"timers": replace(timers, handle=kept)})
            body.close()
            gc.collect()
            assert program_exists(program_id)
            with loaded_apart([again], "xdp") as (following,):
                run_packet(following.program, bytes(64))
                assert following.maps["timers"].is_carried_over
                wait_for_more_rounds(kept)
                assert program_exists(program_id)


def wait_for_more_rounds(timers: Descriptor) -> None:
    """The timer has fired once more."""
    before = lookup(timers, bytes(4))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while lookup(timers, bytes(4)) == before:
        assert time.monotonic() < deadline
        time.sleep(0.001)
