// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Packets are allowed or denied by the first rule that matches them: by zones of their addresses,
// protocol, ports and ICMP types.

#include <linux/pkt_cls.h>

#include "transport.h"

#define RULES 64
#define DEFAULT_RULE RULES
/* Enough for Ethernet, one VLAN tag, IPv6 with short extension headers and ports. */
#define HEADER_BYTES 128

enum firewall_action {
	UNUSED,
	ALLOW,
	DENY,
};

/* Assigned numbers of protocols, as IPv4 and IPv6 have them. */
enum firewall_protocol {
	ANY = 0,
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	GRE = 47,
	ESP = 50,
	AH = 51,
	ICMPV6 = 58,
	SCTP = 132,
};

struct prefix_v4 {
	__u32 bits;
	__u8 address[4];
};

struct prefix_v6 {
	__u32 bits;
	__u8 address[16];
};

/* Everything has to match; both ends of a range belong to it. */
struct firewall_rule {
	enum firewall_action action;
	enum firewall_protocol protocol;
	__u32 from;		/* zone of the source; 0: any */
	__u32 to;		/* zone of the destination; 0: any */
	__u16 from_ports[2];
	__u16 to_ports[2];
	__u8 types[2];		/* of ICMP and ICMPv6 messages */
	__u8 reserved[2];
};

struct hits {
	__u64 packets;
	__u64 bytes;
};

/* What becomes of what no rule matches, and of what is neither IPv4 nor IPv6. */
volatile enum firewall_action default_action = ALLOW;
volatile enum firewall_action other_action = ALLOW;

/* Rules behind this place are not looked at, which saves the time. */
const volatile __u32 last_rule = RULES - 1;

/* The first rule that matches decides. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct firewall_rule);
	__uint(max_entries, RULES);
} fw_rules SEC(".maps");

/* Prefix to zone; an address is in the zone of the longest prefix that holds it. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_v4);
	__type(value, __u32);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} fw_zones_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_v6);
	__type(value, __u32);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} fw_zones_v6 SEC(".maps");

/* Rule to what it decided about; the last one is the default. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct hits);
	__uint(max_entries, RULES + 1);
} fw_hits SEC(".maps");

#define COUNTER(name)						\
	struct {						\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);	\
		__type(key, __u32);				\
		__type(value, __u64);				\
		__uint(max_entries, 1);				\
	} name SEC(".maps")

COUNTER(fw_allowed);	/* IP packets */
COUNTER(fw_denied);	/* IP packets, those that make no sense included */
COUNTER(fw_senseless);	/* those: cut, malformed, or with more extension headers than are read */
COUNTER(fw_other);	/* what is neither IPv4 nor IPv6 */

/* What rules look at. */
struct packet {
	__u32 from;
	__u32 to;
	__u8 protocol;
	__u8 type;
	__u8 has_ports;
	__u8 has_type;
	__u16 from_port;
	__u16 to_port;
};

static __always_inline void count_one(void *map)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(map, &key);

	if (counter)
		(*counter)++;
}

static __always_inline __u32 zone_v4(const void *address)
{
	struct prefix_v4 key = {.bits = 32};
	__u32 *zone;

	__builtin_memcpy(key.address, address, sizeof(key.address));
	zone = bpf_map_lookup_elem(&fw_zones_v4, &key);
	return zone ? *zone : 0;
}

static __always_inline __u32 zone_v6(const void *address)
{
	struct prefix_v6 key = {.bits = 128};
	__u32 *zone;

	__builtin_memcpy(key.address, address, sizeof(key.address));
	zone = bpf_map_lookup_elem(&fw_zones_v6, &key);
	return zone ? *zone : 0;
}

