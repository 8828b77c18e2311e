# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where programs could run, read from their bytes."""

from __future__ import annotations

import pytest

from shared.bytecode.elf import ElfReading, read_elf
from shared.bytecode.helper_names import helper_name
from shared.bytecode.map_declarations import MAP_TYPES
from shared.bytecode.program_kinds import SectionKind, section_kind
from shared.contracts.package_analysis import ObjectAnalysis, ProgramAnalysis
from shared.contracts.package_facts import ProgramFacts, ProgramRequirements
from shared.contracts.package_manifest import ProgramEntry
from shared.portability.linux_support import ProgramUse, linux_support
from shared.portability.linux_versions import (
    KERNEL_FUNCTION_SINCE,
    MAP_TYPE_SINCE,
    helper_since,
    release,
)
from shared.portability.object_analysis import analyse_object
from shared.portability.package import windows_objects
from shared.portability.windows_support import HELPERS, windows_support
from tests.package_builders import a_manifest
from tests.support.bpf_objects import compile_source

HEAD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct sk_buff { __u32 mark; struct { __u32 inner[4]; } nested; }
	__attribute__((preserve_access_index));
struct task_struct___old { int state; } __attribute__((preserve_access_index));
enum modes { PLAIN, ODD };
static __attribute__((unused)) long turn(__u32 index, void *context) { return 0; }
static __attribute__((unused)) __noinline int deeper(int x)
{
	volatile char room[100];
	room[x & 63] = x;
	return room[1];
}
char LICENSE[] SEC("license") = "GPL";
%s
SEC("%s") int program(void *ctx)
{
	%s
	return 0;
}
"""
ARRAY = """struct { __uint(type, BPF_MAP_TYPE_%s); __uint(max_entries, 4096);
	%s } data SEC(".maps");"""
TYPED = "__type(key, __u32); __type(value, __u32);"


def reading(
    body: str, section: str = "xdp", before: str = "", flags: tuple[str, ...] = ()
) -> ElfReading:
    """Of the one program with that body."""
    return read_elf(compile_source(HEAD % (before, section, body), ("-g", *flags)), "program.o")


def analysed(
    body: str, section: str = "xdp", before: str = "", flags: tuple[str, ...] = ()
) -> ProgramAnalysis:
    """Of the one program with that body."""
    (program,) = analyse_object(reading(body, section, before, flags))[1]
    return program


def of_object(body: str, before: str = "") -> ObjectAnalysis:
    """What its object uses."""
    return analyse_object(reading(body, before=before))[0]


def use(section: str = "xdp", helpers: tuple[int, ...] = (), **changes: object) -> ProgramUse:
    """A program that needs all that it calls."""
    requires = ProgramRequirements(helpers=helpers, **changes)  # type: ignore[arg-type]
    facts = ProgramFacts(
        function="one",
        section=section,
        instructions=9,
        helpers=helpers,
        kernel_functions=requires.kernel_functions,
        requires=requires,
    )
    return ProgramUse(facts, section_kind(section))


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("xdp", SectionKind("xdp", "xdp")),
        ("xdp.frags/devmap", SectionKind("xdp", "xdp_devmap")),
        ("?tc/ingress", SectionKind("sched_cls")),
        ("tcx/egress", SectionKind("sched_cls", "tcx")),
        ("cgroup/sendmsg6", SectionKind("cgroup_sock_addr", "cgroup_udp6_sendmsg")),
        ("tp_btf/sched_switch", SectionKind("tracing", "trace_raw_tp")),
        ("tp/syscalls/sys_enter_open", SectionKind("tracepoint")),
        ("fentry.s/vfs_read", SectionKind("tracing", "trace_fentry", is_sleepable=True)),
        ("kprobe.multi/tcp_*", SectionKind("kprobe", "trace_kprobe_multi")),
        ("uprobe.s//bin/sh:main", SectionKind("kprobe", is_sleepable=True)),
        ("raw_tp/sys_enter", SectionKind("raw_tracepoint")),
        ("lsm_cgroup/socket_bind", SectionKind("lsm", "lsm_cgroup")),
        ("my_own", SectionKind()),
    ],
)
def test_sections_are_read_as_libbpf_reads_them(section: str, kind: SectionKind) -> None:
    """Type and place of attachment follow from the name alone."""
    assert section_kind(section) == kind


@pytest.mark.parametrize(
    ("body", "section", "before", "minimum", "because"),
    [
        ("", "xdp", "", "4.8", "program type xdp"),
        ("", "xdp.frags", "", "5.18", "XDP for packets in several buffers (frags)"),
        ("", "tcx/ingress", "", "6.6", "attaching to tcx"),
        ("", "fentry.s/vfs_read", "", "5.10", "programs that sleep"),
        ("bpf_redirect(1, 0);", "tc", "", "4.4", "helper bpf_redirect (23)"),
        ("bpf_loop(3, turn, 0, 0);", "xdp", "", "5.17", "helper bpf_loop (181)"),
        ("", "xdp", ARRAY % ("RINGBUF", ""), "5.8", "map type ringbuf"),
        (
            "",
            "xdp",
            ARRAY % ("ARRAY", TYPED + "__uint(map_flags, BPF_F_RDONLY_PROG);"),
            "5.2",
            "map flag rdonly_prog",
        ),
        ("total++;", "xdp", "int total;", "5.2", "global variables"),
        ("return deeper(bpf_get_prandom_u32());", "xdp", "", "4.16", "calls between its own"),
        (
            "__sync_fetch_and_add((long *)bpf_map_lookup_elem(ctx, ctx), 1);",
            "xdp",
            "",
            "4.8",
            "program type xdp",
        ),
        ("return ((struct sk_buff *)ctx)->mark;", "tc", "", "5.4", "the kernel's own types"),
        (
            "bpf_rcu_read_lock();",
            "tc",
            "extern void bpf_rcu_read_lock(void) __ksym;",
            "6.2",
            "kernel function bpf_rcu_read_lock",
        ),
        (
            "of_tomorrow();",
            "tc",
            "extern void of_tomorrow(void) __ksym;",
            "",
            "kernel function of_tomorrow",
        ),
        ("", "my_own", "", "", "program type of section my_own"),
    ],
)
def test_the_youngest_feature_decides(
    body: str, section: str, before: str, minimum: str, because: str
) -> None:
    """The minimum is that of one named feature; what no table knows leaves it open."""
    found = analysed(body, section, before).linux

    assert found.minimum == minimum
    assert found.because.startswith(because)
    assert bool(found.architectures) == bool(minimum)


@pytest.mark.parametrize(
    ("body", "flags", "feature", "since"),
    [
        ("return bpf_get_prandom_u32() < 9;", ("-mcpu=v3",), "32-bit jumps (cpu v3)", "5.1"),
        (
            "volatile long a = 1; return __sync_lock_test_and_set(&a, 3);",
            ("-mcpu=v3",),
            "atomic operations beyond adding",
            "5.12",
        ),
        (
            "for (volatile int i = 0; i < 9; i++) bpf_ktime_get_ns();",
            (),
            "loops",
            "5.3",
        ),
    ],
)
def test_instructions_that_old_kernels_do_not_know(
    body: str, flags: tuple[str, ...], feature: str, since: str
) -> None:
    """They are found in the code, whatever was asked of the compiler."""
    reasons = {one.feature: one.since for one in analysed(body, flags=flags).linux.reasons}

    assert reasons[feature] == since


def test_what_is_asked_for_first_is_optional() -> None:
    """A call behind a question raises no minimum and is said beside it."""
    body = """if (bpf_core_type_exists(struct task_struct___old)) bpf_loop(3, turn, 0, 0);"""

    found = analysed(body).linux

    assert release(found.minimum) < release("5.17")
    assert [one.feature for one in found.optional] == ["helper bpf_loop (181)"]


def test_kernel_types_and_fields_are_named_without_their_flavour() -> None:
    """With whether the object needs them or only asks for them."""
    body = """
	struct sk_buff *skb = ctx;
	struct task_struct___old *task = ctx;
	if (bpf_core_field_exists(task->state))
		return skb->nested.inner[2];
	return bpf_core_enum_value(enum modes, ODD);
	"""

    found = of_object(body)

    assert found.kernel_types.names == ("enum modes.ODD", "struct sk_buff.nested.inner")
    assert found.asked_types.names == ("struct task_struct.state",)


def test_variables_and_sources_are_named() -> None:
    """Of each data section its size and how many variables lie in it."""
    found = of_object(
        "total += limit + first;", "int total; long other; int first = 3; const volatile int limit;"
    )

    assert [(one.name, one.size_bytes, one.variables) for one in found.data] == [
        (".bss", 16, 2),
        (".data", 4, 1),
        (".rodata", 4, 1),
    ]
    assert any(name.endswith("program.bpf.c") for name in found.sources.names)


def test_stack_is_that_of_the_deepest_chain_of_calls() -> None:
    """Each function rounded up to 16 bytes."""
    flat = analysed("volatile char room[40]; room[bpf_get_prandom_u32() & 31] = 1;")
    deep = analysed("volatile long kept = 1; return deeper(bpf_get_prandom_u32()) + kept;")

    assert flat.stack_bytes == 48
    assert deep.stack_bytes == 16 + 112


def test_tail_calls_are_said() -> None:
    """They leave the program, so what it calls is not all that runs."""
    body = "bpf_tail_call(ctx, &data, 1);"

    assert analysed(body, before=ARRAY % ("PROG_ARRAY", TYPED)).tail_calls
    assert not analysed("").tail_calls


def test_a_program_made_for_registers_has_its_own_architecture() -> None:
    """What a kprobe reads differs by processor; what is attached by trampolines, by its age."""
    assert analysed("", "kprobe/vfs_read").linux.architectures == {}
    assert analysed("", "fentry/vfs_read").linux.architectures == {
        "x86_64": "5.5",
        "aarch64": "6.4",
    }
    assert analysed("", "iter/task").linux.architectures["aarch64"] == "5.8"
    assert analysed("", "xdp").linux.architectures["riscv64"] == "5.1"


@pytest.mark.parametrize(
    ("section", "blocker"),
    [
        ("xdp", ""),
        ("cgroup/connect4", ""),
        ("cgroup/connect6", ""),
        ("cgroup/bind4", ""),
        ("cgroup/recv_accept4", ""),
        ("sockops", ""),
        ("bind", ""),
        ("tc", "no programs of type sched_cls"),
        ("tcx/ingress", "no programs of type sched_cls"),
        ("classifier/egress", "no programs of type sched_cls"),
        ("kprobe/vfs_read", "no programs of type kprobe"),
        ("uprobe", "no programs of type kprobe"),
        ("tracepoint/net/netif_rx", "no programs of type tracepoint"),
        ("fentry/vfs_read", "no programs of type tracing"),
        ("freplace/one", "no programs of type ext"),
        ("lsm/file_open", "no programs of type lsm"),
        ("cgroup/sendmsg4", "no attaching to cgroup_udp4_sendmsg"),
        ("cgroup_skb/ingress", "no programs of type cgroup_skb"),
        ("xdp/devmap", "no attaching to xdp_devmap"),
        ("my_own", "no programs of section my_own"),
    ],
)
def test_windows_has_the_hooks_that_it_publishes(section: str, blocker: str) -> None:
    """XDP, connections and binding; never TC, probes and trace points."""
    found = windows_support(use(section))

    assert (found.possible, found.blocker) == (not blocker, blocker)


def test_windows_has_35_helpers_with_numbers_of_its_own() -> None:
    """Of an object for Linux names count; of one for Windows numbers 1 to 35."""
    assert len(HELPERS) == 35
    for helper in range(1, 40):
        found = windows_support(use(helpers=(helper,)), made_for_windows=True)
        assert found.possible == (helper <= 35)
    open_to_linux = {
        helper_name(one) for one in range(1, 212) if windows_support(use(helpers=(one,))).possible
    }
    assert open_to_linux == {
        *(name for name in HELPERS if name in {helper_name(one) for one in range(1, 212)}),
        "bpf_trace_printk",
    }
    assert windows_support(use(helpers=(1, 181))).blocker == "no helper bpf_loop"


@pytest.mark.parametrize("kind", MAP_TYPES[1:])
def test_windows_has_the_map_types_that_it_publishes(kind: str) -> None:
    """Fifteen of Linux's."""
    there = (
        *("hash", "array", "prog_array", "percpu_hash", "percpu_array", "hash_of_maps"),
        *("array_of_maps", "lru_hash", "lpm_trie", "queue", "lru_percpu_hash", "stack", "ringbuf"),
        *("perf_event_array", "xskmap"),
    )

    assert windows_support(use(map_types=(kind,))).possible == (kind in there)


