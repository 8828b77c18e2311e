// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Sliding windows of one second.
//
// Time is cut into slots of 1/127 s, a window has a ring of 128 of them.  One more fits if fewer than
// `limit` were let through in the current slot and the 127 before it.  These cover every moment of
// the last second, so no second ever sees more than `limit`, wherever it begins.  They cover up to
// 1/127 s more than the second, so under steady overload at least 127/128 of the limit gets through.

#ifndef L3AF_WINDOW_H
#define L3AF_WINDOW_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define SECOND_NS 1000000000ULL
#define SLOTS 128 /* a power of two */
#define SLOT_NS ((SECOND_NS + SLOTS - 2) / (SLOTS - 1))

/* What was let through in each slot, by slot number modulo SLOTS, in numbers of `bytes` bytes. */
struct ring {
	__u64 *newest;	/* number of the newest slot, counted from boot */
	__u32 *total;	/* sum of all slots */
	void *counts;
	__u32 bytes;	/* 2 or 4, known to the compiler */
};

static __always_inline __u32 slot_count(const struct ring *ring, __u32 index)
{
	return ring->bytes == 2 ? ((__u16 *)ring->counts)[index] : ((__u32 *)ring->counts)[index];
}

static __always_inline void set_slot(const struct ring *ring, __u32 index, __u32 count)
{
	if (ring->bytes == 2)
		((__u16 *)ring->counts)[index] = count;
	else
		((__u32 *)ring->counts)[index] = count;
}

/* Nothing was let through yet. */
static __always_inline void empty_ring(const struct ring *ring, __u64 slot)
{
	__u64 *words = ring->counts;

	for (__u32 i = 0; i < SLOTS * ring->bytes / sizeof(*words); i++)
		words[i] = 0;
	*ring->total = 0;
	*ring->newest = slot;
}

/* The slot in which one more is counted, or 0 if none fits.  Call it with the lock held. */
static __always_inline __u64 ring_admits(const struct ring *ring, __u32 limit, __u64 slot)
{
	__u32 index;

	/* A CPU that waited for the lock may come with an older slot: it counts in the newest. */
	if (slot >= *ring->newest + SLOTS) {
		empty_ring(ring, slot);
	} else if (slot > *ring->newest) {
		__u32 steps = slot - *ring->newest;

		for (__u32 i = 1; i < SLOTS; i++) {
			if (i > steps)
				break;
			index = (*ring->newest + i) & (SLOTS - 1);
			*ring->total -= slot_count(ring, index);
			set_slot(ring, index, 0);
		}
		*ring->newest = slot;
	}
	if (*ring->total >= limit)
		return 0;
	index = *ring->newest & (SLOTS - 1);
	*ring->total += 1;
	set_slot(ring, index, slot_count(ring, index) + 1);
	return *ring->newest;
}

/* What `ring_admits` counted in that slot counts no more.  Call it with the lock held. */
static __always_inline void give_back(const struct ring *ring, __u64 slot)
{
	__u32 index = slot & (SLOTS - 1);

	/* A slot that the ring left behind counts no more anyway; an empty one is of a ring made anew. */
	if (slot > *ring->newest || slot + SLOTS <= *ring->newest || !slot_count(ring, index))
		return;
	set_slot(ring, index, slot_count(ring, index) - 1);
	*ring->total -= 1;
}

#endif
