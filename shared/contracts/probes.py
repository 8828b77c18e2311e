# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a probe is attached to: one kind of target for each kind of probe, its tag is the hook.

Names are the kernel's and libbpf's.  A target says everything that attaching takes, so the same
program can be used with several.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from shared.contracts.base import Document, Message
from shared.identifiers import ProbeHook

MAX_OFFSET: Final = 2**32 - 1
MAX_PID: Final = 2**22
"""PID_MAX_LIMIT of the kernel."""

EventName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,127}(?!\n)$")]
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.$]{0,126}(?!\n)$")]
SymbolText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.$@]{0,255}(?!\n)$")]
"""Of an object file; empty: the offset counts from the beginning of the file."""
FilePath = Annotated[str, Meta(pattern=r"^/[^\x00-\x1f]{1,1022}(?!\n)$")]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
Pid = Annotated[int, Meta(ge=0, le=MAX_PID)]

CgroupAttach = Literal[
    "ingress",
    "egress",
    "sock_create",
    "sock_release",
    "bind4",
    "bind6",
    "post_bind4",
    "post_bind6",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
    "getsockname4",
    "getsockname6",
    "getsockopt",
    "setsockopt",
    "sysctl",
    "device",
]
"""What of a cgroup a program is asked about: libbpf's section names behind `cgroup/`, except
`device` (`cgroup/dev`), and `ingress` and `egress` (`cgroup_skb/…`)."""
IteratorKind = Literal[
    "task",
    "task_file",
    "task_vma",
    "bpf_map",
    "bpf_prog",
    "bpf_link",
    "bpf_map_elem",
    "tcp",
    "udp",
    "unix",
    "netlink",
    "ipv6_route",
    "cgroup",
    "ksym",
]
"""What an iterator walks through, as the kernel calls it."""


LinkKind = Literal["perf_event", "raw_tracepoint", "tracing", "cgroup", "iter"]
"""The bpf_link that holds a probe."""


class _Target(Document, frozen=True, kw_only=True, tag_field="kind"):
    """Base: what tells the targets apart is the kind of probe."""


class TracepointTarget(_Target, frozen=True, kw_only=True, tag="tracepoint"):
    """A tracepoint of the kernel, as it lies below `events` in tracefs."""

    category: EventName
    """As `sched`, `syscalls`, `net`."""
    name: EventName
    """As `sched_switch`."""


class RawTracepointTarget(_Target, frozen=True, kw_only=True, tag="raw-tracepoint"):
    """A tracepoint whose program gets the arguments as the kernel's own code passes them."""

    name: EventName


class KprobeTarget(_Target, frozen=True, kw_only=True, tag="kprobe"):
    """An instruction of a function of the kernel."""

    function: FunctionName
    offset: Offset = 0


class KretprobeTarget(_Target, frozen=True, kw_only=True, tag="kretprobe"):
    """The return of a function of the kernel."""

    function: FunctionName


class UprobeTarget(_Target, frozen=True, kw_only=True, tag="uprobe"):
    """An instruction of a program or library on the node's disk."""

    path: FilePath
    """As the node executor sees it."""
    symbol: SymbolText = ""
    """Of the file's symbol tables; empty: `offset` counts from the file's beginning."""
    offset: Offset = 0
    """Bytes behind the symbol."""
    pid: Pid = 0
    """Of the one process whose calls count; 0: every process that runs the file's code."""


class UretprobeTarget(_Target, frozen=True, kw_only=True, tag="uretprobe"):
    """The return of a function of a program or library on the node's disk."""

    path: FilePath
    symbol: SymbolText = ""
    offset: Offset = 0
    pid: Pid = 0


class FentryTarget(_Target, frozen=True, kw_only=True, tag="fentry"):
    """The beginning of a function of the kernel, with typed arguments."""

    function: FunctionName


class FexitTarget(_Target, frozen=True, kw_only=True, tag="fexit"):
    """The end of a function of the kernel, with typed arguments and what it returns."""

    function: FunctionName


class LsmTarget(_Target, frozen=True, kw_only=True, tag="lsm"):
    """A hook of the kernel's security modules."""

    function: FunctionName
    """As `file_open`, without `bpf_lsm_`."""


class CgroupTarget(_Target, frozen=True, kw_only=True, tag="cgroup"):
    """What the processes of a cgroup, and of those below it, do."""

    path: FilePath
    """Of the directory in a mounted cgroup2 hierarchy."""
    attach: CgroupAttach


class SockopsTarget(_Target, frozen=True, kw_only=True, tag="sockops"):
    """What becomes of the TCP connections of a cgroup's processes."""

    path: FilePath
    """Of the directory in a mounted cgroup2 hierarchy."""


class IteratorTarget(_Target, frozen=True, kw_only=True, tag="iterator"):
    """Things of the kernel that the program is called for, one after another, on each reading."""

    over: IteratorKind
    map: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.]{0,127}(?!\n)$")] = ""
    """`bpf_map_elem`: which of the program's own maps; not for others."""


ProbeTarget: TypeAlias = (
    TracepointTarget
    | RawTracepointTarget
    | KprobeTarget
    | KretprobeTarget
    | UprobeTarget
    | UretprobeTarget
    | FentryTarget
    | FexitTarget
    | LsmTarget
    | CgroupTarget
    | SockopsTarget
    | IteratorTarget
)

PROBE_FEATURES: Final[tuple[ProbeHook, ...]] = (
    "cgroup",
    "fentry",
    "fexit",
    "iterator",
    "kprobe",
    "kretprobe",
    "lsm",
    "raw-tracepoint",
    "sockops",
    "tracepoint",
    "uprobe",
    "uretprobe",
)
"""Nodes report under the hook's name whether they can attach such a probe; what the kernel lacks is
in `feature_notes`."""


class ObservedProbe(Message, frozen=True, kw_only=True):
    """What the kernel says of a probe's link, read back now."""

    link: LinkKind
    name: str = ""
    """Of the tracepoint, function, file or iterator's target; empty where the kernel says none."""
    offset: int = 0
    """In the file or function."""
    cgroup_id: int = 0
    target_type: str = ""
    """Attach type, as `cgroup_inet_ingress` or `trace_iter`; empty where the link's kind says all.
    """
    missed: int | None = None
    """Events that the kernel did not pass on; None: it does not count them for this kind."""
    text_path: str = ""
    """Iterator: the file in bpffs that gives the iterator's text each time it is read."""
    runs: int | None = None
    """How often the program ran while `kernel.bpf_stats_enabled` was on; None: it is off, and
    never was on for this program."""
    run_nanoseconds: int | None = None


def kind_of(target: ProbeTarget) -> ProbeHook:
    """The hook that a target is for."""
    found: ProbeHook = target.__struct_config__.tag  # type: ignore[assignment] # the tags are hooks
    return found
