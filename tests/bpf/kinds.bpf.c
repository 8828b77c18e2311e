// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// XDP programs, each of a kind that linking must treat in its own way.

#define GOES_ON XDP_PASS
#include "kinds.h"

#define BODY SEC("xdp") int
#define MAP(kind, name, entries, key_type, value_type)                                             \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

BODY goes_on(struct xdp_md *ctx)
{
	return note(0, 1);
}

/* Global data: constants set before loading, and variables of every section. */

const volatile __u32 factor = 2;
const volatile __u8 label[4] = {1, 2, 3, 4};
__u64 start = 100;
__u64 runs;
static volatile __u16 hidden SEC(".data.hidden") = 5;

BODY uses_globals(struct xdp_md *ctx)
{
	runs++;
	hidden++;
	return note(1, factor * 1000000 + label[3] * 10000 + hidden * 100 + start + runs);
}

const volatile _Bool is_wanted = 0;

BODY is_optional(struct xdp_md *ctx)
{
	return is_wanted ? note(24, 1) : XDP_PASS;
}

/* Callbacks. */

static long multiply(__u32 index, __u64 *product)
{
	*product *= index + 1;
	return 0;
}

BODY loops(struct xdp_md *ctx)
{
	__u64 product = 1;

	bpf_loop(5, multiply, &product, 0);
	return note(2, product);
}

MAP(HASH, prices, 8, __u32, __u64);

struct bpf_map;

static long add_price(struct bpf_map *map, const __u32 *key, __u64 *price, __u64 *sum)
{
	*sum += *price + *key;
	return 0;
}

BODY walks_map(struct xdp_md *ctx)
{
	__u64 sum = 0, price = 10;

#pragma unroll
	for (__u32 number = 1; number <= 3; number++) {
		__u32 key = number;

		bpf_map_update_elem(&prices, &key, &price, BPF_ANY);
	}
	bpf_for_each_map_elem(&prices, add_price, &sum, 0);
	return note(3, sum);
}

struct alarm {
	struct bpf_timer timer;
	__u64 rung;
};

MAP(ARRAY, alarms, 1, __u32, struct alarm);

static int ring(void *map, __u32 *key, struct alarm *alarm)
{
	alarm->rung += 1;
	return 0;
}

BODY sets_timer(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct alarm *alarm = bpf_map_lookup_elem(&alarms, &key);

	if (!alarm)
		return XDP_ABORTED;
	bpf_timer_init(&alarm->timer, &alarms, 1);
	bpf_timer_set_callback(&alarm->timer, ring);
	return note(4, !bpf_timer_start(&alarm->timer, 0, 0));
}

/* Subprograms. */

static __noinline __u64 square(__u64 number)
{
	return number * number;
}

__noinline int half(__u32 number)
{
	return number / 2;
}

__noinline int length_of(struct xdp_md *ctx)
{
	return ctx ? ctx->data_end - ctx->data : 0;
}

BODY calls_functions(struct xdp_md *ctx)
{
	return note(5, square(half(12)) * 1000 + length_of(ctx));
}

/* Maps of maps. */

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
};

struct inner first_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer_array SEC(".maps") = {.values = {[1] = &first_inner}};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer_hash SEC(".maps");

BODY looks_inside(struct xdp_md *ctx)
{
	__u32 zero = 0, one = 1;
	void *inner = bpf_map_lookup_elem(&outer_array, &one);
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &zero) : 0;

	if (!value)
		return XDP_ABORTED;
	*value += 3;
	return note(6, *value + (bpf_map_lookup_elem(&outer_hash, &zero) ? 100 : 0));
}

/* Every other kind of table. */

struct prefix {
	__u32 bits;
	__u8 address[4];
};

MAP(PERCPU_ARRAY, on_each_cpu, 1, __u32, __u64);
MAP(PERCPU_HASH, by_cpu, 4, __u32, __u64);
MAP(LRU_HASH, recent, 2, __u32, __u64);
MAP(LRU_PERCPU_HASH, recent_by_cpu, 4, __u32, __u64);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u64);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u64);
} waiting SEC(".maps");

static __always_inline __u64 bump(void *map, __u32 key, __u64 by)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		return *value += by;
	bpf_map_update_elem(map, &key, &by, BPF_ANY);
	return by;
}

BODY fills_tables(struct xdp_md *ctx)
{
	struct prefix wanted = {32, {10, 1, 2, 3}}, net = {8, {10}};
	__u64 route = 7, popped = 0;

	bpf_map_update_elem(&routes, &net, &route, BPF_ANY);
	bpf_map_push_elem(&waiting, &route, BPF_ANY);
	bpf_map_pop_elem(&waiting, &popped);

	__u64 *found = bpf_map_lookup_elem(&routes, &wanted);

	return note(7, bump(&on_each_cpu, 0, 1) + bump(&by_cpu, 1, 10) + bump(&recent, 2, 100) +
			       bump(&recent_by_cpu, 3, 1000) + (found ? *found : 0) * 10000 +
			       popped * 100000);
}

/* Messages to user space. */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} messages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} samples SEC(".maps");

BODY tells(struct xdp_md *ctx)
{
	__u64 *message = bpf_ringbuf_reserve(&messages, sizeof(*message), 0);

	if (!message)
		return XDP_ABORTED;
	*message = 0xabcd;
	bpf_ringbuf_submit(message, BPF_RB_NO_WAKEUP);

	__u64 sample = 1;

	/* Nobody opened an event: -ENOENT. */
	return note(8, -bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &sample,
					      sizeof(sample)));
}

