// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs compiled without types: no map can be declared, but variables and functions can.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

const volatile unsigned int limit = 5;
unsigned long long runs;

static __noinline int count_up(unsigned int by)
{
	runs += by;
	return runs > limit;
}

SEC("xdp") int drops_later(struct xdp_md *ctx)
{
	return count_up(ctx->data_end - ctx->data > 60 ? 2 : 1) ? XDP_DROP : XDP_PASS;
}

SEC("xdp") int passes(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc") int shoots_later(struct __sk_buff *skb)
{
	return count_up(skb->len > 60 ? 2 : 1) ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
