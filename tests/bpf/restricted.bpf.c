// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that calls a helper which the kernel keeps for GPL-compatible programs.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp") int looks_up_routes(struct xdp_md *ctx)
{
	struct bpf_fib_lookup params = {.ifindex = ctx->ingress_ifindex};

	bpf_fib_lookup(ctx, &params, sizeof(params), 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
