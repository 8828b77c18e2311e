// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that tell the kernel a licence that is not GPL-compatible.

#include "corpus.h"

MAP(closed_counts, BPF_MAP_TYPE_ARRAY, __u32, __u64, 2);

XDP closed_counts_packets(struct xdp_md *ctx)
{
	PACKET(ctx);

	add_to(&closed_counts, 0, 1);
	add_to(&closed_counts, 1, end - data);
	return XDP_PASS;
}

XDP closed_obeys(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 16 > end)
		return XDP_PASS;
	return (int)(data[15] % 5) - 0;
}

char _license[] SEC("license") = "Proprietary";
