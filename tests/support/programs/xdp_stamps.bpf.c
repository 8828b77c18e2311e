// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that write the number of their generation into frames of the experimental Ethertype.

#include "corpus.h"

#define STAMPED_BYTES 34

volatile const unsigned int generation = 0;

MAP(stamped, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1);

static __always_inline int stamp(struct xdp_md *ctx, int offset)
{
	PACKET(ctx);

	if (data + STAMPED_BYTES > end || ethertype(data + 12) != 0x88b5)
		return XDP_PASS;
	*(unsigned int *)(data + offset) = generation;
	add_to(&stamped, 0, 1);
	return XDP_PASS;
}

XDP stamps_first(struct xdp_md *ctx)
{
	return stamp(ctx, 22);
}

XDP stamps_last(struct xdp_md *ctx)
{
	return stamp(ctx, 26);
}

char _license[] SEC("license") = "Dual BSD/GPL";
