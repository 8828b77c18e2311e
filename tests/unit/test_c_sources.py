# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What can be said of C source for bcc before anybody compiles it."""

from __future__ import annotations

from time import perf_counter

import pytest

from shared.bytecode.c_sources import (
    MAX_SOURCE_BYTES,
    SourceError,
    included_files,
    read_source_facts,
    sources_of,
)

SOURCE = """
#define BPF_LICENSE Dual BSD/GPL
/* BPF_HASH(hidden, u32); int commented(struct xdp_md *ctx) { } */
BPF_HASH(flows, struct key, u64, 1024);   // BPF_ARRAY(also_hidden, u32, 1);
BPF_TABLE("lru_percpu_hash", struct { u32 a; }, u64,
          recent, 64);
static const char text[] = "BPF_QUEUE(quoted, u32, 1);";
static inline int helper(struct xdp_md *ctx) { return 0; }
int gate(struct xdp_md *ctx)
{
    return helper(ctx);
}
int
mark(const struct __sk_buff *skb) { return 0; }
int declared(struct xdp_md *ctx);
int other(struct pt_regs *ctx) { return 0; }
"""


def test_functions_maps_and_the_licence_string_are_read() -> None:
    """What is commented out, quoted, static or only declared is not there."""
    facts = read_source_facts(SOURCE.encode(), "gate.c")

    assert (facts.compiler, facts.licence) == ("bcc", "Dual BSD/GPL")
    assert [(one.function, one.section) for one in facts.programs] == [
        ("gate", "xdp"),
        ("mark", "tc"),
    ]
    assert [(one.name, one.type) for one in facts.maps] == [
        ("flows", "hash"),
        ("recent", "lru_percpu_hash"),
    ]


def test_without_a_licence_string_the_kernel_is_told_what_bcc_tells_it() -> None:
    """The default is stated, not left empty."""
    assert read_source_facts(b"int f;", "f.c").licence == "GPL"


def test_included_files_are_those_beside_the_source() -> None:
    """System headers are the node's; a file outside the package is refused."""
    text = b'#include <uapi/linux/ip.h>\n # include "a.h"\n#include "../b/c.h"\n'

    assert list(included_files(text, "src/x.c")) == ["src/a.h", "b/c.h"]
    with pytest.raises(SourceError, match="outside the package"):
        list(included_files(b'#include "../../x.h"', "src/x.c"))
    with pytest.raises(SourceError, match="outside the package"):
        list(included_files(b'#include "/etc/passwd"', "x.c"))


def test_a_compiler_gets_the_source_and_every_header() -> None:
    """And neither objects nor other sources."""
    files = {"x.c": b"1", "a/b.h": b"2", "y.c": b"3", "z.o": b"4", "README.md": b"5"}

    assert sources_of(files, "x.c") == {"a/b.h": b"2", "x.c": b"1"}


@pytest.mark.parametrize("data", [b"\xff", b" " * (MAX_SOURCE_BYTES + 1)], ids=["bytes", "long"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    """By its path in the archive."""
    with pytest.raises(SourceError) as caught:
        read_source_facts(data, "x.c")

    assert caught.value.reasons[0].path == "x.c"


@pytest.mark.parametrize(
    "word",
    ["/*", '"\\"', "BPF_X(", "a ", "f(struct ", "\n", " ", "#define BPF_LICENSE x ", "static "],
)
def test_no_text_takes_long_to_read(word: str) -> None:
    """The catalog reads what publishers write."""
    data = (word * (MAX_SOURCE_BYTES // len(word))).encode()
    started = perf_counter()

    read_source_facts(data, "x.c")

    assert perf_counter() - started < 2.0
