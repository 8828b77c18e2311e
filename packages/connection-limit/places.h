// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Places of a port: connections that are open, and handshakes that began and may become connections.
//
// `taken` is the sum of both.  A handshake is counted in the slot of time in which it began as well,
// so that places of those that come to nothing can be given back after 3 to 3.2 seconds.  A
// handshake that succeeds takes its place along: it leaves its slot, and `taken` stays.
//
// No locks, since programs of tracepoints may hold none: every step is one atomic instruction, and
// none leaves less taken than there is.

#ifndef L3AF_PLACES_H
#define L3AF_PLACES_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define BEGUN_SLOTS 16 /* a power of two */
#define BEGUN_SLOT_NS 200000000ULL
#define TRIES 16

struct places {
	__u64 taken;
	__u64 slot;			/* the newest slot that was begun */
	__u64 begun[BEGUN_SLOTS];	/* slot number << 32 | handshakes, by slot number modulo */
};

static __always_inline __u64 begun_slot(void)
{
	return (__u32)(bpf_ktime_get_ns() / BEGUN_SLOT_NS);
}

/* Whether a handshake of that slot may still succeed. */
static __always_inline int may_succeed(__u32 slot, __u32 now)
{
	return now - slot < BEGUN_SLOTS;
}

/* What is left in a slot that is over is given back, whoever comes first. */
static __always_inline void reclaim(struct places *places, __u32 index, __u32 now)
{
	__u64 *word = &places->begun[index & (BEGUN_SLOTS - 1)];
	__u64 seen = *word;

	if (!(__u32)seen || may_succeed(seen >> 32, now))
		return;
	/* Who changed it meanwhile gave it back, or began a new slot in its place. */
	if (__sync_val_compare_and_swap(word, seen, 0) == seen)
		__sync_fetch_and_sub(&places->taken, (__u32)seen);
}

static __always_inline void reclaim_all(struct places *places, __u32 now)
{
	__u64 newest = places->slot;

	if (newest == now || __sync_val_compare_and_swap(&places->slot, newest, now) != newest)
		return;
	for (__u32 i = 0; i < BEGUN_SLOTS; i++)
		reclaim(places, i, now);
}

/* Whether one of `limit` places was free; it is taken now, by a handshake of slot `now`. */
static __always_inline int take_place(struct places *places, __u32 limit, __u32 now)
{
	__u64 *word = &places->begun[now & (BEGUN_SLOTS - 1)];
	int is_taken = 0;

	reclaim_all(places, now);
	for (__u32 i = 0; i < TRIES; i++) {
		__u64 seen = places->taken;

		if (seen >= limit)
			return 0;
		if (__sync_val_compare_and_swap(&places->taken, seen, seen + 1) == seen) {
			is_taken = 1;
			break;
		}
	}
	if (!is_taken)
		return 0;
	for (__u32 i = 0; i < TRIES; i++) {
		__u64 seen = *word;
		__u64 following = (__u64)now << 32 | 1;

		if (seen >> 32 == now)
			following = seen + 1;
		if (__sync_val_compare_and_swap(word, seen, following) == seen) {
			if (seen >> 32 != now)
				__sync_fetch_and_sub(&places->taken, (__u32)seen);
			return 1;
		}
	}
	__sync_fetch_and_sub(&places->taken, 1);
	return 0;
}

/* Whether a handshake of that slot still had its place, which is nobody's handshake's now. */
static __always_inline int leave_slot(struct places *places, __u32 slot)
{
	__u64 *word = &places->begun[slot & (BEGUN_SLOTS - 1)];

	for (__u32 i = 0; i < TRIES; i++) {
		__u64 seen = *word;

		if (seen >> 32 != slot || !(__u32)seen)
			return 0;
		if (__sync_val_compare_and_swap(word, seen, seen - 1) == seen)
			return 1;
	}
	return 0;
}

#endif
