// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// TC programs that each do one thing which linking must keep.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define BODY SEC("tc") int

unsigned long long load_byte(void *skb, unsigned long long offset) asm("llvm.bpf.load.byte");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

BODY marks(struct __sk_buff *skb)
{
	skb->mark += 7;
	return TC_ACT_OK;
}

BODY shoots_marked(struct __sk_buff *skb)
{
	return skb->mark == 14 ? TC_ACT_SHOT : TC_ACT_OK;
}

BODY shoots(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

BODY leaves_open(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&seen, &key);

	if (value)
		*value += 1;
	return TC_ACT_UNSPEC;
}

BODY pipes(struct __sk_buff *skb)
{
	return TC_ACT_PIPE;
}

BODY loads_directly(struct __sk_buff *skb)
{
	return load_byte(skb, 60) == 1 ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
