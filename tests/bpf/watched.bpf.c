// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// One object whose programs stand in different places and share a table: a filter that drops once
// somebody is busy, and a tracepoint that says so.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} busy SEC(".maps");

SEC("xdp") int drops_while_busy(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&busy, &key);

	return value && *value ? XDP_DROP : XDP_PASS;
}

SEC("raw_tp/sys_enter") int says_busy(void *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&busy, &key);

	if (value)
		*value = 1;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
