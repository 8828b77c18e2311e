// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that calls a function the kernel keeps for GPL-compatible programs.

#include "corpus.h"

MAP(answers, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1);

/* There is no such interface, so the answer is the same wherever it runs. */
XDP asks_for_routes(struct xdp_md *ctx)
{
	struct bpf_fib_lookup question = {.family = 2, .ifindex = 0x7fffffff};
	long answer = bpf_fib_lookup(ctx, &question, sizeof(question), 0);

	add_to(&answers, 0, 1 - answer);
	return answer < 0 ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
