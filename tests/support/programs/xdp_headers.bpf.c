// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// XDP programs that read and rewrite headers, keep their size and remember nothing.

#include "corpus.h"

XDP passes(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The verdict is in the packet; what is no verdict does not occur. */
XDP obeys(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return XDP_ABORTED;
	return data[14] % 5;
}

/* Numbers that are no verdict, which the kernel takes for aborted. */
XDP answers_oddly(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return XDP_PASS;
	return data[15] & 1 ? XDP_PASS : 5 + data[15];
}

XDP reads_types(struct xdp_md *ctx)
{
	PACKET(ctx);
	int type, offset = network_header(data, end, &type);

	if (!offset)
		return XDP_ABORTED;
	if (offset == 22)
		return XDP_REDIRECT;
	if (offset == 18)
		return XDP_TX;
	return type == 0x0800 || type == 0x86dd ? XDP_PASS : XDP_DROP;
}

XDP lowers_ttl(struct xdp_md *ctx)
{
	PACKET(ctx);
	int type, offset = network_header(data, end, &type);

	if (!offset)
		return XDP_PASS;
	unsigned char *header = data + offset;

	if (header + 20 > end)
		return XDP_DROP;
	unsigned char *ttl = header + (type == 0x0800 ? IPV4_TTL : IPV6_HOP_LIMIT);

	if (type != 0x0800 && type != 0x86dd)
		return XDP_PASS;
	if (*ttl <= 1)
		return XDP_DROP;
	*ttl -= 1;
	if (type == 0x0800) {
		__u32 sum = (header[10] << 8 | header[11]) + 0x100;

		sum += sum >> 16;
		header[10] = sum >> 8;
		header[11] = sum;
	}
	return XDP_PASS;
}

XDP swaps_addresses(struct xdp_md *ctx)
{
	PACKET(ctx);
	unsigned char kept[6];

	if (data + ETHERNET_BYTES > end)
		return XDP_ABORTED;
	__builtin_memcpy(kept, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, kept, 6);
	return data[0] & 1 ? XDP_TX : XDP_PASS;
}

XDP rewrites_bytes(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return XDP_DROP;
	data[14] += 1;
	data[15] ^= data[14];
	return XDP_PASS;
}

/* 0x1_0000_0002 is XDP_PASS to the kernel, which reads 32 bits. */
SEC("xdp") __attribute__((naked)) int answers_wide(void)
{
	asm volatile("r0 = 0x100000002 ll; exit;" ::: "r0");
}

/* As much stack as a program may have that stands inline before another one. */
SEC("xdp") __attribute__((naked)) int nearly_fills_stack(void)
{
	asm volatile("r2 = *(u32 *)(r1 + 0);"
		     "r3 = *(u32 *)(r1 + 4);"
		     "r3 -= r2;"
		     "*(u64 *)(r10 - 504) = r3;"
		     "r0 = 2;"
		     "r4 = *(u64 *)(r10 - 504);"
		     "if r4 != 60 goto +1;"
		     "r0 = 3;"
		     "exit;" ::: "r0", "r2", "r3", "r4");
}

SEC("xdp") __attribute__((naked)) int fills_stack(void)
{
	asm volatile("r2 = 2;"
		     "*(u64 *)(r10 - 512) = r2;"
		     "r0 = *(u64 *)(r10 - 512);"
		     "exit;" ::: "r0", "r2");
}

/* The loop ends long before its budget does (opcode 0xe5: may_goto). */
SEC("xdp") __attribute__((naked)) int may_loop(void)
{
	asm volatile("r6 = 0;"
		     ".byte 0xe5, 0, 3, 0, 0, 0, 0, 0;"
		     "r6 += 1;"
		     "if r6 == 100 goto +1;"
		     "goto -4;"
		     "r0 = 2;"
		     "if r6 == 100 goto +1;"
		     "r0 = 1;"
		     "exit;" ::: "r0", "r6");
}

SEC("xdp_older_name") int older_section(struct xdp_md *ctx)
{
	PACKET(ctx);

	return data + 60 > end ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
