// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the test programs share: finding one's way in a packet, and counting.

#ifndef CORPUS_H
#define CORPUS_H

#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define XDP SEC("xdp") int
#define TC SEC("tc") int
#define PACKET(ctx)                                                                                \
	unsigned char *data = (void *)(long)(ctx)->data, *end = (void *)(long)(ctx)->data_end

#define ETHERNET_BYTES 14
#define IPV4_TTL 8
#define IPV4_DESTINATION 16
#define IPV6_HOP_LIMIT 7

#define MAP(map_name, map_type, key_type, value_type, entries)                                     \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} map_name SEC(".maps")

static __always_inline int ethertype(unsigned char *at)
{
	return at[0] << 8 | at[1];
}

/* Where the header behind Ethernet and up to two VLAN tags begins; 0: the packet is too short. */
static __always_inline int network_header(unsigned char *data, unsigned char *end, int *type)
{
	int offset = 12;

	if (data + 24 > end)
		return 0;
	*type = ethertype(data + offset);
	if (*type == 0x8100 || *type == 0x88a8) {
		offset += 4;
		*type = ethertype(data + offset);
		if (*type == 0x8100) {
			offset += 4;
			*type = ethertype(data + offset);
		}
	}
	return offset + 2;
}

static __always_inline void add_to(void *map, __u32 key, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		*value += by;
	else
		bpf_map_update_elem(map, &key, &by, BPF_ANY);
}

#endif
