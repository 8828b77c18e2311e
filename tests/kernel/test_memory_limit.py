# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel gives an executor no more memory: the event says so, and what runs goes on."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

import pytest

from shared.contracts.events import Event
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from tests.support.bpf_objects import compile_source
from tests.support.executors import Published, Wire, a_chain, a_program, packed
from tests.support.node_fleets import Fleet

pytestmark = pytest.mark.kernel

LARGE_BYTES: Final = 768 << 20
"""Of the zeros that one program's object asks for; its file is small."""
SPARE_BYTES: Final = 256 << 20
"""What the executor may still take of its address space."""
_SOURCE: Final = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char large[LARGE];

SEC("xdp")
int counts(struct xdp_md *ctx)
{
	return large[ctx->rx_queue_index & 1] ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


def a_large_package() -> Published:
    """Its object is opened by nobody who has less memory than it asks for."""
    manifest = PackageManifest(
        name="counter",
        version="1.0.0",
        summary="Takes much",
        licence="GPL-2.0-only OR BSD-2-Clause",
        programs=(
            ProgramEntry(name="counts", object="counter.bpf.o", function="counts", hooks=("xdp",)),
        ),
    )
    source = _SOURCE.replace("LARGE", str(LARGE_BYTES))
    return packed(manifest, {"counter.bpf.o": compile_source(source)})


async def _failure(fleet: Fleet) -> Event:
    async def read() -> Event | None:
        failed = [one for one in fleet.events if one.data.outcome == "failed"]
        return failed[0] if failed else None

    found = await fleet.until(read)
    assert isinstance(found, Event)
    return found


async def test_the_event_names_the_memory_limit_that_was_hit(fleet: Fleet, wire: Wire) -> None:
    """Once, however often it is tried; then another chain is put there without a human."""
    before = await fleet.observed(await fleet.desire(a_chain(wire.name, a_program())))
    large = a_large_package()
    fleet.archives[large.signed.archive_sha256] = large.archive
    taken = int(Path(f"/proc/{fleet.pid}/statm").read_text().split()[0]) * resource.getpagesize()
    limit_bytes = taken + SPARE_BYTES
    resource.prlimit(fleet.pid, resource.RLIMIT_AS, (limit_bytes, resource.RLIM_INFINITY))

    await fleet.desire(a_chain(wire.name, a_program(signed=large.signed), command="command-2"))
    event = await _failure(fleet)
    later = await fleet.desire(a_chain(wire.name, a_program(version="2.0.0"), command="command-3"))
    after = await fleet.observed(later)

    (reason,) = event.data.reasons
    assert (event.data.action, event.data.correlation) == ("chain.change", "command-2")
    assert reason.path == "memory"
    assert reason.rule == f"the executor's memory limit was hit (RLIMIT_AS {limit_bytes} bytes)"
    assert reason.allowed == {"RLIMIT_AS": limit_bytes}
    assert event.data.details["code"] == "unavailable"
    assert event.data.before == before.chains[0].plan_sha256, "that is what still runs"
    assert [one.version for one in after.chains[0].programs] == ["2.0.0"]
    assert sum(one.data.outcome == "failed" for one in fleet.events) == 1
