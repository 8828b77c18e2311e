# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A probe's program, loaded and attached to nothing, in the form of a chain of one.

It is the program as libbpf loads it: no code before or behind it, no counters, no linking.  So all
that generations are made of (maps carried over, pins, records) holds for it as for a chain.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from services.node_executor.adapters.chain import LinkedChain
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.probe_features import require
from services.node_executor.adapters.segments import LoadedSegments
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkPlan, LinkPolicy, PlannedBody, Segment
from services.node_executor.probe_types import Loading
from shared.identifiers import ProbeHook

_WHY: Final = "a probe is one program, as it was compiled"
_MILLISECOND_NS: Final = 1_000_000


def load_probe(source: ProgramSource, hook: ProbeHook, loading: Loading) -> LinkedChain:
    """The program, verified by the kernel; closing gives up what is not pinned or attached.

    Raises:
        VerifierRejectedError: The verifier refuses it.
        RefusedError: No such program, not for this kind of probe, or the object cannot be
            relocated here.
        UnsupportedByKernelError: The kernel has no such probes; what it lacks is named.
        KernelFaultError: The kernel lacks memory, or forbids loading at all.
    """
    require(hook)
    with ExitStack() as resources:
        loaded = resources.enter_context(load_body(source, hook, is_first=True, probe=loading))
        planned = PlannedBody(loaded.body, "alone", _WHY, proceed_values=())
        segment = Segment((planned,), "shared-frame", loaded.body.licence, _WHY)
        plan = LinkPlan(
            hook=hook,
            attachment="probe",
            segments=(segment,),
            policy=LinkPolicy(hook=hook, attachment="probe", has_counters=False),
            has_frags=False,
            has_types=True,
        )
        durations = {
            "parse": loaded.durations.parse_ns / _MILLISECOND_NS,
            "load": loaded.durations.load_ns / _MILLISECOND_NS,
        }
        return LinkedChain(
            plan=plan,
            bodies=(loaded,),
            loaded=LoadedSegments((loaded.program,), None, ExitStack()),
            counters=None,
            durations_ms=durations,
            resources=resources.pop_all(),
        )
