# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long ten thousand entries take: from JSON to a map of the kernel, and back out of it.

One map of structs with addresses and ports for keys; what is written is read back and compared.
"""

from __future__ import annotations

import os
import statistics
import struct
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from benchmarks.report import Row, report
from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import MAP_CREATE, Descriptor, bpf
from services.node_executor.adapters.configured_maps import ConfiguredMaps
from services.node_executor.reconciliation import plan_entries
from shared.configuration.entries import MapLayout, encode_config
from shared.contracts.configuration import MemberEntry
from shared.contracts.package_manifest import MapEntry
from shared.contracts.value_types import IntegerType, Member, StructType

ENTRIES: Final = 10_000
ROUNDS: Final = 9
TARGET_MS: Final = 50.0
FILL, CHANGE = "apply to an empty map", "change every value"
ENCODE, WHOLE = "JSON to bytes", "JSON to an empty map"
_HASH: Final = 1
FLOW: Final = StructType(
    "flow", 8, (Member("address", 0, IntegerType(4)), Member("port", 32, IntegerType(2)))
)
ENTRY: Final = MapEntry(
    key_members={"address": MemberEntry(format="ipv4"), "port": MemberEntry(format="port")}
)
LAYOUT: Final = MapLayout(FLOW, IntegerType(8), ENTRIES, "hash")


def configuration(value: int) -> dict[str, Any]:
    """As a deployment would write it."""
    return {
        msgspec.json.encode(
            {"address": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "port": 443}
        ).decode(): value
        for number in range(ENTRIES)
    }


def a_map() -> Descriptor:
    """Without entries."""
    sizes = (_HASH, FLOW.size_bytes, LAYOUT.value.size_bytes, ENTRIES)
    request = struct.pack("<IIIIII", *sizes, 0, 0).ljust(72, b"\0")
    return Descriptor(bpf(MAP_CREATE, request, action="making a map"))


def apply(kernel: ConfiguredMaps, map_id: int, wanted: dict[bytes, bytes]) -> None:
    """As a change does it: what is there is read, and what differs is written."""
    write = plan_entries(
        map_id,
        present=kernel.read_entries(map_id),
        wanted=wanted,
        blank=None,
        capacity=kernel.capacity(map_id),
    )
    kernel.write_entries(map_id, write.changes)


def one_round(kernel: ConfiguredMaps, number: int) -> Iterator[tuple[str, float]]:
    """What was done, and milliseconds."""
    config = {"flows": configuration(number)}
    started = time.perf_counter()
    encoded = encode_config(config, {"flows": LAYOUT}, {"flows": ENTRY})["flows"]
    yield ENCODE, 1000 * (time.perf_counter() - started)
    others = {key: os.urandom(LAYOUT.value.size_bytes) for key in encoded}
    with a_map() as made:
        map_id = kernel_info.map_info(made.fd).id
        for case, wanted in ((FILL, encoded), (CHANGE, others), ("remove all", {})):
            started = time.perf_counter()
            apply(kernel, map_id, wanted)
            yield case, 1000 * (time.perf_counter() - started)
            started = time.perf_counter()
            found = kernel.read_entries(map_id)
            if wanted:
                yield "read back", 1000 * (time.perf_counter() - started)
            assert found == wanted


def main() -> None:
    """The median of some rounds each."""
    kernel = ConfiguredMaps()
    times: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for case, milliseconds in one_round(kernel, number):
            times.setdefault(case, []).append(milliseconds)
    together = zip(times[ENCODE], times[FILL], strict=True)
    times[WHOLE] = [encoding + writing for encoding, writing in together]
    rows = [
        Row(
            f"{case}, {ENTRIES} entries",
            statistics.median(found),
            "ms",
            target=TARGET_MS if case in (FILL, CHANGE, WHOLE) else None,
        )
        for case, found in times.items()
    ]
    report("map_apply", rows)


if __name__ == "__main__":
    main()
