# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A desired chain as one loaded program: sources out of verified packages, maps carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from services.node_executor.adapters import chain, kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.explanation import explain
from services.node_executor.generations import HeldMap, MapKey, Point
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from services.node_executor.packages import OpenedPackage
from services.node_executor.preparation import MapMismatchError
from shared.contracts.node import DesiredChain, ObservedProgram
from shared.errors import Reason

_CONSTANTS = (".rodata", ".kconfig")


class LinkedProgram:
    """A linked program that is loaded and not attached; closing gives up what is not pinned."""

    def __init__(self, linked: chain.LinkedChain, desired: DesiredChain) -> None:
        self._linked = linked
        self.program_id = linked.info.id
        self.verified_instructions = linked.info.instructions_verified
        self.duration_ms: Mapping[str, float] = dict(linked.durations_ms)
        self.warnings = linked.plan.warnings
        self.explanation = explain(linked.plan)
        self.maps = tuple(
            HeldMap(
                deployment=deployment,
                name=name,
                map_id=loaded.info.id,
                is_pinned=not name.startswith(_CONSTANTS),
            )
            for deployment, maps in linked.maps.items()
            for name, loaded in maps.items()
        )
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
                instructions=len(planned.body.instructions),
            )
            for program, planned in zip(desired.programs, linked.plan.bodies, strict=True)
        )

    def close(self) -> None:
        """Give everything up that is neither pinned nor attached."""
        self._linked.close()


def link(
    point: Point,
    desired: DesiredChain,
    packages: Sequence[OpenedPackage],
    *,
    carried: Mapping[MapKey, int],
) -> LinkedProgram:
    """The chain as one verified program, attached to nothing; `packages` are in its order.

    Blocks for some milliseconds a program.

    Raises:
        RefusedError: A program does not verify, the chain cannot be linked, or an instance's map
            would have to change its shape; what is wrong is named.
        FaultError: The kernel failed.
    """
    with ExitStack() as held:
        handles: dict[MapKey, Descriptor] = {
            key: held.enter_context(kernel_info.map_by_id(map_id))
            for key, map_id in carried.items()
        }
        sources = [
            ProgramSource(
                name=program.deployment,
                object_path=program.object,
                data=package.files[program.object],
                function=program.function,
                proceed_on=program.proceed_on,
                maps={
                    key.name: handle
                    for key, handle in handles.items()
                    if key.deployment == program.deployment
                },
            )
            for program, package in zip(desired.programs, packages, strict=True)
        ]
        linked = chain.link_chain(sources, point.hook, name=f"chain_{point.interface}")
        with ExitStack() as undo:
            undo.callback(linked.close)
            _refuse_mismatches(linked, handles)
            undo.pop_all()
    return LinkedProgram(linked, desired)


def _refuse_mismatches(linked: chain.LinkedChain, carried: Mapping[MapKey, Descriptor]) -> None:
    reasons = []
    for key, handle in carried.items():
        loaded = linked.maps.get(key.deployment, {}).get(key.name)
        if loaded is None or loaded.is_carried_over or key.name.startswith("."):
            continue
        reasons.append(
            Reason(
                path=f"{key.deployment}.maps.{key.name}",
                rule="has another type or size than the map that holds this instance's state",
                got=_shape(loaded),
                allowed=_shape_of(handle),
            )
        )
    if reasons:
        raise MapMismatchError("maps of running instances would lose their content", reasons)


def _shape(loaded: LoadedMap) -> dict[str, object]:
    info = loaded.info
    return {
        "type": info.type_name,
        "key_size_bytes": info.key_size_bytes,
        "value_size_bytes": info.value_size_bytes,
        "max_entries": info.max_entries,
    }


def _shape_of(handle: Descriptor) -> dict[str, object]:
    info = kernel_info.map_info(handle.fd)
    return _shape(LoadedMap("", handle, info, is_carried_over=True))
