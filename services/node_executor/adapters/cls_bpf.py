# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""TC without TCX: one cls_bpf filter in direct-action mode below a clsact qdisc, for Linux < 6.6.

Our filter has a fixed priority and handle, and is named after its hook point's pins.  Replacing it
is atomic for packets, but compares nothing: the check of what is replaced is made just before.
A qdisc that was made here is marked by a pin, and is removed when the last filter is.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink import nla, nlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWTFILTER
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from services.node_executor.adapters import kernel_info, map_access, pins
from services.node_executor.adapters.bpf_syscall import Descriptor, bpf
from services.node_executor.adapters.kernel_errors import (
    HookOwnedError,
    InterfaceGoneError,
    KernelFaultError,
    LinkChangedError,
    UnsupportedByKernelError,
)
from services.node_executor.kernel_types import Handle, HookOccupant
from services.node_executor.pin_paths import hook_point_path, parse_pin_name
from shared.identifiers import Hook

PRIORITY: Final = 5039
HANDLE: Final = 1
_PARENTS: Final[dict[Hook, int]] = {"tc-ingress": 0xFFFFFFF2, "tc-egress": 0xFFFFFFF3}
"""include/uapi/linux/pkt_sched.h: TC_H_CLSACT with TC_H_MIN_INGRESS, TC_H_MIN_EGRESS."""
_ALL_PROTOCOLS: Final = 3
_MARK: Final = "clsact"
_MAP_CREATE, _ARRAY = 0, 2


class _Filter(nlmsg):  # type: ignore[misc]  # because pyroute2 is not typed
    """A filter as it is read back: pyroute2's own message lacks chain and program id."""

    prefix = "TCA_"
    fields = tcmsg.fields
    nla_map = (
        (1, "TCA_KIND", "asciiz"),
        (2, "TCA_OPTIONS", "options"),
        (11, "TCA_CHAIN", "uint32"),
    )

    class options(nla):  # type: ignore[misc]  # noqa: N801 because pyroute2 finds it by this name
        """include/uapi/linux/pkt_cls.h, TCA_BPF_*."""

        nla_map = ((7, "TCA_BPF_NAME", "asciiz"), (11, "TCA_BPF_ID", "uint32"))


@dataclass(frozen=True, slots=True)
class FoundFilter:
    """One cls_bpf filter of a hook."""

    program_id: int
    name: str
    priority: int
    handle: int
    chain: int
    kind: str = "bpf"


def filters(interface_index: int, hook: Hook) -> tuple[FoundFilter, ...]:
    """Every cls_bpf filter of the hook, in the order in which packets meet them."""
    with _route("listing filters") as route:
        return tuple(_filters(route, interface_index, hook))


def own_program(base: PurePosixPath, interface: str, interface_index: int, hook: Hook) -> int:
    """Id of the program in our filter; 0: we have none there."""
    name = _name(base, interface, hook)
    present = filters(interface_index, hook)
    return next((one.program_id for one in present if _is_at_our_place(one, name)), 0)


def others(
    base: PurePosixPath, interface: str, interface_index: int, hook: Hook
) -> tuple[tuple[HookOccupant, ...], tuple[HookOccupant, ...]]:
    """Programs in filters of others: those that see packets before ours would, and those after."""
    name = _name(base, interface, hook)
    before: list[HookOccupant] = []
    after: list[HookOccupant] = []
    for one in filters(interface_index, hook):
        if not _is_at_our_place(one, name) and one.program_id:
            side = before if (one.chain, one.priority) <= (0, PRIORITY) else after
            side.append(kernel_info.occupant(one.program_id))
    return tuple(before), tuple(after)


def in_the_way(
    base: PurePosixPath, interface: str, interface_index: int, hook: Hook
) -> FoundFilter | None:
    """Another owner's filter, of whatever kind, that leaves no room for ours; None: there is none.

    A preference of a chain has one kind and one protocol, and a handle of it one filter.
    """
    with _route("listing filters") as route:
        return _in_the_way(route, _name(base, interface, hook), interface_index, hook)


def in_anybodys_way(
    base: PurePosixPath, interfaces: Mapping[str, int]
) -> dict[tuple[str, Hook], FoundFilter]:
    """The same for both directions of many interfaces, by one socket.

    Args:
        base: The executor's own directory; its filters, under whatever name, are in nobody's way.
        interfaces: Name to index; each has a qdisc for filters.
    """
    found: dict[tuple[str, Hook], FoundFilter] = {}
    with _route("listing filters") as route:
        for interface, index in interfaces.items():
            for hook in _PARENTS:
                with suppress(NetlinkError):  # because interfaces go while they are looked at
                    one = _in_the_way(route, _name(base, interface, hook), index, hook)
                    if one is not None and not is_below(base, one):
                        found[interface, hook] = one
    return found


