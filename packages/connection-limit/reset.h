// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// A SYN made into the reset that answers it (RFC 9293 section 3.10.7.1).

#ifndef L3AF_RESET_H
#define L3AF_RESET_H

#include <linux/tcp.h>

#include "transport.h"

#define TCP_WORDS ((__u32)sizeof(struct tcphdr) / 2)

static __always_inline void swap_bytes(void *one, void *other, __u32 count)
{
	__u8 *a = one, *b = other;

	for (__u32 i = 0; i < count; i++) {
		__u8 kept = a[i];

		a[i] = b[i];
		b[i] = kept;
	}
}

/* RFC 1071 */
static __always_inline __u32 sum_of(const void *start, __u32 words, __u32 sum)
{
	const __u16 *word = start;

	for (__u32 i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

static __always_inline __u16 checksum_of(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void make_reset(struct tcphdr *tcp, __u32 payload, __u32 sum)
{
	__be16 source = tcp->source;
	__u32 sequence = bpf_ntohl(tcp->seq);

	tcp->source = tcp->dest;
	tcp->dest = source;
	tcp->ack_seq = bpf_htonl(sequence + payload + 1);
	tcp->seq = 0;
	((__u16 *)tcp)[6] = bpf_htons(5 << 12 | 0x14); /* five words; ACK and RST */
	tcp->window = 0;
	tcp->urg_ptr = 0;
	tcp->check = 0;
	sum += bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));
	tcp->check = checksum_of(sum_of(tcp, TCP_WORDS, sum));
}

/* Whether the packet is its own answer now; of IP headers with options or extensions none is made,
 * and what was not answered is as it was. */
static __always_inline int answer_with_reset(struct xdp_md *ctx, __be16 kind)
{
	__u32 header_bytes = kind == bpf_htons(ETH_P_IP) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	void *start = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 before, payload, words;
	struct ethhdr *ethernet;
	struct tcphdr *tcp;
	void *network;
	__be16 found;
	int surplus;

	network = find_network(start, end, &found);
	if (!network)
		return 0;
	before = network - start;
	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = network;

		if ((void *)(ip + 1) > end || ip->ihl != 5)
			return 0;
		words = bpf_ntohs(ip->tot_len);
	} else {
		struct ipv6hdr *ip = network;

		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_TCP)
			return 0;
		words = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	}
	tcp = network + header_bytes;
	if ((void *)(tcp + 1) > end)
		return 0;
	if (words < header_bytes + tcp->doff * 4)
		return 0;
	payload = words - header_bytes - tcp->doff * 4;
	surplus = (int)(end - start) - (int)(before + header_bytes + sizeof(*tcp));
	if (surplus > 0 && bpf_xdp_adjust_tail(ctx, -surplus))
		return 0;
	start = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	ethernet = start;
	if ((void *)(ethernet + 1) > end)
		return 0;
	network = find_network(start, end, &found);
	if (!network)
		return 0;
	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = network;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end)
			return 0;
		swap_bytes(&ip->saddr, &ip->daddr, 4);
		ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*tcp));
		ip->ttl = 64;
		ip->frag_off = 0;
		ip->check = 0;
		ip->check = checksum_of(sum_of(ip, sizeof(*ip) / 2, 0));
		make_reset(tcp, payload, sum_of(&ip->saddr, 4, 0));
	} else {
		struct ipv6hdr *ip = network;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end)
			return 0;
		swap_bytes(&ip->saddr, &ip->daddr, 16);
		ip->payload_len = bpf_htons(sizeof(*tcp));
		ip->hop_limit = 64;
		make_reset(tcp, payload, sum_of(&ip->saddr, 16, 0));
	}
	swap_bytes(ethernet->h_source, ethernet->h_dest, 6);
	return 1;
}

#endif
