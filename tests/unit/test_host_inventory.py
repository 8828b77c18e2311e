# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which programs of a kernel are the executor's, and how inventories are shown."""

from __future__ import annotations

from io import StringIO
from pathlib import PurePosixPath

import msgspec
import pytest
from rich.console import Console

from cli.node_capabilities import capability_rows, hook_points_row, slot_words, xdp_words
from cli.node_ebpf import joined, render_programs
from services.node_executor.generations import ChainMemory, Generation, Pending, Point
from services.node_executor.managed_programs import program_roles, role_of
from services.scheduler.status import in_a_list
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.desired import Cause
from shared.contracts.ebpf import (
    MAX_LISTED,
    MAX_NAME_CHARACTERS,
    MAX_PARTS,
    EbpfAttachment,
    EbpfListed,
    EbpfOwner,
    EbpfProgram,
)
from shared.contracts.interfaces import Interface
from shared.contracts.node import ObservedChain, TakenSlot
from shared.contracts.scheduler import NodeStatus
from tests.fleets import a_node_record
from tests.support.executors import a_chain, a_program
from tests.support.operator_mode import MAX_PAYLOAD_BYTES

BASE = PurePosixPath("/sys/fs/bpf/l3af/n1")


def a_generation(program_id: int, *segments: int) -> Generation:
    """One that was put on a hook."""
    chain = a_chain("eth0", a_program("one"))
    return Generation(
        number=1, pin=1, plan_sha256="", chain=chain, program_id=program_id, segments=segments
    )


def a_memory(boot_id: str = "now") -> ChainMemory:
    """Two generations, and a third on its way."""
    pending = Pending(
        kind="attach",
        generation=a_generation(30),
        desired_generation=1,
        cause=Cause(command_id=""),
    )
    return ChainMemory(
        interface="eth0",
        hook="xdp",
        current=a_generation(10, 11),
        previous=a_generation(20),
        pending=pending,
        boot_id=boot_id,
    )


def test_every_program_that_could_run_has_a_role() -> None:
    """Segments too, and what is staged for another hook."""
    roles = program_roles([a_memory()], {Point("eth1", "xdp"): (40, 41)}, boot_id="now")

    assert roles == {
        10: "eth0/xdp current",
        11: "eth0/xdp current",
        20: "eth0/xdp previous",
        30: "eth0/xdp coming",
        40: "eth1/xdp staged",
        41: "eth1/xdp staged",
    }


def test_numbers_of_an_earlier_boot_say_nothing() -> None:
    """The kernel counts from one again."""
    assert program_roles([a_memory("before")], {}, boot_id="now") == {}


def test_a_previous_generation_that_is_not_pinned_is_somebody_elses() -> None:
    """It can be of an earlier boot than the current one."""
    roles = program_roles([a_memory()], {}, boot_id="now")
    pin = f"{BASE}/eth0/xdp/generations/1/head"

    assert role_of(20, [], roles, base=BASE) == ""
    assert role_of(20, [pin], roles, base=BASE) == "eth0/xdp previous"
    assert role_of(10, [], roles, base=BASE) == "eth0/xdp current"


def test_what_is_pinned_in_the_executors_directory_is_its_own() -> None:
    """Even if its memory was lost; a directory whose name begins alike is another's."""
    assert role_of(7, [f"{BASE}/eth0/xdp/link"], {}, base=BASE) == "pinned"
    assert role_of(7, [f"{BASE}0/eth0/xdp/link"], {}, base=BASE) == ""


def _shown(renderable: object) -> str:
    console = Console(width=250, record=True, file=StringIO())
    console.print(renderable)
    return console.export_text()


def a_listed(**changes: object) -> EbpfProgram:
    """A program of somebody else."""
    program = EbpfProgram(
        id=7,
        type="kprobe",
        name="evil\x1b[31m",
        tag="0123456789abcdef",
        owners=(EbpfOwner(pid=12, command="agent"),),
        owner_count=3,
        attachments=(EbpfAttachment(kind="tracing", link_id=4),),
        attachment_count=1,
    )
    return msgspec.structs.replace(program, **changes)


