# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel adapters take and give: plain values, and handles that are closed after use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from shared.bytecode.map_declarations import map_type_name
from shared.identifiers import Hook

PROGRAM_TYPES: Final[dict[Hook, int]] = {"xdp": 6, "tc-ingress": 3, "tc-egress": 3}
"""include/uapi/linux/bpf.h, enum bpf_prog_type: XDP, SCHED_CLS."""
ATTACH_TYPES: Final[dict[Hook, int]] = {"xdp": 37, "tc-ingress": 46, "tc-egress": 47}
"""include/uapi/linux/bpf.h, enum bpf_attach_type: XDP, TCX_INGRESS, TCX_EGRESS."""
XDP_HAS_FRAGS: Final = 1 << 5
"""Program flag BPF_F_XDP_HAS_FRAGS: the program can read packets in several buffers."""
XDP_DEVICE_BOUND: Final = 1 << 6
"""Program flag BPF_F_XDP_DEV_BOUND_ONLY: the program can read metadata of one device."""


class Handle(Protocol):
    """A kernel object held by a file descriptor; closing gives up this process's hold only."""

    @property
    def fd(self) -> int:
        """The descriptor; valid until `close`."""

    def close(self) -> None:
        """Give the hold up; a second call does nothing."""

    def __enter__(self) -> Self:
        """The handle itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """What the kernel says about a loaded program (struct bpf_prog_info)."""

    id: int
    name: str
    """At most 15 characters."""
    tag: str
    """16 hexadecimal digits over the instructions; programs on different maps can share it."""
    gpl_compatible: bool
    instructions_verified: int
    """How many instructions the verifier walked; 0 on kernels before 5.16."""
    xlated_bytes: int
    jited_bytes: int
    map_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunTime:
    """What the kernel counted of a program while `kernel.bpf_stats_enabled` was on."""

    runs: int
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the kernel says about a bpf_link (struct bpf_link_info)."""

    id: int
    kind: Literal["xdp", "tcx", "other"]
    program_id: int
    interface_index: int
    """0 when the interface is gone or the link is of another kind."""
    attach_type: int = 0


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What the kernel says about a map (struct bpf_map_info)."""

    id: int
    name: str
    """At most 15 characters."""
    type_number: int
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int
    flags: int

    @property
    def type_name(self) -> str:
        """Kernel name in lower case, as `percpu_hash`."""
        return map_type_name(self.type_number)

    @property
    def is_array(self) -> bool:
        """Whether every key from 0 to max_entries - 1 always exists, so none can be removed."""
        return self.type_number in _ARRAYS

    @property
    def is_per_cpu(self) -> bool:
        """Whether each processor has its own value under a key."""
        return self.type_number in _PER_CPU


_ARRAYS: Final = frozenset((2, 6))
_PER_CPU: Final = frozenset((5, 6, 10, 21))


@dataclass(frozen=True, slots=True)
class HookOccupant:
    """A program that is on a hook now."""

    program_id: int
    program_name: str
    program_tag: str
    link_id: int
    """0: attached without a bpf_link, as `ip link set xdp` does."""


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """One program as it comes out of its package."""

    name: str
    """How refusals call it: the deployment."""
    object_path: str
    data: bytes
    """The object file."""
    function: str
    proceed_on: tuple[str, ...]
    """Verdict names after which the chain goes on."""
    maps: Mapping[str, Handle] = field(default_factory=dict)
    """Maps to carry over, by declared name; used when type and sizes agree, else made anew."""
    globals: Mapping[str, bytes] = field(default_factory=dict)
    """Values of global variables before the program is loaded, by the variable's name."""


@dataclass(frozen=True, slots=True)
class LoadedMap:
    """One map of a loaded program."""

    name: str
    """As declared; a section with global data is called `.data`, `.rodata` or `.bss`."""
    handle: Handle
    info: MapInfo
    is_carried_over: bool
    """Whether it is the map that was given, with its entries."""


@dataclass(frozen=True, slots=True)
class PacketRun:
    """What one run over one packet did (BPF_PROG_TEST_RUN)."""

    verdict: int
    """Unsigned 32 bit, as the kernel gives it."""
    data: bytes
    context: bytes
    duration_ns: int
    """Mean over the repeats."""
