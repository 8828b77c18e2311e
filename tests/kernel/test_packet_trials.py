# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains tried on packets: what would happen now is said, and nothing that runs is touched."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from services.node_executor.actions import EntryChange
from services.node_executor.adapters.bpf_syscall import MAP_NEXT_ID, PROGRAM_NEXT_ID, ids
from services.node_executor.adapters.linker import LinkedProgram, link
from services.node_executor.adapters.packet_runner import PacketRunner
from services.node_executor.drafts import Drafts
from services.node_executor.generations import Point
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import Needs, Prepared, Ready
from services.node_executor.trials import Trials
from shared.contracts.inspection import PacketsTried, TryPackets, draft_digest
from shared.contracts.node import DesiredChain, DesiredProgram
from shared.errors import RefusedError
from shared.identifiers import Hook
from tests.support.bpf_objects import compile_source
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    a_wire,
    pin_directory,
    published,
    real_kernel,
    send_frames,
)
from tests.support.packets import ipv4, tagged, tcp

PACKET = ipv4(tcp(80))


async def at_once(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The kernel thread, here and now."""
    return call(*arguments, **options)


class Preparer:
    """Links packages that lie in this process."""

    def __init__(self) -> None:
        self.linked: list[LinkedProgram] = []
        self.objects: dict[str, bytes] = {}
        """By deployment, in place of its package's."""

    async def check(self, desired: DesiredChain) -> None:
        """They are signed."""

    async def link(self, point: Point, desired: DesiredChain, needs: Needs) -> Ready:
        """On the real kernel."""
        packages = [self.opened(one, point.hook) for one in desired.programs]
        linked = link(point, desired, packages, needs=needs)
        self.linked.append(linked)
        return Ready(linked, linked.duration_ms)

    def opened(self, program: DesiredProgram, hook: Hook) -> OpenedPackage:
        """Verified, or as the test wants it."""
        opened = published(program.version, hook).opened()
        if program.deployment not in self.objects:
            return opened
        files = {program.object: self.objects[program.deployment]}
        return OpenedPackage(opened.manifest, files, opened.publisher)


class Bench:
    """An executor without its bus, and what tries its chains."""

    def __init__(self, base: PurePosixPath, folder: Path, wire: Wire) -> None:
        self.kernel = real_kernel(base)
        self.executor = Executor(self.kernel, folder / "state.sqlite")
        self.executor.start()
        self.wire = wire
        self.drafts = Drafts()
        self.preparer = Preparer()
        self.trials = Trials(
            node="n1",
            points=self.executor.points,
            preparer=self.preparer,
            kernel=self.kernel,
            runner=PacketRunner(),
            drafts=self.drafts,
            thread=at_once,
            clock=lambda: 0.0,
        )

    def run(self, *versions: str, hook: Hook = "xdp") -> Point:
        """The wire runs a chain of these versions: `p0`, `p1`, ..."""
        point = Point(self.wire.name, hook)
        self.executor.settle(self.chain(*versions, hook=hook), point, 1)
        return point

    def run_object(self, data: bytes, hook: Hook = "xdp") -> Point:
        """The wire runs one program, `p0`, of this object."""
        point, chain = Point(self.wire.name, hook), self.chain("1.0.0", hook=hook)
        self.preparer.objects["p0"] = data
        needs = self.executor.points.needs(point, chain)
        assert needs is not None
        package = self.preparer.opened(chain.programs[0], hook)
        with closing(link(point, chain, [package], needs=needs)) as linked:
            self.executor.points.settle(
                point, chain, desired_generation=1, prepared=Prepared(linked=linked)
            )
        return point

    def chain(self, *versions: str, hook: Hook = "xdp", **changes: Any) -> DesiredChain:
        """A chain of these versions."""
        programs = [
            a_program(f"p{at}", version, hook, order=10 * at, **changes)
            for at, version in enumerate(versions)
        ]
        return a_chain(self.wire.name, *programs, hook=hook)

    def try_packets(
        self, *packets: bytes, hook: Hook = "xdp", draft: DesiredChain | None = None
    ) -> Awaitable[PacketsTried]:
        """What is said of these."""
        digest = None
        if draft is not None:
            self.drafts.keep(draft, None, now=0.0)
            digest = draft_digest(draft)
        request = TryPackets(interface=self.wire.name, hook=hook, packets=packets, draft=digest)
        return self.trials.try_packets(request)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A wire and an executor."""
    with pin_directory() as base, a_wire() as wire:
        made = Bench(base, tmp_path, wire)
        try:
            yield made
        finally:
            for hook in ("xdp", "tc-ingress", "tc-egress"):
                made.executor.settle(None, Point(wire.name, hook), 99)
            made.executor.stop()


async def test_who_decided_and_who_ran_is_said(bench: Bench) -> None:
    """The second drops, so the third never sees the packet."""
    bench.run("1.0.0", "4.0.0", "1.0.0")

    tried = await bench.try_packets(PACKET)

    (packet,) = tried.packets
    assert (packet.verdict, packet.value, packet.decided_by) == ("drop", 1, "p1")
    assert [(one.deployment, one.verdict, one.went_on) for one in packet.programs] == [
        ("p0", "pass", True),
        ("p1", "drop", False),
    ]
    assert (tried.source, tried.generation, tried.programs) == ("running", 1, ("p0", "p1", "p2"))
    assert (packet.length_before, packet.length_after) == (len(PACKET), len(PACKET))
    assert (packet.changes, packet.changed_places, packet.problem) == ((), 0, "")


async def test_a_trial_begins_with_what_is_live_and_leaves_it_alone(bench: Bench) -> None:
    """Counts go on from those of the hook in the trial, and stay what they are on the hook."""
    point = bench.run("1.0.0", "2.0.0")
    send_frames(bench.wire.peer, 20)

    tried = await bench.try_packets(PACKET, PACKET)

    live = [bench.executor.scalar(point, name) for name in ("p0", "p1")]
    assert live == [20, 40]
    changes = [
        [
            (one.deployment, one.map, _total(one.before), _total(one.after))
            for one in packet.map_changes
            if one.map == "packets"
        ]
        for packet in tried.packets
    ]
    assert [[step[3] - step[2] for step in packet] for packet in changes] == [[1, 2], [1, 2]]
    assert changes[1][0][2] == changes[0][0][3]
    (linked,) = bench.preparer.linked
    await until_gone(linked)


async def until_gone(linked: LinkedProgram) -> None:
    """The kernel lets programs and maps go a moment after the last hold."""
    async with asyncio.timeout(10):
        while linked.program_id in ids(PROGRAM_NEXT_ID) or any(
            held.map_id in ids(MAP_NEXT_ID) for held in linked.maps
        ):
            await asyncio.sleep(0.01)


def _total(value: object) -> int:
    assert isinstance(value, int)
    return value


async def test_global_data_is_tried_too(bench: Bench) -> None:
    """`stamp` counts in .bss, in each program's own."""
    bench.run("1.0.0")
    send_frames(bench.wire.peer, 5)

    tried = await bench.try_packets(PACKET)

    (change,) = [one for one in tried.packets[0].map_changes if one.map == ".bss"]
    assert (change.key, change.before, change.after) == ("0", {"stamp": 5}, {"stamp": 6})


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
async def test_tc_chains_are_tried_too(bench: Bench, hook: Hook) -> None:
    """With their own verdicts."""
    bench.run("1.0.0", "4.0.0", hook=hook)

    tried = await bench.try_packets(PACKET, tagged(PACKET), hook=hook)

    assert [(one.verdict, one.decided_by) for one in tried.packets] == [("shot", "p1")] * 2
    assert any("VLAN" in note for note in tried.notes)


async def test_a_draft_is_tried_with_its_configuration(bench: Bench) -> None:
    """Staying instances find their counts, new ones their entries; the hook runs on."""
    point = bench.run("1.0.0")
    send_frames(bench.wire.peer, 7)
    config = {"settings": {"0": 9}, "limits": {"80": 5}}
    draft = bench.chain("1.0.0", "4.0.0", config=config)

    tried = await bench.try_packets(PACKET, draft=draft)

    assert (tried.source, tried.generation, tried.programs) == ("draft", 0, ("p0", "p1"))
    assert tried.packets[0].decided_by == "p1"
    assert bench.executor.scalar(point, "p0") == 7
    assert bench.executor.scalar(point, "p0", "settings") == 0
    memory = bench.executor.points.memory(point)
    assert memory.current is not None
    assert [one.deployment for one in memory.current.chain.programs] == ["p0"]


async def test_maps_of_another_shape_begin_empty_and_say_so(bench: Bench) -> None:
    """As version 3, whose map is larger."""
    bench.run("1.0.0")

    tried = await bench.try_packets(PACKET, draft=bench.chain("3.0.0"))

    assert any(note.startswith("p0.limits starts empty") for note in tried.notes)


async def test_a_chain_without_counters_is_tried_all_the_same(bench: Bench) -> None:
    """The trial counts for itself."""
    chain = bench.chain("1.0.0")
    link_options = type(chain.link)(counters=False)
    uncounted = type(chain)(
        interface=chain.interface,
        hook=chain.hook,
        programs=chain.programs,
        cause=chain.cause,
        link=link_options,
    )
    bench.executor.settle(uncounted, Point(bench.wire.name, "xdp"), 1)

    tried = await bench.try_packets(PACKET)

    assert tried.packets[0].decided_by == "p0"


async def test_a_packet_that_the_kernel_does_not_run_is_said(bench: Bench) -> None:
    """The others are tried."""
    bench.run("1.0.0", hook="tc-ingress")

    tried = await bench.try_packets(PACKET + bytes(9000), PACKET, hook="tc-ingress")

    assert "running a program over a packet" in tried.packets[0].problem
    (packet,) = tried.packets[1:]
    assert (packet.programs[0].verdict, packet.verdict) == ("ok", "unspec")  # let others decide


async def test_what_is_not_there_cannot_be_tried(bench: Bench) -> None:
    """A hook without a chain, and a draft that is not remembered."""
    with pytest.raises(RefusedError, match="runs no chain"):
        await bench.try_packets(PACKET)
    with pytest.raises(RefusedError, match="plan the deployment again"):
        await bench.trials.try_packets(
            TryPackets(interface=bench.wire.name, hook="xdp", packets=(PACKET,), draft="0" * 64)
        )
    with pytest.raises(RefusedError, match="limited to"):
        await bench.try_packets(*[bytes(9000)] * 100)


KINDS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} first SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { &first } };
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
struct flow { __u32 source; __u16 ports[2]; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct flow);
	__type(value, __u64);
	__uint(max_entries, 64);
} flows SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(key_size, 8);
	__uint(value_size, 4);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routes SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 4);
} ports SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(value_size, 4);
	__uint(max_entries, 4);
} queue SEC(".maps");