def test_programs_are_shown_with_owners_and_what_was_left_out() -> None:
    """Escaped, as every text that a node gives."""
    ours = a_listed(id=8, name="chain", managed=True, role="eth0/xdp current", gpl_compatible=True)
    pages = [
        EbpfListed(node="n1", programs=(a_listed(),), has_more=True, total=2, notes=("cut",)),
        EbpfListed(node="n1", programs=(ours,), total=2, managed_total=1, notes=("cut",)),
    ]

    shown = _shown(render_programs(joined(pages)))

    assert "n1: 2 programs, 1 not managed" in shown
    assert "evil\\x1b[31m" in shown
    assert "agent (12)" in shown
    assert "and 2 more" in shown
    assert "tracing (link 4)" in shown
    assert "eth0/xdp current" in shown
    assert shown.count("note: cut") == 1


def test_the_longest_page_fits_into_a_message() -> None:
    """With every part as long as it can be."""
    text = "\U0001f41d" * MAX_NAME_CHARACTERS
    longest = a_listed(
        name="x" * 15,
        role=text,
        owners=(EbpfOwner(pid=2**31, command="c" * 15),) * MAX_PARTS,
        pins=(text,) * MAX_PARTS,
        attachments=(EbpfAttachment(kind="tracing", target="t" * 64, link_id=2**32 - 1),)
        * MAX_PARTS,
    )
    page = EbpfListed(node="n" * 63, programs=(longest,) * MAX_LISTED, total=10**6)

    assert len(msgspec.json.encode(page)) < MAX_PAYLOAD_BYTES


KNOWN = Capabilities(
    kernel_build="6.12.0 #1",
    build_id="ab" * 20,
    program_types=(ProgramTypeSupport(name="xdp", helpers="1-3,25"),),
    missing_program_types=("lsm",),
    missing_map_types=("arena",),
    helper_count=211,
    gpl_only_helpers="25",
    kernel_functions=("bpf_ct_release",),
    kernel_functions_are_known=True,
    cgroup="2",
)


def test_capabilities_are_summed_up_in_a_few_lines() -> None:
    """What is missing is named."""
    rows = capability_rows(KNOWN)

    assert rows["program types"] == "1, not lsm"
    assert rows["map types"] == "all but arena"
    assert rows["helpers"] == "211, xdp 4, 1 for GPL-compatible programs"
    assert rows["kernel functions"] == "1"
    assert "ab" * 20 in rows["kernel build"]
    assert capability_rows(None) == {"capabilities": "not known"}
    silent = capability_rows(Capabilities(kernel_build="6.1", problem="no right to ask"))
    assert (silent["kernel functions"], silent["not asked"]) == ("not known", "no right to ask")


@pytest.mark.parametrize(
    ("features", "words"),
    [(None, "not known"), ((), "generic"), (("basic", "redirect"), "native redirect")],
)
def test_an_interface_says_how_xdp_runs_on_it(features: tuple[str, ...] | None, words: str) -> None:
    """In the driver, behind it, or the kernel does not say."""
    assert xdp_words(Interface(name="eth0", index=1, xdp_features=features)) == words


def test_every_hook_of_an_interface_is_free_ours_or_somebody_elses() -> None:
    """TCX leaves room beside the programs of others; XDP and our filters' preference do not."""
    record = msgspec.structs.replace(
        a_node_record("n1", "eth0", "eth1"),
        taken=(
            TakenSlot(interface="eth1", hook="xdp", attachment="xdp-generic", program_name="mine"),
            TakenSlot(interface="eth0", hook="tc-egress", attachment="tcx", programs=3,
                      program_name="cil"),
            TakenSlot(interface="eth1", hook="tc-egress", attachment="cls_bpf", program_id=7),
        ),
    )  # fmt: skip
    chain = ObservedChain(interface="eth0", hook="xdp", state="attached", attachment="xdp-native")
    node = NodeStatus(node="n1", alive=True, record=record, labels={}, chains=(chain,))
    eth0, eth1 = record.interfaces

    assert slot_words(node, eth0) == (
        "xdp ours (xdp-native); tc-ingress free; tc-egress cil and 2 more (tcx, leaves room)"
    )
    assert slot_words(node, eth1) == (
        "xdp mine (xdp-generic); tc-ingress free; tc-egress 7 (cls_bpf)"
    )
    assert in_a_list(node).record.taken == ()


def test_a_list_of_nodes_has_no_capabilities_and_counts_places() -> None:
    """A hundred nodes fit into a reply; one asked for has everything."""
    record = msgspec.structs.replace(a_node_record("n1", "eth0", "eth1"), capabilities=KNOWN)
    node = NodeStatus(node="n1", alive=True, record=record, labels={})

    assert in_a_list(node).record.capabilities is None
    assert hook_points_row(node) == "0 of 6 with a chain"
