# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where programs are attached: what every bpf_link says, and what hooks hold without one.

Layouts: struct bpf_link_info in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.node_executor.adapters import hooks, kernel_info, xdp_netlink
from services.node_executor.adapters.bpf_syscall import (
    LINK_NEXT_ID,
    Memory,
    ids,
    info_by_fd,
)
from services.node_executor.adapters.kernel_errors import (
    InterfaceGoneError,
    KernelFaultError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.network_namespaces import inside, names
from services.node_executor.kernel_types import ATTACH_TYPES
from shared.contracts.ebpf import EbpfAttachment
from shared.identifiers import Hook, render_hook_point

_INFO_BYTES: Final = 56
_NAME_BYTES: Final = 128
_RAW_TRACEPOINT, _XDP, _TCX, _NETKIT = 1, 6, 11, 13
_ON_INTERFACES: Final = {_XDP, _TCX, _NETKIT}
_TC_HOOKS: Final[tuple[Hook, ...]] = ("tc-ingress", "tc-egress")
_KINDS: Final = (
    *("", "raw_tracepoint", "tracing", "cgroup", "iter", "netns", "xdp", "perf_event"),
    *("kprobe_multi", "struct_ops", "netfilter", "tcx", "uprobe_multi", "netkit", "sockmap"),
)
"""enum bpf_link_type."""
_TARGETS: Final[dict[int, Callable[[bytes], str]]] = {
    2: lambda raw: "function {1} of object {0}".format(*struct.unpack_from("<II", raw, 20)),
    3: lambda raw: "cgroup {}".format(*struct.unpack_from("<Q", raw, 16)),
    5: lambda raw: "network namespace {}".format(*struct.unpack_from("<I", raw, 16)),
    9: lambda raw: "map {}".format(*struct.unpack_from("<I", raw, 16)),
    10: lambda raw: "family {} hook {}".format(*struct.unpack_from("<II", raw, 16)),
    14: lambda raw: "map {}".format(*struct.unpack_from("<I", raw, 16)),
}


@dataclass(frozen=True, slots=True)
class FoundLink:
    """One bpf_link."""

    program_id: int
    attachment: EbpfAttachment


def attachments() -> dict[int, list[EbpfAttachment]]:
    """Program id to where it is attached; links first, then what has none."""
    found: dict[int, list[EbpfAttachment]] = defaultdict(list)
    places = dict(_places())
    for link in _links(places):
        found[link.program_id].append(link.attachment)
    for (program_id, link_id), place in places.items():
        if not link_id and not any(one.target == place for one in found[program_id]):
            kind = "xdp" if place.endswith("/xdp") else "tcx"
            found[program_id].append(EbpfAttachment(kind=kind, target=place))
    return found


def _links(places: dict[tuple[int, int], str]) -> Iterator[FoundLink]:
    for link_id in ids(LINK_NEXT_ID):
        try:
            with kernel_info.link_by_id(link_id) as link:
                action = "reading a link's information"
                raw = info_by_fd(link.fd, _INFO_BYTES, action=action)
                kind, _, program_id = struct.unpack_from("<III", raw)
                target = _target(kind, raw, link.fd, places.get((program_id, link_id), ""))
        except KernelFaultError as error:
            if error.number not in (errno.ENOENT, errno.EAGAIN):  # as in hooks.links_on
                raise
            continue
        name = _KINDS[kind] if kind < len(_KINDS) else str(kind)
        yield FoundLink(program_id, EbpfAttachment(kind=name, target=target, link_id=link_id))


def _target(kind: int, raw: bytes, fd: int, place: str) -> str:
    if kind in _ON_INTERFACES:
        index = struct.unpack_from("<I", raw, 16)[0]
        gone = "an interface that is gone"
        elsewhere = f"interface {index}, not of this network namespace"
        return place or (elsewhere if index else gone)
    if kind == _RAW_TRACEPOINT:
        memory = Memory()
        address, read = memory.space(_NAME_BYTES)
        given = struct.pack("<16xQI", address, _NAME_BYTES)
        with suppress(KernelFaultError):
            info_by_fd(fd, _INFO_BYTES, action="reading a tracepoint's name", given=given)
        return read().split(b"\0", 1)[0].decode(errors="replace")
    describe = _TARGETS.get(kind)
    return describe(raw) if describe else ""


def _places() -> Iterator[tuple[tuple[int, int], str]]:
    """(program id, link id) to the hook point that holds them, named namespaces included."""
    on_xdp = {
        (one.interface_index, one.program_id): one.id
        for one in hooks.links()
        if one.attach_type == ATTACH_TYPES["xdp"]
    }
    for netns in ("", *names()):
        with suppress(InterfaceGoneError, KernelFaultError), inside(netns):
            # what waits for its reader may not be inside
            yield from list(_places_here(netns, on_xdp))


def _places_here(
    netns: str, on_xdp: Mapping[tuple[int, int], int]
) -> Iterator[tuple[tuple[int, int], str]]:
    """All links are listed once, and not for each interface: hosts have hundreds of both."""
    for index, name in socket.if_nameindex():
        with suppress(KernelFaultError):
            if program_id := xdp_netlink.program_on(index):
                place = render_hook_point(name, "xdp", netns)
                yield (program_id, on_xdp.get((index, program_id), 0)), place
        for hook in _TC_HOOKS:
            with suppress(InterfaceGoneError, UnsupportedByKernelError, KernelFaultError):
                for one in hooks.occupants(index, hook):
                    yield (one.program_id, one.link_id), render_hook_point(name, hook, netns)