def is_below(base: PurePosixPath, found: FoundFilter) -> bool:
    """Whether it is a filter of the executor with that directory, under whatever interface."""
    return found.name.startswith(f"l3af {base}/")


def attach(
    base: PurePosixPath, interface: str, interface_index: int, hook: Hook, program: Handle
) -> None:
    """Our filter holds the program; a qdisc is made and marked if there is none.

    Raises:
        HookOwnedError: another's filter has our priority and handle.
        InterfaceGoneError: there is no such interface.
        UnsupportedByKernelError: the kernel has no clsact qdisc or no cls_bpf.
        KernelFaultError: any other failure.
    """
    place = f"{interface}/{hook}"
    with _route(f"attaching to {place}") as route:
        _need_qdisc(route, base, interface, interface_index, hook)
        try:
            route.tc("add-filter", "bpf", interface_index, **_ours(base, interface, hook, program))
        except NetlinkError as error:
            _drop_qdisc(route, base, interface, interface_index)
            found = _in_the_way(route, _name(base, interface, hook), interface_index, hook)
            if found is None:
                raise
            raise HookOwnedError(place, (holder(found),)) from error


def replace(
    base: PurePosixPath,
    interface: str,
    interface_index: int,
    hook: Hook,
    program: Handle,
    *,
    expected_id: int,
) -> None:
    """Our filter holds `program`; refused if it was seen to hold another than expected.

    Another writer between look and change is not noticed: cls_bpf has no such check.

    Raises:
        LinkChangedError: it held another program, or there was no filter of ours.
        InterfaceGoneError: there is no such interface.
        KernelFaultError: any other failure.
    """
    found = own_program(base, interface, interface_index, hook)
    if found != expected_id:
        raise LinkChangedError(0, expected_id=expected_id, actual=kernel_info.occupant(found))
    with _route(f"replacing the filter of {interface}/{hook}") as route:
        route.tc("replace-filter", "bpf", interface_index, **_ours(base, interface, hook, program))


def detach(base: PurePosixPath, interface: str, interface_index: int, hook: Hook) -> None:
    """There is no filter of ours, nor a qdisc that was made here and has no filters left."""
    with _route(f"detaching from {interface}/{hook}") as route:
        name = _name(base, interface, hook)
        present = _filters(route, interface_index, hook)
        if any(_is_at_our_place(one, name) for one in present):
            route.tc(
                "del-filter",
                "bpf",
                interface_index,
                handle=HANDLE,
                parent=_PARENTS[hook],
                prio=PRIORITY,
                protocol=_ALL_PROTOCOLS,
            )
        _drop_qdisc(route, base, interface, interface_index)


def sweep(base: PurePosixPath) -> None:
    """Every qdisc that was made here and holds no filters is gone, whatever happened to its maker.

    Raises:
        KernelFaultError: it cannot be removed.
    """
    for mark in sorted(Path(base).glob(f"*/{_MARK}")):
        interface = parse_pin_name(mark.parent.name)
        with _route(f"tidying {interface}") as route:
            found = route.link_lookup(ifname=interface)
            _drop_qdisc(route, base, interface, found[0] if found else 0)


def _ours(base: PurePosixPath, interface: str, hook: Hook, program: Handle) -> dict[str, Any]:
    return {
        "fd": program.fd,
        "name": _name(base, interface, hook),
        "direct_action": True,
        "handle": HANDLE,
        "parent": _PARENTS[hook],
        "prio": PRIORITY,
        "protocol": _ALL_PROTOCOLS,
    }


def _name(base: PurePosixPath, interface: str, hook: Hook) -> str:
    return f"l3af {hook_point_path(base, interface, hook)}"


def _is_at_our_place(one: FoundFilter, name: str) -> bool:
    return (one.name, one.priority, one.handle, one.chain) == (name, PRIORITY, HANDLE, 0)


def holder(found: FoundFilter) -> HookOccupant:
    """Whoever is to be named; a filter without a program by its kind and preference."""
    if found.program_id:
        return kernel_info.occupant(found.program_id)
    return HookOccupant(0, f"{found.kind} filter, preference {found.priority}", "", 0)


