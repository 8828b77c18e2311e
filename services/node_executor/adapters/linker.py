# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A desired chain as one loaded program: sources out of verified packages, maps carried over."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

import msgspec

from services.node_executor.adapters import chain, kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.drift_reading import watched_maps
from services.node_executor.adapters.map_shapes import declared_shapes, running_shape
from services.node_executor.adapters.network_namespaces import NamespaceGoneError, inside
from services.node_executor.adapters.probe_chain import load_probe
from services.node_executor.adapters.probes import knows_tcx
from services.node_executor.adapters.restricted_helpers import restricted_helpers
from services.node_executor.attachment import ways
from services.node_executor.common_maps import begun_twice
from services.node_executor.constants import encode_constants
from services.node_executor.explanation import explain
from services.node_executor.generations import COUNTERS, SEGMENTS, MapKey, Point
from services.node_executor.held_maps import HeldMap
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import Attachment, LinkPolicy
from services.node_executor.map_carry_over import CarryOver, MapShape, agrees, plan_carry_over
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import MapMismatchError, Needs
from services.node_executor.probe_types import loading_of
from shared.bytecode.elf import read_object
from shared.bytecode.helper_names import helper_name
from shared.bytecode.instructions import CALL, HELPER_CALL
from shared.canonical import sha256_hex
from shared.contracts.desired import DesiredChain, DesiredProgram
from shared.contracts.licences import ProgramLicence, StatedLicence
from shared.contracts.node import ObservedProgram
from shared.errors import Reason
from shared.identifiers import is_probe

_CONSTANTS = (".rodata", ".kconfig")


class LinkedProgram:
    """A linked program that is loaded and not attached; closing gives up what is not pinned."""

    def __init__(
        self,
        linked: chain.LinkedChain,
        desired: DesiredChain,
        slots: Mapping[str, int],
        *,
        shapes: Mapping[str, Mapping[str, MapShape]],
        plans: Mapping[str, CarryOver],
        objects: Mapping[str, str],
        watched: frozenset[int] = frozenset(),
        common: Collection[MapKey] = (),
    ) -> None:
        self._linked = linked
        self.program_id = linked.info.id
        self.slots: Mapping[str, int] = dict(slots) if linked.counters else {}
        self.verified_instructions = linked.info.instructions_verified
        self.duration_ms: Mapping[str, float] = dict(linked.durations_ms)
        carried = [warning for plan in plans.values() for warning in plan.warnings]
        self.warnings = (*linked.plan.warnings, *carried)
        self.taken = {
            MapKey(deployment, name): MapKey(deployment, source)
            for deployment, plan in plans.items()
            for name, source in plan.taken.items()
        }
        """Each map that goes on with content, and which of the running ones has it."""
        self.explanation = msgspec.structs.replace(explain(linked.plan), warnings=self.warnings)
        self.segments = tuple(info.id for info in linked.segment_infos[1:])
        """Programs behind the head."""
        self.maps = tuple(
            _held(
                deployment,
                name,
                loaded,
                shapes[deployment].get(name),
                is_watched=loaded.info.id in watched,
                is_common=MapKey(deployment, name) in common,
            )
            for deployment, maps in linked.maps.items()
            for name, loaded in maps.items()
        ) + _own_maps(linked)
        self.programs = tuple(
            ObservedProgram(
                deployment=program.deployment,
                revision=program.revision,
                package=program.package,
                version=program.version,
                archive_sha256=program.signed.archive_sha256,
                program=program.program,
                order=program.order,
                mode=planned.mode,
                reason=planned.reason,
                segment=linked.plan.segment_of(position),
                slot=planned.slot,
                instructions=len(planned.body.instructions),
                object_sha256=objects.get(program.deployment, ""),
                licence=_licence(program, planned.body),
            )
            for position, (program, planned) in enumerate(
                zip(desired.programs, linked.plan.bodies, strict=True)
            )
        )

    def close(self) -> None:
        """Give everything up that is neither pinned nor attached."""
        self._linked.close()


