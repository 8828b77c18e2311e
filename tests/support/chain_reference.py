# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a chain has to do: its programs run one after another, each by itself, by the kernel.

Data and context that one run leaves are what the next one starts from.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.node_executor.adapters.libbpf import LoadedBody, load_body
from services.node_executor.adapters.map_access import entries
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook
from tests.support.bpf_objects import bpf_object

XDP_BODIES = "bodies"
TC_BODIES = "classifiers"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left of a packet, and everything the programs remember."""

    verdict: int
    data: bytes
    context: bytes
    maps: dict[str, dict[str, dict[bytes, bytes]]]


def a_source(
    function: str,
    proceed_on: Sequence[str] = ("pass",),
    *,
    name: str = "",
    object_name: str = XDP_BODIES,
    maps: Mapping[str, LoadedMap] | None = None,
) -> ProgramSource:
    """One of the test programs."""
    return ProgramSource(
        name=name or function.replace("_", "-"),
        object_path=f"{object_name}.bpf.o",
        data=bpf_object(object_name),
        function=function,
        proceed_on=tuple(proceed_on),
        maps={key: found.handle for key, found in (maps or {}).items()},
    )


def a_classifier(
    function: str, proceed_on: Sequence[str] = ("ok",), *, name: str = ""
) -> ProgramSource:
    """One of the TC test programs."""
    return a_source(function, proceed_on, name=name, object_name=TC_BODIES)


@contextmanager
def loaded_apart(sources: Sequence[ProgramSource], hook: Hook) -> Iterator[list[LoadedBody]]:
    """Every program loaded by itself, with maps of its own."""
    with ExitStack() as resources:
        yield [
            resources.enter_context(load_body(source, hook, is_first=True)) for source in sources
        ]


def a_context(hook: Hook, packet: bytes) -> bytes:
    """The context that a fresh packet has: struct xdp_md, or an empty struct __sk_buff."""
    return struct.pack("<6I", 0, len(packet), 0, 0, 0, 0) if hook == "xdp" else bytes(192)


def run_apart(bodies: Sequence[LoadedBody], hook: Hook, packet: bytes) -> tuple[int, bytes, bytes]:
    """Verdict, data and context after the programs ran one after another."""
    verdicts = verdicts_of(hook)
    data, context, verdict = packet, a_context(hook, packet), 0
    for body in bodies:
        done = run_packet(body.program, data, context=context)
        verdict, data, context = done.verdict, done.data, done.context
        wanted = {verdicts[name] & 0xFFFFFFFF for name in body.body.proceed_on}
        if verdict not in wanted:
            break
    return verdict, data, context


def remembered(maps: Mapping[str, LoadedMap]) -> dict[str, dict[bytes, bytes]]:
    """All entries of all maps."""
    return {
        name: dict(entries(found.handle))
        for name, found in maps.items()
        if found.info.type_name != "prog_array"
    }
