# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Since when Linux has what programs use.

Sources: iovisor/bcc docs/kernel-versions.md and isovalent/ebpf-docs data/feature-versions.yaml,
which name the commit of each; where they differ, the release that has the commit
(get_prandom_u32: 4.1, tcp_gen_syncookie: 5.4, the first three helpers: 3.19, when programs could
first be attached to anything).  Instruction sets: Documentation/bpf/standardization and the
release notes of kernelnewbies.org.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

Release = tuple[int, int]

_HELPERS: Final = (
    *((3, "3.19"), (11, "4.1"), (16, "4.2"), (22, "4.3"), (25, "4.4"), (26, "4.5"), (30, "4.6")),
    *((36, "4.8"), (41, "4.9"), (44, "4.10"), (45, "4.11"), (47, "4.12"), (50, "4.13")),
    *((53, "4.14"), (57, "4.15"), (59, "4.16"), (64, "4.17"), (80, "4.18"), (83, "4.19")),
    *((90, "4.20"), (92, "5.0"), (98, "5.1"), (108, "5.2"), (109, "5.3"), (110, "5.4")),
    *((115, "5.5"), (118, "5.6"), (124, "5.7"), (135, "5.8"), (141, "5.9"), (155, "5.10")),
    *((162, "5.11"), (163, "5.12"), (165, "5.13"), (168, "5.14"), (175, "5.15"), (179, "5.16")),
    *((185, "5.17"), (193, "5.18"), (203, "5.19"), (207, "6.0"), (209, "6.1"), (211, "6.2")),
)
"""The greatest helper id of each release; ids were given in the order of releases."""

MAP_TYPE_SINCE: Final[dict[str, str]] = {
    **dict.fromkeys(("hash", "array"), "3.19"),
    "prog_array": "4.2",
    "perf_event_array": "4.3",
    **dict.fromkeys(("percpu_hash", "percpu_array", "stack_trace"), "4.6"),
    "cgroup_array": "4.8",
    **dict.fromkeys(("lru_hash", "lru_percpu_hash"), "4.10"),
    "lpm_trie": "4.11",
    **dict.fromkeys(("array_of_maps", "hash_of_maps"), "4.12"),
    **dict.fromkeys(("devmap", "sockmap"), "4.14"),
    "cpumap": "4.15",
    **dict.fromkeys(("xskmap", "sockhash"), "4.18"),
    **dict.fromkeys(("cgroup_storage", "reuseport_sockarray"), "4.19"),
    **dict.fromkeys(("percpu_cgroup_storage", "queue", "stack"), "4.20"),
    "sk_storage": "5.2",
    "devmap_hash": "5.4",
    "struct_ops": "5.6",
    "ringbuf": "5.8",
    "inode_storage": "5.10",
    "task_storage": "5.11",
    "bloom_filter": "5.16",
    "user_ringbuf": "6.1",
    "cgrp_storage": "6.2",
    "arena": "6.9",
}

PROGRAM_TYPE_SINCE: Final[dict[str, str]] = {
    "socket_filter": "3.19",
    **dict.fromkeys(("kprobe", "sched_cls", "sched_act"), "4.1"),
    "tracepoint": "4.7",
    "xdp": "4.8",
    "perf_event": "4.9",
    **dict.fromkeys(("cgroup_skb", "cgroup_sock", "lwt_in", "lwt_out", "lwt_xmit"), "4.10"),
    "sock_ops": "4.13",
    "sk_skb": "4.14",
    "cgroup_device": "4.15",
    **dict.fromkeys(("sk_msg", "raw_tracepoint", "cgroup_sock_addr"), "4.17"),
    **dict.fromkeys(("lwt_seg6local", "lirc_mode2"), "4.18"),
    "sk_reuseport": "4.19",
    "flow_dissector": "4.20",
    **dict.fromkeys(("cgroup_sysctl", "raw_tracepoint_writable"), "5.2"),
    "cgroup_sockopt": "5.3",
    "tracing": "5.5",
    **dict.fromkeys(("struct_ops", "ext"), "5.6"),
    "lsm": "5.7",
    "sk_lookup": "5.9",
    "syscall": "5.14",
    "netfilter": "6.4",
}

