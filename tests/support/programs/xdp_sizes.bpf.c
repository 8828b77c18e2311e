// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// XDP programs that move the packet's ends, and the metadata before it.

#include "corpus.h"

/* New bytes are written, because what lies in front of a packet is not defined. */
XDP grows_head(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_head(ctx, -8))
		return XDP_ABORTED;
	PACKET(ctx);

	if (data + 22 > end)
		return XDP_DROP;
	__builtin_memcpy(data, data + 8, 14);
	__builtin_memset(data + 14, 0x5a, 7);
	data[21] += 1;
	return XDP_PASS;
}

XDP shrinks_head(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4) ? XDP_DROP : XDP_PASS;
}

XDP strips_a_tag(struct xdp_md *ctx)
{
	PACKET(ctx);
	unsigned char kept[12];

	if (data + 18 > end || ethertype(data + 12) != 0x8100)
		return XDP_PASS;
	__builtin_memcpy(kept, data, 12);
	if (bpf_xdp_adjust_head(ctx, 4))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 12 > end)
		return XDP_ABORTED;
	__builtin_memcpy(data, kept, 12);
	return XDP_PASS;
}

XDP grows_tail(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_tail(ctx, 16) ? XDP_TX : XDP_PASS;
}

XDP shrinks_tail(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_tail(ctx, -8) ? XDP_REDIRECT : XDP_PASS;
}

XDP writes_metadata(struct xdp_md *ctx)
{
	if (bpf_xdp_adjust_meta(ctx, -8))
		return XDP_PASS;
	PACKET(ctx);
	__u32 *metadata = (void *)(long)ctx->data_meta;

	if ((void *)(metadata + 2) > (void *)data || data + 15 > end)
		return XDP_ABORTED;
	metadata[0] = data[14];
	metadata[1] = 7;
	return XDP_PASS;
}

XDP reads_metadata(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	__u32 *metadata = (void *)(long)ctx->data_meta;

	if ((void *)(metadata + 1) > data)
		return XDP_PASS;
	return metadata[0] & 1 ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
