# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Links that hold probes: made, and described as the kernel has them.

Layouts: union bpf_attr and struct bpf_link_info in include/uapi/linux/bpf.h, struct
perf_event_attr in include/uapi/linux/perf_event.h.  What is attached by a perf event (kprobes,
uprobes, tracepoints) runs on every processor: the event's processor says only where it is counted.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import (
    LINK_CREATE,
    Descriptor,
    Memory,
    bpf_attempt,
    info_by_fd,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError, UnsupportedByKernelError
from services.node_executor.adapters.probe_places import (
    TargetMissingError,
    file_offset,
    open_cgroup,
)
from services.node_executor.adapters.raw_syscalls import perf_event_open_number, syscall
from services.node_executor.adapters.tracefs import tracepoint_id
from services.node_executor.kernel_types import Handle
from services.node_executor.probe_types import LINK_KINDS, PERF_EVENT, TRACE_ITER, attach_type_of
from shared.contracts.probes import (
    CgroupTarget,
    IteratorTarget,
    KprobeTarget,
    KretprobeTarget,
    LinkKind,
    ProbeTarget,
    RawTracepointTarget,
    SockopsTarget,
    TracepointTarget,
    UprobeTarget,
    UretprobeTarget,
    kind_of,
)
from shared.probe_targets import describe_target

RAW_TRACEPOINT_OPEN: Final = 17
_SOURCES: Final = Path("/sys/bus/event_source/devices")
_TRACEPOINT_EVENTS: Final = 2
"""PERF_TYPE_TRACEPOINT."""
_EVENT_BYTES: Final = 128
_CLOSE_ON_EXEC: Final = 8
_INFO_BYTES: Final = 64
_NAME_BYTES: Final = 512
_BREADTH_FIRST: Final = 2
"""BPF_CGROUP_ITER_DESCENDANTS_PRE: a cgroup before those below it."""
_RETURNS: Final = 1
_EXPECTED_NAME: Final = 15
_FILE_EVENTS: Final = (1, 2)
_FUNCTION_EVENTS: Final = (3, 4)
_TRACEPOINT_EVENT: Final = 5


class LinkFound(NamedTuple):
    """A link as the kernel describes it."""

    id: int
    kind: LinkKind | None
    """None: of a kind that no probe has."""
    program_id: int
    name: str = ""
    offset: int = 0
    cgroup_id: int = 0
    attach_type: int = -1
    missed: int | None = None

    @property
    def is_live(self) -> bool:
        """Whether its program can still run: a cgroup's link ends with its cgroup."""
        return self.kind != "cgroup" or self.cgroup_id != 0


def make_link(program: Handle, target: ProbeTarget) -> Descriptor:
    """A link that holds the program on the target until its last holder lets it go.

    Raises:
        TargetMissingError: There is no such function, file, symbol, tracepoint or cgroup now.
        UnsupportedByKernelError: The kernel lacks what such probes need; it is named.
        KernelFaultError: Any other failure.
    """
    match target:
        case TracepointTarget():
            number = tracepoint_id(target.category, target.name)
            if number is None:
                raise TargetMissingError(target, "the kernel has no such tracepoint")
            return _on_event(program, target, kind=_TRACEPOINT_EVENTS, config=number)
        case UprobeTarget() | UretprobeTarget():
            return _on_event(
                program,
                target,
                kind=event_source("uprobe"),
                config=_RETURNS if isinstance(target, UretprobeTarget) else 0,
                text=target.path,
                offset=file_offset(target),
                pid=target.pid,
            )
        case KprobeTarget() | KretprobeTarget():
            return _on_event(
                program,
                target,
                kind=event_source("kprobe"),
                config=_RETURNS if isinstance(target, KretprobeTarget) else 0,
                text=target.function,
                offset=getattr(target, "offset", 0),
            )
        case CgroupTarget() | SockopsTarget():
            with open_cgroup(target) as cgroup:
                return _created(program, cgroup.fd, target)
        case IteratorTarget():
            return _iterator(program, target)
        case _:
            return _on_function(program, target)


def event_source(name: str) -> int:
    """The number of the kernel's source of such events.

    Raises:
        UnsupportedByKernelError: The kernel has no such source.
    """
    try:
        return int((_SOURCES / name / "type").read_text())
    except OSError as error:
        option = f"CONFIG_{name.upper()}_EVENTS"
        words = f"the kernel has no {name}s ({option}: no {_SOURCES / name})"
        raise UnsupportedByKernelError(words) from error


