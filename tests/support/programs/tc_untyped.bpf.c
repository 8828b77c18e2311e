// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that are built without debug information, so nothing says what types they have.

#include "corpus.h"

unsigned int untyped_runs;

TC untyped_obeys(struct __sk_buff *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return TC_ACT_TRAP;
	return (int)(data[14] % 10) - 1;
}

TC untyped_remembers(struct __sk_buff *ctx)
{
	untyped_runs += 1;
	return untyped_runs % 3 ? TC_ACT_OK : TC_ACT_PIPE;
}

static __noinline int halve(int number)
{
	return number >> 1;
}

TC untyped_calls(struct __sk_buff *ctx)
{
	PACKET(ctx);

	if (data + 15 > end)
		return TC_ACT_OK;
	return halve(data[14]) & 1 ? TC_ACT_PIPE : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
