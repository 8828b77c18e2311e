# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a chain has to do: its programs run one after another, each by itself, by the kernel.

Data and context that one run leaves are what the next one starts from.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.map_access import entries
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from shared.contracts.node import TC_VERDICTS, verdicts_of
from shared.identifiers import Hook
from tests.support.bpf_objects import bpf_object

XDP_BODIES = "bodies"
TC_BODIES = "classifiers"
ALL_BITS = 0xFFFFFFFF
_WIRE_LENGTH = 160
"""Where struct __sk_buff has `wire_len`."""
_PAGE_BYTES = 4096
_NOT_READABLE = ("prog_array", "ringbuf", "perf_event_array")


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
def loaded_apart(
    sources: Sequence[ProgramSource], hook: Hook, *, has_frags: bool | None = None
) -> Iterator[list[LoadedBody]]:
    """Every program loaded by itself, with maps of its own unless the source gives some.

    With `has_frags`, as programs that read packets in several buffers, or as others; None: as each
    section says.
    """
    with ExitStack() as resources:
        yield [
            resources.enter_context(load_body(source, hook, is_first=True, has_frags=has_frags))
            for source in sources
        ]


def a_context(hook: Hook, packet: bytes) -> bytes:
    """The context that a fresh packet has: struct xdp_md, or an empty struct __sk_buff.

    Of a packet in several buffers the first is not full, so that it can grow: a run of the
    reference begins with a page of its own, and would move what does not fit to the next buffer.
    """
    first = len(packet) if len(packet) < _PAGE_BYTES else _PAGE_BYTES // 2
    return struct.pack("<6I", 0, first, 0, 0, 0, 0) if hook == "xdp" else bytes(192)


@dataclass(frozen=True, slots=True)
class EndRules:
    """What becomes of the last verdict; XDP takes it as it is."""

    is_tcx: bool = False
    """Whether the hook knows unspec, ok, shot and redirect only (include/net/tcx.h)."""
    end_verdict: str = "unspec"
    """On TCX, what a chain returns that ran to its end with a verdict that lets packets pass."""

    def verdict(self, last: int, *, ran_to_its_end: bool) -> int:
        """What the hook is told."""
        if not self.is_tcx:
            return last
        name = {value & ALL_BITS: name for name, value in TC_VERDICTS.items()}.get(last)
        if name in ("stolen", "queued", "trap"):
            name = "shot"
        elif name in ("repeat", "reclassify"):
            name = "ok"
        elif ran_to_its_end and name in ("ok", "pipe", "unspec"):
            name = self.end_verdict
        return last if name is None else TC_VERDICTS[name] & ALL_BITS


@dataclass(frozen=True, slots=True)
class Apart:
    """What running one packet through the programs, one after another, left."""

    verdict: int
    data: bytes
    context: bytes


class Reference:
    """Programs loaded apart, and how often each of them gave which verdict."""

    def __init__(
        self, bodies: Sequence[LoadedBody], hook: Hook, rules: EndRules | None = None
    ) -> None:
        self.bodies = tuple(bodies)
        self.hook: Hook = hook
        self.rules = rules or EndRules()
        self.verdicts: tuple[Counter[int], ...] = tuple(Counter() for _ in bodies)
        """Of each program, by the verdict's 32 bits."""

    def run(self, packet: bytes) -> Apart:
        """One packet through all of them, until one does not let it proceed."""
        named = verdicts_of(self.hook)
        data, context, verdict = packet, a_context(self.hook, packet), 0
        goes_on = True
        for body, counted in zip(self.bodies, self.verdicts, strict=True):
            done = run_packet(body.program, data, context=_handed_on(self.hook, context))
            verdict, data, context = done.verdict, done.data, done.context
            counted[verdict] += 1
            goes_on = verdict in {named[name] & ALL_BITS for name in body.body.proceed_on}
            if not goes_on:
                break
        return Apart(self.rules.verdict(verdict, ran_to_its_end=goes_on), data, context)


def run_apart(bodies: Sequence[LoadedBody], hook: Hook, packet: bytes) -> tuple[int, bytes, bytes]:
    """Verdict, data and context after the programs ran one after another."""
    done = Reference(bodies, hook).run(packet)
    return done.verdict, done.data, done.context


def comparable_context(hook: Hook, context: bytes) -> bytes:
    """Without the one field that every run sets anew, so that it cannot be handed on."""
    return context if hook == "xdp" else _handed_on(hook, context)


def _handed_on(hook: Hook, context: bytes) -> bytes:
    """The context for the next program: `wire_len` must not be below a length that has grown."""
    if hook == "xdp":
        return context
    return context[:_WIRE_LENGTH] + bytes(4) + context[_WIRE_LENGTH + 4 :]


def remembered(maps: Mapping[str, LoadedMap]) -> dict[str, dict[bytes, bytes]]:
    """All entries of all maps."""
    return {
        name: dict(entries(found.handle))
        for name, found in maps.items()
        if found.info.type_name not in _NOT_READABLE
    }
