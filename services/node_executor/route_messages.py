# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Through which interfaces default routes leave, out of what the kernel says about routes.

Pure.  Layout: include/uapi/linux/rtnetlink.h (struct rtmsg, struct rtnexthop).  A default route is
a unicast route of the main table to no prefix at all; one with several next hops leaves through
each.

The kernel lists routes of IPv4 by address from the lowest (net/ipv4/fib_trie.c, fib_table_dump), so
that those of a long table are read only as long as a default one can come.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from services.node_executor.link_messages import attributes, messages
from shared.contracts.interfaces import RouteFamily

FAMILIES: Final[dict[RouteFamily, int]] = {"ipv4": 2, "ipv6": 10}
"""AF_INET, AF_INET6."""
MAIN_TABLE: Final = 254
MAX_ROUTES: Final = 50_000
"""Of a longer table nothing is said."""
_HEADER: Final = struct.Struct("=IHHII")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_TABLE: Final = struct.Struct("=HHI")
_NEXT_HOP: Final = struct.Struct("=HBBi")
_NUMBER: Final = struct.Struct("=I")
_NEW_ROUTE, _GET_ROUTE = 24, 26
_ERROR, _DONE = 2, 3
_DUMP_REQUEST: Final = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP."""
_UNICAST: Final = 1
_DESTINATION, _INTERFACE, _MULTIPATH, _TABLE_ATTRIBUTE = 1, 4, 9, 15


@dataclass(slots=True)
class DefaultRoutes:
    """What was found so far."""

    found: dict[RouteFamily, set[int]] = field(default_factory=dict)
    """Indexes of interfaces."""
    routes: int = 0
    """That were looked at."""

    def through(self, index: int) -> tuple[RouteFamily, ...]:
        """The families whose default route leaves through an interface."""
        return tuple(family for family in FAMILIES if index in self.found.get(family, ()))

    def take(self, family: RouteFamily, data: bytes) -> bool:
        """Whether more is to come that could be a default route."""
        indexes = self.found.setdefault(family, set())
        for kind, payload in messages(data):
            if kind in (_DONE, _ERROR):
                return False
            if kind != _NEW_ROUTE or len(payload) < _ROUTE.size:
                continue
            self.routes += 1
            _, prefix, _, _, short_table, _, _, what, _ = _ROUTE.unpack_from(payload)
            said = dict(attributes(payload[_ROUTE.size :]))
            if _number(said.get(_TABLE_ATTRIBUTE), short_table) != MAIN_TABLE:
                continue
            if prefix == 0 and what == _UNICAST:
                indexes |= set(_interfaces(said))
            elif family == "ipv4" and any(said.get(_DESTINATION, b"")):
                return False
        return True


def dump_request(family: RouteFamily) -> bytes:
    """Asks for the routes of the main table; a kernel before 4.20 answers with those of all."""
    route = _ROUTE.pack(FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)
    body = route + _TABLE.pack(_TABLE.size, _TABLE_ATTRIBUTE, MAIN_TABLE)
    return _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _DUMP_REQUEST, 1, 0) + body


def _interfaces(said: dict[int, bytes]) -> Iterator[int]:
    if _INTERFACE in said:
        yield _number(said[_INTERFACE], 0)
    hops = said.get(_MULTIPATH, b"")
    at = 0
    while at + _NEXT_HOP.size <= len(hops):
        length, _, _, index = _NEXT_HOP.unpack_from(hops, at)
        if length < _NEXT_HOP.size:
            return
        yield index
        at += -(-length // 4) * 4


def _number(value: bytes | None, otherwise: int) -> int:
    if value is None or len(value) < _NUMBER.size:
        return otherwise
    number: int = _NUMBER.unpack_from(value)[0]
    return number
