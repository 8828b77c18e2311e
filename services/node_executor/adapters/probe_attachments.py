# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Our program on a probe's target: held by a pinned link, which is read back at every call.

Rules:
 * A link whose program can be exchanged (cgroups, iterators) goes from one program to the next in
   one step, as long as it is on the same target.
 * In the place of any other link a new one comes first, and then the old one goes: no event is
   missed, and what happens between the two is seen by both.
"""

from __future__ import annotations

import errno
import struct
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.adapters import hooks, kernel_info, pins
from services.node_executor.adapters.bpf_syscall import LINK_DETACH, Descriptor, bpf_attempt
from services.node_executor.adapters.kernel_errors import (
    KernelFaultError,
    LinkChangedError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.probe_features import attach_once, require
from services.node_executor.adapters.probe_links import (
    LinkFound,
    describe_link,
    event_source,
    make_link,
)
from services.node_executor.adapters.probe_places import (
    TargetMissingError,
    cgroup_id,
    file_offset,
    open_cgroup,
)
from services.node_executor.adapters.tracefs import tracepoint_id
from services.node_executor.attachment import Held, Surroundings
from services.node_executor.generations import Point
from services.node_executor.kernel_types import Handle
from services.node_executor.pin_paths import link_path
from services.node_executor.probe_types import (
    CGROUP_ATTACH_TYPES,
    TAKES_UPDATES,
    TRACE_ITER,
    attach_type_of,
)
from shared.contracts.probes import (
    CgroupTarget,
    IteratorTarget,
    ObservedProbe,
    ProbeTarget,
    RawTracepointTarget,
    SockopsTarget,
    TracepointTarget,
    UprobeTarget,
    UretprobeTarget,
    kind_of,
)
from shared.errors import FaultError

NO_INTERFACE: Final = 0
"""A probe has no interface, and so none that could be away."""
_COUNTS_RUNS: Final = Path("/proc/sys/kernel/bpf_stats_enabled")
_NEVER_DETACHED: Final = (errno.EOPNOTSUPP, errno.EINVAL)
_TYPE_NAMES: Final = {
    **{number: f"cgroup {name}" for name, number in CGROUP_ATTACH_TYPES.items()},
    3: "cgroup sock_ops",
    24: "trace_fentry",
    25: "trace_fexit",
    27: "lsm_mac",
    TRACE_ITER: "trace_iter",
}


class ProbeAttachments:
    """The probes whose pins lie below one directory."""

    def __init__(self, base: PurePosixPath) -> None:
        self._base = base

    def observe(self, point: Point) -> Held:
        """What is attached."""
        link = pins.open_pinned(self._link(point))
        if link is None:
            return Held()
        with link:
            found = describe_link(link.fd)
        if not found.is_live or found.kind is None:
            return Held(link_id=found.id)
        return Held(link_id=found.id, program_id=found.program_id, kind=found.kind)

    def surroundings(self, point: Point) -> Surroundings:
        """What the kernel says of the link and its program."""
        link = pins.open_pinned(self._link(point))
        if link is None:
            return Surroundings("")
        with link:
            found = describe_link(link.fd)
        if found.kind is None:
            return Surroundings("")
        runs = nanoseconds = None
        with suppress(FaultError), kernel_info.program_by_id(found.program_id) as program:
            counted = kernel_info.run_time(program.fd)
            if counted.runs or _counts_runs():
                runs, nanoseconds = counted.runs, counted.nanoseconds
        return Surroundings(
            "",
            probe=ObservedProbe(
                link=found.kind,
                name=found.name,
                offset=found.offset,
                cgroup_id=found.cgroup_id,
                target_type=_TYPE_NAMES.get(found.attach_type, ""),
                missed=found.missed,
                text_path=str(self._link(point)) if found.kind == "iter" else "",
                runs=runs,
                run_nanoseconds=nanoseconds,
            ),
        )

    def check(self, target: ProbeTarget) -> None:
        """Nothing, if nothing that is known beforehand speaks against attaching.

        Raises:
            TargetMissingError: There is no such target now.
            UnsupportedByKernelError: The kernel lacks what such probes need.
        """
        require(kind_of(target))
        match target:
            case UprobeTarget() | UretprobeTarget():
                event_source("uprobe")
                file_offset(target)
            case TracepointTarget() if tracepoint_id(target.category, target.name) is None:
                raise TargetMissingError(target, "the kernel has no such tracepoint")
            case RawTracepointTarget():  # which no list names without exception
                attach_once(target)
            case CgroupTarget() | SockopsTarget():
                open_cgroup(target).close()
            case _:
                pass

    def attach(self, point: Point, program: Handle, target: ProbeTarget | None) -> None:
        """The program is attached and stays so without this process, or nothing happened."""
        with make_link(program, _told(target)) as link:
            pins.pin(link, self._link(point))

    def detach(self, point: Point) -> None:
        """Nothing of ours is attached there."""
        link = pins.open_pinned(self._link(point))
        if link is None:
            return
        with link:
            _, failure, _ = bpf_attempt(LINK_DETACH, struct.pack("<I", link.fd))
            if failure not in (0, *_NEVER_DETACHED):
                raise KernelFaultError("detaching a link", failure)
            self.drop(point)

    def replace(
        self, point: Point, program: Handle, target: ProbeTarget | None, *, expected_program_id: int
    ) -> None:
        """Our program is this one now; refused if it was another than expected."""
        wanted = _told(target)
        link = pins.open_pinned(self._link(point))
        if link is None:
            raise KernelFaultError(f"opening {self._link(point)}", errno.ENOENT)
        with link:
            found = describe_link(link.fd)
            if found.program_id != expected_program_id:
                actual = kernel_info.occupant(found.program_id, found.id)
                raise LinkChangedError(found.id, expected_id=expected_program_id, actual=actual)
            if found.kind in TAKES_UPDATES and found.is_live and _is_on(found, wanted):
                hooks.replace_program(link, program, expected_id=expected_program_id)
                return
            with make_link(program, wanted) as fresh:
                pins.pin(fresh, self._link(point))
            self._end(link)

    def drop(self, point: Point) -> None:
        """The pin of the link is gone."""
        pins.unpin(self._link(point), base=self._base)

    def _end(self, link: Descriptor) -> None:
        """The old link's program runs no more, whoever else holds the link, if that can be done."""
        bpf_attempt(LINK_DETACH, struct.pack("<I", link.fd))

    def _link(self, point: Point) -> PurePosixPath:
        return link_path(self._base, *point)


def _told(target: ProbeTarget | None) -> ProbeTarget:
    if target is None:
        raise UnsupportedByKernelError("a probe cannot be attached without its target")
    return target


def _is_on(found: LinkFound, target: ProbeTarget) -> bool:
    """Whether the link is on that target; of an iterator over a map it cannot be told."""
    if isinstance(target, IteratorTarget):
        return found.name == target.over and target.over not in ("bpf_map_elem", "cgroup")
    return (
        isinstance(target, CgroupTarget | SockopsTarget)
        and found.cgroup_id == cgroup_id(target)
        and found.attach_type == attach_type_of(target)
    )


def _counts_runs() -> bool:
    try:
        return _COUNTS_RUNS.read_text().strip() == "1"
    except OSError:
        return False
