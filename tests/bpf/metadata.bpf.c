// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A program that asks the driver about a packet, so that it is bound to one device.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

SEC("xdp") int asks_driver(struct xdp_md *ctx)
{
	__u32 index = 1;
	__u64 timestamp = 0, *value = bpf_map_lookup_elem(&results, &index);
	int failure = bpf_xdp_metadata_rx_timestamp(ctx, &timestamp);

	if (value)
		*value += failure ? 1 : 1000;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
