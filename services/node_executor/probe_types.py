# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a probe's program is loaded and by which kind of link it is held: numbers of the kernel.

Pure.  Source: include/uapi/linux/bpf.h, enums bpf_prog_type, bpf_attach_type, bpf_link_type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

from shared.bytecode.probe_sections import NEED_KERNEL_TYPES
from shared.contracts.probes import (
    CgroupAttach,
    CgroupTarget,
    IteratorKind,
    IteratorTarget,
    LinkKind,
    ProbeTarget,
    SockopsTarget,
    UprobeTarget,
    UretprobeTarget,
    kind_of,
)
from shared.identifiers import ProbeHook
from shared.probe_targets import CGROUP_PROGRAM_TYPES, PROGRAM_TYPES

PROGRAM_TYPE_NUMBERS: Final[dict[str, int]] = {
    "kprobe": 2,
    "tracepoint": 5,
    "cgroup_skb": 8,
    "cgroup_sock": 9,
    "sock_ops": 13,
    "cgroup_device": 15,
    "raw_tracepoint": 17,
    "cgroup_sock_addr": 18,
    "cgroup_sysctl": 23,
    "cgroup_sockopt": 25,
    "tracing": 26,
    "lsm": 29,
}
PERF_EVENT: Final = 41
TRACE_ITER: Final = 28
_ATTACH_TYPES: Final[dict[ProbeHook, int]] = {
    "fentry": 24,
    "fexit": 25,
    "lsm": 27,
    "iterator": TRACE_ITER,
    "sockops": 3,
}
CGROUP_ATTACH_TYPES: Final[dict[CgroupAttach, int]] = {
    "ingress": 0,
    "egress": 1,
    "sock_create": 2,
    "device": 6,
    "bind4": 8,
    "bind6": 9,
    "connect4": 10,
    "connect6": 11,
    "post_bind4": 12,
    "post_bind6": 13,
    "sendmsg4": 14,
    "sendmsg6": 15,
    "sysctl": 18,
    "recvmsg4": 19,
    "recvmsg6": 20,
    "getsockopt": 21,
    "setsockopt": 22,
    "getpeername4": 29,
    "getpeername6": 30,
    "getsockname4": 31,
    "getsockname6": 32,
    "sock_release": 34,
}
LINK_KINDS: Final[dict[int, LinkKind]] = {
    1: "raw_tracepoint",
    2: "tracing",
    3: "cgroup",
    4: "iter",
    7: "perf_event",
}
"""Of the links that hold probes."""
TAKES_UPDATES: Final = frozenset(("cgroup", "iter"))
"""Kinds of link whose program can be exchanged; in the place of others a new link comes."""


@dataclass(frozen=True, slots=True)
class Loading:
    """What bpf(2) has to be told of a probe's program beside its instructions."""

    program_type: int
    attach_type: int = 0
    function: str = ""
    """What it is verified against, without the kernel's own prefix; empty: nothing."""


def loading_of(target: ProbeTarget) -> Loading:
    """How a program for that target is loaded."""
    if isinstance(target, CgroupTarget):
        kind = CGROUP_PROGRAM_TYPES[target.attach]
        return Loading(PROGRAM_TYPE_NUMBERS[kind], CGROUP_ATTACH_TYPES[target.attach])
    hook = kind_of(target)
    function = ""
    if isinstance(target, IteratorTarget):
        function = target.over
    elif hook in NEED_KERNEL_TYPES:
        function = str(getattr(target, "function", ""))
    number = PROGRAM_TYPE_NUMBERS[PROGRAM_TYPES[hook]]
    return Loading(number, _ATTACH_TYPES.get(hook, 0), function)


def attach_type_of(target: ProbeTarget) -> int:
    """The attach type of the target's link."""
    if isinstance(target, CgroupTarget):
        return CGROUP_ATTACH_TYPES[target.attach]
    return _ATTACH_TYPES.get(kind_of(target), PERF_EVENT)


def link_kind_of(hook: ProbeHook) -> LinkKind:
    """The kind of link that holds such a probe."""
    match hook:
        case "raw-tracepoint":
            return "raw_tracepoint"
        case "fentry" | "fexit" | "lsm":
            return "tracing"
        case "cgroup" | "sockops":
            return "cgroup"
        case "iterator":
            return "iter"
        case _:
            return "perf_event"


def loading_of_section(section: str, hook: ProbeHook) -> Loading | None:
    """How a program is loaded that is for no target yet; None: its section does not say it."""
    what = section.removeprefix("?").partition("/")[2]
    match hook:
        case "cgroup":
            attach = _attach_of_section(section)
            if attach is None:
                return None
            kind = CGROUP_PROGRAM_TYPES[attach]
            return Loading(PROGRAM_TYPE_NUMBERS[kind], CGROUP_ATTACH_TYPES[attach])
        case "iterator":
            known = what in get_args(IteratorKind)
            number = PROGRAM_TYPE_NUMBERS["tracing"]
            return Loading(number, TRACE_ITER, what) if known else None
        case "fentry" | "fexit" | "lsm":
            number = PROGRAM_TYPE_NUMBERS[PROGRAM_TYPES[hook]]
            return Loading(number, _ATTACH_TYPES[hook], what) if what else None
        case _:
            number = PROGRAM_TYPE_NUMBERS[PROGRAM_TYPES[hook]]
            return Loading(number, _ATTACH_TYPES.get(hook, 0))


def is_in_a_file(target: ProbeTarget) -> bool:
    """Whether it is an instruction of a program or library."""
    return isinstance(target, UprobeTarget | UretprobeTarget)


def is_in_a_cgroup(target: ProbeTarget) -> bool:
    """Whether it is a cgroup's."""
    return isinstance(target, CgroupTarget | SockopsTarget)


def _attach_of_section(section: str) -> CgroupAttach | None:
    name = section.removeprefix("?")
    spoken = {"cgroup/dev": "device", "cgroup/sock": "sock_create"}
    what = spoken.get(name, name.partition("/")[2])
    return next((one for one in get_args(CgroupAttach) if one == what), None)
