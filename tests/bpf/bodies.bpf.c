// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// XDP programs that each do one thing which linking must keep.  None knows of the others.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define BODY SEC("xdp") int
#define BYTES(ctx, data, end)                                                                      \
	unsigned char *data = (void *)(long)(ctx)->data, *end = (void *)(long)(ctx)->data_end

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} by_byte SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next_program SEC(".maps");

const volatile int loops = 5;
long total = 3;
int runs;

static __always_inline void count(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

BODY passes(struct xdp_md *ctx)
{
	return XDP_PASS;
}

BODY drops(struct xdp_md *ctx)
{
	return XDP_DROP;
}

BODY counts(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}

/* Frames of the local experimental Ethertype (IEEE 802, 0x88b5) only. */
BODY counts_experiments(struct xdp_md *ctx)
{
	BYTES(ctx, data, end);

	if (data + 14 <= end && data[12] == 0x88 && data[13] == 0xb5)
		count(0);
	return XDP_PASS;
}

/* The verdict is in the packet. */
BODY obeys(struct xdp_md *ctx)
{
	BYTES(ctx, data, end);

	if (data + 15 > end)
		return XDP_ABORTED;
	count(1);
	return data[14] & 3;
}

BODY rewrites(struct xdp_md *ctx)
{
	BYTES(ctx, data, end);

	if (data + 16 > end)
		return XDP_DROP;
	data[14] += 1;
	data[15] ^= data[14];
	return XDP_PASS;
}

BODY grows(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -8))
		return XDP_ABORTED;
	BYTES(ctx, data, end);
	if (data + 22 > end)
		return XDP_DROP;
	__builtin_memcpy(data, data + 8, 14);
	data[14] = data[21] + 1;
	return XDP_PASS;
}

BODY marks_ahead(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_meta(ctx, -8))
		return XDP_PASS;
	BYTES(ctx, data, end);
	__u32 *meta = (void *)(long)ctx->data_meta;

	if ((void *)(meta + 2) > (void *)data || data + 15 > end)
		return XDP_ABORTED;
	meta[0] = data[14];
	meta[1] = 7;
	return XDP_PASS;
}

BODY reads_mark(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u32 *meta = (void *)(long)ctx->data_meta;

	if ((void *)(meta + 1) > data)
		return XDP_PASS;
	return meta[0] & 1 ? XDP_TX : XDP_PASS;
}

static __noinline int bump(__u32 key)
{
	__u64 start = 1, *value = bpf_map_lookup_elem(&by_byte, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&by_byte, &key, &start, BPF_ANY);
	return value ? XDP_PASS : XDP_TX;
}

__noinline int weigh(struct xdp_md *ctx, int by)
{
	volatile char scratch[40] = {};

	if (!ctx)
		return 0;
	scratch[by & 31] = 2;
	return scratch[1] + by;
}

BODY calls(struct xdp_md *ctx)
{
	BYTES(ctx, data, end);

	if (data + 15 > end)
		return XDP_DROP;
	int verdict = bump(data[14]);

	total += weigh(ctx, verdict);
	return verdict;
}

static long add(__u32 index, void *context)
{
	*(int *)context += index;
	return 0;
}

BODY calls_back(struct xdp_md *ctx)
{
	int sum = 0;

	bpf_loop(loops, add, &sum, 0);
	total += sum;
	return sum == 10 ? XDP_PASS : XDP_ABORTED;
}

BODY remembers(struct xdp_md *ctx)
{
	runs += 1;
	return runs & 1 ? XDP_PASS : XDP_TX;
}

/* As programs for a chain of tail calls are written: falls through while the array is empty. */
BODY tail_calls(struct xdp_md *ctx)
{
	count(2);
	bpf_tail_call(ctx, &next_program, 0);
	return XDP_PASS;
}

/* 0x1_0000_0002 is XDP_PASS to the kernel, which reads 32 bits. */
SEC("xdp") __attribute__((naked)) int answers_wide(void)
{
	asm volatile("r0 = 0x100000002 ll; exit;" ::: "r0");
}

/* Drops if it finds anything in stack that it never wrote. */
SEC("xdp") __attribute__((naked)) int reads_leftovers(void)
{
	asm volatile("r0 = 2;"
		     "r2 = *(u64 *)(r10 - 8);"
		     "r3 = *(u64 *)(r10 - 16);"
		     "r2 |= r3;"
		     "if r2 == 0 goto +1;"
		     "r0 = 1;"
		     "exit;" ::: "r0", "r2", "r3");
}

SEC("xdp") __attribute__((naked)) int leaves_scalars(void)
{
	asm volatile("r0 = 2;"
		     "*(u64 *)(r10 - 8) = r0;"
		     "*(u64 *)(r10 - 16) = r0;"
		     "exit;" ::: "r0");
}

SEC("xdp") __attribute__((naked)) int leaves_pointers(void)
{
	asm volatile("r0 = 2;"
		     "*(u64 *)(r10 - 8) = r1;"
		     "*(u64 *)(r10 - 16) = r1;"
		     "exit;" ::: "r0");
}

SEC("xdp") __attribute__((naked)) int fills_stack(void)
{
	asm volatile("r0 = 2;"
		     "*(u64 *)(r10 - 512) = r0;"
		     "exit;" ::: "r0");
}

SEC("xdp") __attribute__((naked)) int nearly_fills_stack(void)
{
	asm volatile("r0 = 2;"
		     "*(u64 *)(r10 - 504) = r0;"
		     "exit;" ::: "r0");
}

/* 2000 branches that the verifier keeps in mind until it has seen the end: alone that is fine. */
SEC("xdp") __attribute__((naked)) int branches(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 12);"
		     "r3 = *(u32 *)(r1 + 16);"
		     "r0 = 2;"
		     ".rept 2000;"
		     "if r2 == r3 goto l0_%=;"
		     ".endr;"
		     "l0_%=: exit;" ::: "r0", "r2", "r3");
}

SEC("xdp.frags") int reads_frags(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp_older_name") int older_section(struct xdp_md *ctx)
{
	count(3);
	return XDP_PASS;
}

SEC("xdp/devmap") int behind_devmap(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
