# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which maps a compiled program may write to, in the ways in which compilers write it down."""

from __future__ import annotations

import pytest

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.drift_reading import watched_maps
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.map_writers import written_maps
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    STORE_64,
    Instruction,
)
from tests.support.bpf_objects import compile_source

_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct value {
	__u32 words[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct value);
	__uint(max_entries, 16);
	FLAGS
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 4);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__type(key, __u32);
		__type(value, struct value);
		__uint(max_entries, 16);
	});
} outer SEC(".maps");

struct kept {
	struct value *value;
	__u32 sum;
};

FUNCTIONS

SEC("xdp")
int tried(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex, sum = 0;
	struct value *one = bpf_map_lookup_elem(&first, &key);
	struct value *two = bpf_map_lookup_elem(&second, &key);

	if (!one || !two)
		return XDP_PASS;
	BODY
	return sum + one->words[1] == two->words[2] ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
"""
_CALLBACK = """
static long changes(void *map, const void *key, struct value *value, void *context)
{
	value->words[0] = 1;
	return 0;
}
"""
_LOOP = """
static long again(__u32 index, struct kept *kept)
{
	kept->value->words[0] = index;
	return 0;
}
"""
_WRITER = """
static __noinline int writes(struct value *value, __u32 number)
{
	value->words[number & 7] = number;
	return 0;
}
"""
_READER = """
static __noinline int reads(struct value *value, __u32 number)
{
	return value->words[number & 7];
}
"""
_GIVER = """
static __noinline struct value *given(__u32 key)
{
	return bpf_map_lookup_elem(&first, &key);
}
"""
_KEEPER = """
static __noinline int keeps(struct kept *kept, __u32 key)
{
	kept->value = bpf_map_lookup_elem(&first, &key);
	return 0;
}
"""
_INNER = """
	void *inner = bpf_map_lookup_elem(&outer, &key);
	struct value *it = inner ? bpf_map_lookup_elem(inner, &key) : 0;
	if (it)
		it->words[0] = 1;
"""
BOTH, SECOND, NONE = frozenset({"first", "second"}), frozenset({"second"}), frozenset[str]()
CASES: dict[str, tuple[str, str, frozenset[str]]] = {
    "reads": ("", "sum = one->words[key & 7];", BOTH),
    "stores": ("", "one->words[key & 7] = 1;", SECOND),
    "adds-atomically": ("", "__sync_fetch_and_add(&one->words[1], 1);", SECOND),
    "updates": ("", "bpf_map_update_elem(&first, &key, two, BPF_ANY);", SECOND),
    "deletes": ("", "bpf_map_delete_elem(&first, &key);", SECOND),
    "writes-either": ("", "struct value *it = key & 1 ? one : two; it->words[0] = 1;", NONE),
    "reads-either": ("", "struct value *it = key & 1 ? one : two; sum = it->words[0];", BOTH),
    "is-key": ("", "sum = !!bpf_map_lookup_elem(&second, one);", BOTH),
    "fills": ("", "bpf_xdp_load_bytes(ctx, 0, one, 16);", SECOND),
    "calls-writer": (_WRITER, "writes(one, key);", SECOND),
    "calls-reader": (_READER, "sum = reads(one, key);", BOTH),
    "is-given": (
        _GIVER,
        "one = given(key + 1); if (one) one->words[0] = 1; else return 0;",
        SECOND,
    ),
    "is-given-to-read": (_GIVER, "one = given(key + 1); if (!one) return 0;", BOTH),
    "is-kept-for-it": (
        _KEEPER,
        "struct kept kept = {}; keeps(&kept, key); if (kept.value) kept.value->words[0] = 1;",
        SECOND,
    ),
    "for-each": (_CALLBACK, "bpf_for_each_map_elem(&first, changes, 0, 0);", SECOND),
    "loops": (
        _LOOP,
        "struct kept kept = {.value = one}; bpf_loop(4, again, &kept, 0);",
        SECOND,
    ),
    "inner": (
        "",
        _INNER,
        NONE,
    ),
}


def watched(functions: str, body: str, flags: str = "") -> frozenset[str]:
    """Names of the maps whose entries are compared."""
    text = _SOURCE.replace("FUNCTIONS", functions).replace("BODY", body).replace("FLAGS", flags)
    source = ProgramSource(
        name="one",
        object_path="tried.bpf.o",
        data=compile_source(text),
        function="tried",
        proceed_on=("pass",),
    )
    with link_chain([source], "xdp", name="tried") as chain:
        found = watched_maps(chain, {"one": frozenset({"first", "second"})}, {})
        names = {one.info.id: name for name, one in chain.maps["one"].items()}
    return frozenset(names[map_id] for map_id in found)


@pytest.mark.parametrize("case", CASES)
def test_maps_that_the_program_never_writes_are_compared(case: str) -> None:
    """Whatever the program does with pointers into their values."""
    functions, body, expected = CASES[case]

    assert watched(functions, body) == expected


def test_a_map_that_is_read_only_for_programs_is_compared() -> None:
    """The kernel promises it, however the program looks."""
    flags = "__uint(map_flags, BPF_F_RDONLY_PROG);"
    hands_on = "bpf_xdp_store_bytes(ctx, 0, one, 16);"

    assert watched("", hands_on) == SECOND
    assert watched("", hands_on, flags) == BOTH


@pytest.mark.parametrize(
    ("kind", "flags"),
    [("LRU_HASH", ""), ("HASH", "__uint(max_entries, 1000000);")],
)
def test_what_the_kernel_drops_and_what_is_long_is_not_compared(kind: str, flags: str) -> None:
    """Missing entries of LRU maps say nothing; a look stays short."""
    text = _SOURCE.replace(
        "_TYPE_HASH);\n\t__type(key, __u32);\n\t__type(value, struct value);\n"
        "\t__uint(max_entries, 16);\n\tFLAGS",
        f"_TYPE_{kind});\n\t__type(key, __u32);\n"
        f"\t__type(value, struct value);\n\t{flags or '__uint(max_entries, 16);'}",
    )
    assert text != _SOURCE
    source = ProgramSource(
        name="one",
        object_path="tried.bpf.o",
        data=compile_source(text.replace("FUNCTIONS", "").replace("BODY", "")),
        function="tried",
        proceed_on=("pass",),
    )
    with link_chain([source], "xdp", name="tried") as chain:
        assert not watched_maps(chain, {"one": frozenset({"first", "second"})}, {})


def test_a_store_through_a_place_that_is_not_known_counts() -> None:
    """A pointer that is taken off a stack at an unknown place may be any that was put there."""
    code = (
        Instruction(LOAD_IMMEDIATE_64, 1, 1, immediate=7),
        Instruction(0),
        Instruction(0xBF, 2, 10),
        Instruction(CALL, immediate=1),
        Instruction(STORE_64, 10, 0, -8),
        Instruction(0xBF, 3, 10),
        Instruction(0x0F, 3, 4),
        Instruction(LOAD_64, 5, 3, -8),
        Instruction(STORE_64, 5, 4, 0),
        Instruction(EXIT),
    )

    assert written_maps(code).maps == {7}
    assert not written_maps((*code[:8], code[9])).maps
