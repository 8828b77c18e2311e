# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known to be missing on a node, and numbers as ranges."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.adapters.kernel_functions import (
    UnreadableTypesError,
    kernel_function_names,
)
from shared.capability_lookup import (
    missing_helpers,
    missing_kernel_functions,
    missing_map_types,
    program_type,
    restricted_helpers,
)
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.errors import RefusedError
from shared.number_ranges import parse_ranges, render_ranges

KNOWN = Capabilities(
    kernel_build="6.1",
    program_types=(
        ProgramTypeSupport(name="xdp", helpers="1-3,25"),
        ProgramTypeSupport(name="perf_event", helpers="1-3,27", free_of_gpl="27"),
        ProgramTypeSupport(name="struct_ops", helpers_are_known=False),
    ),
    missing_map_types=("arena", "ringbuf"),
    helpers_not_asked="6",
    gpl_only_helpers="25,27",
    kernel_functions=("bpf_ct_release", "bpf_xdp_ct_lookup"),
    kernel_functions_are_known=True,
)


@given(st.sets(st.integers(0, 700)))
def test_ranges_are_read_as_they_were_written(numbers: set[int]) -> None:
    """Whatever the numbers are."""
    assert parse_ranges(render_ranges(numbers)) == numbers


@pytest.mark.parametrize("text", ["a", "1-", "-3", "1-2-3", "1 2", "\u0661", "1-70000"])
def test_what_is_no_range_is_refused(text: str) -> None:
    """Also one that would be too long to hold."""
    with pytest.raises(RefusedError):
        parse_ranges(text)


def test_only_what_is_known_to_be_missing_is_missing() -> None:
    """A helper that was not asked about, or a type that could not be, is left to the verifier."""
    assert missing_helpers(KNOWN, "xdp", [3, 4, 6, 25, 77]) == [4, 77]
    assert missing_helpers(KNOWN, "struct_ops", [4]) == []
    assert missing_helpers(KNOWN, "lsm", [4]) == []
    assert program_type(KNOWN, "lsm") is None
    assert missing_map_types(KNOWN, ["hash", "ringbuf", "of_the_future"]) == ["ringbuf"]


def test_a_licence_can_matter_for_one_type_and_not_for_another() -> None:
    """bpf_get_stackid is free for perf events."""
    assert restricted_helpers(KNOWN, "xdp", [1, 25, 27]) == [25, 27]
    assert restricted_helpers(KNOWN, "perf_event", [1, 27]) == []


def test_kernel_functions_are_missing_only_where_the_kernel_names_them() -> None:
    """A kernel built with an older pahole has functions that it does not name."""
    silent = Capabilities(kernel_build="6.1")

    assert missing_kernel_functions(KNOWN, ["bpf_ct_release", "bpf_rbtree_add"]) == [
        "bpf_rbtree_add"
    ]
    assert missing_kernel_functions(silent, ["bpf_ct_release"]) == []


def _btf(types: bytes, names: bytes) -> bytes:
    return (
        struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
        + types
        + names
    )


def test_tagged_functions_are_found_among_types_of_every_length() -> None:
    """An integer, a structure with two members, two functions, and a tag on the second."""
    names = b"\0int\0one\0two\0bpf_kfunc\0"
    at = {name: names.index(name) for name in (b"int", b"one", b"two", b"bpf_kfunc")}
    types = b"".join(
        (
            struct.pack("<IIII", at[b"int"], 1 << 24, 4, 32),
            struct.pack("<III", 0, 4 << 24 | 2, 8) + bytes(24),
            struct.pack("<III", at[b"one"], 12 << 24, 1),
            struct.pack("<III", at[b"two"], 12 << 24, 1),
            struct.pack("<IIIi", at[b"bpf_kfunc"], 17 << 24, 4, -1),
            struct.pack("<IIIi", at[b"int"], 17 << 24, 3, -1),
        )
    )

    assert list(kernel_function_names(_btf(types, names))) == [("two",)]
    assert list(kernel_function_names(_btf(types, names.replace(b"bpf_kfunc", b"bpf_other")))) == [
        ()
    ]


@pytest.mark.parametrize(
    "data", [b"", b"\x9f\xeb", b"x" * 40, _btf(struct.pack("<II", 0, 1 << 24), b"\0")]
)
def test_what_is_no_btf_is_said_to_be_none(data: bytes) -> None:
    """However it is broken."""
    with pytest.raises(UnreadableTypesError):
        list(kernel_function_names(data))
