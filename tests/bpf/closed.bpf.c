// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that tells the kernel a licence which is not GPL-compatible.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp") int keeps_to_itself(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Proprietary";