ATTACH_SINCE: Final[dict[str, str]] = {
    **dict.fromkeys(("cgroup_udp4_sendmsg", "cgroup_udp6_sendmsg"), "4.18"),
    **dict.fromkeys(("cgroup_udp4_recvmsg", "cgroup_udp6_recvmsg"), "5.2"),
    "modify_return": "5.7",
    "trace_iter": "5.8",
    **dict.fromkeys(
        (
            *("cgroup_inet4_getpeername", "cgroup_inet6_getpeername"),
            *("cgroup_inet4_getsockname", "cgroup_inet6_getsockname"),
        ),
        "5.8",
    ),
    "xdp_devmap": "5.8",
    **dict.fromkeys(("cgroup_inet_sock_release", "xdp_cpumap"), "5.9"),
    "sk_skb_verdict": "5.13",
    "sk_reuseport_select_or_migrate": "5.14",
    "trace_kprobe_multi": "5.18",
    "lsm_cgroup": "6.0",
    **dict.fromkeys(("tcx", "trace_uprobe_multi"), "6.6"),
    "netkit": "6.7",
    "trace_kprobe_session": "6.10",
    "trace_uprobe_session": "6.13",
}
"""Where the place came after the type of program; all others came with it."""

INSTRUCTION_SETS: Final[dict[str, tuple[str, str]]] = {
    "jump-less": ("jumps on less (cpu v2)", "4.14"),
    "calls": ("calls between its own functions", "4.16"),
    "jump32": ("32-bit jumps (cpu v3)", "5.1"),
    "loops": ("loops", "5.3"),
    "atomics": ("atomic operations beyond adding", "5.12"),
    "callbacks": ("functions handed to helpers", "5.13"),
    "kfunc-calls": ("calls of kernel functions", "5.13"),
    "cpu-v4": ("instructions of cpu v4", "6.6"),
    "may-goto": ("may_goto loops", "6.9"),
    "address-spaces": ("address spaces (arena)", "6.9"),
    "acquire-release": ("load-acquire and store-release", "6.15"),
}
"""By feature of `shared.bytecode.code_use`: in words, and since when."""

LONG_PROGRAM: Final = 4096
LONG_PROGRAMS_SINCE: Final = "5.2"
"""Before, no program had more than LONG_PROGRAM instructions."""
GLOBAL_DATA_SINCE: Final = "5.2"
FRAGMENTS_SINCE: Final = "5.18"
SLEEPABLE_SINCE: Final = "5.10"
KERNEL_TYPES_SINCE: Final = "5.4"
"""/sys/kernel/btf/vmlinux, against which nodes relocate."""

MAP_FLAGS: Final = (
    (1 << 0, "no_prealloc", "4.6"),
    (1 << 1, "no_common_lru", "4.10"),
    (1 << 2, "numa_node", "4.14"),
    (1 << 3, "rdonly", "4.15"),
    (1 << 4, "wronly", "4.15"),
    (1 << 6, "zero_seed", "5.0"),
    (1 << 7, "rdonly_prog", "5.2"),
    (1 << 8, "wronly_prog", "5.2"),
    (1 << 9, "clone", "5.4"),
    (1 << 10, "mmapable", "5.5"),
    (1 << 11, "preserve_elems", "5.10"),
    (1 << 12, "inner_map", "5.10"),
)
"""Bit, name and release (include/uapi/linux/bpf.h, flags for BPF_MAP_CREATE)."""

JIT_SINCE: Final[dict[str, str]] = {
    "x86_64": "3.16",
    "aarch64": "3.18",
    "ppc64le": "4.8",
    "riscv64": "5.1",
    "loongarch64": "6.1",
}
"""Little-endian 64-bit architectures, as objects are compiled for the former."""
FEATURE_OF_ARCHITECTURE: Final[dict[str, dict[str, str]]] = {
    "kfunc-calls": {"x86_64": "5.13", "aarch64": "5.18"},
    "atomics": {"x86_64": "5.12", "aarch64": "5.18"},
    "tracing": {"x86_64": "5.5", "aarch64": "6.4"},
    "cpu-v4": {"x86_64": "6.6", "aarch64": "6.6"},
    "address-spaces": {"x86_64": "6.9", "aarch64": "6.10"},
    "acquire-release": {"x86_64": "6.15", "aarch64": "6.15"},
}
"""What architectures learnt apart: one that is not named is not known to have it.  `tracing` are
the types that are attached to functions by trampolines."""
WITHOUT_TRAMPOLINE: Final = frozenset({"trace_iter", "trace_raw_tp"})
"""Of those types, what the kernel calls as any other program."""
PROCESSOR_BOUND_TYPES: Final = frozenset({"kprobe", "perf_event"})
"""Their context is the processor's registers (struct pt_regs), so they are compiled for one."""