/* Whether the packet makes sense; then all that rules look at is known. */
static __always_inline int read_packet(void *header, void *end, __be16 kind, struct packet *packet)
{
	void *transport = after_network(header, end, kind, &packet->protocol);

	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return 0;
		packet->from = zone_v4(&ip->saddr);
		packet->to = zone_v4(&ip->daddr);
	} else {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return 0;
		packet->from = zone_v6(&ip->saddr);
		packet->to = zone_v6(&ip->daddr);
		switch (packet->protocol) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			/* Of a later fragment that is what comes behind it; else it was not read. */
			if (transport || !packet->protocol)
				return 0;
			break;
		case IPPROTO_FRAGMENT:
			return 0;
		}
	}
	if (!transport)
		return 1;
	switch (packet->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP: {
		__be16 *ports = transport;

		/* A header that is cut before its ports hides them from rules (RFC 1858 section 3). */
		if ((void *)(ports + 2) > end)
			return 0;
		packet->from_port = bpf_ntohs(ports[0]);
		packet->to_port = bpf_ntohs(ports[1]);
		packet->has_ports = 1;
		break;
	}
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		__u8 *type = transport;

		if ((void *)(type + 1) > end)
			return 0;
		packet->type = *type;
		packet->has_type = 1;
		break;
	}
	}
	return 1;
}

static __always_inline int is_within(const __u16 *range, __u16 number)
{
	return range[0] <= number && number <= range[1];
}

static __always_inline int has_every_port(const struct firewall_rule *rule)
{
	return !rule->from_ports[0] && rule->from_ports[1] == 65535 && !rule->to_ports[0] &&
	       rule->to_ports[1] == 65535;
}

static __always_inline int matches(const struct firewall_rule *rule, const struct packet *packet)
{
	if (rule->action == UNUSED || (rule->protocol && rule->protocol != packet->protocol))
		return 0;
	if ((rule->from && rule->from != packet->from) || (rule->to && rule->to != packet->to))
		return 0;
	if (packet->has_ports) {
		if (!is_within(rule->from_ports, packet->from_port) ||
		    !is_within(rule->to_ports, packet->to_port))
			return 0;
	} else if (!has_every_port(rule)) {
		return 0;
	}
	if (packet->has_type)
		return rule->types[0] <= packet->type && packet->type <= rule->types[1];
	return !rule->types[0] && rule->types[1] == 255;
}

static __always_inline int decided(__u32 index, enum firewall_action action, __u64 bytes)
{
	struct hits *hits = bpf_map_lookup_elem(&fw_hits, &index);

	if (hits) {
		hits->packets += 1;
		hits->bytes += bytes;
	}
	if (action == DENY)
		count_one(&fw_denied);
	else
		count_one(&fw_allowed);
	return action != DENY;
}

/* Whether the packet goes on. */
static __always_inline int is_allowed(void *start, void *end, __u64 bytes)
{
	struct packet packet = {};
	__be16 kind = 0;
	void *header = find_network(start, end, &kind);

	if (!header || (kind != bpf_htons(ETH_P_IP) && kind != bpf_htons(ETH_P_IPV6))) {
		count_one(&fw_other);
		return other_action != DENY;
	}
	if (!read_packet(header, end, kind, &packet)) {
		count_one(&fw_senseless);
		count_one(&fw_denied);
		return 0;
	}
	for (__u32 i = 0; i < RULES && i <= last_rule; i++) {
		__u32 index = i;
		struct firewall_rule *rule = bpf_map_lookup_elem(&fw_rules, &index);

		if (rule && matches(rule, &packet))
			return decided(index, rule->action, bytes);
	}
	return decided(DEFAULT_RULE, default_action, bytes);
}

SEC("xdp")
int firewall_xdp(struct xdp_md *ctx)
{
	void *start = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	return is_allowed(start, end, end - start) ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int firewall_tc(struct __sk_buff *skb)
{
	/* Headers may lie outside the part that can be read directly. */
	if (skb->data_end - skb->data < HEADER_BYTES && skb->len > skb->data_end - skb->data)
		bpf_skb_pull_data(skb, skb->len < HEADER_BYTES ? skb->len : HEADER_BYTES);
	return is_allowed((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len) ?
		       TC_ACT_UNSPEC :
		       TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
