# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program of a closed licence may call is what this kernel was found to open to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.node_executor.adapters.capabilities import probe_pieces
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.restricted_helpers import (
    learn_restricted_helpers,
    restricted_helpers,
)
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkRefusedError
from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from tests.support.bpf_objects import compile_source

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4); __uint(value_size, 4);
} events SEC(".maps");
SEC("xdp") int speaks(struct xdp_md *ctx)
{
	__u32 word = 1;
	%s
	return word ? XDP_PASS : XDP_DROP;
}
char LICENSE[] SEC("license") = "Proprietary";
"""
OPEN = "word = bpf_get_prandom_u32();"
CLOSED = "bpf_perf_event_output(ctx, &events, 0, &word, sizeof(word));"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """The next test begins with the table of this release."""
    yield
    learn_restricted_helpers(Capabilities(kernel_build=""))
    assert restricted_helpers() == GPL_ONLY_HELPERS


def _load(body: str) -> None:
    source = ProgramSource(
        name="speaks",
        data=compile_source(SOURCE % body),
        function="speaks",
        proceed_on=("pass",),
        object_path="speaks.bpf.o",
    )
    load_body(source, "xdp", is_first=True).close()


def test_a_closed_program_that_calls_a_restricted_helper_is_refused_by_name() -> None:
    """With what was probed as with the table of this release, before the kernel is asked."""
    for found in (None, list(probe_pieces())[-1]):
        if found is not None:
            learn_restricted_helpers(found)
        with pytest.raises(LinkRefusedError) as caught:
            _load(CLOSED)
        assert "calls bpf_perf_event_output (25), which is opened by this kernel" in str(
            caught.value
        )
        assert "'Proprietary'" in str(caught.value)
        _load(OPEN)


def test_a_kernel_that_restricts_more_is_believed() -> None:
    """By the load and by the linker's facts; a helper that nobody asked about is as it was."""
    own = ProgramTypeSupport(name="xdp", helpers="1-30")
    learn_restricted_helpers(
        Capabilities(
            kernel_build="vendor",
            program_types=(own,),
            helpers_not_asked="6",
            gpl_only_helpers="7",
        )
    )

    assert kernel_facts().gpl_only_helpers == {6, 7}
    with pytest.raises(LinkRefusedError, match=r"bpf_get_prandom_u32 \(7\)"):
        _load(OPEN)
