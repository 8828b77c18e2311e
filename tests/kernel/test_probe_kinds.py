# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever an iterator can walk through, and a program of a cgroup be asked about, is attached."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from shared.bytecode.probe_sections import misfit
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.contracts.probes import (
    CgroupAttach,
    CgroupTarget,
    IteratorKind,
    IteratorTarget,
    ProbeTarget,
    kind_of,
)
from tests.support.bpf_objects import compile_source
from tests.support.executors import Executor, packed
from tests.support.probes import OBJECT, a_probe, run_probe

pytestmark = pytest.mark.kernel
LONG = "entries_of_a_long_name"
"""Of a map; the kernel keeps its beginning."""
SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 2);
} entries_of_a_long_name SEC(".maps");

SEC("SECTION")
int attached(void *ctx)
{
	__u32 zero = 0;

	bpf_map_lookup_elem(&entries_of_a_long_name, &zero);
	return RESULT;
}

char LICENSE[] SEC("license") = "GPL";
"""
SPOKEN = {
    "ingress": "cgroup_skb/ingress",
    "egress": "cgroup_skb/egress",
    "device": "cgroup/dev",
}


def _runs(executor: Executor, target: ProbeTarget, section: str) -> str:
    """What the kernel says of the probe that ran and is gone."""
    result = "1" if kind_of(target) == "cgroup" else "0"
    data = compile_source(SOURCE.replace("SECTION", section).replace("RESULT", result))
    program = ProgramEntry(
        name="attached", object=OBJECT, function="attached", hooks=(kind_of(target),)
    )
    manifest = PackageManifest(
        name="probes", version="1.0.0", summary="One", licence="GPL-2.0-only", programs=(program,)
    )
    package = packed(manifest, {OBJECT: data})
    executor.opened = lambda _program, _hook: package.opened()
    chain = a_probe(target, "attached")
    (wanted,) = chain.programs
    wanted = msgspec.structs.replace(wanted, signed=package.signed)
    chain = msgspec.structs.replace(chain, programs=(wanted,))
    point = run_probe(executor, chain)
    shown = executor.points.describe(point, chain, desired_generation=1)
    assert (shown.state, misfit(section, target)) == ("attached", "")
    assert shown.probe is not None
    if shown.probe.text_path:
        assert Path(shown.probe.text_path).read_text() == ""
    executor.settle(None, point, 2)
    return shown.probe.name or shown.probe.target_type


@pytest.mark.parametrize("over", get_args(IteratorKind))
def test_what_an_iterator_walks_through(executor: Executor, over: IteratorKind) -> None:
    """A map is found by its whole name, of which the kernel keeps fifteen letters."""
    target = IteratorTarget(over=over, map=LONG if over == "bpf_map_elem" else "")

    assert _runs(executor, target, f"iter/{over}") == over


@pytest.mark.parametrize("attach", get_args(CgroupAttach))
def test_what_a_program_of_a_cgroup_is_asked_about(
    executor: Executor, cgroup: Path, attach: CgroupAttach
) -> None:
    """Each by libbpf's section for it."""
    section = SPOKEN.get(attach, f"cgroup/{attach}")

    assert _runs(executor, CgroupTarget(path=str(cgroup), attach=attach), section) == (
        f"cgroup {attach}"
    )
