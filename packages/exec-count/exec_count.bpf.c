// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Programs that are started (execve and its relatives), by command and by user.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define COMMAND_BYTES 16
#define EVERYBODY -1

/* Whose programs are counted; a deployment may set it while the probe runs. */
volatile __s64 only_user = EVERYBODY;

/* Command, as /proc/PID/comm has it, to programs started.  The least recently used make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, char[COMMAND_BYTES]);
	__type(value, __u64);
	__uint(max_entries, 4096);
} ec_commands SEC(".maps");

/* Numeric user id to programs started. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1024);
} ec_users SEC(".maps");

/* All of them together. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} ec_started SEC(".maps");

static __always_inline void count(void *map, const void *key)
{
	__u64 none = 0;
	__u64 *counted = bpf_map_lookup_elem(map, key);

	if (!counted) {
		/* Another CPU may have been faster; then its entry is found. */
		bpf_map_update_elem(map, key, &none, BPF_NOEXIST);
		counted = bpf_map_lookup_elem(map, key);
	}
	if (counted)
		__sync_fetch_and_add(counted, 1);
}

SEC("tracepoint/sched/sched_process_exec")
int exec_count(void *ctx)
{
	char command[COMMAND_BYTES] = {};
	__u32 user = (__u32)bpf_get_current_uid_gid();
	__s64 only = only_user;
	__u32 first = 0;
	__u64 *all;

	if (only != EVERYBODY && only != user)
		return 0;
	all = bpf_map_lookup_elem(&ec_started, &first);
	if (all)
		*all += 1;
	bpf_get_current_comm(command, sizeof(command));
	count(&ec_commands, command);
	count(&ec_users, &user);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
