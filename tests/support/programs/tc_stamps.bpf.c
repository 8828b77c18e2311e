// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that write the number of their generation into frames of the experimental Ethertype.

#include "corpus.h"

#define STAMPED_BYTES 34

volatile const unsigned int generation = 0;

MAP(stamped, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1);

static __always_inline int stamp(struct __sk_buff *ctx, int offset)
{
	PACKET(ctx);

	if (data + STAMPED_BYTES > end || ethertype(data + 12) != 0x88b5)
		return TC_ACT_OK;
	*(unsigned int *)(data + offset) = generation;
	add_to(&stamped, 0, 1);
	return TC_ACT_OK;
}

TC stamps_first(struct __sk_buff *ctx)
{
	return stamp(ctx, 22);
}

TC stamps_last(struct __sk_buff *ctx)
{
	return stamp(ctx, 26);
}

char _license[] SEC("license") = "Dual BSD/GPL";