def _held(
    deployment: str,
    name: str,
    loaded: LoadedMap,
    shape: MapShape | None,
    *,
    is_watched: bool,
    is_common: bool,
) -> HeldMap:
    types = shape.types if shape else None
    return HeldMap(
        deployment=deployment,
        name=name,
        map_id=loaded.info.id,
        is_pinned=not name.startswith(_CONSTANTS),
        structure=types.structure if types else "",
        shape=types.shape if types else "",
        has_timers=types is not None and types.has_timers,
        is_watched=is_watched,
        is_common=is_common,
        of_maps=shape.of_maps if shape else None,
    )


def _licence(program: DesiredProgram, body: Body) -> ProgramLicence:
    """What was stated and what was loaded; what the kernel says of it is read back later."""
    stated = program.licence or StatedLicence(declared="")
    calls = {
        one.immediate
        for one in body.instructions
        if (one.opcode, one.source) == (CALL, HELPER_CALL)
    }
    return ProgramLicence(
        declared=stated.declared,
        elected=stated.elected,
        policy=stated.policy,
        findings=stated.findings,
        waivers=stated.waivers,
        elf=body.licence,
        gpl_only_helpers=tuple(
            helper_name(one) or str(one) for one in sorted(calls & restricted_helpers())
        ),
    )


def _own_maps(linked: chain.LinkedChain) -> tuple[HeldMap, ...]:
    """The maps of the chain itself."""
    held = []
    if linked.program_array_id:
        array_id = linked.program_array_id
        held.append(HeldMap(deployment="", name=SEGMENTS.name, map_id=array_id))
    if linked.counters is not None:
        map_id = linked.counters.info.id
        held.append(HeldMap(deployment="", name=COUNTERS.name, map_id=map_id))
    return tuple(held)


def link(
    point: Point,
    desired: DesiredChain,
    packages: Sequence[OpenedPackage],
    *,
    needs: Needs,
) -> LinkedProgram:
    """The chain as the fewest verified programs, attached to nothing.

    A program that is bound to its device is loaded in the device's network namespace.
    Blocks for some milliseconds a program.

    Args:
        point: Where it will stand.
        desired: The chain.
        packages: Of its programs, in their order.
        needs: Maps to take over, and where each instance is counted.

    Raises:
        RefusedError: A program does not verify, the chain cannot be linked, or an instance's map
            would have to change its shape; what is wrong is named.
        FaultError: The kernel failed.
    """
    with ExitStack() as entered:
        with suppress(NamespaceGoneError):  # a chain can be linked before it comes
            entered.enter_context(inside(point.netns))
        return _link(point, desired, packages, needs=needs)


