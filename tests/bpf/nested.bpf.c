// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Maps of maps of every kind that can be configured; the program only reads those that it is told.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum action { LET = 0, BLOCK = 1 };

struct tenant {
	__u16 vlan;
	__u8 zone;
	__u8 pad;
};

struct rule {
	enum action action;
	__be32 next;
	char name[8];
};

struct network {
	__u32 prefixlen;
	__u8 address[4];
};

#define INNER(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS)                                              \
	struct NAME {                                                                              \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                 \
		__uint(max_entries, ENTRIES);                                                      \
		__uint(map_flags, FLAGS);                                                          \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
	}
#define OUTER(NAME, TYPE, KEY, HELD, ENTRIES)                                                      \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                 \
		__uint(max_entries, ENTRIES);                                                      \
		__type(key, KEY);                                                                  \
		__array(values, HELD);                                                             \
	} NAME SEC(".maps")

INNER(ports, HASH, __be16, struct rule, 4, 0);
INNER(networks, LPM_TRIE, struct network, __u32, 4, BPF_F_NO_PREALLOC);
INNER(steps, PERCPU_ARRAY, __u32, __s16, 2, 0);
INNER(levels, ARRAY, __u32, enum action, 3, 0);
INNER(counts, PERCPU_HASH, __u64, __u64, 4, 0);

struct levels built_in SEC(".maps");

OUTER(tenants, HASH_OF_MAPS, struct tenant, struct ports, 3);
OUTER(zones, ARRAY_OF_MAPS, __u32, struct networks, 2);
OUTER(stages, HASH_OF_MAPS, __u32, struct steps, 2);
OUTER(totals, HASH_OF_MAPS, __u32, struct counts, 2);
OUTER(counted, HASH_OF_MAPS, __u32, struct counts, 2);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct levels);
} grades SEC(".maps") = {.values = {[1] = &built_in}};

/* Compilers leave types that only inner maps use without members. */
struct rule any_rule;
struct network any_network;

SEC("xdp") int nested(struct xdp_md *ctx)
{
	struct tenant tenant = {.vlan = 7, .zone = 1};
	struct network network = {.prefixlen = 32, .address = {10, 1, 2, 3}};
	__u32 zero = 0, one = 1;
	__u64 length = ctx->data_end - ctx->data;
	__be16 port = 0x5000;
	struct rule *rule;
	void *inner;

	inner = bpf_map_lookup_elem(&tenants, &tenant);
	rule = inner ? bpf_map_lookup_elem(inner, &port) : 0;
	if (rule && rule->action == BLOCK)
		return XDP_DROP;
	inner = bpf_map_lookup_elem(&zones, &zero);
	if (inner && bpf_map_lookup_elem(inner, &network))
		return XDP_TX;
	inner = bpf_map_lookup_elem(&stages, &zero);
	if (inner && !bpf_map_lookup_elem(inner, &zero))
		return XDP_ABORTED;
	inner = bpf_map_lookup_elem(&grades, &one);
	if (inner && !bpf_map_lookup_elem(inner, &zero))
		return XDP_ABORTED;
	inner = bpf_map_lookup_elem(&totals, &zero);
	if (inner && bpf_map_lookup_elem(inner, &length))
		return XDP_ABORTED;
	return XDP_PASS;
}

SEC("xdp") int counting(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 length = ctx->data_end - ctx->data, first = 1, *seen;
	void *inner = bpf_map_lookup_elem(&counted, &zero);

	if (!inner)
		return XDP_PASS;
	seen = bpf_map_lookup_elem(inner, &length);
	if (seen)
		*seen += 1;
	else
		bpf_map_update_elem(inner, &length, &first, BPF_ANY);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
