// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Concurrent TCP connections per port: what would be one too many is dropped or reset.
//
// XDP judges new connections; programs of a tracepoint see which of them come about and when they
// end.  All use the same maps, which the package's programs on a node share.

#include <linux/tcp.h>

#include "transport.h"
#include "kernel_types.h"
#include "places.h"
#include "reset.h"

struct port {
	__u32 netns;	/* inode number of the network namespace */
	__u16 number;
	__u16 reserved;
};

/* A connection, seen from here; IPv4 addresses as IPv6 ones (RFC 4291 section 2.5.5.2). */
struct connection {
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u8 local[16];
	__u8 remote[16];
};

enum connection_action {
	DROP,
	RESET,
};

struct connection_limit {
	__u32 connections;
	enum connection_action action;
};

/* Destination port (a plain number, as 80) to what it may have at once. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, struct connection_limit);
	__uint(max_entries, 1024);
} cl_limits SEC(".maps");

/* Local port to its places, in every network namespace that has connections to it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct port);
	__type(value, struct places);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cl_ports SEC(".maps");

/* Handshakes under way to the slot that they began in. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct connection);
	__type(value, __u32);
	__uint(max_entries, 32768);
} cl_handshakes SEC(".maps");

/* The kernel's address of a socket to the port in whose places it is counted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u64);
	__type(value, struct port);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} cl_sockets SEC(".maps");

#define AF_INET6 10

#define COUNTER(name)						\
	struct {						\
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);	\
		__type(key, __u32);				\
		__type(value, __u64);				\
		__uint(max_entries, 1);				\
	} name SEC(".maps")

COUNTER(cl_received);	/* new connections to ports that have a limit */
COUNTER(cl_dropped);	/* those of them that were dropped */
COUNTER(cl_reset);	/* and those that were reset */
COUNTER(cl_uncounted);	/* connections that came about and found no room in a map */

static __always_inline void count_one(void *map)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(map, &key);

	if (counter)
		(*counter)++;
}

static __always_inline struct places *places_of(const struct port *port)
{
	struct places *found = bpf_map_lookup_elem(&cl_ports, port);
	struct places none = {};

	if (found)
		return found;
	/* Another CPU may have been faster; then its entry is found. */
	bpf_map_update_elem(&cl_ports, port, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&cl_ports, port);
}

static __always_inline void as_ipv6(__u8 *address, const void *ipv4)
{
	address[10] = 0xff;
	address[11] = 0xff;
	__builtin_memcpy(address + 12, ipv4, 4);
}

/* Fills in the addresses; 0 if the packet ends before. */
static __always_inline int addresses_of(void *header, void *end, __be16 kind,
					struct connection *connection)
{
	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = header;

		if ((void *)(ip + 1) > end)
			return 0;
		as_ipv6(connection->local, &ip->daddr);
		as_ipv6(connection->remote, &ip->saddr);
	} else {
		struct ipv6hdr *ip = header;

		if ((void *)(ip + 1) > end)
			return 0;
		__builtin_memcpy(connection->local, &ip->daddr, 16);
		__builtin_memcpy(connection->remote, &ip->saddr, 16);
	}
	return 1;
}

/* Whether the connection may begin; it has a place then. */
static __always_inline int may_begin(const struct port *port, const struct connection *connection,
				     __u32 limit)
{
	__u32 *begun = bpf_map_lookup_elem(&cl_handshakes, connection);
	__u32 now = begun_slot();
	struct places *places;

	/* A SYN that is sent again has the place of the first one. */
	if (begun && may_succeed(*begun, now))
		return 1;
	places = places_of(port);
	if (!places || !take_place(places, limit, now))
		return 0;
	if (!bpf_map_update_elem(&cl_handshakes, connection, &now, BPF_ANY))
		return 1;
	if (leave_slot(places, now))
		__sync_fetch_and_sub(&places->taken, 1);
	return 0;
}

