// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs with functions, callbacks, global data, atomic operations and a lock.

#include "family.h"

struct guarded {
	struct bpf_spin_lock lock;
	__u32 packets;
	__u64 bytes;
};

MAP(guarded_counts, BPF_MAP_TYPE_ARRAY, __u32, struct guarded, 1);
MAP(atomic_counts, BPF_MAP_TYPE_ARRAY, __u32, __u64, 4);

const volatile int rounds = 5;
const volatile int constant_verdict = ON;
long total = 3;
int runs;

static __noinline int weigh(unsigned char *bytes, int length)
{
	int sum = 0;

	for (int i = 0; i < 8; i++)
		sum += bytes[i] * (i + length);
	return sum;
}

__noinline int scramble(CONTEXT *ctx, int by)
{
	volatile char scratch[40] = {};

	if (!ctx)
		return 0;
	scratch[by & 31] = 2;
	return scratch[1] + by + ctx->ingress_ifindex;
}

PROGRAM calls_functions(CONTEXT *ctx)
{
	PACKET(ctx);
	unsigned char bytes[8];

	if (data + 22 > end)
		return DROP;
	__builtin_memcpy(bytes, data + 14, 8);
	int sum = weigh(bytes, end - data);

	total += scramble(ctx, sum);
	return sum & 1 ? ASIDE : ON;
}

static long add(__u32 index, void *context)
{
	*(int *)context += index;
	return 0;
}

PROGRAM calls_back(CONTEXT *ctx)
{
	int sum = 0;

	bpf_loop(rounds, add, &sum, 0);
	total += sum;
	return sum == 10 ? ON : BROKEN;
}

/* Goes another way every second time. */
PROGRAM keeps_globals(CONTEXT *ctx)
{
	runs += 1;
	return runs & 1 ? ON : ASIDE;
}

PROGRAM follows_constant(CONTEXT *ctx)
{
	return constant_verdict;
}

PROGRAM adds_atomically(CONTEXT *ctx)
{
	PACKET(ctx);
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&atomic_counts, &key);

	if (!value)
		return BROKEN;
	__u64 before = __sync_fetch_and_add(value, end - data);

	key = 1;
	value = bpf_map_lookup_elem(&atomic_counts, &key);
	if (value)
		__sync_lock_test_and_set(value, before);
	key = 2;
	value = bpf_map_lookup_elem(&atomic_counts, &key);
	if (value)
		__sync_val_compare_and_swap(value, *value, before ^ *value);
	return before & 1 ? ASIDE : ON;
}

PROGRAM locks(CONTEXT *ctx)
{
	PACKET(ctx);
	__u32 key = 0;
	struct guarded *counts = bpf_map_lookup_elem(&guarded_counts, &key);
	long length = end - data;

	if (!counts)
		return BROKEN;
	bpf_spin_lock(&counts->lock);
	counts->packets += 1;
	counts->bytes += length;
	bpf_spin_unlock(&counts->lock);
	return ON;
}

char _license[] SEC("license") = "Dual BSD/GPL";
