// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// TC programs that read and rewrite headers and what the kernel keeps beside a packet.

#include "corpus.h"

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");
unsigned long long load_half(void *skb, unsigned long long offset) asm("llvm.bpf.load.half");

TC leaves_open(struct __sk_buff *ctx)
{
	return TC_ACT_UNSPEC;
}

TC accepts(struct __sk_buff *ctx)
{
	return TC_ACT_OK;
}

/* The verdict is in the packet: each of the ten. */
TC obeys(struct __sk_buff *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return TC_ACT_STOLEN;
	return (int)(data[14] % 10) - 1;
}

/* Numbers that are no verdict. */
TC answers_oddly(struct __sk_buff *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return TC_ACT_OK;
	return data[15] & 1 ? TC_ACT_OK : 9 + data[15];
}

TC reads_types(struct __sk_buff *ctx)
{
	PACKET(ctx);
	int type, offset = network_header(data, end, &type);

	if (!offset)
		return TC_ACT_SHOT;
	if (offset == 22)
		return TC_ACT_REDIRECT;
	if (offset == 18)
		return TC_ACT_RECLASSIFY;
	return type == 0x0800 || type == 0x86dd ? TC_ACT_OK : TC_ACT_PIPE;
}

/* Writes into the packet directly: the kernel puts code of its own in front of such a program. */
TC rewrites_bytes(struct __sk_buff *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return TC_ACT_OK;
	data[14] += 1;
	data[15] ^= data[14];
	return TC_ACT_OK;
}

TC stores_bytes(struct __sk_buff *ctx)
{
	unsigned char ttl;

	if (bpf_skb_load_bytes(ctx, 22, &ttl, 1))
		return TC_ACT_PIPE;
	ttl -= 1;
	bpf_l3_csum_replace(ctx, 24, 0x0100, 0, 2);
	return bpf_skb_store_bytes(ctx, 22, &ttl, 1, 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

TC grows_head(struct __sk_buff *ctx)
{
	if (bpf_skb_change_head(ctx, 8, 0))
		return TC_ACT_SHOT;
	PACKET(ctx);

	if (data + 22 > end)
		return TC_ACT_SHOT;
	__builtin_memcpy(data, data + 8, 14);
	__builtin_memset(data + 14, 0x5a, 7);
	data[21] += 1;
	return TC_ACT_OK;
}

/* Never below what the kernel calls the least length, which depends on where headers are. */
TC changes_tail(struct __sk_buff *ctx)
{
	if (ctx->len < 200)
		return bpf_skb_change_tail(ctx, ctx->len + 16, 0) ? TC_ACT_SHOT : TC_ACT_OK;
	return bpf_skb_change_tail(ctx, ctx->len - 8, 0) ? TC_ACT_SHOT : TC_ACT_PIPE;
}

TC marks(struct __sk_buff *ctx)
{
	ctx->mark += 7;
	return TC_ACT_OK;
}

TC reads_marks(struct __sk_buff *ctx)
{
	return ctx->mark == 14 ? TC_ACT_SHOT : ctx->mark & 1 ? TC_ACT_PIPE : TC_ACT_OK;
}

TC sets_priority(struct __sk_buff *ctx)
{
	ctx->priority = ctx->priority * 2 + 3;
	return TC_ACT_PIPE;
}

TC reads_priority(struct __sk_buff *ctx)
{
	return ctx->priority == 9 ? TC_ACT_QUEUED : TC_ACT_UNSPEC;
}

TC writes_control(struct __sk_buff *ctx)
{
	PACKET(ctx);

	ctx->cb[0] += 1;
	ctx->cb[4] = data + 15 > end ? 1 : data[14];
	return TC_ACT_OK;
}

TC reads_control(struct __sk_buff *ctx)
{
	return ctx->cb[0] == 2 ? TC_ACT_TRAP : ctx->cb[4] & 1 ? TC_ACT_REPEAT : TC_ACT_OK;
}

/* LD_ABS: on a shorter packet the program ends there, with 0. */
TC loads_directly(struct __sk_buff *ctx)
{
	return load_byte(ctx, 60) & 1 ? TC_ACT_PIPE : TC_ACT_UNSPEC;
}

/* LD_IND. */
TC loads_indirectly(struct __sk_buff *ctx)
{
	return load_half(ctx, load_byte(ctx, 14)) == 0x0800 ? TC_ACT_SHOT : TC_ACT_PIPE;
}

/* -1 in 32 bits, the upper half zero. */
SEC("tc") __attribute__((naked)) int answers_narrow(void)
{
	asm volatile("w0 = -1; exit;" ::: "r0");
}

SEC("tc") __attribute__((naked)) int nearly_fills_stack(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "*(u64 *)(r10 - 504) = r2;"
		     "r0 = 0;"
		     "r4 = *(u64 *)(r10 - 504);"
		     "if r4 != 60 goto +1;"
		     "r0 = 3;"
		     "exit;" ::: "r0", "r2", "r4");
}

SEC("tc") __attribute__((naked)) int fills_stack(void)
{
	asm volatile("r2 = 0;"
		     "*(u64 *)(r10 - 512) = r2;"
		     "r0 = *(u64 *)(r10 - 512);"
		     "exit;" ::: "r0", "r2");
}

/* The loop ends long before its budget does (opcode 0xe5: may_goto). */
SEC("tc") __attribute__((naked)) int may_loop(void)
{
	asm volatile("r6 = 0;"
		     ".byte 0xe5, 0, 3, 0, 0, 0, 0, 0;"
		     "r6 += 1;"
		     "if r6 == 100 goto +1;"
		     "goto -4;"
		     "r0 = 0;"
		     "if r6 == 100 goto +1;"
		     "r0 = 2;"
		     "exit;" ::: "r0", "r6");
}

SEC("classifier") int older_section(struct __sk_buff *ctx)
{
	return ctx->len < 60 ? TC_ACT_PIPE : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
