# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where functions lie in files, and which numbers of the kernel a probe's target comes to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from services.node_executor.probe_types import (
    CGROUP_ATTACH_TYPES,
    LINK_KINDS,
    PERF_EVENT,
    PROGRAM_TYPE_NUMBERS,
    TRACE_ITER,
    loading_of,
    loading_of_section,
)
from services.node_executor.symbols import NotAnExecutableError, symbol_offset
from shared.contracts.node import ObservedChain, ObservedProgram
from shared.contracts.probes import CgroupAttach, CgroupTarget, LsmTarget
from shared.redaction import redacted_chain

HEADER = Path("/usr/include/linux/bpf.h")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One with two functions."""
    folder = tmp_path_factory.mktemp("program")
    source, made = folder / "a.c", folder / "a"
    source.write_text("int other(void) { return 3; }\nint main(void) { return other(); }\n")
    subprocess.run(("clang", "-O0", "-o", str(made), str(source)), check=True)
    return made.read_bytes()


def test_a_function_begins_where_its_code_is(program: bytes) -> None:
    """Two functions are at two places, and both begin as functions do without optimisation."""
    other, main = symbol_offset(program, "other"), symbol_offset(program, "main")

    assert other is not None
    assert main is not None
    assert other != main
    assert program[other : other + 4] == program[main : main + 4]


def test_what_a_file_does_not_have_is_not_found(program: bytes) -> None:
    """Nor what it has from elsewhere."""
    assert symbol_offset(program, "nothing_like_it") is None
    assert symbol_offset(program, "__libc_start_main") is None


@pytest.mark.parametrize("length", [0, 3, 5, 40, 64, 200, 4000])
def test_files_that_are_cut_off_or_none_are_said_so(program: bytes, length: int) -> None:
    """By one error, whatever is missing."""
    with pytest.raises(NotAnExecutableError):
        symbol_offset(program[:length], "main")


def _enum(name: str) -> dict[str, int]:
    text = HEADER.read_text()
    body = re.search(rf"enum {name} \{{(.*?)\}};", text, re.DOTALL)
    assert body is not None
    found: dict[str, int] = {}
    plain = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    for word in (part.strip() for part in plain.split(",")):
        if word and "=" not in word:
            found[word] = len(found)
        elif word:
            name_, _, value = word.partition("=")
            found[name_.strip()] = found.get(value.strip(), len(found))
    return found


def test_numbers_are_those_of_the_kernel_s_header() -> None:
    """Of program types, attach types and links."""
    types, attach = _enum("bpf_prog_type"), _enum("bpf_attach_type")

    assert {
        name: types[f"BPF_PROG_TYPE_{name.upper()}"] for name in PROGRAM_TYPE_NUMBERS
    } == PROGRAM_TYPE_NUMBERS
    assert (attach["BPF_PERF_EVENT"], attach["BPF_TRACE_ITER"]) == (PERF_EVENT, TRACE_ITER)
    assert attach["BPF_CGROUP_INET4_CONNECT"] == CGROUP_ATTACH_TYPES["connect4"]
    assert attach["BPF_CGROUP_INET_EGRESS"] == CGROUP_ATTACH_TYPES["egress"]
    assert attach["BPF_CGROUP_UDP6_RECVMSG"] == CGROUP_ATTACH_TYPES["recvmsg6"]
    assert attach["BPF_CGROUP_INET6_GETSOCKNAME"] == CGROUP_ATTACH_TYPES["getsockname6"]
    assert attach["BPF_CGROUP_INET_SOCK_RELEASE"] == CGROUP_ATTACH_TYPES["sock_release"]
    assert loading_of(LsmTarget(function="file_open")).attach_type == attach["BPF_LSM_MAC"]
    assert set(LINK_KINDS) == {1, 2, 3, 4, 7}


@pytest.mark.parametrize("attach", get_args(CgroupAttach))
def test_a_cgroup_s_program_is_loaded_for_what_it_is_attached_to(attach: CgroupAttach) -> None:
    """Whether its section or its target says it."""
    section = {"ingress": "cgroup_skb/ingress", "egress": "cgroup_skb/egress"}.get(
        attach, "cgroup/dev" if attach == "device" else f"cgroup/{attach}"
    )
    target = CgroupTarget(path="/sys/fs/cgroup", attach=attach)

    assert loading_of_section(section, "cgroup") == loading_of(target)


def test_who_does_not_see_a_probe_is_not_told_its_deployment_s_name() -> None:
    """Its place, which is that name, its target and the kernel's words are left out."""
    program = ObservedProgram(
        deployment="p_acme.watch",
        revision=1,
        package="probes",
        version="1.0.0",
        archive_sha256="0" * 64,
        program="on",
        order=500,
    )
    chain = ObservedChain(
        interface="p_acme.watch@0a1b2c3d",
        hook="lsm",
        state="attached",
        programs=(program,),
        target=LsmTarget(function="file_open"),
    )

    told = redacted_chain(chain, lambda space: space == "public")

    assert (told.interface, told.target, told.probe, told.restricted) == ("", None, None, True)
    assert redacted_chain(chain, lambda _space: True).interface == chain.interface
