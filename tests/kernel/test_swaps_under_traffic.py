# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Swapping generations while packets arrive: every packet sees one whole chain, and exactly one.

Each generation writes its number into every frame, in its first program and in its last.  A lost
frame, one without a number and one with two numbers would all be seen by the receiver.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from services.node_executor.adapters import hooks, kernel_info
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.kernel_errors import LinkChangedError
from services.node_executor.adapters.map_access import read_number
from services.node_executor.kernel_types import Handle, ProgramSource
from services.node_executor.linking.counters import read_missed, read_slot
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.node import DEFAULT_PROCEED_ON
from shared.identifiers import Hook
from tests.support.bpf_objects import corpus_object
from tests.support.chain_comparison import slot_values
from tests.support.hand_attached import ETHERTYPE
from tests.support.interfaces import DEADLINE_SECONDS, Veth, a_veth

IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
XDP_SWAPS = 1_000 if IS_SOAK else 60
TCX_SWAPS = 10_000 if IS_SOAK else 1_000
FRAMES = 20_000 if IS_SOAK else 3_000
"""At least so many are sent; swapping goes on until they are."""
LENGTHS = (2, 3, 5, 9)
"""Programs of each generation; the longest is two kernel programs."""
BATCH = 10
FRAMES_EACH_SECOND = 10_000
RECEIVE_BYTES = 256 << 20
SO_RCVBUFFORCE = 33
FRAME = struct.Struct("!12sH4xI")
STAMPS = struct.Struct("<II")
FRAME_BYTES = 64
WRITERS = 4
ROUNDS = 400 if IS_SOAK else 60