def _on_event(
    program: Handle,
    target: ProbeTarget,
    *,
    kind: int,
    config: int,
    text: str = "",
    offset: int = 0,
    pid: int = 0,
) -> Descriptor:
    memory = Memory()
    attributes = bytearray(_EVENT_BYTES)
    struct.pack_into("<IIQ", attributes, 0, kind, _EVENT_BYTES, config)
    if text:
        struct.pack_into("<QQ", attributes, 56, memory.text(text), offset)
    process, processor = (pid, -1) if pid else (-1, 0)
    number = perf_event_open_number()
    fd, failure = syscall(number, attributes, process, processor, -1, _CLOSE_ON_EXEC)
    if failure:
        raise _refused(target, failure)
    with Descriptor(fd) as event:
        return _created(program, event.fd, target)


def _on_function(program: Handle, target: ProbeTarget) -> Descriptor:
    """Raw tracepoints by name; fentry, fexit and LSM by what the program was verified against."""
    memory = Memory()
    name = memory.text(target.name) if isinstance(target, RawTracepointTarget) else 0
    fd, failure, _ = bpf_attempt(RAW_TRACEPOINT_OPEN, struct.pack("<QII", name, program.fd, 0))
    if failure:
        raise _refused(target, failure)
    return Descriptor(fd)


def _iterator(program: Handle, target: IteratorTarget) -> Descriptor:
    memory = Memory()
    if target.over == "bpf_map_elem":
        with _map_of(program, target) as found:
            given = struct.pack("<I", found.fd).ljust(16, b"\0")
            return _created(program, 0, target, struct.pack("<QI", memory.of(given), len(given)))
    if target.over == "cgroup":
        given = struct.pack("<IIQ", _BREADTH_FIRST, 0, 0)
        return _created(program, 0, target, struct.pack("<QI", memory.of(given), len(given)))
    return _created(program, 0, target)


def _map_of(program: Handle, target: IteratorTarget) -> Descriptor:
    for map_id in kernel_info.program_info(program.fd).map_ids:
        found = kernel_info.map_by_id(map_id)
        if kernel_info.map_info(found.fd).name == target.map[:_EXPECTED_NAME]:
            return found
        found.close()
    raise TargetMissingError(target, "the program has no such map")


def _created(program: Handle, to: int, target: ProbeTarget, more: bytes = b"") -> Descriptor:
    attach_type = attach_type_of(target)
    request = struct.pack("<IIII", program.fd, to, attach_type, 0) + more
    fd, failure, _ = bpf_attempt(LINK_CREATE, request.ljust(64, b"\0"))
    if failure:
        raise _refused(target, failure)
    return Descriptor(fd)


def _refused(target: ProbeTarget, failure: int) -> KernelFaultError | TargetMissingError:
    what = f"{kind_of(target)} {describe_target(target)}"
    if failure in (errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL):
        return TargetMissingError(target, os.strerror(failure))
    return KernelFaultError(f"attaching to {what}", failure)


def describe_link(fd: int) -> LinkFound:
    """What the kernel says of a link; names that it does not give are empty."""
    memory = Memory()
    action = "reading a link's information"
    raw = info_by_fd(fd, _INFO_BYTES, action=action)
    number, link_id, program_id = struct.unpack_from("<III", raw)
    kind = LINK_KINDS.get(number)
    found = LinkFound(link_id, kind, program_id)
    match kind:
        case "cgroup":
            cgroup_id, attach_type = struct.unpack_from("<QI", raw, 16)
            return found._replace(cgroup_id=cgroup_id, attach_type=attach_type)
        case "tracing":
            return found._replace(attach_type=struct.unpack_from("<I", raw, 16)[0])
        case "iter":
            name = _name(fd, memory, at=16)
            return found._replace(name=name, attach_type=TRACE_ITER)
        case "raw_tracepoint":
            return found._replace(name=_name(fd, memory, at=16))
        case "perf_event":
            return _described_event(fd, memory, raw, found)
        case _:
            return found


def _described_event(fd: int, memory: Memory, raw: bytes, found: LinkFound) -> LinkFound:
    """Of kernels before 6.6 nothing is known: their answer's type is 0."""
    event = struct.unpack_from("<I", raw, 16)[0]
    found = found._replace(attach_type=PERF_EVENT)
    if event in (*_FILE_EVENTS, *_FUNCTION_EVENTS, _TRACEPOINT_EVENT):
        found = found._replace(name=_name(fd, memory, at=24))
    if event in (*_FILE_EVENTS, *_FUNCTION_EVENTS):
        found = found._replace(offset=struct.unpack_from("<I", raw, 36)[0])
    if event in _FUNCTION_EVENTS:
        found = found._replace(missed=struct.unpack_from("<Q", raw, 48)[0])
    return found


def _name(fd: int, memory: Memory, *, at: int) -> str:
    address, read = memory.space(_NAME_BYTES)
    given = bytearray(_INFO_BYTES)
    struct.pack_into("<QI", given, at, address, _NAME_BYTES)
    with suppress(KernelFaultError):
        info_by_fd(fd, _INFO_BYTES, action="reading a link's name", given=bytes(given))
    return read().split(b"\0", 1)[0].decode(errors="replace")
