# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Default routes are found in what the kernel says, and nothing else is taken for one."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.route_messages import DefaultRoutes

DONE = struct.pack("=IHHII", 20, 3, 2, 1, 0) + bytes(4)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = -len(value) % 4
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(padding)


def _route(
    *, prefix: int = 0, table: int = 254, what: int = 1, to: bytes = b"", via: bytes = b""
) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, prefix, 0, 0, min(table, 252), 3, 0, what, 0)
    body += _attribute(15, struct.pack("=I", table))
    body += (_attribute(1, to) if to else b"") + via
    return struct.pack("=IHHII", 16 + len(body), 24, 2, 1, 0) + body


def _through(index: int) -> bytes:
    return _attribute(4, struct.pack("=i", index))


def test_a_default_route_is_one_of_the_main_table_to_everywhere() -> None:
    """Neither a blackhole, nor one of another table, nor one to a prefix."""
    found = DefaultRoutes()

    goes_on = found.take(
        "ipv4",
        _route(via=_through(2))
        + _route(table=100, via=_through(3))
        + _route(what=6, via=_through(4))
        + _route(prefix=8, to=b"\0\0\0\0", via=_through(5)),
    )

    assert goes_on
    assert [found.through(index) for index in range(2, 6)] == [("ipv4",), (), (), ()]


def test_one_with_several_next_hops_leaves_through_each() -> None:
    """A host with two uplinks."""
    hops = b"".join(struct.pack("=HBBi", 8, 0, 0, index) for index in (7, 9))
    found = DefaultRoutes()

    found.take("ipv6", _route(via=_attribute(9, hops)) + DONE)

    assert [found.through(index) for index in (7, 8, 9)] == [("ipv6",), (), ("ipv6",)]


def test_a_long_table_is_read_only_as_long_as_a_default_route_can_come() -> None:
    """The kernel lists by address, so the first that is not 0 ends it; the end does too."""
    longer = _route(prefix=8, to=b"\x0a\0\0\0", via=_through(2))

    assert not DefaultRoutes().take("ipv4", longer)
    assert DefaultRoutes().take("ipv6", longer)
    assert not DefaultRoutes().take("ipv6", DONE)


@given(st.binary(max_size=200), st.integers(0, 120))
def test_no_bytes_are_more_than_a_hint(data: bytes, cut: int) -> None:
    """What is damaged or cut off is left out."""
    hops = _attribute(9, data)
    for said in (data, _route(via=hops)[:cut], _route(via=hops), _route(via=data)):
        DefaultRoutes().take("ipv4", said)
