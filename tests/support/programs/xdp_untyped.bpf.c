// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that are built without debug information, so nothing says what types they have.

#include "corpus.h"

unsigned int untyped_runs;

XDP untyped_obeys(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return XDP_ABORTED;
	return (int)(data[14] % 5) - 0;
}

XDP untyped_remembers(struct xdp_md *ctx)
{
	untyped_runs += 1;
	return untyped_runs % 3 ? XDP_PASS : XDP_TX;
}

static __noinline int halve(int number)
{
	return number >> 1;
}

XDP untyped_calls(struct xdp_md *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return XDP_PASS;
	return halve(data[14]) & 1 ? XDP_TX : XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
