// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// New TCP connections per second and destination port: what is over the limit is dropped.
//
// A sliding window of one second: time is cut into slots of 1/31 s, a port has a ring of 32 of them.
// A SYN is let through if fewer than `limit` were, in the current slot and the 31 before it.  These
// cover every moment of the last second, so no second ever sees more than `limit` connections,
// wherever it begins.  They cover up to 1/31 s more than the second, so under steady overload at
// least 31/32 of the limit gets through.

#include <linux/tcp.h>

#include "transport.h"

#define SECOND_NS 1000000000ULL
#define SLOTS 32 /* a power of two */
#define SLOT_NS ((SECOND_NS + SLOTS - 2) / (SLOTS - 1))

struct window {
	struct bpf_spin_lock lock;
	__u32 total;		/* sum of all slots */
	__u64 newest;		/* number of the newest slot, counted from boot */
	__u32 count[SLOTS];	/* let through, by slot number modulo SLOTS */
};

/* Destination port (a plain number, as 80) to the connections let through per second. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u32);
	__uint(max_entries, 1024);
} rl_limits SEC(".maps");

/* Not allocated ahead: only ports that were limited once have an entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, struct window);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} rl_windows SEC(".maps");

/* SYNs for ports that have a limit. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} rl_received SEC(".maps");

/* Those of them that were dropped. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} rl_dropped SEC(".maps");

static __always_inline void count_one(void *map)
{
	__u32 key = 0;
	__u64 *counter = bpf_map_lookup_elem(map, &key);

	if (counter)
		(*counter)++;
}

static __always_inline struct window *window_of(__u16 port)
{
	struct window *found = bpf_map_lookup_elem(&rl_windows, &port);
	struct window empty;

	if (found)
		return found;
	/* Every byte, so that no padding and no leftover of another program is read. */
	__builtin_memset(&empty, 0, sizeof(empty));
	/* Another CPU may have been faster; then its entry is found. */
	bpf_map_update_elem(&rl_windows, &port, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&rl_windows, &port);
}

/* Whether one more connection fits into the window; it is counted if so. */
static __always_inline int admit(struct window *window, __u32 limit, __u64 now_ns)
{
	__u64 slot = now_ns / SLOT_NS;
	int admitted = 0;

	bpf_spin_lock(&window->lock);
	/* A CPU that waited for the lock may come with an older slot: it counts in the newest. */
	if (slot > window->newest) {
		__u64 steps = slot - window->newest;

		for (__u32 i = 1; i <= SLOTS; i++) {
			__u32 index = (window->newest + i) & (SLOTS - 1);

			if (i > steps)
				break;
			window->total -= window->count[index];
			window->count[index] = 0;
		}
		window->newest = slot;
	}
	if (window->total < limit) {
		window->total++;
		window->count[window->newest & (SLOTS - 1)]++;
		admitted = 1;
	}
	bpf_spin_unlock(&window->lock);
	return admitted;
}

SEC("xdp")
int rate_limit(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct window *window;
	struct tcphdr *tcp;
	__u8 protocol = 0;
	__u32 *limit;
	__u16 port;

	tcp = find_transport((void *)(long)ctx->data, end, &protocol);
	if (!tcp || protocol != IPPROTO_TCP || (void *)(tcp + 1) > end)
		return XDP_PASS;
	if (!tcp->syn || tcp->ack)
		return XDP_PASS;
	port = bpf_ntohs(tcp->dest);
	limit = bpf_map_lookup_elem(&rl_limits, &port);
	if (!limit)
		return XDP_PASS;
	count_one(&rl_received);
	window = window_of(port);
	if (window && admit(window, *limit, bpf_ktime_get_ns()))
		return XDP_PASS;
	count_one(&rl_dropped);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
