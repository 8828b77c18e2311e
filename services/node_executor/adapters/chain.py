# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From package programs to one linked chain in the kernel, attached to nothing yet.

The order of one change: `link_chain` (nothing has changed so far), entries of new maps written
(`map_access`), maps and programs pinned (`pins`), then a new link attached and pinned, or the
present one swapped against the program expected there (`hooks`), then read back (`kernel_info`).
Going back is the same swap with the previous generation's pinned program.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter_ns
from typing import Final

from services.node_executor.adapters import kernel_info, slot_counters
from services.node_executor.adapters.kernel_errors import VerifierRejectedError
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.segments import (
    HardSegmentError,
    LoadedSegments,
    SegmentLoader,
    TypesRefusedError,
)
from services.node_executor.kernel_types import Handle, LoadedMap, ProgramInfo, ProgramSource
from services.node_executor.linking.feedback import policy_after
from services.node_executor.linking.plan import (
    Constraint,
    KernelFacts,
    LinkPlan,
    LinkPolicy,
    LinkRefusedError,
)
from services.node_executor.linking.planning import plan_link
from shared.closing import ClosedAfterUse
from shared.identifiers import Hook

_MILLISECOND_NS: Final = 1_000_000
_WITHOUT_TYPES: Final = Constraint(
    rule="joined-types",
    path="chain",
    text="the kernel does not take the joined BTF of the chain's objects",
    effect="linked without BTF",
)


class LinkedChain(ClosedAfterUse):
    """One generation of a chain: the linked programs and the maps of its bodies.

    Closing gives everything up that is neither pinned nor attached.
    """

    def __init__(
        self,
        *,
        plan: LinkPlan,
        bodies: Sequence[LoadedBody],
        loaded: LoadedSegments,
        counters: LoadedMap | None,
        durations_ms: Mapping[str, float],
        resources: ExitStack,
    ) -> None:
        self.plan: Final = plan
        """As loaded; what the verifier refused before is among its constraints."""
        self.program: Final = loaded.segments[0]
        """The head: what is put on the hook."""
        self.segments: Final = loaded.segments
        """One program for each of the plan's segments, the head first."""
        self.segment_infos: Final = tuple(
            kernel_info.program_info(segment.fd) for segment in loaded.segments
        )
        self.info: Final[ProgramInfo] = self.segment_infos[0]
        """Of the head."""
        self.program_array: Final = loaded.program_array
        """Holds segment n at index n; pin it for as long as the generation runs.  None: one
        segment."""
        self.counters: Final = counters
        """The map `l3af_slots`; None: counters are off."""
        self.maps: Final[Mapping[str, Mapping[str, LoadedMap]]] = {
            body.body.name: body.maps for body in bodies
        }
        """By program name (the deployment), then by declared map name; handles live as long."""
        self.body_infos: Final[tuple[ProgramInfo, ...]] = tuple(body.info for body in bodies)
        """The originals as they verified alone; they are never attached."""
        self.durations_ms: Final = durations_ms
        """By phase: parse, load (each original alone), probe, plan (with emission), link (BTF and
        linked load)."""
        self.program_array_id: Final = (
            kernel_info.map_info(loaded.program_array.fd).id if loaded.program_array else 0
        )
        self._resources: Final = resources

    def close(self) -> None:
        """Give everything up; a second call does nothing."""
        self._resources.close()


