# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which places for chains hold programs of others: XDP, TCX, and the preference of our filters.

What comes and goes while it is read is left out; the next look finds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, Final

from pyroute2 import IPRoute

from services.node_executor.adapters import cls_bpf, hooks, kernel_info
from services.node_executor.adapters.kernel_errors import InterfaceGoneError, KernelFaultError
from services.node_executor.adapters.probes import knows_tcx
from shared.contracts.node import AttachmentKind, TakenSlot
from shared.identifiers import Hook

_XDP: Final[tuple[tuple[str, AttachmentKind], ...]] = (
    ("IFLA_XDP_DRV_PROG_ID", "xdp-native"),
    ("IFLA_XDP_SKB_PROG_ID", "xdp-generic"),
    ("IFLA_XDP_HW_PROG_ID", "xdp-offload"),
)
_TC_HOOKS: Final[tuple[Hook, ...]] = ("tc-ingress", "tc-egress")
_QDISCS: Final = ("clsact", "ingress")


def taken_slots(
    route: IPRoute, links: Sequence[Any], *, netns: str, base: PurePosixPath, own: Collection[int]
) -> tuple[TakenSlot, ...]:
    """Programs of others on the interfaces, in the order of `links`.

    Args:
        route: A socket of the network namespace that this thread is in.
        links: The interfaces, as that socket listed them.
        netns: The namespace's name.
        base: The executor's own directory in bpffs: its filters are named after it.
        own: The executor's own programs.
    """
    with_qdisc = {one["index"] for one in route.get_qdiscs() if _kind(one) in _QDISCS}
    named = {str(one.get_attr("IFLA_IFNAME")): int(one["index"]) for one in links}
    looked_at = {name: index for name, index in named.items() if index in with_qdisc}
    filters = cls_bpf.in_anybodys_way(base, looked_at) if looked_at else {}
    found: list[TakenSlot] = []
    for link in links:
        name, index = str(link.get_attr("IFLA_IFNAME")), int(link["index"])
        place = {"interface": name, "netns": netns}
        found += (_slot(place, "xdp", *one) for one in _xdp(link, own))
        for hook in _TC_HOOKS:
            with suppress(InterfaceGoneError, KernelFaultError):
                found += (_slot(place, hook, *one) for one in _tcx(index, hook, own))
            if (name, hook) in filters:
                one = filters[name, hook]
                who = cls_bpf.holder(one).program_name
                found.append(_slot(place, hook, "cls_bpf", [one.program_id], who))
    return tuple(found)


def _xdp(link: Any, own: Collection[int]) -> Iterator[tuple[AttachmentKind, list[int]]]:
    attached = link.get_attr("IFLA_XDP")
    for attribute, kind in _XDP if attached else ():
        program_id = attached.get_attr(attribute) or 0
        if program_id and program_id not in own:
            yield kind, [program_id]


def _tcx(
    index: int, hook: Hook, own: Collection[int]
) -> Iterator[tuple[AttachmentKind, list[int]]]:
    present = hooks.program_ids(index, hook) if knows_tcx() else ()
    others = [one for one in present if one not in own]
    if others:
        yield "tcx", others


def _slot(
    place: dict[str, str], hook: Hook, kind: AttachmentKind, programs: list[int], name: str = ""
) -> TakenSlot:
    first = programs[0]
    return TakenSlot(
        **place,
        hook=hook,
        attachment=kind,
        programs=len(programs),
        program_id=first,
        program_name=name or kernel_info.occupant(first).program_name,
    )


def _kind(message: Any) -> str:
    return str(message.get_attr("TCA_KIND") or "")
