// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that remember packets in maps, one kind of map each, or are told by one what to do.

#include "family.h"

struct prefix {
	__u32 length;
	unsigned char address[4];
};

MAP(per_processor, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 4);
MAP(by_byte, BPF_MAP_TYPE_HASH, __u32, __u64, 256);
MAP(by_byte_and_processor, BPF_MAP_TYPE_PERCPU_HASH, __u32, __u64, 256);
MAP(recent, BPF_MAP_TYPE_LRU_HASH, __u32, __u64, 1024);
MAP(verdicts, BPF_MAP_TYPE_ARRAY, __u32, __u32, 4);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

PROGRAM counts_per_processor(CONTEXT *ctx)
{
	PACKET(ctx);

	add_to(&per_processor, 0, 1);
	add_to(&per_processor, 1, end - data);
	return ON;
}

PROGRAM counts_by_byte(CONTEXT *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return BROKEN;
	add_to(&by_byte, data[14], 1);
	return ON;
}

PROGRAM counts_by_byte_and_processor(CONTEXT *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return BROKEN;
	add_to(&by_byte_and_processor, data[15], 1);
	return ON;
}

/* What was seen before goes another way. */
PROGRAM remembers_recent(CONTEXT *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return DROP;
	__u32 key = data[14] << 8 | data[15];
	__u64 one = 1, *times = bpf_map_lookup_elem(&recent, &key);

	if (times) {
		*times += 1;
		return ASIDE;
	}
	bpf_map_update_elem(&recent, &key, &one, BPF_ANY);
	return ON;
}

PROGRAM looks_up_prefixes(CONTEXT *ctx)
{
	PACKET(ctx);
	int type, offset = network_header(data, end, &type);
	struct prefix key = {.length = 32};

	if (!offset || type != 0x0800 || data + offset + 20 > end)
		return ON;
	__builtin_memcpy(key.address, data + offset + IPV4_DESTINATION, 4);
	__u32 *verdict = bpf_map_lookup_elem(&prefixes, &key);

	return verdict ? *verdict : ON;
}

PROGRAM is_configured(CONTEXT *ctx)
{
	PACKET(ctx);
	__u32 key = data + 15 > end ? 0 : data[14] & 3;
	__u32 *verdict = bpf_map_lookup_elem(&verdicts, &key);

	return verdict ? *verdict : BROKEN;
}

char _license[] SEC("license") = "Dual BSD/GPL";