def link_chain(
    sources: Sequence[ProgramSource],
    hook: Hook,
    *,
    name: str,
    facts: KernelFacts | None = None,
    policy: LinkPolicy | None = None,
    slots: Mapping[str, int] | None = None,
    new_slots: Collection[int] = (),
    counters: Handle | None = None,
    interface_index: int = 0,
) -> LinkedChain:
    """The chain of `sources`, first to run first, as the fewest verified programs.

    Blocks for some milliseconds: call it in a thread.  A segment that the verifier finds too hard
    is linked again with called bodies, then cut, until it loads or is one body.

    Args:
        sources: At least one; names are unique.
        hook: What the chain is for.
        name: What tools show, 15 characters.
        facts: About this kernel; None: as probed.
        policy: What is wanted; None: the defaults.
        slots: Counter slot by program name; None: each program's position.
        new_slots: Slots whose instance is new, so that they begin at zero.
        counters: The counter map of the present generation; used on, or copied when it must grow.
        interface_index: The interface, for programs bound to a device; 0: there is none.

    Raises:
        VerifierRejectedError: the verifier refuses a program alone, or the chain as a whole.
        LinkRefusedError: the linking rules refuse the chain; all reasons at once.
        RefusedError: an object is malformed or has no such program.
        FaultError: the kernel failed for another reason.
    """
    wanted = policy or LinkPolicy(hook=hook)
    with ExitStack() as resources:
        bodies = [
            resources.enter_context(
                load_body(
                    source,
                    hook,
                    is_first=position == 0,
                    has_frags={"auto": None, "on": True, "off": False}[wanted.frags],
                    interface_index=interface_index,
                )
            )
            for position, source in enumerate(sources)
        ]
        counted = None
        if wanted.has_counters:
            used = range(len(sources)) if slots is None else [slots[one.name] for one in sources]
            counted = slot_counters.prepare(hook, used, present=counters, new_slots=new_slots)
            resources.callback(counted.handle.close)
        linking = Linking(
            bodies,
            facts or kernel_facts(),
            SegmentLoader(
                bodies,
                name,
                counters=counted,
                interface_index=interface_index,
            ),
        )
        plan, loaded = linking.link(wanted, slots)
        resources.callback(loaded.close)
        durations = {
            "parse": sum(body.durations.parse_ns for body in bodies),
            "load": sum(body.durations.load_ns for body in bodies),
            "probe": sum(body.durations.probe_ns for body in bodies),
            "plan": linking.plan_ns,
            "link": linking.link_ns,
        }
        return LinkedChain(
            plan=plan,
            bodies=bodies,
            loaded=loaded,
            counters=counted,
            durations_ms={phase: ns / _MILLISECOND_NS for phase, ns in durations.items()},
            resources=resources.pop_all(),
        )


class Linking:
    """Planned and loaded until the verifier agrees or nothing is left to try."""

    def __init__(
        self, bodies: Sequence[LoadedBody], facts: KernelFacts, loader: SegmentLoader
    ) -> None:
        self._bodies: Final = bodies
        self._facts: Final = facts
        self._loader: Final = loader
        self.plan_ns = 0
        self.link_ns = 0

    def link(
        self, policy: LinkPolicy, slots: Mapping[str, int] | None
    ) -> tuple[LinkPlan, LoadedSegments]:
        """The plan that loaded, with what was tried before among its constraints.

        Raises:
            VerifierRejectedError: the verifier refuses what cannot be linked in another way.
            LinkRefusedError: no plan is left.
            KernelFaultError: the kernel failed.
        """
        attempts: tuple[Constraint, ...] = ()
        facts = self._facts
        bodies = [loaded.body for loaded in self._bodies]
        while True:
            started = perf_counter_ns()
            try:
                plan = plan_link(bodies, facts, policy, slots=slots)
            except LinkRefusedError as error:
                if not attempts:
                    raise
                raise LinkRefusedError(
                    f"{error.message}; before that {attempts[-1].text}",
                    error.reasons,
                    (*error.constraints, *attempts),
                ) from error
            emitted = self._loader.emit(plan)
            planned = perf_counter_ns()
            self.plan_ns += planned - started
            try:
                loaded = self._loader.load(emitted)
            except HardSegmentError as error:
                following = policy_after(plan, error.segment, error.difficulty)
                first = sum(len(earlier.bodies) for earlier in plan.segments[: error.segment])
                if following is None:
                    raise error.rejection(body=bodies[first].name, position=first) from error
                last = first + len(plan.segments[error.segment].bodies) - 1
                attempts += (
                    _attempt(policy, following, f"programs {first} to {last}", error.words),
                )
                policy = following
            except VerifierRejectedError as error:
                following = _with_called(plan, policy, error.body)
                if following is None:
                    raise
                refused = f"program {error.body}"
                attempts += (_attempt(policy, following, refused, error.finding.sentence),)
                policy = following
            except TypesRefusedError:
                attempts += (_WITHOUT_TYPES,)
                facts = replace(facts, has_types=False)
            else:
                return replace(plan, constraints=(*plan.constraints, *attempts)), loaded
            finally:
                self.link_ns += perf_counter_ns() - planned


def _with_called(plan: LinkPlan, policy: LinkPolicy, body: int | None) -> LinkPolicy | None:
    """The same with that body as a function, which the kernel verifies by itself as it did before.

    None: it is one already, or cannot be.
    """
    if body is None or not plan.has_types or body in policy.called:
        return None
    return replace(policy, called=policy.called | {body})


def _attempt(policy: LinkPolicy, following: LinkPolicy, refused: str, words: str) -> Constraint:
    """What was tried, what the verifier said, and what is tried next."""
    called = sorted(following.called - policy.called)
    separate = sorted(following.separate - policy.separate)
    effect = f"calls the programs {called}" if called else f"begins segments at {separate}"
    return Constraint(
        rule="verifier",
        path="chain",
        text=f"the verifier refuses {refused} in the chain: {words}",
        effect=effect,
    )
