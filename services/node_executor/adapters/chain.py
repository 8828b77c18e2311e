# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From package programs to one linked program in the kernel, attached to nothing yet.

The order of one change: `link_chain` (nothing has changed so far), entries of new maps written
(`map_access`), maps and program pinned (`pins`), then a new link attached and pinned, or the
present one swapped against the program expected there (`hooks`), then read back (`kernel_info`).
Going back is the same swap with the previous generation's pinned program.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter_ns
from types import TracebackType
from typing import Final, Self

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.btf_merge import LinkedTypes, merge_types
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf import LoadedBody, load_body
from services.node_executor.adapters.programs import load_program
from services.node_executor.kernel_types import LoadedMap, ProgramInfo, ProgramSource
from services.node_executor.linking.emission import emit
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.plan import KernelFacts, LinkPlan, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.identifiers import Hook

_MILLISECOND_NS: Final = 1_000_000


class LinkedChain:
    """One generation of a chain: the linked program and the maps of its bodies.

    Closing gives everything up that is neither pinned nor attached.
    """

    def __init__(
        self,
        *,
        program: Descriptor,
        plan: LinkPlan,
        bodies: Sequence[LoadedBody],
        durations_ms: Mapping[str, float],
        resources: ExitStack,
    ) -> None:
        self.program: Final = program
        self.plan: Final = plan
        self.info: Final[ProgramInfo] = kernel_info.program_info(program.fd)
        self.maps: Final[Mapping[str, Mapping[str, LoadedMap]]] = {
            body.body.name: body.maps for body in bodies
        }
        """By program name (the deployment), then by declared map name; handles live as long."""
        self.body_infos: Final[tuple[ProgramInfo, ...]] = tuple(body.info for body in bodies)
        """The originals as they verified alone; they are never attached."""
        self.durations_ms: Final = durations_ms
        """By phase: parse, load (each original alone), probe, plan, link (BTF and linked load)."""
        self._resources: Final = resources

    def close(self) -> None:
        """Give everything up; a second call does nothing."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def link_chain(
    sources: Sequence[ProgramSource],
    hook: Hook,
    *,
    name: str,
    facts: KernelFacts | None = None,
    policy: LinkPolicy | None = None,
) -> LinkedChain:
    """The chain of `sources`, first to run first, as one verified program.

    Blocks for some milliseconds: call it in a thread.  `name` is what tools show, 15 characters.

    Raises:
        VerifierRejectedError: the verifier refuses a program alone, or the chain as a whole.
        LinkRefusedError: the linking rules refuse the chain; all reasons at once.
        RefusedError: an object is malformed or has no such program.
        FaultError: the kernel failed for another reason.
    """
    with ExitStack() as resources:
        bodies = [
            resources.enter_context(load_body(source, hook, is_first=position == 0))
            for position, source in enumerate(sources)
        ]
        started = perf_counter_ns()
        plan = plan_link(
            [body.body for body in bodies],
            facts or KernelFacts(),
            policy or LinkPolicy(hook=hook, has_counters=False),
        )
        (linked,) = emit(plan)
        planned = perf_counter_ns()
        program = resources.enter_context(_load(bodies, linked, name))
        finished = perf_counter_ns()
        durations = {
            "parse": sum(body.durations.parse_ns for body in bodies),
            "load": sum(body.durations.load_ns for body in bodies),
            "probe": sum(body.durations.probe_ns for body in bodies),
            "plan": planned - started,
            "link": finished - planned,
        }
        return LinkedChain(
            program=program,
            plan=plan,
            bodies=bodies,
            durations_ms={phase: ns / _MILLISECOND_NS for phase, ns in durations.items()},
            resources=resources.pop_all(),
        )


def _load(bodies: Sequence[LoadedBody], linked: LinkedProgram, name: str) -> Descriptor:
    if len(bodies) == 1:  # emitted as it is, and so the program that is loaded already
        return Descriptor(os.dup(bodies[0].program.fd))
    if not linked.functions:
        return load_program(linked, None, name=name)
    types = _types(bodies, linked)
    if types is None:
        return load_program(linked, None, name=name)
    with types.descriptor:
        return load_program(linked, types, name=name)


def _types(bodies: Sequence[LoadedBody], linked: LinkedProgram) -> LinkedTypes | None:
    """The joined types; None if this kernel does not take them and the chain can do without."""
    try:
        return merge_types(bodies, linked)
    except KernelFaultError:
        if any(body.body.has_callbacks for body in bodies):
            raise
        return None