/* Where packets are sent. */

MAP(DEVMAP, devices, 2, __u32, __u32);
MAP(DEVMAP_HASH, devices_by_key, 2, __u32, __u32);
MAP(CPUMAP, processors, 2, __u32, __u32);
MAP(XSKMAP, sockets, 2, __u32, __u32);

BODY to_device(struct xdp_md *ctx)
{
	return bpf_redirect_map(&devices, 0, XDP_PASS);
}

BODY to_processor(struct xdp_md *ctx)
{
	return bpf_redirect_map(&processors, 0, XDP_PASS);
}

BODY to_socket(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, 0, XDP_TX) == XDP_TX
		       ? bpf_redirect_map(&devices_by_key, 0, XDP_PASS)
		       : XDP_ABORTED;
}

/* Locks. */

struct account {
	struct bpf_spin_lock lock;
	__u32 bookings;
	__u64 balance;
};

MAP(ARRAY, accounts, 1, __u32, struct account);

BODY locks(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct account *account = bpf_map_lookup_elem(&accounts, &key);

	if (!account)
		return XDP_ABORTED;
	bpf_spin_lock(&account->lock);
	account->bookings += 1;
	account->balance += 50;
	__u64 balance = account->balance;

	bpf_spin_unlock(&account->lock);
	return note(9, balance);
}

/* Tail calls of its own: what is behind the call is not reached. */

int arrives(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} own_programs SEC(".maps") = {.values = {[1] = &arrives}};

BODY arrives(struct xdp_md *ctx)
{
	return note(10, 1);
}

BODY jumps(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &own_programs, 1);
	note(11, 1);
	return XDP_DROP;
}

static __noinline int jump_from_below(struct xdp_md *ctx)
{
	int verdict = XDP_DROP;

	bpf_tail_call(ctx, &own_programs, 1);
	/* The compiler must not know what is returned: the other program decides. */
	asm volatile("" : "+r"(verdict));
	return verdict;
}

BODY jumps_below(struct xdp_md *ctx)
{
	return jump_from_below(ctx) == XDP_PASS ? note(12, 1) : XDP_DROP;
}

/* As many rounds as a budget allows, at most 100; clang before 19 has no word for it. */
SEC("xdp") __attribute__((naked)) int may_loop(void)
{
	asm volatile("r6 = 0;"
		     "l0_%=:"
		     ".byte 0xe5, 0, 2, 0, 0, 0, 0, 0;"
		     "r6 += 1;"
		     "if r6 != 100 goto l0_%=;"
		     "r1 = 13;"
		     "*(u32 *)(r10 - 4) = r1;"
		     "r2 = r10;"
		     "r2 += -4;"
		     "r1 = %[results] ll;"
		     "call %[lookup];"
		     "if r0 == 0 goto l1_%=;"
		     "r1 = *(u64 *)(r0 + 0);"
		     "r1 += r6;"
		     "*(u64 *)(r0 + 0) = r1;"
		     "l1_%=: r0 = 2;"
		     "exit;" ::[results] "i"(&results),
		     [lookup] "i"(BPF_FUNC_map_lookup_elem)
		     : "r0", "r1", "r2", "r6");
}

/* Atomic operations that return what was there. */
BODY exchanges(struct xdp_md *ctx)
{
	__u32 key = 14;
	__u64 *value = bpf_map_lookup_elem(&results, &key);

	if (!value)
		return XDP_ABORTED;

	__u64 before = __sync_fetch_and_add(value, 5);

	__sync_fetch_and_or(value, 0x100);
	__sync_fetch_and_xor(value, 0x200);
	__u64 swapped = __sync_val_compare_and_swap(value, before + 0x305, 1000);

	return note(15, __sync_lock_test_and_set(value, 7) + swapped + before);
}

/* Kernel functions. */

struct bpf_iter_num;
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_dynptr_from_xdp(struct xdp_md *ctx, __u64 flags, struct bpf_dynptr *ptr) __ksym;

struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

BODY iterates(struct xdp_md *ctx)
{
	struct bpf_iter_num numbers;
	struct bpf_dynptr packet;
	__u64 sum = 0;
	__u8 first = 0;
	int *number;

	bpf_iter_num_new(&numbers, 0, 10);
	while ((number = bpf_iter_num_next(&numbers)))
		sum += *number;
	bpf_iter_num_destroy(&numbers);
	bpf_dynptr_from_xdp(ctx, 0, &packet);
	bpf_dynptr_read(&first, 1, &packet, 14, 0);
	return note(16, sum * 1000 + first);
}

SEC("xdp-root") int older_root(struct xdp_md *ctx)
{
	return note(17, 1);
}

SEC("xdp_ratelimiting") int older_name(struct xdp_md *ctx)
{
	return note(18, 1);
}

SEC("xdp/named") int named(struct xdp_md *ctx)
{
	return note(19, 1);
}

SEC("?xdp") int on_demand(struct xdp_md *ctx)
{
	return note(20, 1);
}

/* The same object watches something else, and counts in the same table. */
SEC("tracepoint/syscalls/sys_enter_getpid") int watches(void *ctx)
{
	__u32 index = 21;
	__u64 *value = bpf_map_lookup_elem(&results, &index);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}

SEC("xdp/devmap") int behind_device(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags") int reads_parts(struct xdp_md *ctx)
{
	return note(22, bpf_xdp_get_buff_len(ctx));
}

char _license[] SEC("license") = "Dual BSD/GPL";
