# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel as the executor sees it; every call blocks, so call it in a thread.

The order of one change:

    1. `link_chain(sources, hook, name=...)`: each program verified alone, planned, emitted, the
       linked program loaded.  Nothing has changed so far; close the chain to forget it.
       Give the pinned maps of a deployment in `ProgramSource.maps`, so that it keeps its state;
       sections with global data (`.data`, `.bss`) only when the object is the same as before.
    2. `replace_entries(map, wanted)` for the configuration of maps that are new, before step 4.
    3. `pin(map, map_path(...))` for every map of the chain, `pin(program, program_path(...))`.
    4. New hook point: `attach(...)`, then `pin(link, link_path(...))` at once.
       Else: `open_pinned(link_path(...))`, `replace_program(link, program, expected_id=...)`.
    5. Read back: `link_info(link).program_id == program_info(program).id`, `xdp_mode(...)`.
    6. `unpin` the generation before the previous one; close the LinkedChain.

Rolling back is step 4 with the previous generation's pinned program.  Taking a chain off its hook
is `unpin(link_path(...))` and closing every hold on the link.  Adopting after a restart is
`open_pinned` and step 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from services.node_executor.adapters import (
    chain,
    hooks,
    kernel_info,
    map_access,
    pins,
    programs,
)
from services.node_executor.kernel_types import (
    Attachment,
    Handle,
    HookOccupant,
    LinkInfo,
    MapInfo,
    PacketRun,
    ProgramInfo,
    ProgramSource,
    XdpMode,
)
from services.node_executor.map_values import MapLayout, map_layout
from shared.identifiers import Hook


class LinuxKernel:
    """The running kernel, in the network namespace of this process."""

    def link_chain(
        self, sources: Sequence[ProgramSource], hook: Hook, *, name: str
    ) -> chain.LinkedChain:
        """The chain as one verified program, attached to nothing; see `chain.link_chain`."""
        return chain.link_chain(sources, hook, name=name)

    def attach(
        self, program: Handle, interface_index: int, hook: Hook, *, hook_point: str
    ) -> Attachment:
        """A new link that holds `program` on a free hook; see `hooks.attach`."""
        return hooks.attach(program, interface_index, hook, hook_point=hook_point)

    def replace_program(self, link: Handle, program: Handle, *, expected_id: int) -> None:
        """The link runs `program`, if it ran `expected_id`; see `hooks.replace_program`."""
        hooks.replace_program(link, program, expected_id=expected_id)

    def occupants(self, interface_index: int, hook: Hook) -> tuple[HookOccupant, ...]:
        """The programs on the hook now, first to run first."""
        return hooks.occupants(interface_index, hook)

    def xdp_mode(self, interface_index: int) -> XdpMode:
        """How the XDP program of an interface runs now; empty if there is none."""
        return hooks.xdp_mode(interface_index)

    def program_info(self, program: Handle) -> ProgramInfo:
        """What the kernel says about a program."""
        return kernel_info.program_info(program.fd)

    def link_info(self, link: Handle) -> LinkInfo:
        """What the kernel says about a link."""
        return kernel_info.link_info(link.fd)

    def map_info(self, opened: Handle) -> MapInfo:
        """What the kernel says about a map."""
        return kernel_info.map_info(opened.fd)

    def program_by_id(self, program_id: int) -> Handle:
        """A hold on a program; KernelFaultError with ENOENT if it is gone."""
        return kernel_info.program_by_id(program_id)

    def map_by_id(self, map_id: int) -> Handle:
        """A hold on a map; KernelFaultError with ENOENT if it is gone."""
        return kernel_info.map_by_id(map_id)

    def map_layout(self, opened: Handle) -> MapLayout:
        """How keys and values of a map are written, by the BTF that the kernel keeps with it."""
        declared, btf = kernel_info.map_declaration(opened.fd)
        return map_layout(declared, btf)

    def prepare_pin_directory(self, directory: PurePosixPath) -> None:
        """`directory` exists and lies in bpffs, which is mounted if need be."""
        pins.prepare_pin_directory(directory)

    def pin(self, handle: Handle, path: PurePosixPath) -> None:
        """`path` names the object, instead of what it named before."""
        pins.pin(handle, path)

    def unpin(self, path: PurePosixPath) -> None:
        """`path` names nothing."""
        pins.unpin(path)

    def open_pinned(self, path: PurePosixPath) -> Handle | None:
        """A hold on the object named `path`; None if there is none."""
        return pins.open_pinned(path)

    def list_pins(self, directory: PurePosixPath) -> tuple[str, ...]:
        """Names in a directory of bpffs; none if it does not exist."""
        return pins.list_pins(directory)

    def lookup(self, opened: Handle, key: bytes) -> bytes | None:
        """The value under a key; None if there is none."""
        return map_access.lookup(opened, key)

    def update(self, opened: Handle, key: bytes, value: bytes) -> None:
        """The key has the value; in a per-CPU map on every processor."""
        map_access.update(opened, key, value)

    def delete(self, opened: Handle, key: bytes) -> None:
        """There is no entry under the key."""
        map_access.delete(opened, key)

    def entries(self, opened: Handle) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values of a map."""
        return map_access.entries(opened)

    def replace_entries(self, opened: Handle, wanted: Mapping[bytes, bytes]) -> int:
        """The map holds exactly `wanted`; how many entries were touched."""
        return map_access.replace_entries(opened, wanted)

    def read_number(self, opened: Handle, key: bytes | None) -> int | None:
        """One number out of a map, summed over processors; without a key, over all entries."""
        return map_access.read_number(opened, key)

    def run_packet(self, program: Handle, data: bytes, *, context: bytes = b"") -> PacketRun:
        """What the program does to one packet, without a network."""
        return programs.run_packet(program, data, context=context)
