# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Links made and changed without the executor's care, and frames sent past them."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence

from services.node_executor.adapters.bpf_syscall import (
    LINK_CREATE,
    LINK_UPDATE,
    Descriptor,
    bpf_attempt,
)
from services.node_executor.kernel_types import Handle
from tests.support.interfaces import DEADLINE_SECONDS, Veth

REPLACE = 4
ETHERTYPE = 0x88B5
"""For local experiments (IEEE 802)."""


def link(
    program: Handle, interface_index: int, attach_type: int, *, flags: int = 0
) -> tuple[Descriptor | None, int]:
    """A new link, or the errno."""
    request = struct.pack("<IIII48x", program.fd, interface_index, attach_type, flags)
    fd, failure, _ = bpf_attempt(LINK_CREATE, request)
    return (None, failure) if failure else (Descriptor(fd), 0)


def a_link(program: Handle, interface_index: int, attach_type: int) -> Descriptor:
    """A new link, which the kernel makes."""
    made, failure = link(program, interface_index, attach_type)
    assert made is not None, os.strerror(failure)
    return made


def swap(held: Handle, program: Handle, *, expected: Handle | None = None) -> int:
    """The errno of a link update; 0: the link runs the program."""
    flags, old = (REPLACE, expected.fd) if expected is not None else (0, 0)
    _, failure, _ = bpf_attempt(LINK_UPDATE, struct.pack("<IIII", held.fd, program.fd, flags, old))
    return failure


def a_frame(*payload: int) -> bytes:
    """A frame that nobody but these tests understands."""
    return bytes(12) + struct.pack("!H", ETHERTYPE) + bytes(payload).ljust(50, b"\0")


def frames_that_pass(veth: Veth, frames: Sequence[bytes], *, last: bytes) -> list[bytes]:
    """Which frames reach a receiver behind the hooks; `last` passes, and nothing overtakes it."""
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as receiver,
    ):
        sender.bind((veth.peer, 0))
        receiver.bind((veth.name, ETHERTYPE))
        receiver.settimeout(DEADLINE_SECONDS)
        for frame in (*frames, last):
            sender.send(frame)
        found: list[bytes] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while last not in found:
            assert time.monotonic() < deadline
            found.append(receiver.recv(2048))
    return found[:-1]
