# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program cannot do without, read from its bytes."""

from __future__ import annotations

import pytest

from shared.bytecode.elf import read_elf_facts
from shared.bytecode.helper_names import helper_name
from shared.bytecode.kernel_function_homes import is_never_in_a_module
from shared.contracts.package_facts import ElfFacts, ProgramRequirements
from tests.support.bpf_objects import bpf_object, compile_source

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
enum bpf_func_id___known { BPF_FUNC_loop___known = 181 };
struct task_struct___odd { int odd; } __attribute__((preserve_access_index));
extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym;
const volatile int enabled = 0;
struct {
	__uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16);
	__type(key, __u32); __type(value, __u64);
} seen SEC(".maps");
static __attribute__((unused)) long turn(__u32 index, void *context)
{
	bpf_ktime_get_ns();
	return 0;
}
static __noinline __attribute__((unused)) int drawn(struct xdp_md *ctx, int x)
{
	return x > 3 ? bpf_get_prandom_u32() : 1;
}
char LICENSE[] SEC("license") = "GPL";
SEC("%s") int program(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	if (data + 14 > end)
		return XDP_PASS;
	%s
	__u64 *value = bpf_map_lookup_elem(&seen, &key);
	if (value && *value > 7)
		bpf_xdp_adjust_head(ctx, 4);
	return XDP_PASS;
}
"""
ALWAYS = (1, 44)
KNOWN = "enum bpf_func_id___known, BPF_FUNC_loop___known"
LOOP = "bpf_loop(10, turn, 0, 0);"


def _facts(body: str, section: str = "xdp") -> ElfFacts:
    return read_elf_facts(compile_source(HEAD % (section, body)), "program.o")


def _requirements(body: str, section: str = "xdp") -> ProgramRequirements:
    (program,) = _facts(body, section).programs
    assert program.requires is not None
    return program.requires


@pytest.mark.parametrize(
    ("body", "certain"),
    [
        ("", ALWAYS),
        (LOOP, (1, 5, 44, 181)),
        ("if (ctx->ingress_ifindex == 3) bpf_redirect(1, 0);", (1, 23, 44)),
        ("if (*(__u8 *)data == 3) bpf_redirect(1, 0); else bpf_redirect(2, 0);", (1, 23, 44)),
        ("if (drawn(ctx, ctx->ingress_ifindex)) bpf_redirect(1, 0);", (1, 7, 23, 44)),
        (f"if (bpf_core_enum_value_exists({KNOWN})) {LOOP}", ALWAYS),
        (f"if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(5, 17, 0)) {LOOP}", ALWAYS),
        (f"if (enabled) {LOOP}", ALWAYS),
        (f"if (enabled && ctx->ingress_ifindex == 3) {LOOP}", ALWAYS),
        (f"if (bpf_core_type_exists(struct task_struct___odd)) {LOOP}", ALWAYS),
        ("if (enabled) bpf_redirect(1, 0); else bpf_redirect(2, 0);", (1, 23, 44)),
        ("if (enabled) return XDP_DROP;", ()),
    ],
)
def test_only_calls_that_no_answer_at_load_time_leaves_out_are_certain(
    body: str, certain: tuple[int, ...]
) -> None:
    """CO-RE, the kernel's configuration and constants are such answers; packets are none."""
    head = "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"
    (program,) = read_elf_facts(compile_source(head + HEAD % ("xdp", body)), "program.o").programs
    assert program.requires is not None

    assert program.requires.helpers == certain
    assert set(certain) <= set(program.helpers)


def test_a_weak_kernel_function_is_asked_for_and_any_other_must_be_there() -> None:
    """A loader gives up without the other, even if nothing reaches its call."""
    body = "if (bpf_rcu_read_lock) { bpf_rcu_read_lock(); if (enabled) bpf_rcu_read_unlock(); }"

    assert _requirements(body).kernel_functions == ("bpf_rcu_read_unlock",)
    assert _requirements("").kernel_functions == ()


def test_kernel_types_frags_maps_and_licence_are_requirements() -> None:
    """Of the whole object, but for the section of the program."""
    plain, asking = _requirements(""), _requirements("if (enabled) bpf_rcu_read_unlock();")

    assert plain.map_types == ("hash",)
    assert (plain.kernel_types, asking.kernel_types) == (False, True)
    assert not plain.fragments
    assert _requirements("", "xdp.frags").fragments
    assert plain.licence == "GPL"


def test_a_program_requires_what_the_programs_of_its_arrays_do() -> None:
    """They are loaded with it."""
    source = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int behind(struct xdp_md *ctx) { return bpf_redirect(1, 0); }
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1);
	__uint(key_size, 4); __array(values, int (void *));
} next SEC(".maps") = { .values = { [0] = (void *)&behind } };
SEC("xdp") int first(struct xdp_md *ctx) { bpf_tail_call(ctx, &next, 0); return 2; }
char LICENSE[] SEC("license") = "GPL";
"""
    facts = read_elf_facts(compile_source(source), "program.o")
    found = {one.function: one.requires for one in facts.programs}

    assert found["first"] is not None
    assert found["first"].helpers == (12, 23)
    assert found["first"].map_types == ("prog_array",)


@pytest.mark.parametrize("name", ["bodies", "classifiers", "kinds", "metadata", "untyped"])
def test_what_is_required_is_among_what_is_called(name: str) -> None:
    """Whatever the object."""
    facts = read_elf_facts(bpf_object(name), f"{name}.o")
    every = {helper for one in facts.programs for helper in one.helpers}

    for program in facts.programs:
        assert program.requires is not None
        assert set(program.requires.helpers) <= every
        assert set(program.requires.map_types) == {one.type for one in facts.maps}


def test_helpers_have_the_names_that_the_kernel_gives_them() -> None:
    """Up to the last one; what is newer has none."""
    assert (helper_name(1), helper_name(211)) == ("bpf_map_lookup_elem", "bpf_cgrp_storage_delete")
    assert (helper_name(0), helper_name(212), helper_name(-1)) == ("", "", "")


def test_functions_of_modules_are_not_known_to_be_missing() -> None:
    """Connection tracking is a module on most distributions."""
    assert is_never_in_a_module("bpf_dynptr_from_xdp")
    assert not is_never_in_a_module("bpf_xdp_ct_lookup")
    assert not is_never_in_a_module("somebodys_own")
