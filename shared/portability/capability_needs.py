# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which capabilities the calls of an executable ask for.

Source: capabilities(7), and of libbpf's functions the checks of kernel/bpf/syscall.c and
net/core/dev.c.  A table of names: what is called by number (syscall(2)), or only after rights were
dropped, it does not see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

_CAPABILITIES: Final = """
AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE
DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE
MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID
SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE
SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM
"""
CAPABILITIES: Final = frozenset(f"CAP_{name}" for name in _CAPABILITIES.split())
_CALLS: Final = """
CAP_BPF bpf_object__load bpf_object__load_skeleton bpf_object__load_xattr bpf_prog_load
bpf_prog_load_xattr bpf_load_program bpf_map_create bpf_create_map bpf_btf_load
bpf_prog_get_fd_by_id bpf_map_get_fd_by_id bpf_link_get_fd_by_id bpf_map_get_next_id
bpf_prog_get_next_id
CAP_NET_ADMIN bpf_xdp_attach bpf_xdp_detach bpf_set_link_xdp_fd bpf_set_link_xdp_fd_opts
bpf_program__attach_xdp bpf_program__attach_tcx bpf_program__attach_netkit
bpf_program__attach_cgroup bpf_program__attach_netns bpf_program__attach_netfilter bpf_tc_attach
bpf_tc_detach bpf_tc_hook_create bpf_tc_hook_destroy xsk_socket__create xdp_program__attach
CAP_PERFMON bpf_program__attach_kprobe bpf_program__attach_kprobe_opts
bpf_program__attach_kprobe_multi_opts bpf_program__attach_uprobe bpf_program__attach_uprobe_opts
bpf_program__attach_uprobe_multi bpf_program__attach_usdt bpf_program__attach_ksyscall
bpf_program__attach_tracepoint bpf_program__attach_raw_tracepoint bpf_program__attach_trace
bpf_program__attach_lsm bpf_program__attach_perf_event perf_buffer__new perf_event_open
CAP_SYS_RESOURCE setrlimit setrlimit64 prlimit prlimit64
CAP_SYS_ADMIN mount umount umount2 setns unshare pivot_root swapon sethostname
CAP_SYS_CHROOT chroot
CAP_SETUID setuid seteuid setreuid setresuid
CAP_SETGID setgid setegid setregid setresgid setgroups initgroups
CAP_CHOWN chown fchown lchown fchownat
CAP_SYS_PTRACE ptrace process_vm_readv process_vm_writev
CAP_SYS_MODULE init_module finit_module delete_module
CAP_SYS_TIME settimeofday clock_settime adjtimex
CAP_SYS_BOOT reboot
CAP_MKNOD mknod mknodat
"""
"""Calls behind the capability that they ask for."""


def capability_needs(calls: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each capability that a call asks for, with the first such call of the table."""
    capability, said = "", ""
    for word in _CALLS.split():
        if word.startswith("CAP_"):
            capability = word
        elif word in calls and said != capability:
            said = capability
            yield capability, word
