// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// Every type that keys and values can have, in maps of every type that can be configured.

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

enum unsigned_names { LET = 0, BLOCK = 1, FAR = 4000000000 };
enum signed_names { BELOW = -5, ZERO = 0, ABOVE = 5 };
typedef __u32 number;
typedef const volatile number qualified;

struct pair {
	__s16 left;
	enum signed_names right;
};

struct everything {
	__u8 u8;
	__s8 s8;
	__u16 u16;
	__s16 s16;
	__u32 u32;
	__s32 s32;
	__u64 u64;
	__s64 s64;
	unsigned __int128 u128;
	__int128 s128;
	qualified typed;
	bool flag;
	bool flags[3];
	enum unsigned_names action;
	enum signed_names offsets[2];
	char name[9];
	signed char code[4];
	__u8 raw[5];
	__u16 grid[2][3];
	struct pair pairs[2];
	struct {
		struct pair deep;
		__u8 pad[2];
	} inner;
	struct {
		__u8 first;
		__u32 second;
	};
	union {
		__u32 whole;
		__u16 halves[2];
		bool truth;
	} either;
	union {
		__u64 wide;
		struct pair narrow;
	};
	__u32 low : 3;
	__s32 middle : 9;
	__u32 : 4;
	enum unsigned_names chosen : 2;
	bool bit : 1;
	__be32 address4;
	__u8 address6[16];
	__u8 mac[6];
	__be16 port;
	__be16 ports[3];
	__u64 digits;
	__u8 text[6];
	__u32 boolean;
	enum unsigned_names bare;
	__u8 route[8];
};

struct key {
	__be32 address;
	__be16 port;
	enum unsigned_names action;
	char zone[4];
	__s8 sign;
	__u8 reserved[3];
};

struct network {
	__u32 prefixlen;
	__u8 address[4];
};

struct network6 {
	__u32 prefixlen;
	__u8 address[16];
};

#define MAP(NAME, TYPE, KEY, VALUE, FLAGS)                                                         \
	struct NAME {                                                                              \
		__uint(type, BPF_MAP_TYPE_##TYPE);                                                 \
		__uint(max_entries, 4);                                                            \
		__uint(map_flags, FLAGS);                                                          \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
	} NAME SEC(".maps")

typedef char short_text[8];
typedef __u8 six_bytes[6];
typedef __u16 three_numbers[3];

MAP(hashed, HASH, struct key, struct everything, 0);
MAP(listed, ARRAY, __u32, struct everything, 0);
MAP(hashed_each, PERCPU_HASH, struct key, struct everything, 0);
MAP(listed_each, PERCPU_ARRAY, __u32, struct pair, 0);
MAP(routed, LPM_TRIE, struct network, struct everything, BPF_F_NO_PREALLOC);
MAP(routed6, LPM_TRIE, struct network6, struct pair, BPF_F_NO_PREALLOC);
MAP(by_u8, HASH, __u8, __s64, 0);
MAP(by_s64, HASH, __s64, __u8, 0);
MAP(by_u128, HASH, unsigned __int128, bool, 0);
MAP(by_enum, HASH, enum signed_names, unsigned __int128, 0);
MAP(by_text, HASH, short_text, short_text, 0);
MAP(by_mac, HASH, six_bytes, six_bytes, 0);
MAP(by_numbers, PERCPU_HASH, three_numbers, three_numbers, 0);
MAP(by_bool, HASH, bool, enum unsigned_names, 0);

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, struct key);
	__type(value, struct everything);
} recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct pair);
} recent_each SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 5);
	__uint(value_size, 3);
} untyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, struct key);
	__array(values, struct hashed);
} within_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct listed_each);
} within_array SEC(".maps");

struct everything any_thing;
struct key any_key;

SEC("xdp") int every_type(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
