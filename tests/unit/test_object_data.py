# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Global variables of an object, and programs that its maps name."""

from __future__ import annotations

import pytest

from services.node_executor.adapters.program_sections import is_for_hook, reads_fragments
from shared.bytecode.elf import read_object
from shared.bytecode.object_data import Variable
from tests.support.kinds import kinds_object


def test_variables_are_found_in_every_section() -> None:
    """With offset and size; static ones too, and those in sections of their own."""
    variables = read_object(kinds_object(), "kinds.bpf.o").variables

    assert variables["factor"].is_constant
    assert variables["factor"].size_bytes == 4
    assert variables["label"].section == ".rodata"
    assert variables["label"].size_bytes == 4
    assert variables["start"] == Variable(".data", 0, 8)
    assert variables["runs"] == Variable(".bss", 0, 8)
    assert variables["hidden"] == Variable(".data.hidden", 0, 2)
    assert not variables["hidden"].is_constant
    assert "results" not in variables
    assert "_license" not in variables


def test_variables_need_no_types() -> None:
    """They are symbols of the object file."""
    variables = read_object(kinds_object("untyped", ("-mcpu=v3",)), "untyped.bpf.o").variables

    assert set(variables) == {"limit", "runs"}


def test_programs_in_program_arrays_are_found() -> None:
    """Only those that a declaration puts there."""
    assert read_object(kinds_object(), "kinds.bpf.o").array_programs == ("arrives",)
    assert read_object(kinds_object("watched"), "watched.bpf.o").array_programs == ()


@pytest.mark.parametrize(
    ("section", "is_for_xdp", "is_for_tc"),
    [
        ("xdp", True, False),
        ("?xdp", True, False),
        ("xdp.frags", True, False),
        ("xdp/named", True, False),
        ("xdp-root", True, False),
        ("xdp_ratelimiting", True, False),
        ("xdp/devmap", False, False),
        ("xdp.frags/cpumap", False, False),
        ("tc", False, True),
        ("tc/ingress", False, True),
        ("tcx/egress", False, True),
        ("classifier", False, True),
        ("classifier/named", False, True),
        ("action", False, True),
        ("tc_root", False, True),
        ("ingress_monitor", True, True),
        ("firewall", True, True),
        ("tracepoint/syscalls/sys_enter_getpid", False, False),
        ("kprobe/do_exit", False, False),
        ("cgroup_skb/egress", False, False),
        ("lsm.s/file_open", False, False),
        ("freplace/other", False, False),
    ],
)
def test_sections_say_where_a_program_can_stand(
    section: str, is_for_xdp: bool, is_for_tc: bool
) -> None:
    """By libbpf's names, and by the older ones that libbpf does not know."""
    assert is_for_hook(section, "xdp") == is_for_xdp
    assert is_for_hook(section, "tc-ingress") == is_for_hook(section, "tc-egress") == is_for_tc


def test_only_sections_of_their_own_read_fragments() -> None:
    """`xdp.frags`, whatever follows behind a slash."""
    assert reads_fragments("xdp.frags")
    assert reads_fragments("?xdp.frags/named")
    assert not reads_fragments("xdp")
    assert not reads_fragments("xdp.fragsome")