SEC("xdp")
int counts(struct xdp_md *ctx)
{
	__u32 zero = 0, word = 7;
	struct flow flow = { .source = 1, .ports = { 80, 443 } };
	__u64 one = 1, *found, *value;
	struct { __u32 length; __u32 address; } route = { 32, 0x01020304 };
	void *map = bpf_map_lookup_elem(&outer, &zero);

	value = map ? bpf_map_lookup_elem(map, &zero) : 0;
	if (!value)
		return XDP_ABORTED;
	*value += 1;
	bpf_ringbuf_output(&events, &word, sizeof(word), 0);
	found = bpf_map_lookup_elem(&flows, &flow);
	if (found)
		*found += 1;
	else
		bpf_map_update_elem(&flows, &flow, &one, BPF_ANY);
	if (bpf_map_lookup_elem(&routes, &route))
		return XDP_DROP;
	bpf_map_push_elem(&queue, &word, 0);
	if (*value > 2)
		return bpf_redirect_map(&ports, 1, XDP_PASS);
	if (bpf_xdp_adjust_head(ctx, -4))
		return XDP_ABORTED;
	return XDP_TX;
}
char LICENSE[] SEC("license") = "GPL";
"""


async def test_every_kind_of_map_is_copied_or_said(bench: Bench) -> None:
    """Inner maps, LRU, LPM and devices as they are; what cannot be read starts empty."""
    point = bench.run_object(compile_source(KINDS))
    pins = {key.name: held for key, held in bench.kernel.observe(point).map_pins.items()}
    inner = struct.unpack("<I", bench.kernel.read_entries(pins["outer"])[bytes(4)])[0]
    _write(bench, inner, bytes(4), struct.pack("<Q", 1))

    grown, sent = (await bench.try_packets(PACKET, PACKET)).packets
    _write(bench, pins["routes"], struct.pack("<II", 32, 0x01020304), bytes(4))
    routed = await bench.try_packets(PACKET)

    assert (grown.verdict, grown.length_after - grown.length_before) == ("tx", 4)
    assert [(one.before, one.after) for one in grown.changes] == [("", "00000000")]
    (flow,) = grown.map_changes
    assert (flow.map, flow.before, flow.after) == ("flows", None, 1)
    assert flow.key == "source=1 ports=[80, 443]"
    assert (sent.verdict, sent.map_changes[0].after) == ("pass", 2)  # no device is named
    assert routed.packets[0].verdict == "drop"
    said = " ".join(routed.notes)
    assert "p0.events (ringbuf) are not listed" in said
    assert "p0.queue starts empty" in said
    assert "in the maps in p0.outer" in said
    assert bench.kernel.read_entries(inner)[bytes(4)] == struct.pack("<Q", 1)
    assert bench.kernel.read_entries(pins["flows"]) == {}


def _write(bench: Bench, map_id: int, key: bytes, value: bytes) -> None:
    bench.kernel.write_entries(map_id, [EntryChange(key=key, before=None, after=value)])


METADATA = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;

SEC("xdp")
int counts(struct xdp_md *ctx)
{
	__u64 when = 0;

	bpf_xdp_metadata_rx_timestamp(ctx, &when);
	return when ? XDP_DROP : XDP_PASS;
}
char LICENSE[] SEC("license") = "GPL";
"""


async def test_a_program_of_one_device_is_refused_with_the_reason(bench: Bench) -> None:
    """The kernel runs it nowhere else (bpf_prog_test_run_xdp)."""
    bench.run_object(compile_source(METADATA))

    with pytest.raises(RefusedError, match="on the device alone") as caught:
        await bench.try_packets(PACKET)

    assert caught.value.refusal_code == "unsupported_by_kernel"
    await until_gone(bench.preparer.linked[-1])


CONTEXT = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int counts(struct __sk_buff *skb)
{
	skb->mark = skb->ifindex;
	skb->cb[1] = 5;
	return 0;
}
char LICENSE[] SEC("license") = "GPL";
"""


async def test_packets_come_from_the_interface_and_carry_what_was_left(bench: Bench) -> None:
    """A TC program sees the hook's interface; its mark is said."""
    bench.run_object(compile_source(CONTEXT), hook="tc-ingress")

    tried = await bench.try_packets(PACKET, hook="tc-ingress")

    index = socket.if_nametoindex(bench.wire.name)
    assert tried.packets[0].context == {"mark": index, "cb1": 5}
