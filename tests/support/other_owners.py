# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs of other owners on the same hooks, and frames that show who let what pass."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from services.node_executor.adapters import pins
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import read_number
from services.node_executor.kernel_types import ProgramSource
from shared.identifiers import Hook
from tests.support.bpf_objects import compile_source
from tests.support.interfaces import DEADLINE_SECONDS

_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} seen SEC(".maps");

SEC("SECTION")
int NAME(struct CONTEXT *ctx)
{
	__u32 zero = 0;
	__u64 *count;

	if (TELLS_APART && PROTOCOL != bpf_htons(0x88b5))
		return PASS;
	count = bpf_map_lookup_elem(&seen, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return VERDICT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
TRIED, MARKER = 0x88B5, 0x88B6
"""EtherTypes of the frame that is judged, and of the one that passes everywhere."""


def a_judge(verdict: int, *, hook: Hook = "tc-egress", name: str = "judges") -> ProgramSource:
    """A program that counts frames of type TRIED and returns `verdict` for them."""
    is_xdp = hook == "xdp"
    words = {
        "SECTION": "xdp" if is_xdp else "tc",
        "CONTEXT": "xdp_md" if is_xdp else "__sk_buff",
        "TELLS_APART": "0" if is_xdp else "1",
        "PROTOCOL": "0" if is_xdp else "ctx->protocol",
        "PASS": "XDP_PASS" if is_xdp else "-1",
        "VERDICT": str(verdict),
        "NAME": name,
    }
    source = _SOURCE
    for word, text in words.items():
        source = source.replace(word, text)
    return ProgramSource(
        name=name,
        object_path="judge.bpf.o",
        data=compile_source(source),
        function=name,
        proceed_on=("pass",) if is_xdp else ("ok", "pipe", "unspec"),
    )


@contextmanager
def a_foreign_program(
    hook: Hook, *, name: str = "theirs", verdict: int | None = None
) -> Iterator[LinkedChain]:
    """A loaded program that lets packets pass and those behind it run, held by nobody else."""
    passing = 2 if hook == "xdp" else -1
    source = a_judge(passing if verdict is None else verdict, hook=hook, name=name)
    with link_chain([source], hook, name=name) as chain:
        yield chain


def seen_by(chain: LinkedChain) -> int:
    """How many frames of type TRIED the only program of a chain saw."""
    (name,) = (name for name in chain.maps if name)
    return seen_in(chain, name)


def seen_in(chain: LinkedChain, name: str) -> int:
    """How many frames of type TRIED the program of that name saw."""
    return read_number(chain.maps[name]["seen"].handle, bytes(4)) or 0


def passes(sender: str, receiver: str) -> bool:
    """Whether a frame of type TRIED that is sent on one interface arrives at the other.

    A second frame, which no program stops, says when the first one would have arrived.
    """
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sending,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as receiving,
    ):
        sending.bind((sender, 0))
        receiving.bind((receiver, 3))
        receiving.settimeout(DEADLINE_SECONDS)
        for kind in (TRIED, MARKER):
            with suppress(OSError):  # because a frame that is dropped on its way out is ENOBUFS
                sending.send(bytes(12) + struct.pack("!H", kind) + bytes(50))
        kinds: list[int] = []
        while MARKER not in kinds:
            kinds.append(struct.unpack_from("!H", receiving.recv(2048), 12)[0])
    return TRIED in kinds


def wait_for(condition: Callable[[], bool], *, what: str) -> None:
    """The condition holds before the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def pin_foreign(chain: LinkedChain, path: PurePosixPath) -> None:
    """The program has a name in bpffs."""
    Path(path.parent).mkdir(parents=True, exist_ok=True)
    pins.pin(chain.program, path)


def names(values: Sequence[object]) -> list[str]:
    """Program names, first to run first."""
    return [str(getattr(value, "program_name", "")) for value in values]
