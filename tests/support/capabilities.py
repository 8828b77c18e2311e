# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A thread with fewer rights than root has (capabilities(7): they belong to the thread)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.node_executor.adapters.libbpf_cdef import libraries

NET_ADMIN, SYS_ADMIN, PERFMON, BPF = 12, 21, 38, 39
_VERSION_3 = 0x20080522


@contextmanager
def without(*capabilities: int) -> Iterator[None]:
    """These capabilities are not in force for the calling thread."""
    ffi, _, c = libraries()
    header = ffi.new("struct capability_header *", {"version": _VERSION_3, "pid": 0})
    data = ffi.new("struct capability_data[2]")
    assert c.capget(header, data) == 0
    kept = (data[0].effective, data[1].effective)
    for capability in capabilities:
        data[capability // 32].effective &= ~(1 << capability % 32)
    assert c.capset(header, data) == 0
    try:
        yield
    finally:
        data[0].effective, data[1].effective = kept
        assert c.capset(header, data) == 0