def _filters(route: IPRoute, interface_index: int, hook: Hook) -> Iterator[FoundFilter]:
    for found in route.get_filters(index=interface_index, parent=_PARENTS[hook]):
        options = found.get_attr("TCA_OPTIONS")
        if found.get_attr("TCA_KIND") == "bpf" and found["handle"] and options:
            yield _filter(found)


def _filter(found: Any) -> FoundFilter:
    kind = found.get_attr("TCA_KIND") or ""
    options = found.get_attr("TCA_OPTIONS") if kind == "bpf" else None
    return FoundFilter(
        program_id=(options.get_attr("TCA_BPF_ID") if options else 0) or 0,
        name=(options.get_attr("TCA_BPF_NAME") if options else "") or "",
        priority=found["info"] >> 16,
        handle=found["handle"],
        chain=found.get_attr("TCA_CHAIN") or 0,
        kind=kind,
    )


def _in_the_way(route: IPRoute, name: str, interface_index: int, hook: Hook) -> FoundFilter | None:
    for message in route.get_filters(index=interface_index, parent=_PARENTS[hook]):
        found = _filter(message)
        if (found.priority, found.chain) != (PRIORITY, 0) or not found.handle:
            continue
        has_our_protocol = message["info"] & 0xFFFF == socket.htons(_ALL_PROTOCOLS)
        is_beside_us = found.kind == "bpf" and has_our_protocol and found.handle != HANDLE
        if not is_beside_us and not _is_at_our_place(found, name):
            return found
    return None


def _need_qdisc(
    route: IPRoute, base: PurePosixPath, interface: str, interface_index: int, hook: Hook
) -> None:
    """The mark comes first: a kill in between leaves a mark without a qdisc, which harms nobody."""
    kinds = {found.get_attr("TCA_KIND") for found in route.get_qdiscs(interface_index)}
    if "clsact" in kinds or ("ingress" in kinds and hook == "tc-ingress"):
        return
    if "ingress" in kinds:
        raise UnsupportedByKernelError(
            f"{interface}/{hook}: an ingress qdisc of another owner is in the place of clsact"
        )
    _mark(base, interface, interface_index)
    try:
        route.tc("add", "clsact", interface_index)
    except NetlinkError as error:
        pins.unpin(_mark_path(base, interface), base=base)
        if error.code in (errno.ENOENT, errno.EOPNOTSUPP):
            raise UnsupportedByKernelError(
                f"{interface}/{hook}: the kernel has no clsact qdisc: {error}"
            ) from error
        raise


def _drop_qdisc(route: IPRoute, base: PurePosixPath, interface: str, interface_index: int) -> None:
    """A qdisc that was made here and holds no filters is gone, and so is its mark."""
    if interface_index and marked_index(base, interface) == interface_index:
        for hook in _PARENTS:
            if any(True for _ in route.get_filters(index=interface_index, parent=_PARENTS[hook])):
                return
        try:
            route.tc("del", "clsact", interface_index)
        except NetlinkError as error:
            if error.code not in (errno.ENOENT, errno.EINVAL):
                raise
    pins.unpin(_mark_path(base, interface), base=base)


def _mark(base: PurePosixPath, interface: str, interface_index: int) -> None:
    """A pinned map with the interface's index says that its clsact qdisc was made here."""
    request = struct.pack("<5I28x", _ARRAY, 4, 4, 1, 0)
    with Descriptor(bpf(_MAP_CREATE, request, action="marking a qdisc")) as made:
        map_access.update(made, bytes(4), struct.pack("<I", interface_index))
        pins.pin(made, _mark_path(base, interface))


def marked_index(base: PurePosixPath, interface: str) -> int:
    """Of the interface that a qdisc was made on here, when it had that name; 0: none."""
    if not Path(_mark_path(base, interface)).exists():
        return 0
    opened = pins.open_pinned(_mark_path(base, interface))
    if opened is None:
        return 0
    with opened:
        return map_access.read_number(opened, bytes(4)) or 0


def _mark_path(base: PurePosixPath, interface: str) -> PurePosixPath:
    return hook_point_path(base, interface, "tc-ingress").parent / _MARK


@contextmanager
def _route(action: str) -> Iterator[IPRoute]:
    """A socket, and errors in our words."""
    try:
        with IPRoute(ext_ack=True) as route:
            route.register_policy(RTM_NEWTFILTER, _Filter)
            yield route
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            raise InterfaceGoneError(f"{action}: there is no such interface") from error
        raise KernelFaultError(f"{action}: {error.args[1]}", error.code) from error
    except OSError as error:
        raise KernelFaultError(action, error.errno or errno.EIO) from error
