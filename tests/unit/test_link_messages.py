# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the kernel's words about links are news."""

from __future__ import annotations

import struct

import pytest

from services.node_executor.link_messages import KnownLinks

NEW, DELETED = 16, 17
UP = 1


def a_message(
    kind: int = NEW,
    *,
    index: int = 3,
    name: str = "eth0",
    flags: int = UP,
    family: int = 0,
    attributes: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """As the kernel sends it."""
    body = struct.pack("=BxHiII", family, 1, index, flags, 0)
    for number, value in ((3, name.encode() + b"\0"), *attributes):
        body += struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


MTU_1500, MTU_9000 = (4, struct.pack("=I", 1500)), (4, struct.pack("=I", 9000))


@pytest.mark.parametrize(
    "message",
    [
        a_message(attributes=(MTU_9000,)),
        a_message(flags=0, attributes=(MTU_1500,)),
        a_message(attributes=(MTU_1500, (1, b"\2\0\0\0\0\1"))),
        a_message(attributes=(MTU_1500, (43 | 0x8000, b"\5\0\2\0\1\0\0\0"))),
        a_message(attributes=(MTU_1500, (44, struct.pack("=I", 2)))),
    ],
    ids=("mtu", "down", "address", "xdp", "features"),
)
def test_what_concerns_a_hook_is_news(message: bytes) -> None:
    """Each once, unless it is an event of its own."""
    links = KnownLinks()
    assert links.take(a_message(attributes=(MTU_1500,))) == {"eth0"}

    assert links.take(message) == {"eth0"}


def test_what_concerns_no_hook_is_not() -> None:
    """A carrier that flaps, the same once more, ports of bridges, other messages."""
    links = KnownLinks()
    links.take(a_message())

    assert links.take(a_message(flags=UP | 0x40)) == set()
    assert links.take(a_message(family=7, flags=0)) == set()
    assert links.take(a_message(kind=24)) == set()


def test_a_new_name_is_news_of_both() -> None:
    """So is an interface that went, and another with its number."""
    links = KnownLinks()
    links.take(a_message())

    assert links.take(a_message(name="wan0")) == {"eth0", "wan0"}
    assert links.take(a_message(DELETED, name="wan0")) == {"wan0"}
    assert links.take(a_message(name="wan0") + a_message(index=4)) == {"wan0", "eth0"}


@pytest.mark.parametrize("length", range(0, 60, 3))
def test_a_message_that_ends_early_is_read_as_far_as_it_goes(length: int) -> None:
    """The kernel sends none, but nothing may fail of it."""
    assert KnownLinks().take(a_message()[:length]) <= {"eth0", "eth", "et", "e", ""}
