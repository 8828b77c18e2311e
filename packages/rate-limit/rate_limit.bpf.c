// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// New TCP connections per second, by destination port and by where they come from: what is over a
// limit is dropped.  How limits are counted stands in window.h.

#include <linux/tcp.h>

#include "transport.h"
#include "window.h"

#define WAYS 4
#define NETWORK_SETS 4096 /* a power of two */
#define IN_USE 0x80000000

/* A port's window. */
struct window {
	struct bpf_spin_lock lock;
	__u32 total;
	__u64 newest;
	__u32 count[SLOTS];
};

struct network_name {
	__u32 address[4];	/* in network order, zero behind its bits */
	__u32 kind;		/* IN_USE, the family's EtherType and the bits; 0: free */
};

/* A network's window. */
struct network {
	struct network_name name;
	__u32 total;
	__u64 newest;
	__u16 count[SLOTS];	/* 16 bits, since no network gets more than 65535 */
};

/* Networks whose hashes agree.  A fifth one takes the place of the one that is quiet for longest. */
struct network_set {
	struct bpf_spin_lock lock;
	__u32 reserved;
	struct network ways[WAYS];
};

struct prefix_v4 {
	__u32 bits;
	__u8 address[4];
};

struct prefix_v6 {
	__u32 bits;
	__u8 address[16];
};

struct source_limit {
	__u32 per_second;
	__u32 each;	/* bits of the networks that get so many each */
};

/* Destination port (a plain number, as 80) to the connections let through per second. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u32);
	__uint(max_entries, 1024);
} rl_limits SEC(".maps");

/* Source prefix to the connections let through per second; the longest prefix counts. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_v4);
	__type(value, struct source_limit);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rl_sources_v4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix_v6);
	__type(value, struct source_limit);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rl_sources_v6 SEC(".maps");

/* Not allocated ahead: only ports that were limited once have an entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, struct window);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rl_windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct network_set);
	__uint(max_entries, NETWORK_SETS);
} rl_networks SEC(".maps");

/* Of what the hash of networks begins, so that nobody can choose addresses that share a set. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} rl_seed SEC(".maps");

#define COUNTER(name)						\
	struct {						\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);	\
		__type(key, __u32);				\
		__type(value, __u64);				\
		__uint(max_entries, 1);				\
	} name SEC(".maps")

COUNTER(rl_received);		/* SYNs that have a limit */
COUNTER(rl_dropped);		/* those of them that were dropped */
COUNTER(rl_src_dropped);	/* those of the dropped that came from where too many come from */

/* Destination port to SYNs that were dropped because of its limit. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, __u16);
	__type(value, __u64);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rl_port_dropped SEC(".maps");

static __always_inline void count_one(void *map)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(map, &key);

	if (counter)
		(*counter)++;
}

static __always_inline void count_port(__u16 port)
{
	__u64 *counter = bpf_map_lookup_elem(&rl_port_dropped, &port);
	__u64 none = 0;

	if (!counter) {
		/* Another CPU may have been faster; then its entry is found. */
		bpf_map_update_elem(&rl_port_dropped, &port, &none, BPF_NOEXIST);
		counter = bpf_map_lookup_elem(&rl_port_dropped, &port);
	}
	if (counter)
		(*counter)++;
}

static __always_inline struct window *window_of(__u16 port)
{
	/* Too many bytes for the stack. */
	static const __u8 empty[sizeof(struct window)];
	struct window *found = bpf_map_lookup_elem(&rl_windows, &port);

	if (found)
		return found;
	/* Another CPU may have been faster; then its entry is found. */
	bpf_map_update_elem(&rl_windows, &port, empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&rl_windows, &port);
}

static __always_inline int port_admits(struct window *window, __u32 limit, __u64 slot)
{
	struct ring ring = {&window->newest, &window->total, window->count, sizeof(__u32)};
	__u64 admitted;

	bpf_spin_lock(&window->lock);
	admitted = ring_admits(&ring, limit, slot);
	bpf_spin_unlock(&window->lock);
	return admitted != 0;
}

/* The network of the address: as many bits of it as `each` says. */
static __always_inline void cut(struct network_name *name, __u32 words, __u32 each)
{
	for (__u32 i = 0; i < words; i++) {
		__u32 before = i * 32;
		__u32 bits = each > before ? each - before : 0;

		if (bits < 32)
			name->address[i] &= bits ? bpf_htonl(~0U << (32 - bits)) : 0;
	}
}

/* Mixes as splitmix64 does (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static __always_inline __u64 mixed(__u64 value)
{
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
	return value ^ (value >> 31);
}

static __always_inline struct network_set *set_of(const struct network_name *name)
{
	__u32 first = 0;
	__u32 *seed = bpf_map_lookup_elem(&rl_seed, &first);
	__u64 hash;
	__u32 index;

	if (!seed)
		return 0;
	if (!*seed)
		__sync_val_compare_and_swap(seed, 0, bpf_get_prandom_u32() | 1);
	hash = mixed((__u64)*seed << 32 | name->kind);
	hash = mixed(hash ^ ((__u64)name->address[0] << 32 | name->address[1]));
	hash = mixed(hash ^ ((__u64)name->address[2] << 32 | name->address[3]));
	index = hash & (NETWORK_SETS - 1);
	return bpf_map_lookup_elem(&rl_networks, &index);
}

static __always_inline int is_same(const struct network_name *one, const struct network_name *other)
{
	return one->kind == other->kind && one->address[0] == other->address[0] &&
	       one->address[1] == other->address[1] && one->address[2] == other->address[2] &&
	       one->address[3] == other->address[3];
}

/* The place of the network in the set, or WAYS.  Call it with the lock held. */
static __always_inline __u32 way_of(const struct network_set *set, const struct network_name *name)
{
	__u32 found = WAYS;

	for (__u32 way = 0; way < WAYS; way++)
		if (is_same(&set->ways[way].name, name))
			found = way;
	return found;
}

