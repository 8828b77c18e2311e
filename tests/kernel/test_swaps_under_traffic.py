# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Swapping generations while packets arrive: every packet sees one whole chain."""

from __future__ import annotations

import socket
import threading
import time

from services.node_executor.adapters import hooks
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import read_number
from tests.support.chain_reference import a_source
from tests.support.interfaces import DEADLINE_SECONDS, Veth, a_veth

FRAMES = 10_000
BATCH = 10
FRAME = bytes(12) + b"\x88\xb5" + bytes(50)
FRAMES_EACH_SECOND = 10_000


def a_generation(length: int) -> LinkedChain:
    """A chain of so many counters."""
    sources = [a_source("counts_experiments", name=f"p{number}") for number in range(length)]
    return link_chain(sources, "xdp", name=f"of{length}")


def counts(chain: LinkedChain) -> list[int | None]:
    """What each program of the chain has counted."""
    return [read_number(maps["seen"].handle, bytes(4)) for maps in chain.maps.values()]


def send_frames(veth: Veth) -> None:
    """FRAMES frames into the far end, evenly."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((veth.peer, 0))
        started = time.monotonic()
        for sent in range(0, FRAMES, BATCH):
            for _ in range(BATCH):
                sender.send(FRAME)
            due = started + (sent + BATCH) / FRAMES_EACH_SECOND
            time.sleep(max(0.0, due - time.monotonic()))


def test_no_packet_is_lost_or_sees_a_mixture_of_two_generations() -> None:
    """Within a generation all counters agree, and together they counted every frame."""
    with a_veth() as veth, a_generation(3) as three, a_generation(5) as five:
        with hooks.attach(three.program, veth.index, "xdp", hook_point="p").link as link:
            sender = threading.Thread(target=send_frames, args=(veth,))
            sender.start()
            swaps = 0
            present, following = three, five
            while sender.is_alive():
                hooks.replace_program(link, following.program, expected_id=present.info.id)
                present, following = following, present
                swaps += 1
            sender.join()
            deadline = time.monotonic() + DEADLINE_SECONDS
            while (counts(three)[0] or 0) + (counts(five)[0] or 0) < FRAMES:
                assert time.monotonic() < deadline, (counts(three), counts(five), FRAMES)
                time.sleep(0.01)

        assert len(set(counts(three))) == 1
        assert len(set(counts(five))) == 1
        assert (counts(three)[0] or 0) + (counts(five)[0] or 0) == FRAMES
        assert swaps > 10
