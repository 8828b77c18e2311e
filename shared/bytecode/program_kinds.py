# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a loader makes of a section's name: the type of the program and where it attaches.

Source: libbpf, section_defs in src/libbpf.c (Documentation/bpf/libbpf/program_types.rst); names
that only eBPF for Windows has are from its docs/eBpfExtensions.md and libs/api.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple


class SectionKind(NamedTuple):
    """How a program of a section is loaded."""

    type: str = ""
    """As `xdp`; empty: nobody can tell from the section."""
    attach: str = ""
    """As `cgroup_inet4_connect`; empty where the type says it all."""
    is_sleepable: bool = False


_CGROUP_ADDRESS: Final = ("bind", "connect", "sendmsg", "recvmsg", "getpeername", "getsockname")
_EXACT: Final[dict[str, SectionKind]] = {
    "socket": SectionKind("socket_filter"),
    "sk_reuseport": SectionKind("sk_reuseport", "sk_reuseport_select"),
    "sk_reuseport/migrate": SectionKind("sk_reuseport", "sk_reuseport_select_or_migrate"),
    "xdp/devmap": SectionKind("xdp", "xdp_devmap"),
    "xdp/cpumap": SectionKind("xdp", "xdp_cpumap"),
    "lwt_in": SectionKind("lwt_in"),
    "lwt_out": SectionKind("lwt_out"),
    "lwt_xmit": SectionKind("lwt_xmit"),
    "lwt_seg6local": SectionKind("lwt_seg6local"),
    "sockops": SectionKind("sock_ops", "cgroup_sock_ops"),
    "sk_skb/stream_parser": SectionKind("sk_skb", "sk_skb_stream_parser"),
    "sk_skb/stream_verdict": SectionKind("sk_skb", "sk_skb_stream_verdict"),
    "sk_skb/verdict": SectionKind("sk_skb", "sk_skb_verdict"),
    "sk_skb": SectionKind("sk_skb"),
    "sk_msg": SectionKind("sk_msg", "sk_msg_verdict"),
    "lirc_mode2": SectionKind("lirc_mode2", "lirc_mode2"),
    "flow_dissector": SectionKind("flow_dissector", "flow_dissector"),
    "cgroup_skb/ingress": SectionKind("cgroup_skb", "cgroup_inet_ingress"),
    "cgroup_skb/egress": SectionKind("cgroup_skb", "cgroup_inet_egress"),
    "cgroup/skb": SectionKind("cgroup_skb"),
    "cgroup/sock_create": SectionKind("cgroup_sock", "cgroup_inet_sock_create"),
    "cgroup/sock": SectionKind("cgroup_sock", "cgroup_inet_sock_create"),
    "cgroup/sock_release": SectionKind("cgroup_sock", "cgroup_inet_sock_release"),
    "cgroup/post_bind4": SectionKind("cgroup_sock", "cgroup_inet4_post_bind"),
    "cgroup/post_bind6": SectionKind("cgroup_sock", "cgroup_inet6_post_bind"),
    "cgroup/dev": SectionKind("cgroup_device", "cgroup_device"),
    "cgroup/sysctl": SectionKind("cgroup_sysctl", "cgroup_sysctl"),
    "cgroup/getsockopt": SectionKind("cgroup_sockopt", "cgroup_getsockopt"),
    "cgroup/setsockopt": SectionKind("cgroup_sockopt", "cgroup_setsockopt"),
    **{
        f"cgroup/{what}{family}": SectionKind(
            "cgroup_sock_addr",
            f"cgroup_{'udp' if what.endswith('msg') else 'inet'}{family}_{what}",
        )
        for what in _CGROUP_ADDRESS
        for family in "46"
    },
    "sk_lookup": SectionKind("sk_lookup", "sk_lookup"),
    "netfilter": SectionKind("netfilter", "netfilter"),
    "perf_event": SectionKind("perf_event"),
    "syscall": SectionKind("syscall", is_sleepable=True),
    "cgroup/recv_accept4": SectionKind("cgroup_sock_addr", "cgroup_inet4_recv_accept"),
    "cgroup/recv_accept6": SectionKind("cgroup_sock_addr", "cgroup_inet6_recv_accept"),
    "cgroup/connect_authorization4": SectionKind(
        "cgroup_sock_addr", "cgroup_inet4_connect_authorization"
    ),
    "cgroup/connect_authorization6": SectionKind(
        "cgroup_sock_addr", "cgroup_inet6_connect_authorization"
    ),
    "cgroup/listen4": SectionKind("cgroup_sock_addr", "cgroup_inet4_listen"),
    "cgroup/listen6": SectionKind("cgroup_sock_addr", "cgroup_inet6_listen"),
    "bind": SectionKind("bind", "bind"),
    "netevent": SectionKind("netevent", "netevent"),
    "process": SectionKind("process", "process"),
}
_PATTERNS: Final[tuple[tuple[str, SectionKind], ...]] = (
    (r"xdp[./]devmap\b.*|xdp\.frags/devmap.*", SectionKind("xdp", "xdp_devmap")),
    (r"xdp[./]cpumap\b.*|xdp\.frags/cpumap.*", SectionKind("xdp", "xdp_cpumap")),
    (r"xdp.*", SectionKind("xdp", "xdp")),
    (r"tcx/.*", SectionKind("sched_cls", "tcx")),
    (r"netkit/.*", SectionKind("sched_cls", "netkit")),
    (r"(tc|classifier).*", SectionKind("sched_cls")),
    (r"action.*", SectionKind("sched_act")),
    (r"k(ret)?probe\.multi\b.*", SectionKind("kprobe", "trace_kprobe_multi")),
    (r"kprobe\.session\b.*", SectionKind("kprobe", "trace_kprobe_session")),
    (r"u(ret)?probe\.multi\b.*", SectionKind("kprobe", "trace_uprobe_multi")),
    (r"uprobe\.session\b.*", SectionKind("kprobe", "trace_uprobe_session")),
    (r"u(ret)?probe\.s\b.*", SectionKind("kprobe", is_sleepable=True)),
    (r"(k|u)(ret)?probe\b.*|k(ret)?syscall\b.*|usdt\b.*", SectionKind("kprobe")),
    (r"(raw_tp|raw_tracepoint)\.w\b.*", SectionKind("raw_tracepoint_writable")),
    (r"(raw_tp|raw_tracepoint)\b.*", SectionKind("raw_tracepoint")),
    (r"tp_btf\b.*", SectionKind("tracing", "trace_raw_tp")),
    (r"(tp|tracepoint)\b.*", SectionKind("tracepoint")),
    (r"fentry\.s\b.*", SectionKind("tracing", "trace_fentry", is_sleepable=True)),
    (r"fexit\.s\b.*", SectionKind("tracing", "trace_fexit", is_sleepable=True)),
    (r"fmod_ret\.s\b.*", SectionKind("tracing", "modify_return", is_sleepable=True)),
    (r"fentry\b.*", SectionKind("tracing", "trace_fentry")),
    (r"fexit\b.*", SectionKind("tracing", "trace_fexit")),
    (r"fmod_ret\b.*", SectionKind("tracing", "modify_return")),
    (r"iter\.s\b.*", SectionKind("tracing", "trace_iter", is_sleepable=True)),
    (r"iter\b.*", SectionKind("tracing", "trace_iter")),
    (r"freplace\b.*", SectionKind("ext")),
    (r"lsm_cgroup\b.*", SectionKind("lsm", "lsm_cgroup")),
    (r"lsm\.s\b.*", SectionKind("lsm", "lsm_mac", is_sleepable=True)),
    (r"lsm\b.*", SectionKind("lsm", "lsm_mac")),
    (r"struct_ops\.s\b.*", SectionKind("struct_ops", is_sleepable=True)),
    (r"struct_ops\b.*", SectionKind("struct_ops")),
)


@lru_cache(maxsize=256)
def section_kind(section: str) -> SectionKind:
    """What a program of that section is loaded as.

    >>> section_kind("cgroup/connect4").attach
    'cgroup_inet4_connect'
    """
    name = section.removeprefix("?")
    if (found := _EXACT.get(name)) is not None:
        return found
    return next((kind for rule, kind in _PATTERNS if re.fullmatch(rule, name)), SectionKind())