static __always_inline __u32 quietest(const struct network_set *set)
{
	__u32 found = 0;

	for (__u32 way = 1; way < WAYS; way++)
		if (set->ways[way].newest < set->ways[found & (WAYS - 1)].newest)
			found = way;
	return found;
}

static __always_inline struct ring ring_of(struct network *network)
{
	struct ring ring = {&network->newest, &network->total, network->count, sizeof(__u16)};

	return ring;
}

/* The slot in which one more of the network is counted, or 0 if its limit has no room. */
static __always_inline __u64 network_admits(struct network_set *set,
					    const struct network_name *name, __u32 limit,
					    __u64 slot)
{
	struct ring ring;
	__u64 admitted;
	__u32 way;

	bpf_spin_lock(&set->lock);
	way = way_of(set, name);
	if (way == WAYS) {
		struct network *place;

		way = quietest(set);
		place = &set->ways[way & (WAYS - 1)];
		place->name = *name;
		ring = ring_of(place);
		empty_ring(&ring, slot);
	}
	ring = ring_of(&set->ways[way & (WAYS - 1)]);
	admitted = ring_admits(&ring, limit, slot);
	bpf_spin_unlock(&set->lock);
	return admitted;
}

static __always_inline void network_gives_back(struct network_set *set,
					       const struct network_name *name, __u64 slot)
{
	__u32 way;

	bpf_spin_lock(&set->lock);
	way = way_of(set, name);
	if (way < WAYS) {
		struct ring ring = ring_of(&set->ways[way & (WAYS - 1)]);

		give_back(&ring, slot);
	}
	bpf_spin_unlock(&set->lock);
}

/* The limit of where the packet comes from, and the network that it holds for; 0: there is none. */
static __always_inline struct source_limit *source_limit_of(void *header, void *end, __be16 kind,
							     struct network_name *name)
{
	struct source_limit *limit = 0;
	__u32 each;

	if (kind == bpf_htons(ETH_P_IP)) {
		struct prefix_v4 address = {.bits = 32};
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > end)
			return 0;
		__builtin_memcpy(address.address, &ip->saddr, 4);
		limit = bpf_map_lookup_elem(&rl_sources_v4, &address);
		if (!limit)
			return 0;
		name->address[0] = ip->saddr;
		each = limit->each;
		cut(name, 1, each);
		name->kind = IN_USE | ETH_P_IP << 8 | (each & 0xff);
	} else {
		struct prefix_v6 address = {.bits = 128};
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > end)
			return 0;
		__builtin_memcpy(address.address, &ip->saddr, 16);
		limit = bpf_map_lookup_elem(&rl_sources_v6, &address);
		if (!limit)
			return 0;
		__builtin_memcpy(name->address, &ip->saddr, 16);
		each = limit->each;
		cut(name, 4, each);
		name->kind = IN_USE | ETH_P_IPV6 << 8 | (each & 0xff);
	}
	return limit;
}

SEC("xdp")
int rate_limit(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct source_limit *source_limit;
	struct network_set *set = 0;
	struct window *window;
	struct network_name name = {};
	struct tcphdr *tcp;
	__u8 protocol = 0;
	__u32 *port_limit;
	__be16 kind = 0;
	__u64 counted = 0;
	void *header;
	__u64 slot;
	__u16 port;

	header = find_network((void *)(long)ctx->data, end, &kind);
	if (!header)
		return XDP_PASS;
	tcp = after_network(header, end, kind, &protocol);
	if (!tcp || protocol != IPPROTO_TCP || (void *)(tcp + 1) > end)
		return XDP_PASS;
	if (!tcp->syn || tcp->ack)
		return XDP_PASS;
	port = bpf_ntohs(tcp->dest);
	source_limit = source_limit_of(header, end, kind, &name);
	port_limit = bpf_map_lookup_elem(&rl_limits, &port);
	if (!source_limit && !port_limit)
		return XDP_PASS;
	count_one(&rl_received);
	slot = bpf_ktime_get_ns() / SLOT_NS;
	if (source_limit) {
		set = set_of(&name);
		if (set)
			counted = network_admits(set, &name, source_limit->per_second, slot);
		if (!counted) {
			count_one(&rl_src_dropped);
			goto drop;
		}
	}
	if (!port_limit)
		return XDP_PASS;
	window = window_of(port);
	if (window && port_admits(window, *port_limit, slot))
		return XDP_PASS;
	/* What the port had no room for takes no room of its network either. */
	if (set)
		network_gives_back(set, &name, counted);
	count_port(port);
drop:
	count_one(&rl_dropped);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