SEC("xdp")
int connection_limit(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	void *start = (void *)(long)ctx->data;
	struct connection connection = {};
	struct connection_limit *limit;
	struct port port = {};
	struct tcphdr *tcp;
	__u8 protocol = 0;
	__be16 kind = 0;
	void *header;

	header = find_network(start, end, &kind);
	if (!header)
		return XDP_PASS;
	tcp = after_network(header, end, kind, &protocol);
	if (!tcp || protocol != IPPROTO_TCP || (void *)(tcp + 1) > end)
		return XDP_PASS;
	if (!tcp->syn || tcp->ack)
		return XDP_PASS;
	port.number = bpf_ntohs(tcp->dest);
	limit = bpf_map_lookup_elem(&cl_limits, &port.number);
	if (!limit || !addresses_of(header, end, kind, &connection))
		return XDP_PASS;
	count_one(&cl_received);
	port.netns = own_netns(ctx);
	connection.netns = port.netns;
	connection.local_port = port.number;
	connection.remote_port = bpf_ntohs(tcp->source);
	if (may_begin(&port, &connection, limit->connections))
		return XDP_PASS;
	if (limit->action == RESET && answer_with_reset(ctx, kind)) {
		count_one(&cl_reset);
		return XDP_TX;
	}
	count_one(&cl_dropped);
	return XDP_DROP;
}

/* The connection of a socket that is established. */
static __always_inline void read_connection(struct sock *socket, struct connection *connection)
{
	connection->netns = netns_of(socket);
	connection->local_port = BPF_CORE_READ(socket, __sk_common.skc_num);
	connection->remote_port = bpf_ntohs(BPF_CORE_READ(socket, __sk_common.skc_dport));
	if (BPF_CORE_READ(socket, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&connection->local, socket, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&connection->remote, socket, __sk_common.skc_v6_daddr);
	} else {
		__u32 local = BPF_CORE_READ(socket, __sk_common.skc_rcv_saddr);
		__u32 remote = BPF_CORE_READ(socket, __sk_common.skc_daddr);

		as_ipv6(connection->local, &local);
		as_ipv6(connection->remote, &remote);
	}
}

static __always_inline void begins(struct sock *socket)
{
	struct connection connection = {};
	struct port port = {};
	__u64 key = (__u64)socket;
	struct places *places;
	__u32 *begun;
	__u32 slot;

	read_connection(socket, &connection);
	port.netns = connection.netns;
	port.number = connection.local_port;
	places = places_of(&port);
	/* Whoever comes first counts it. */
	if (!places || bpf_map_update_elem(&cl_sockets, &key, &port, BPF_NOEXIST)) {
		if (!bpf_map_lookup_elem(&cl_sockets, &key))
			count_one(&cl_uncounted);
		return;
	}
	begun = bpf_map_lookup_elem(&cl_handshakes, &connection);
	slot = begun ? *begun : 0;
	if (begun && !bpf_map_delete_elem(&cl_handshakes, &connection) && leave_slot(places, slot))
		return;
	__sync_fetch_and_add(&places->taken, 1);
}

static __always_inline void ends(struct sock *socket)
{
	__u64 key = (__u64)socket;
	struct port *found = bpf_map_lookup_elem(&cl_sockets, &key);
	struct places *places;
	struct port port;

	if (!found)
		return;
	port = *found;
	/* Whoever gets to delete it counts it off. */
	if (bpf_map_delete_elem(&cl_sockets, &key))
		return;
	places = bpf_map_lookup_elem(&cl_ports, &port);
	if (places)
		__sync_fetch_and_sub(&places->taken, 1);
}

static __always_inline void changes(struct sock *socket, int before, int after)
{
	if (BPF_CORE_READ(socket, sk_protocol) != IPPROTO_TCP)
		return;
	if (before == BPF_TCP_SYN_RECV && after == BPF_TCP_ESTABLISHED)
		begins(socket);
	else if (after == BPF_TCP_CLOSE)
		ends(socket);
}

/* The kernel leaves a program out while the processor runs it already, as when packets interrupt a
 * process that closes a socket, and one of a tracepoint also while any other tracing program or a
 * system call on maps runs there.  So there are two programs that do the same: no event finds both
 * in such a state, since packets interrupt processes and not each other. */

SEC("tracepoint/sock/inet_sock_set_state")
int connection_count(const struct socket_state *state)
{
	changes(state->socket, state->before, state->after);
	return 0;
}

SEC("raw_tracepoint/inet_sock_set_state")
int connection_count_too(const struct bpf_raw_tracepoint_args *state)
{
	changes((struct sock *)state->args[0], (int)state->args[1], (int)state->args[2]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
