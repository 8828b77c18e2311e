// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Packets and bytes per destination port, TCP and UDP together.  Every packet goes on.

#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include "transport.h"

/* Enough for Ethernet, one VLAN tag, IPv6 with short extension headers and the two ports. */
#define HEADER_BYTES 128
#define PACKETS 0
#define BYTES 1

/* Destination port (a plain number, as 443) to [packets, bytes].  The least recently used ports
 * make room for new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__type(key, __u16);
	__type(value, __u64[2]);
	__uint(max_entries, 4096);
} pc_ports SEC(".maps");

/* Packets counted, whatever their port. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} pc_packets SEC(".maps");

/* Their bytes, from the Ethernet header on. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} pc_bytes SEC(".maps");

static __always_inline void add(void *map, __u64 amount)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(map, &key);

	if (counter)
		*counter += amount;
}

static __always_inline void count_packet(void *start, void *end, __u64 bytes)
{
	__u64 none[2] = {0, 0};
	__u8 protocol = 0;
	__u64 *counted;
	__be16 *ports;
	__u16 port;

	/* TCP (RFC 9293) and UDP (RFC 768) both begin with source and destination port. */
	ports = find_transport(start, end, &protocol);
	if (!ports || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return;
	if ((void *)(ports + 2) > end)
		return;
	port = bpf_ntohs(ports[1]);
	add(&pc_packets, 1);
	add(&pc_bytes, bytes);
	counted = bpf_map_lookup_elem(&pc_ports, &port);
	if (!counted) {
		/* Another CPU may have been faster; then its entry is found. */
		bpf_map_update_elem(&pc_ports, &port, none, BPF_NOEXIST);
		counted = bpf_map_lookup_elem(&pc_ports, &port);
	}
	if (counted) {
		counted[PACKETS] += 1;
		counted[BYTES] += bytes;
	}
}

SEC("xdp")
int port_count_xdp(struct xdp_md *ctx)
{
	void *start = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	count_packet(start, end, end - start);
	return XDP_PASS;
}

SEC("tc")
int port_count_tc(struct __sk_buff *skb)
{
	/* Headers may lie outside the part that can be read directly. */
	if (skb->data_end - skb->data < HEADER_BYTES && skb->len > skb->data_end - skb->data)
		bpf_skb_pull_data(skb, skb->len < HEADER_BYTES ? skb->len : HEADER_BYTES);
	count_packet((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
