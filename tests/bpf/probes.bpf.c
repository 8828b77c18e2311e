// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// One program for each kind of probe; each counts its runs, STEP at a time.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef STEP
#define STEP 1
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 1);
} only SEC(".maps");

// All that happens if `only` is 0, else what the process of that number does.
static __attribute__((always_inline)) void count(void)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&runs, &zero);
	__u32 *pid = bpf_map_lookup_elem(&only, &zero);

	if (pid && *pid && *pid != bpf_get_current_pid_tgid() >> 32)
		return;
	if (value)
		__sync_fetch_and_add(value, STEP);
}

#define PROBE(section, name, result) \
	SEC(section) int name(void *ctx) { count(); return result; }

PROBE("tracepoint/syscalls/sys_enter_getpgid", on_tracepoint, 0)
PROBE("raw_tp/sys_enter", on_raw_tracepoint, 0)
PROBE("kprobe", on_kprobe, 0)
PROBE("kretprobe", on_kretprobe, 0)
PROBE("uprobe", on_uprobe, 0)
PROBE("uretprobe", on_uretprobe, 0)
PROBE("fentry/bpf_fentry_test1", on_fentry, 0)
PROBE("fexit/bpf_fentry_test1", on_fexit, 0)
PROBE("lsm/file_open", on_lsm, 0)

// Some programs of cgroups may not ask who the process is, or run where nobody is.
#define ANYBODY(section, name, result) \
	SEC(section) int name(void *ctx) \
	{ \
		__u32 zero = 0; \
		__u64 *value = bpf_map_lookup_elem(&runs, &zero); \
		if (value) \
			__sync_fetch_and_add(value, STEP); \
		return result; \
	}

ANYBODY("cgroup_skb/egress", on_egress, 1)
ANYBODY("cgroup/connect4", on_connect4, 1)
ANYBODY("sockops", on_sockops, 1)

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct task_struct;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

static const char line[] = "seen\n";

SEC("iter/task")
int on_task(struct bpf_iter__task *ctx)
{
	if (!ctx->task)
		return 0;
	count();
	bpf_seq_write(ctx->meta->seq, line, sizeof(line) - 1);
	return 0;
}

// The verifier refuses to read so far behind what an event brings.
SEC("tracepoint/syscalls/sys_exit_getpgid")
int refused(void *ctx)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(&runs, &zero);

	return value ? *(__u32 *)(ctx + 65536) : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
