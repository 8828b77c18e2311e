# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains tried on packets, with every kind of map, device and context."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.node_executor.actions import EntryChange
from shared.errors import RefusedError
from tests.support.bpf_objects import compile_source
from tests.support.trial_bench import PACKET, Bench, a_bench, until_gone


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A wire and an executor."""
    with a_bench(tmp_path) as made:
        yield made


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
    inner = pins["first"]  # the outer map holds this one
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


SECRET = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int counts(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data > 100 ? XDP_TX : XDP_PASS;
}
char LICENSE[] SEC("license") = "Proprietary";
"""


async def test_a_chain_of_several_segments_is_shown_and_tried_as_one(bench: Bench) -> None:
    """Licences that may not be one program make three of them; a packet goes through all."""
    point = bench.run_objects({"p1": compile_source(SECRET)}, "1.0.0", "1.0.0", "4.0.0")

    short, long = (await bench.try_packets(PACKET, PACKET + bytes(100))).packets
    seen = bench.executor.points.describe(point, None, desired_generation=0)

    assert [one.deployment for one in short.programs] == ["p0", "p1", "p2"]
    assert (short.verdict, short.decided_by) == ("drop", "p2")
    assert [one.deployment for one in long.programs] == ["p0", "p1"]
    assert (long.verdict, long.decided_by) == ("tx", "p1")
    assert [one.gpl_compatible for one in seen.segments] == [True, False, True]
    assert [one.licence for one in seen.segments] == ["Dual BSD/GPL", "Proprietary", "Dual BSD/GPL"]
    assert [one.segment for one in seen.programs] == [0, 1, 2]
    assert seen.segments[0].program_id == seen.program_id
