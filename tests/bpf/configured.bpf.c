// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Maps and global variables of every kind that can be configured.

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

enum action { LET = 0, BLOCK = 1, MARK = 200 };

struct flow {
	__be32 address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct rule {
	enum action action;
	bool is_logged;
	__s8 offset;
	__u16 weights[2];
	char name[12];
	__u32 low : 4;
	__s32 high : 5;
	union {
		__u32 mark;
		__u16 halves[2];
	};
	struct {
		__u8 mac[6];
		__u8 reserved[2];
	} next;
	__u64 wide;
	__s64 deep;
};

struct network {
	__u32 prefixlen;
	__u8 address[4];
};

struct network6 {
	__u32 prefixlen;
	__u8 address[16];
};

#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS)                                                \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                 \
		__uint(max_entries, ENTRIES);                                                      \
		__uint(map_flags, FLAGS);                                                          \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
	} NAME SEC(".maps")

typedef __u8 address6[16];
typedef __u8 mac[6];

MAP(rules, HASH, struct flow, struct rule, 4, 0);
MAP(networks, LPM_TRIE, struct network, __u32, 8, BPF_F_NO_PREALLOC);
MAP(networks6, LPM_TRIE, struct network6, address6, 8, BPF_F_NO_PREALLOC);
MAP(levels, ARRAY, __u32, enum action, 4, 0);
MAP(steps, PERCPU_ARRAY, __u32, __s16, 4, 0);
MAP(counts, PERCPU_HASH, __be16, struct flow, 8, 0);
MAP(peers, LRU_HASH, mac, __be32, 64, 0);
MAP(seen, LRU_PERCPU_HASH, __u64, __u8, 64, 0);
MAP(names, HASH, __s32, struct rule, 8, 0);
MAP(allowed, HASH, __u16, bool, 8, 0);

const volatile __u32 limit = 1000;
const volatile struct flow fixed = {.port = 1};
__u64 threshold = 500;
__u32 calls = 0;
enum action otherwise = LET;
char label[8] = "first";

SEC("xdp") int configured(struct xdp_md *ctx)
{
	__u64 length = ctx->data_end - ctx->data;
	struct flow flow = {.address = fixed.address, .port = fixed.port};
	struct network network = {.prefixlen = 32};
	struct network6 network6 = {.prefixlen = 128};
	__u32 zero = 0;
	__u64 long_zero = 0;
	__u16 port = 80;
	mac none = {};

	__sync_fetch_and_add(&calls, 1);
	if (bpf_map_lookup_elem(&networks, &network) || bpf_map_lookup_elem(&networks6, &network6) ||
	    bpf_map_lookup_elem(&peers, none) || bpf_map_lookup_elem(&seen, &long_zero) ||
	    bpf_map_lookup_elem(&counts, &port) || bpf_map_lookup_elem(&names, &zero) ||
	    bpf_map_lookup_elem(&rules, &flow))
		return XDP_TX;
	if (!bpf_map_lookup_elem(&levels, &zero) || !bpf_map_lookup_elem(&steps, &zero) ||
	    bpf_map_lookup_elem(&allowed, &zero))
		return XDP_ABORTED;
	if (length > limit || (length > threshold && otherwise == BLOCK) || label[0] == 'x')
		return XDP_DROP;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