_KERNEL_FUNCTIONS: Final = """
5.18 skb_ct_lookup xdp_ct_lookup ct_release
6.0 xdp_ct_alloc skb_ct_alloc ct_insert_entry ct_set_timeout ct_change_timeout ct_set_status
ct_change_status
6.1 ct_set_nat_info lookup_user_key lookup_system_key key_put
6.2 obj_new_impl obj_drop_impl list_pop_front list_pop_back task_acquire task_release
cgroup_acquire cgroup_release cgroup_ancestor task_from_pid cast_to_kern_ctx rdonly_cast
rcu_read_lock rcu_read_unlock skb_get_xfrm_info skb_set_xfrm_info
6.3 cpumask_create cpumask_release cpumask_acquire cpumask_first cpumask_first_zero
cpumask_set_cpu cpumask_clear_cpu cpumask_setall cpumask_clear cpumask_and cpumask_or cpumask_xor
cpumask_equal cpumask_intersects cpumask_subset cpumask_empty cpumask_full cpumask_copy
rbtree_remove rbtree_first xdp_metadata_rx_timestamp xdp_metadata_rx_hash
6.4 refcount_acquire_impl list_push_front_impl list_push_back_impl rbtree_add_impl cgroup_from_id
dynptr_slice dynptr_slice_rdwr iter_num_new iter_num_next iter_num_destroy dynptr_from_skb
dynptr_from_xdp skb_set_fou_encap skb_get_fou_encap
6.5 cpumask_first_and cpumask_any_distribute cpumask_any_and_distribute task_under_cgroup
dynptr_adjust dynptr_is_null dynptr_is_rdonly dynptr_size dynptr_clone sock_destroy
6.6 map_sum_elem_count
6.7 percpu_obj_new_impl percpu_obj_drop_impl throw iter_task_vma_new iter_task_vma_next
iter_task_vma_destroy iter_css_task_new iter_css_task_next iter_css_task_destroy iter_css_new
iter_css_next iter_css_destroy iter_task_new iter_task_next iter_task_destroy
sock_addr_set_sun_path
6.8 get_file_xattr cpumask_weight task_get_cgroup1 get_fsverity_digest xdp_metadata_rx_vlan_tag
xdp_get_xfrm_state xdp_xfrm_state_release
6.9 arena_alloc_pages arena_free_pages
6.10 wq_init wq_set_callback_impl wq_start preempt_disable preempt_enable crypto_ctx_create
crypto_ctx_release crypto_ctx_acquire crypto_decrypt crypto_encrypt session_is_return
session_cookie
"""
"""Names without `bpf_`, behind the release that brought them."""


def helper_since(helper: int) -> str:
    """The release that brought the helper; empty: it is in no table.

    >>> helper_since(181), helper_since(212)
    ('5.17', '')
    """
    return next((since for last, since in _HELPERS if 0 < helper <= last), "")


def release(text: str) -> Release:
    """A number to compare by: `5.17` is after `5.2`.

    >>> release("5.17") > release("5.2")
    True
    """
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _by_release(text: str) -> Iterator[tuple[str, str]]:
    since = ""
    for word in text.split():
        if word[0].isdigit():
            since = word
        else:
            yield f"bpf_{word}", since


KERNEL_FUNCTION_SINCE: Final[dict[str, str]] = dict(_by_release(_KERNEL_FUNCTIONS))
"""Kernel functions (kfuncs) that kept their names; they are no stable interface, so others, and
younger ones, are in no table."""
