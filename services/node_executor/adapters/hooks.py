# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Links that hold a program on a network hook: making, swapping, and who is there.

XDP links and TCX links (Linux 6.6) take an interface of the network namespace that the process
runs in.  A swap compares the program that is there with the expected one, so of two writers one
loses; an XDP swap waits for a grace period (8 ms), a TCX one takes microseconds.
"""

from __future__ import annotations

import errno
import socket
import struct
from time import monotonic, sleep
from typing import Final

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import (
    LINK_CREATE,
    LINK_NEXT_ID,
    LINK_UPDATE,
    PROGRAM_QUERY,
    Descriptor,
    Memory,
    bpf_attempt,
    ids,
)
from services.node_executor.adapters.kernel_errors import (
    HookOwnedError,
    InterfaceGoneError,
    KernelFaultError,
    LinkChangedError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import (
    ATTACH_TYPES,
    Attachment,
    Handle,
    HookOccupant,
    LinkInfo,
    XdpMode,
)
from shared.identifiers import Hook

DYING_LINK_SECONDS: Final = 0.2
_REPLACE: Final = 4
_XDP_GENERIC, _XDP_NATIVE = 2, 4
_XDP_MODES: Final[tuple[tuple[XdpMode, int], ...]] = (
    ("native", _XDP_NATIVE),
    ("generic", _XDP_GENERIC),
)
_MAX_OCCUPANTS: Final = 64
_NO_DRIVER_SUPPORT: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, 524)


def attach(program: Handle, interface_index: int, hook: Hook, *, hook_point: str) -> Attachment:
    """A new link that holds `program` on the hook; XDP in the driver where that is possible.

    Args:
        program: The linked program.
        interface_index: Of the interface, in this process's network namespace.
        hook: Which hook of the interface.
        hook_point: How refusals call the place.

    Raises:
        HookOwnedError: another program is there, on TCX too: it could hide ours or be hidden.
        InterfaceGoneError: there is no such interface.
        UnsupportedByKernelError: the kernel has no links for this hook.
        KernelFaultError: any other failure.
    """
    if not _exists(interface_index):
        raise InterfaceGoneError(f"{hook_point}: there is no such interface")
    present = _occupants_that_stay(interface_index, hook)
    if present:
        raise HookOwnedError(hook_point, present)
    if hook != "xdp":
        return Attachment(_create(program, interface_index, hook, 0, hook_point), "")
    (native, native_flags), (generic, generic_flags) = _XDP_MODES
    try:
        return Attachment(_create(program, interface_index, hook, native_flags, hook_point), native)
    except KernelFaultError as error:
        if error.number not in _NO_DRIVER_SUPPORT:
            raise
    return Attachment(_create(program, interface_index, hook, generic_flags, hook_point), generic)


def replace_program(link: Handle, program: Handle, *, expected_id: int) -> None:
    """The link runs `program`, if it ran the program `expected_id` until now: one atomic step.

    Raises:
        LinkChangedError: it ran another program.
        InterfaceGoneError: the interface is gone, so the link holds nothing.
        KernelFaultError: any other failure.
    """
    try:
        old = kernel_info.program_by_id(expected_id)
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        raise _changed(link, expected_id) from error
    with old:
        request = struct.pack("<IIII", link.fd, program.fd, _REPLACE, old.fd)
        _, failure, _ = bpf_attempt(LINK_UPDATE, request)
    if not failure:
        return
    if failure == errno.ENOLINK:
        raise InterfaceGoneError("the interface of the link does not exist any more")
    # A missing capability answers EPERM too, so the link is asked what it runs.
    if failure == errno.EPERM and kernel_info.link_info(link.fd).program_id != expected_id:
        raise _changed(link, expected_id)
    raise KernelFaultError("swapping the program of a link", failure)


def occupants(interface_index: int, hook: Hook) -> tuple[HookOccupant, ...]:
    """The programs on the hook now, first to run first.

    Raises:
        InterfaceGoneError: there is no such interface.
        KernelFaultError: the kernel cannot be asked.
    """
    if not _exists(interface_index):
        raise InterfaceGoneError(f"there is no interface with index {interface_index}")
    if hook == "xdp":
        return _xdp_occupants(interface_index)
    return _tcx_occupants(interface_index, hook)


def _occupants_that_stay(interface_index: int, hook: Hook) -> tuple[HookOccupant, ...]:
    """The occupants, once a program whose link just ended had the time to go.

    The kernel ends a link whose last holder is gone in a work queue of its own (bpf_link_put).
    """
    deadline = monotonic() + DYING_LINK_SECONDS
    while True:
        present = occupants(interface_index, hook)
        if monotonic() > deadline or not any(one.link_id == 0 for one in present):
            return present
        sleep(DYING_LINK_SECONDS / 20)


def xdp_mode(interface_index: int) -> XdpMode:
    """How the XDP program of an interface runs now; empty if there is none."""
    for mode, flags in _XDP_MODES:
        if _xdp_program(interface_index, flags):
            return mode
    return ""


def links_on(interface_index: int, hook: Hook) -> tuple[LinkInfo, ...]:
    """Every bpf_link on the hook, by id."""
    found = []
    for link_id in ids(LINK_NEXT_ID):
        try:
            with kernel_info.link_by_id(link_id) as link:
                info = kernel_info.link_info(link.fd)
        except KernelFaultError as error:
            # Links come and go while they are listed.
            if error.number != errno.ENOENT:
                raise
            continue
        if (info.interface_index, info.attach_type) == (interface_index, ATTACH_TYPES[hook]):
            found.append(info)
    return tuple(found)


def _create(
    program: Handle, interface_index: int, hook: Hook, flags: int, hook_point: str
) -> Descriptor:
    request = struct.pack("<IIII48x", program.fd, interface_index, ATTACH_TYPES[hook], flags)
    fd, failure, _ = bpf_attempt(LINK_CREATE, request)
    if not failure:
        return Descriptor(fd)
    if failure in (errno.EBUSY, errno.EEXIST):
        raise HookOwnedError(hook_point, occupants(interface_index, hook))
    if failure == errno.ENODEV:
        raise InterfaceGoneError(f"{hook_point}: there is no such interface")
    if failure == errno.EINVAL and hook != "xdp":
        raise UnsupportedByKernelError(f"{hook_point}: the kernel has no TCX links (Linux 6.6)")
    raise KernelFaultError(f"attaching to {hook_point}", failure)


def _exists(interface_index: int) -> bool:
    """Whether there is such an interface; the kernel's answers about XDP do not tell."""
    try:
        socket.if_indextoname(interface_index)
    except OSError:
        return False
    return True


