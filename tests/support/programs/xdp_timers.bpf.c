// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program whose timer goes off again and again until its map is gone.

#include "corpus.h"

#define CLOCK_MONOTONIC 1
#define PERIOD_NS 1000000

struct round {
	__u64 count;
	struct bpf_timer timer;
};

MAP(timers, BPF_MAP_TYPE_ARRAY, __u32, struct round, 1);

static int goes_off(void *map, int *key, struct round *round)
{
	round->count += 1;
	bpf_timer_start(&round->timer, PERIOD_NS, 0);
	return 0;
}

XDP starts_timer(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct round *round = bpf_map_lookup_elem(&timers, &key);

	if (!round || bpf_timer_init(&round->timer, &timers, CLOCK_MONOTONIC))
		return XDP_DROP;
	bpf_timer_set_callback(&round->timer, goes_off);
	bpf_timer_start(&round->timer, PERIOD_NS, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
