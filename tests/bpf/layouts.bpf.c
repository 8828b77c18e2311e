// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Maps of many shapes, for what is read from BTF.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

typedef unsigned short port_t;
enum colour { RED, GREEN };

struct pair {
	__u32 left;
	__s64 right;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, port_t);
	__type(value, __s32);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u8);
} levels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8);
	__type(key, __u8[2]);
	__type(value, __u16[2][3]);
} grid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, enum colour);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__uint(value_size, 3);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} plain SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp") int looks(struct xdp_md *ctx)
{
	port_t port = 80;
	__u32 index = 0;
	__u8 key[2] = {};
	enum colour colour = GREEN;

	bpf_ringbuf_output(&events, &index, sizeof(index), 0);
	return bpf_map_lookup_elem(&limits, &port) && bpf_map_lookup_elem(&levels, &index) &&
			       bpf_map_lookup_elem(&grid, key) &&
			       bpf_map_lookup_elem(&pairs, &colour) &&
			       bpf_map_lookup_elem(&plain, &index)
		       ? XDP_DROP
		       : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
