// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that load alone and come near a limit of the kernel when they are many.

#include "corpus.h"

#define BARE SEC("xdp") __attribute__((naked)) int

struct wide {
	unsigned char bytes[128];
};

MAP(wide_keys, BPF_MAP_TYPE_HASH, struct wide, __u64, 4);
MAP(programs, BPF_MAP_TYPE_PROG_ARRAY, __u32, __u32, 1);

/* 2000 branches that the verifier keeps in mind until it has seen the end. */
BARE branches(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 12);"
		     "r3 = *(u32 *)(r1 + 16);"
		     "r0 = 2;"
		     ".rept 2000;"
		     "if r2 == r3 goto l0_%=;"
		     ".endr;"
		     "l0_%=: exit;" ::: "r0", "r2", "r3");
}

/* Walked round by round: about 400,000 verified instructions. */
BARE walks_far(void)
{
	asm volatile("r0 = 2;"
		     "r2 = 0;"
		     "r2 += 1;"
		     "if r2 < 200000 goto -2;"
		     "exit;" ::: "r0", "r2");
}

BARE is_long(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 12);"
		     "if r2 != 77 goto +2;"
		     "r0 = 1;"
		     "exit;"
		     "r0 = 2;"
		     ".rept 30000;"
		     "r2 += 1;"
		     ".endr;"
		     "exit;" ::: "r0", "r2");
}

/* No jump of 16 bits reaches from its first exit to its end. */
BARE is_too_long_to_jump_over(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 12);"
		     "if r2 != 77 goto +2;"
		     "r0 = 1;"
		     "exit;"
		     "r0 = 2;"
		     ".rept 33000;"
		     "r2 += 1;"
		     ".endr;"
		     "exit;" ::: "r0", "r2");
}

#define LEAVING(number)                                                                            \
	BARE leaves_##number(void)                                                                 \
	{                                                                                          \
		asm volatile("r0 = 2;"                                                             \
			     "r2 = *(u32 *)(r1 + 12);"                                             \
			     "if r2 == " #number " goto +2;"                                       \
			     "*(u64 *)(r10 - 8 - 8 * " #number ") = r1;"                           \
			     "exit;"                                                               \
			     "*(u64 *)(r10 - 8 - 8 * " #number ") = r0;"                           \
			     "exit;" ::: "r0", "r2");                                              \
	}

/* Each leaves the context or a number in a slot of its own. */
LEAVING(0)
LEAVING(1)
LEAVING(2)
LEAVING(3)
LEAVING(4)
LEAVING(5)
LEAVING(6)
LEAVING(7)
LEAVING(8)
LEAVING(9)
LEAVING(10)
LEAVING(11)
LEAVING(12)
LEAVING(13)
LEAVING(14)
LEAVING(15)

/* Looks up a key that it never wrote. */
BARE reads_unwritten(void)
{
	asm volatile("r2 = r10;"
		     "r2 += -128;"
		     "r1 = %[map] ll;"
		     "call 1;"
		     "r0 = 2;"
		     "exit;" ::[map] "i"(&wide_keys)
		     : "r0", "r1", "r2");
}

#define FUNCTION(number, next)                                                                     \
	static __noinline int depth_##number(struct xdp_md *ctx)                                   \
	{                                                                                          \
		return next(ctx) + 1;                                                              \
	}

static __noinline int depth_8(struct xdp_md *ctx)
{
	return ctx->rx_queue_index;
}
FUNCTION(7, depth_8)
FUNCTION(6, depth_7)
FUNCTION(5, depth_6)
FUNCTION(4, depth_5)
FUNCTION(3, depth_4)
FUNCTION(2, depth_3)

/* Eight frames with its own. */
XDP calls_deep(struct xdp_md *ctx)
{
	return depth_2(ctx) == 6 ? XDP_PASS : XDP_DROP;
}

static __noinline int tail_calls_inside(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return XDP_PASS;
}

XDP tail_calls_below(struct xdp_md *ctx)
{
	return tail_calls_inside(ctx);
}

static __noinline int uses_stack(struct xdp_md *ctx)
{
	volatile char scratch[256] = {};

	scratch[ctx->rx_queue_index & 127] = 1;
	return scratch[0] + 1;
}

XDP calls_with_stack(struct xdp_md *ctx)
{
	return uses_stack(ctx) == 2 ? XDP_PASS : XDP_DROP;
}

BARE uses_480_bytes(void)
{
	asm volatile("r0 = 2;"
		     "*(u64 *)(r10 - 480) = r0;"
		     "exit;" ::: "r0");
}

char _license[] SEC("license") = "Dual BSD/GPL";
