// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where the transport header of a packet begins: Ethernet, at most one VLAN tag, IPv4 or IPv6.

#ifndef L3AF_TRANSPORT_H
#define L3AF_TRANSPORT_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* IPv6 extension headers that are walked over; a packet with more of them has no transport header
 * as far as these functions are concerned. */
#define EXTENSION_HEADERS 4
#define FRAGMENT_OFFSET_MASK 0x1fff

struct vlan_tag {
	__be16 control;
	__be16 protocol;
};

/* RFC 8200 sections 4.3, 4.4 and 4.6: hop-by-hop options, routing, destination options. */
struct extension_header {
	__u8 next;
	__u8 length; /* in units of 8 bytes, the first not counted */
};

/* RFC 8200 section 4.5 */
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* upper 13 bits */
	__be32 identification;
};

static __always_inline void *after_ipv4(void *start, void *end, __u8 *protocol)
{
	struct iphdr *ip = start;

	if ((void *)(ip + 1) > end || ip->ihl < 5)
		return 0;
	*protocol = ip->protocol;
	/* Only the first fragment has a transport header. */
	if (ip->frag_off & bpf_htons(FRAGMENT_OFFSET_MASK))
		return 0;
	return start + ip->ihl * 4;
}

static __always_inline void *after_ipv6(void *start, void *end, __u8 *protocol)
{
	struct ipv6hdr *ip = start;
	void *cursor = ip + 1;
	__u8 next;

	if (cursor > end)
		return 0;
	next = ip->nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSION_HEADERS; i++) {
		if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS) {
			struct extension_header *header = cursor;

			if ((void *)(header + 1) > end)
				return 0;
			next = header->next;
			cursor += (header->length + 1) * 8;
		} else if (next == IPPROTO_FRAGMENT) {
			struct fragment_header *header = cursor;

			if ((void *)(header + 1) > end)
				return 0;
			next = header->next;
			if (header->offset & bpf_htons(0xfff8)) {
				*protocol = next;
				return 0;
			}
			cursor = header + 1;
		}
	}
	*protocol = next;
	return cursor;
}

/* The header after Ethernet and at most one VLAN tag, and what it is (ETH_P_... in network order); 0
 * if the packet ends before.  The caller still has to compare the header's size with `end`. */
static __always_inline void *find_network(void *start, void *end, __be16 *kind)
{
	struct ethhdr *ethernet = start;
	void *cursor = ethernet + 1;

	if (cursor > end)
		return 0;
	*kind = ethernet->h_proto;
	if (*kind == bpf_htons(ETH_P_8021Q) || *kind == bpf_htons(ETH_P_8021AD)) {
		struct vlan_tag *tag = cursor;

		cursor = tag + 1;
		if (cursor > end)
			return 0;
		*kind = tag->protocol;
	}
	return cursor;
}

/* The transport header behind the network header at `network`, and its protocol (IPPROTO_...), or 0
 * if there is none that can be found; of a later fragment the protocol alone.  The caller still has
 * to compare its size with `end`. */
static __always_inline void *after_network(void *network, void *end, __be16 kind, __u8 *protocol)
{
	if (kind == bpf_htons(ETH_P_IP))
		return after_ipv4(network, end, protocol);
	if (kind == bpf_htons(ETH_P_IPV6))
		return after_ipv6(network, end, protocol);
	return 0;
}

/* The transport header of a packet, as `after_network` has it. */
static __always_inline void *find_transport(void *start, void *end, __u8 *protocol)
{
	__be16 kind = 0;
	void *network = find_network(start, end, &kind);

	return network ? after_network(network, end, kind, protocol) : 0;
}

#endif
