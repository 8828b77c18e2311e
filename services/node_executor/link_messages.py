# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which interfaces changed, out of what the kernel says about links.

Pure.  Layout: include/uapi/linux/rtnetlink.h (struct nlmsghdr, struct ifinfomsg, struct rtattr) and
if_link.h.  The kernel says much that concerns no hook, as a carrier that flaps: only name, address,
MTU, being up, XDP and what the driver offers count.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_NEW, _DELETED = 16, 17
_BRIDGE_FAMILY: Final = 7
_ADDRESS, _NAME, _MTU, _XDP, _EVENT = 1, 3, 4, 43, 44
_FEATURES_CHANGED: Final = struct.pack("=I", 2)
_IS_UP: Final = 1
_KIND_BITS: Final = 0x3FFF


class LinkState(NamedTuple):
    """What is compared of an interface."""

    name: str
    address: bytes
    mtu: bytes
    xdp: bytes
    is_up: bool


class KnownLinks:
    """What was said last of each interface of one network namespace."""

    def __init__(self) -> None:
        """Nothing was said."""
        self._states: dict[int, LinkState] = {}

    def take(self, data: bytes) -> set[str]:
        """Names of the interfaces that changed, former names included."""
        changed: set[str] = set()
        for kind, payload in messages(data):
            if kind in (_NEW, _DELETED) and len(payload) >= _LINK.size:
                changed |= self._take(kind, payload)
        return changed

    def _take(self, kind: int, payload: bytes) -> set[str]:
        family, _, index, flags, _ = _LINK.unpack_from(payload)
        if family == _BRIDGE_FAMILY:  # ports of bridges, said beside the links themselves
            return set()
        found = dict(attributes(payload[_LINK.size :]))
        before = self._states.get(index)
        now = LinkState(
            name=found.get(_NAME, b"").rstrip(b"\0").decode(errors="replace"),
            address=found.get(_ADDRESS, b""),
            mtu=found.get(_MTU, b""),
            xdp=found.get(_XDP, b""),
            is_up=bool(flags & _IS_UP),
        )
        if kind == _DELETED:
            self._states.pop(index, None)
        else:
            self._states[index] = now
            if before == now and found.get(_EVENT) != _FEATURES_CHANGED:
                return set()
        return {now.name, *([before.name] if before else [])}


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of each netlink message; what is cut off is left out."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += -(-length // 4) * 4


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each attribute; what is cut off is left out."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _KIND_BITS, data[at + _ATTRIBUTE.size : at + length]
        at += -(-length // 4) * 4
