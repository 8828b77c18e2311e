// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// TC programs, each of a kind that linking must treat in its own way.

#include <linux/pkt_cls.h>

#define GOES_ON TC_ACT_OK
#include "kinds.h"

#define BODY SEC("tc") int

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");

BODY goes_on(struct __sk_buff *skb)
{
	return note(0, 1);
}

/* Leaves the program, with 0, when the packet is too short. */
BODY loads_far(struct __sk_buff *skb)
{
	__u64 found = load_byte(skb, 200);

	note(1, found);
	return TC_ACT_SHOT;
}

BODY loads_near(struct __sk_buff *skb)
{
	return note(2, load_byte(skb, 14));
}

BODY writes_packet(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 15 > end)
		return TC_ACT_SHOT;
	data[14] += 1;
	return note(3, data[14]);
}

int arrives(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct __sk_buff *));
} own_programs SEC(".maps") = {.values = {[0] = &arrives}};

BODY arrives(struct __sk_buff *skb)
{
	return note(4, 1);
}

BODY jumps(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &own_programs, 0);
	return TC_ACT_SHOT;
}

static long add(__u32 index, __u64 *sum)
{
	*sum += index;
	return 0;
}

BODY loops(struct __sk_buff *skb)
{
	__u64 sum = 0;

	bpf_loop(5, add, &sum, 0);
	return note(5, sum);
}

/* The type of the context is not said. */
BODY takes_anything(void *ctx)
{
	struct __sk_buff *skb = ctx;

	return note(6, skb->len);
}

SEC("classifier") int older_classifier(struct __sk_buff *skb)
{
	return note(7, 1);
}

SEC("classifier/named") int named_classifier(struct __sk_buff *skb)
{
	return note(8, 1);
}

SEC("tc/ingress") int named_ingress(struct __sk_buff *skb)
{
	return note(9, 1);
}

SEC("tcx/egress") int newer_egress(struct __sk_buff *skb)
{
	return note(10, 1);
}

SEC("action") int as_action(struct __sk_buff *skb)
{
	return note(11, 1);
}

SEC("ingress_monitor") int unknown_name(struct __sk_buff *skb)
{
	return note(12, 1);
}

BODY adjusts(struct __sk_buff *skb)
{
	return bpf_skb_change_tail(skb, skb->len + 10, 0) ? TC_ACT_SHOT : note(13, skb->len);
}

SEC("xdp") int is_for_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
