# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The words of a new package for a probe: what it counts, and where it is attached.

Pure.  All count events; most of them by the program that runs, the others by what they see.
"""

from __future__ import annotations

from string import Template
from typing import Final

from shared.identifiers import ProbeHook

_BY_COMMAND: Final = {
    "by": "command",
    "key_type": "char",
    "key_name": "command[16]",
    "map_key": "char[16]",
    "key": "name of the thread that ran, as /proc/PID/comm has it",
    "find_key": "\tbpf_get_current_comm(command, sizeof(command));\n",
    "key_argument": "command",
    "clear": " = {}",
    "locals": "",
}
_BY_NUMBER: Final = {"key_type": "__u32", "map_key": "__u32", "clear": "", "locals": ""}

_TRACED: Final = {"context": "void *ctx", "headers": "", "declarations": "", "go_on": "0"}

PROBES: Final[dict[ProbeHook, dict[str, str]]] = {
    "tracepoint": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "tracepoint/sched/sched_process_exec",
        "what": "programs that were started",
        "attach": 'category = "sched", name = "sched_process_exec"',
    },
    "raw-tracepoint": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "raw_tracepoint/sched_process_exec",
        "what": "programs that were started",
        "attach": 'name = "sched_process_exec"',
    },
    "kprobe": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "kprobe/vfs_unlink",
        "what": "files that were removed",
        "attach": 'function = "vfs_unlink"',
    },
    "kretprobe": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "kretprobe/vfs_unlink",
        "what": "files that were removed",
        "attach": 'function = "vfs_unlink"',
    },
    "uprobe": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "uprobe",
        "what": "calls of the function that the deployment names",
        "attach": 'path = "/bin/bash", symbol = "readline"',
    },
    "uretprobe": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "uretprobe",
        "what": "returns from the function that the deployment names",
        "attach": 'path = "/bin/bash", symbol = "readline"',
    },
    "fentry": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "fentry/vfs_unlink",
        "what": "files that were removed",
        "attach": 'function = "vfs_unlink"',
    },
    "fexit": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "fexit/vfs_unlink",
        "what": "files that were removed",
        "attach": 'function = "vfs_unlink"',
    },
    "lsm": {
        **_BY_COMMAND,
        **_TRACED,
        "section": "lsm/file_open",
        "what": "files that were opened",
        "attach": 'function = "file_open"',
    },
    "cgroup": {
        **_BY_NUMBER,
        "section": "cgroup/connect4",
        "context": "struct bpf_sock_addr *ctx",
        "headers": "#include <bpf/bpf_endian.h>\n",
        "declarations": "",
        "go_on": "1",
        "what": "connections over IPv4 that were begun",
        "by": "port",
        "key_name": "port",
        "key": "destination port",
        "find_key": "\tport = bpf_ntohs((__u16)ctx->user_port);\n",
        "key_argument": "&port",
        "attach": 'path = "/sys/fs/cgroup", attach = "connect4"',
    },
    "sockops": {
        **_BY_NUMBER,
        "section": "sockops",
        "context": "struct bpf_sock_ops *ctx",
        "headers": "",
        "declarations": "",
        "go_on": "1",
        "what": "what TCP connections told",
        "by": "event",
        "key_name": "event",
        "key": "BPF_SOCK_OPS_* of linux/bpf.h",
        "find_key": "\tevent = ctx->op;\n",
        "key_argument": "&event",
        "attach": 'path = "/sys/fs/cgroup"',
    },
    "iterator": {
        **_BY_NUMBER,
        "section": "iter/task",
        "context": "struct bpf_iter__task *ctx",
        "headers": "#include <bpf/bpf_tracing.h>\n",
        "declarations": """\
/* What is read of the kernel's own types; where it lies is looked up when it is loaded (CO-RE). */
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid;
	char comm[16];
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

""",
        "go_on": "0",
        "what": "threads that were listed",
        "by": "reading",
        "key_name": "is_first",
        "key": "1 for the first thread of a reading, else 0",
        "locals": "\tstruct task_struct *task;\n",
        "find_key": """\
	task = ctx->task;
	if (!task)
		return 0;
	is_first = ctx->meta->seq_num == 0;
	if (is_first)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%8s %s\\n", "thread", "command");
	BPF_SEQ_PRINTF(ctx->meta->seq, "%8d %s\\n", task->pid, task->comm);
""",
        "key_argument": "&is_first",
        "attach": 'over = "task"',
    },
}
"""By hook."""

PROBE_SUMMARY: Final = Template("Counts $what, by $by")

PROBE_TOML: Final = Template("""\
$head
[metrics.events]
map = "events"
unit = "events"
summary = "$What"

[metrics.events-by-$by]
map = "by_$by"
key = "*"
each_key = true
unit = "events"
summary = "$What, by $by"
""")

PROBE_SOURCE: Final = Template("""\
// $tag: $expression
//
// Counts $what, by $by.

#include <linux/bpf.h>

${headers}#include <bpf/bpf_helpers.h>

${declarations}struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} events SEC(".maps");

/* Events by $by: $key.
 * The least recently used make room for new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, $map_key);
	__type(value, __u64);
	__uint(max_entries, 1024);
} by_$by SEC(".maps");

SEC("$section")
int $symbol($context)
{
	$key_type $key_name$clear;
${locals}	__u64 *count, once = 1;
	__u32 first = 0;

${find_key}	count = bpf_map_lookup_elem(&events, &first);
	if (count)
		(*count)++;
	count = bpf_map_lookup_elem(&by_$by, $key_argument);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_$by, $key_argument, &once, BPF_ANY);
	return $go_on;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
""")

PROBE_README: Final = Template("""\
<!-- $tag: $expression -->

# $name

Counts $what, by $by. A probe has its hook to itself: it is in no chain, and this one forbids
nothing.

    l3af package test .         # builds it, and has this machine's kernel load it
    l3af package lint .         # what publication would refuse, and what to better
    l3af package publish .
    l3af deploy deployment.toml
    l3af map dump NODE $name $hook $name by_$by
""")

PROBE_DEPLOYMENT: Final = Template("""\
# $tag: $expression

name = "$name"
package = "$name"
version = "*"
hook = "$hook"
attach = [{ kind = "$hook", $attach }]
""")
