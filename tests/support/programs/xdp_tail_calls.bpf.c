// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that tail-calls one of its own, and the program that it calls.

#include "corpus.h"

MAP(own_programs, BPF_MAP_TYPE_PROG_ARRAY, __u32, __u32, 2);
MAP(own_counts, BPF_MAP_TYPE_ARRAY, __u32, __u64, 2);

/* The second entry stays empty: some packets fall through. */
XDP tail_calls(struct xdp_md *ctx)
{
	PACKET(ctx);
	int which = data + 15 > end ? 0 : data[14] & 1;

	add_to(&own_counts, 0, 1);
	bpf_tail_call(ctx, &own_programs, which);
	add_to(&own_counts, 1, 1);
	return XDP_PASS;
}

XDP is_tail_called(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 18 > end)
		return XDP_DROP;
	data[17] += 3;
	return data[17] & 1 ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