def a_generation(hook: Hook, number: int, length: int) -> LinkedChain:
    """A chain whose first and last program write `number`; in between others do."""
    family = "xdp" if hook == "xdp" else "tc"
    functions = ["stamps_first"] * (length - 1) + ["stamps_last"]
    sources = [
        ProgramSource(
            name=f"p{position}",
            object_path=f"{family}_stamps.bpf.o",
            data=corpus_object(f"{family}_stamps"),
            function=function,
            proceed_on=DEFAULT_PROCEED_ON[hook],
            globals={"generation": struct.pack("<I", number)},
        )
        for position, function in enumerate(functions)
    ]
    cut = frozenset((length // 2,)) if length == max(LENGTHS) else frozenset()
    policy = LinkPolicy(hook=hook, separate=cut)
    return link_chain(sources, hook, name=f"generation_{number}", policy=policy)


@dataclass
class Traffic:
    """Frames on their way."""

    sent: int = 0
    is_over: bool = False


@contextmanager
def traffic(
    sender_name: str, receiver_name: str
) -> Iterator[tuple[Traffic, threading.Thread, socket.socket]]:
    """Numbered frames, evenly, until the block ends; the socket has what arrived."""
    state = Traffic()
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as receiver,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
        receiver.bind((receiver_name, ETHERTYPE))
        sender.bind((sender_name, 0))

        def send() -> None:
            started = time.monotonic()
            while not state.is_over:
                for _ in range(BATCH):
                    head = FRAME.pack(bytes(12), ETHERTYPE, state.sent)
                    sender.send(head.ljust(FRAME_BYTES, b"\0"))
                    state.sent += 1
                due = started + state.sent / FRAMES_EACH_SECOND
                time.sleep(max(0.0, due - time.monotonic()))

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield state, thread, receiver
        finally:
            state.is_over = True
            thread.join()


def received(receiver: socket.socket, count: int) -> dict[int, tuple[int, int]]:
    """By frame number, what the first and the last program wrote."""
    found: dict[int, tuple[int, int]] = {}
    receiver.settimeout(DEADLINE_SECONDS)
    while len(found) < count:
        try:
            frame = receiver.recv(2048)
        except TimeoutError:
            break
        (_, _, number), (first, last) = FRAME.unpack_from(frame), STAMPS.unpack_from(frame, 22)
        assert number not in found
        found[number] = (first, last)
    return found


@pytest.mark.soak
@pytest.mark.parametrize(
    ("hook", "swaps"),
    [("xdp", XDP_SWAPS), ("tc-ingress", TCX_SWAPS), ("tc-egress", TCX_SWAPS)],
)
def test_no_frame_is_lost_or_sees_two_generations_or_none(hook: Hook, swaps: int) -> None:
    """Every frame arrives with two equal numbers, and each generation's counters agree."""
    with ExitStack() as held:
        veth = held.enter_context(a_veth())
        chains = [
            held.enter_context(a_generation(hook, number, length))
            for number, length in enumerate(LENGTHS, start=1)
        ]
        attached = hooks.attach(chains[0].program, veth.index, hook, hook_point="p")
        link = held.enter_context(attached.link)
        ends = (veth.name, veth.peer) if hook == "tc-egress" else (veth.peer, veth.name)
        with traffic(*ends) as (state, sender, receiver):
            number = 0
            while number < swaps or state.sent < FRAMES:
                present, following = chains[number % 4], chains[(number + 1) % 4]
                hooks.replace_program(link, following.program, expected_id=present.info.id)
                number += 1
            state.is_over = True
            sender.join()
            found = received(receiver, state.sent)

        assert sorted(found) == list(range(state.sent))
        assert {first for first, _ in found.values()} <= {1, 2, 3, 4}
        assert all(first == last for first, last in found.values())
        check_counters(chains, hook, found)


def check_counters(
    chains: list[LinkedChain], hook: Hook, found: dict[int, tuple[int, int]]
) -> None:
    """What a generation's programs counted is what the frames say, in every slot."""
    for number, chain in enumerate(chains, start=1):
        stamped = sum(1 for first, _ in found.values() if first == number)
        for maps in chain.maps.values():
            assert read_number(maps["stamped"].handle, bytes(4)) == stamped
        assert chain.counters is not None
        values = slot_values(chain.counters)
        packets = {read_slot(values, hook, slot).packets for slot in range(len(chain.plan.bodies))}
        assert len(packets) == 1
        assert packets.pop() >= stamped
        assert read_missed(values) == 0


@pytest.mark.soak
@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_of_several_writers_exactly_one_wins_and_the_others_are_told(hook: Hook) -> None:
    """All expect the same program; the losers get the conflict, and what runs is the winner's."""
    rounds = ROUNDS // 10 if hook == "xdp" else ROUNDS
    with ExitStack() as held:
        veth: Veth = held.enter_context(a_veth())
        chains = [
            held.enter_context(a_generation(hook, number, 2)) for number in range(WRITERS + 1)
        ]
        attached = hooks.attach(chains[-1].program, veth.index, hook, hook_point="p")
        link = held.enter_context(attached.link)
        for _ in range(rounds):
            expected = kernel_info.link_info(link.fd).program_id
            writers = [chain for chain in chains if chain.info.id != expected][:WRITERS]
            won, lost = race(link, writers, expected_id=expected)

            assert won == [kernel_info.link_info(link.fd).program_id]
            assert len(lost) == WRITERS - 1
            assert {error.refusal_code for error in lost} == {"conflict"}


def race(
    link: Handle, writers: list[LinkedChain], *, expected_id: int
) -> tuple[list[int], list[LinkChangedError]]:
    """All writers at once: the programs that won, and what the others were told."""
    won: list[int] = []
    lost: list[LinkChangedError] = []
    start = threading.Barrier(len(writers))

    def write(chain: LinkedChain) -> None:
        start.wait(DEADLINE_SECONDS)
        try:
            hooks.replace_program(link, chain.program, expected_id=expected_id)
        except LinkChangedError as error:
            lost.append(error)
        else:
            won.append(chain.info.id)

    threads = [threading.Thread(target=write, args=(chain,)) for chain in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won, lost
