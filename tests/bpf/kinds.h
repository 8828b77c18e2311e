// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Where programs that linking must treat in their own ways say what they found: in `results`,
// under their own index, so that a test can tell what really ran.

#ifndef KINDS_H
#define KINDS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} results SEC(".maps");

/* Adds to what was found; returns the verdict that lets the packet go on. */
static __always_inline int note(__u32 index, __u64 found)
{
	__u64 *value = bpf_map_lookup_elem(&results, &index);

	if (value)
		*value += found;
	return GOES_ON;
}

#endif