def _changed(link: Handle, expected_id: int) -> LinkChangedError:
    info = kernel_info.link_info(link.fd)
    actual = kernel_info.occupant(info.program_id, info.id)
    return LinkChangedError(info.id, expected_id=expected_id, actual=actual)


def _xdp_occupants(interface_index: int) -> tuple[HookOccupant, ...]:
    program_id = _xdp_program(interface_index, 0)
    if not program_id:
        return ()
    link = next(
        (found for found in links_on(interface_index, "xdp") if found.program_id == program_id),
        None,
    )
    return (kernel_info.occupant(program_id, link.id if link else 0),)


def _xdp_program(interface_index: int, flags: int) -> int:
    ffi, bpf, _ = libraries()
    found = ffi.new("uint32_t *")
    result = bpf.bpf_xdp_query_id(interface_index, flags, found)
    if result < 0:
        raise KernelFaultError(f"asking for the XDP program of {interface_index}", -result)
    return int(found[0])


def _tcx_occupants(interface_index: int, hook: Hook) -> tuple[HookOccupant, ...]:
    memory = Memory()
    programs, read_programs = memory.space(4 * _MAX_OCCUPANTS)
    links, read_links = memory.space(4 * _MAX_OCCUPANTS)
    request = struct.pack(
        "<IIIIQIIQQQQ",
        *(interface_index, ATTACH_TYPES[hook], 0, 0),
        *(programs, _MAX_OCCUPANTS, 0),
        *(0, links, 0, 0),
    )
    _, failure, reply = bpf_attempt(PROGRAM_QUERY, request)
    if failure == errno.ENODEV:
        raise InterfaceGoneError(f"there is no interface with index {interface_index}")
    if failure == errno.EINVAL:
        raise UnsupportedByKernelError("the kernel has no TCX (Linux 6.6)")
    if failure not in (0, errno.ENOENT):
        raise KernelFaultError(f"asking for the {hook} programs of {interface_index}", failure)
    count = 0 if failure else struct.unpack_from("<I", reply, 24)[0]
    return tuple(
        kernel_info.occupant(program_id, link_id)
        for program_id, link_id in zip(
            struct.unpack(f"<{count}I", read_programs()[: 4 * count]),
            struct.unpack(f"<{count}I", read_links()[: 4 * count]),
            strict=True,
        )
    )