def _link(
    point: Point,
    desired: DesiredChain,
    packages: Sequence[OpenedPackage],
    *,
    needs: Needs,
) -> LinkedProgram:
    with ExitStack() as held:
        handles: dict[MapKey, Descriptor] = {
            key: held.enter_context(kernel_info.map_by_id(map_id))
            for key, map_id in needs.carried.items()
        }
        counters = handles.pop(COUNTERS, None)
        known = {MapKey(one.deployment, one.name): one for one in needs.held}
        shapes = {
            program.deployment: declared_shapes(package.files[program.object], program.object)
            for program, package in zip(desired.programs, packages, strict=True)
        }
        common = {
            MapKey(program.deployment, name)
            for program, package in zip(desired.programs, packages, strict=True)
            for name in package.manifest.node_maps
            if name in shapes[program.deployment]
        }
        for key in common & needs.common.keys():
            shape = shapes[key.deployment][key.name]
            for one in needs.common[key]:
                present = handles.get(key)
                if present and agrees(shape, running_shape(present, known.get(key))):
                    break
                opened = held.enter_context(kernel_info.map_by_id(one.map_id))
                if not present or agrees(shape, running_shape(opened, one)):
                    known[key], handles[key] = one, opened
        plans = {
            program.deployment: _carry_over(program, shapes, handles, known, needs)
            for program in desired.programs
        }
        _refuse([reason for plan in plans.values() for reason in plan.problems])
        if not needs.is_trial:
            _refuse(begun_twice(desired, sorted(common - handles.keys())))
        sources = [
            ProgramSource(
                name=program.deployment,
                object_path=program.object,
                data=package.files[program.object],
                function=program.function,
                proceed_on=program.proceed_on,
                globals=_constants(program, package),
                maps={}
                if needs.is_trial
                else {
                    name: handles[MapKey(program.deployment, source)]
                    for name, source in plans[program.deployment].taken.items()
                },
            )
            for program, package in zip(desired.programs, packages, strict=True)
        ]
        linked = (
            load_probe(sources[0], point.hook, loading_of(desired.target))
            if is_probe(point.hook) and desired.target is not None
            else chain.link_chain(
                sources,
                point.hook,
                name=f"chain_{point.interface}",
                policy=_policy(point, desired),
                slots=needs.slots or None,
                new_slots=needs.new_slots,
                counters=counters,
                interface_index=_interface_index(point.interface),
            )
        )
        with ExitStack() as undo:
            undo.callback(linked.close)
            if not needs.is_trial:
                _refuse(_not_taken(linked, plans))
            undo.pop_all()
    configurable = {
        program.deployment: frozenset((*package.manifest.maps, *program.config))
        for program, package in zip(desired.programs, packages, strict=True)
    }
    watched = frozenset() if needs.is_trial else watched_maps(linked, configurable, shapes)
    objects = {source.name: sha256_hex(source.data) for source in sources}
    return LinkedProgram(
        linked,
        desired,
        needs.slots,
        shapes=shapes,
        plans=plans,
        objects=objects,
        watched=watched,
        common=common,
    )


def _constants(program: DesiredProgram, package: OpenedPackage) -> dict[str, bytes]:
    if not program.constants:
        return {}
    parsed = read_object(package.files[program.object], program.object)
    entries = package.manifest.variables
    return encode_constants(program.constants, entries, parsed, name=program.deployment)


def _carry_over(
    program: DesiredProgram,
    shapes: Mapping[str, Mapping[str, MapShape]],
    handles: Mapping[MapKey, Descriptor],
    known: Mapping[MapKey, HeldMap],
    needs: Needs,
) -> CarryOver:
    """What becomes of the maps of one instance; sections of global data stay with their code."""
    deployment = program.deployment
    own = {key.name: handle for key, handle in handles.items() if key.deployment == deployment}
    plan = plan_carry_over(
        deployment,
        declared=shapes[deployment],
        running={
            name: running_shape(handle, known.get(MapKey(deployment, name)))
            for name, handle in own.items()
            if not name.startswith(".")
        },
        policies=needs.policies.get(deployment, {}),
        is_same_code=deployment in needs.same_code,
    )
    sections = {name: name for name in own if name.startswith(".")}
    return replace(plan, taken={**plan.taken, **sections})


def _policy(point: Point, desired: DesiredChain) -> LinkPolicy:
    options = desired.link
    attachment: Attachment = "xdp"
    if point.hook != "xdp":
        way = ways(point.hook, options.attach, has_tcx=knows_tcx())[0]
        attachment = "cls_bpf" if way == "cls_bpf" else "tcx"
    return LinkPolicy(
        hook=point.hook,
        attachment=attachment,
        has_counters=options.counters,
        time_sample_period=options.time_sample_period,
        end_verdict=options.end_verdict,
        frags=options.frags,
    )


def _interface_index(name: str) -> int:
    """0 if there is no such interface now: a chain can be linked before it comes."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _not_taken(linked: chain.LinkedChain, plans: Mapping[str, CarryOver]) -> list[Reason]:
    """Maps that libbpf made anew although their declaration seemed to fit."""
    return [
        Reason(
            path=f"{deployment}.maps.{name}",
            rule=f"cannot go on with the map {source} that holds this instance's state",
        )
        for deployment, plan in plans.items()
        for name, source in plan.taken.items()
        if not name.startswith(".")
        and (loaded := linked.maps[deployment].get(name)) is not None
        and not loaded.is_carried_over
    ]


def _refuse(problems: list[Reason]) -> None:
    if problems:
        raise MapMismatchError("maps of running instances would lose their content", problems)
