// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that no kernel takes: it reads the packet without looking where it ends.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp") int reads_too_far(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	return data[60] ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual BSD/GPL";