def test_windows_has_no_functions_and_types_of_the_linux_kernel() -> None:
    """The first blocker in the order hook, helpers, maps, functions, types is the one named."""
    functions = use(kernel_functions=("bpf_rcu_read_lock",), kernel_types=True)
    everything = use("tc", helpers=(181,), map_types=("devmap",), kernel_types=True)

    assert windows_support(use(kernel_types=True)).blocker.startswith("no kernel types")
    assert windows_support(functions).blocker == "no kernel functions, as bpf_rcu_read_lock"
    assert windows_support(everything).blocker == "no programs of type sched_cls"


def test_an_object_is_made_for_windows_if_only_windows_gets_it() -> None:
    """One that Linux gets too has Linux's numbers."""
    manifest = a_manifest(
        programs=(
            ProgramEntry(
                name="one",
                object="one.bpf.o",
                objects={"windows-x86_64": "windows.o", "linux-aarch64": "arm.o"},
                function="one",
                hooks=("xdp",),
            ),
            ProgramEntry(
                name="two",
                object="one.bpf.o",
                objects={"windows-x86_64": "arm.o"},
                function="two",
                hooks=("xdp",),
            ),
        )
    )

    assert windows_objects(manifest) == {"windows.o"}


def test_tables_are_complete_up_to_the_end_of_the_list_of_helpers() -> None:
    """Every helper and map type has a release; none of a name that is none."""
    assert all(helper_since(helper) for helper in range(1, 212))
    assert helper_since(0) == helper_since(212) == ""
    assert set(MAP_TYPE_SINCE) == set(MAP_TYPES[1:])
    releases = [release(helper_since(helper)) for helper in range(1, 212)]
    assert releases == sorted(releases)
    assert all(release(one) >= (5, 18) for one in KERNEL_FUNCTION_SINCE.values())


def test_what_was_not_computed_counts_as_needed() -> None:
    """Facts of earlier releases have no requirements."""
    facts = ProgramFacts(function="one", section="xdp", instructions=9, helpers=(181,))

    assert linux_support(ProgramUse(facts, section_kind("xdp"))).minimum == "5.17"
