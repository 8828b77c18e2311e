# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains around one program of tests/bpf/kinds.bpf.c or tests/bpf/tc_kinds.bpf.c.

What a program found is in its map `results`, under an index of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache

from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import entries
from services.node_executor.kernel_types import Handle, LoadedMap, ProgramSource
from services.node_executor.linking.plan import LinkMode, LinkPolicy
from shared.identifiers import Hook
from tests.support.bpf_objects import SOURCES, compile_source

PACKET = bytes(14) + bytes([9]) + bytes(49)
"""64 bytes; the first behind the Ethernet header is 9."""
FLAGS = ("-g", "-mcpu=v3")
"""Atomic operations that return what was there came with the third instruction set."""

MODES: tuple[LinkMode, ...] = ("inline", "call-global")


@cache
def kinds_object(name: str = "kinds", flags: tuple[str, ...] = FLAGS) -> bytes:
    """The object file of tests/bpf/<name>.bpf.c."""
    return compile_source((SOURCES / f"{name}.bpf.c").read_text(), flags)


def a_kind(
    function: str,
    proceed_on: Sequence[str] = ("pass",),
    *,
    name: str = "",
    object_name: str = "kinds",
    variables: Mapping[str, bytes] | None = None,
    maps: Mapping[str, Handle] | None = None,
) -> ProgramSource:
    """One of the programs."""
    return ProgramSource(
        name=name or function.replace("_", "-"),
        object_path=f"{object_name}.bpf.o",
        data=kinds_object(object_name),
        function=function,
        proceed_on=tuple(proceed_on),
        globals=dict(variables or {}),
        maps=dict(maps or {}),
    )


@contextmanager
def a_chain_around(
    source: ProgramSource, mode: LinkMode | None = None, *, hook: Hook = "xdp"
) -> Iterator[LinkedChain]:
    """A program before it, the program in that mode if it can be, and a program behind it.

    The neighbours are called `before` and `after`; without a mode the planner chooses.
    """
    called = frozenset((1,)) if mode in ("call-global", "call-static") else frozenset[int]()
    proceed_on = ("pass",) if hook == "xdp" else ("ok",)
    object_name = "kinds" if hook == "xdp" else "tc_kinds"
    sources = [
        a_kind("goes_on", proceed_on, name="before", object_name=object_name),
        source,
        a_kind("goes_on", proceed_on, name="after", object_name=object_name),
    ]
    policy = LinkPolicy(hook=hook, called=called)
    with link_chain(sources, hook, name="kinds", policy=policy) as chain:
        if mode is not None:
            assert chain.plan.bodies[1].mode == mode, chain.plan.bodies[1].reason
        yield chain


def results(maps: Mapping[str, LoadedMap]) -> dict[int, int]:
    """What a program found, by index; zeros are left out."""
    return {
        int.from_bytes(key, "little"): int.from_bytes(value, "little")
        for key, value in entries(maps["results"].handle)
        if any(value)
    }


def runs_after(chain: LinkedChain) -> int:
    """How often the program behind it ran."""
    return results(chain.maps["after"]).get(0, 0)
