# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""XDP without links, as `ip link set xdp` does it: the interface itself holds the program.

Used for two things that links cannot do: to take the place of such a program in one step, and to
hear in words why a driver refuses (netlink's extended acknowledgement).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.kernel_errors import (
    InterfaceGoneError,
    KernelFaultError,
    LinkChangedError,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import Handle
from shared.contracts.node import AttachmentKind

MODE_FLAGS: Final[dict[AttachmentKind, int]] = {
    "xdp-native": 1 << 2,
    "xdp-generic": 1 << 1,
    "xdp-offload": 1 << 3,
}
"""include/uapi/linux/if_link.h: XDP_FLAGS_DRV_MODE, _SKB_MODE, _HW_MODE."""
_IF_NONE, _REPLACE = 1 << 0, 1 << 4
_NO_PROGRAM: Final = -1


def program_on(interface_index: int, kind: AttachmentKind | None = None) -> int:
    """Id of the XDP program of an interface, in one mode or in any; 0: none.

    Raises:
        KernelFaultError: the kernel cannot be asked.
    """
    ffi, bpf, _ = libraries()
    found = ffi.new("uint32_t *")
    flags = MODE_FLAGS[kind] if kind else 0
    result = bpf.bpf_xdp_query_id(interface_index, flags, found)
    if result < 0:
        raise KernelFaultError(f"asking for the XDP program of {interface_index}", -result)
    return int(found[0])


def kind_on(interface_index: int) -> AttachmentKind:
    """In which mode the XDP program of an interface runs; empty if there is none."""
    return next((kind for kind in MODE_FLAGS if program_on(interface_index, kind)), "")


def replace_program(
    interface_index: int, program: Handle, *, expected_id: int, kind: AttachmentKind
) -> None:
    """The interface runs `program`, if it ran the program `expected_id` without a link: one step.

    Raises:
        LinkChangedError: it ran another program, or none.
        InterfaceGoneError: there is no such interface.
        KernelFaultError: any other failure.
    """
    try:
        expected = kernel_info.program_by_id(expected_id)
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        raise _changed(interface_index, expected_id) from error
    flags = MODE_FLAGS[kind] | _REPLACE
    with expected:
        failure, _ = _set(interface_index, program.fd, flags, expected_fd=expected.fd)
    if not failure:
        return
    if failure == errno.ENODEV:
        raise InterfaceGoneError(f"there is no interface with index {interface_index}")
    if program_on(interface_index) != expected_id:
        raise _changed(interface_index, expected_id)
    raise KernelFaultError("replacing the XDP program of an interface", failure)


def take_off(interface_index: int, program_id: int) -> None:
    """That program is not on the interface without a link; one that a link holds stays.

    Should another program come meanwhile, that one stays too: the kernel compares.
    """
    kind = kind_on(interface_index)
    if kind:
        with suppress(KernelFaultError), kernel_info.program_by_id(program_id) as program:
            flags = MODE_FLAGS[kind] | _REPLACE
            _set(interface_index, _NO_PROGRAM, flags, expected_fd=program.fd)


def words_of_refusal(interface_index: int, program: Handle, kind: AttachmentKind) -> str:
    """Why the driver refuses the program, in the kernel's words; empty if it says nothing.

    The same attempt is made once more through netlink, where the kernel can say more than a
    number.  Should it succeed, since something changed meanwhile, it is taken back.
    """
    failure, words = _set(interface_index, program.fd, MODE_FLAGS[kind] | _IF_NONE)
    if not failure:
        flags = MODE_FLAGS[kind] | _REPLACE
        _set(interface_index, _NO_PROGRAM, flags, expected_fd=program.fd)
    return words


def _set(
    interface_index: int, fd: int, flags: int, *, expected_fd: int | None = None
) -> tuple[int, str]:
    """Number of the error (0: none) and what the kernel says about it."""
    attributes = [["IFLA_XDP_FD", fd], ["IFLA_XDP_FLAGS", flags]]
    if expected_fd is not None:
        attributes.append(["IFLA_XDP_EXPECTED_FD", expected_fd])
    try:
        with IPRoute(ext_ack=True) as route:
            route.link("set", index=interface_index, xdp={"attrs": attributes})
    except NetlinkError as error:
        number, said = error.args
        return int(number), "" if said == os.strerror(number) else str(said)
    except OSError as error:
        return error.errno or errno.EIO, ""
    return 0, ""


def _changed(interface_index: int, expected_id: int) -> LinkChangedError:
    actual = kernel_info.occupant(program_on(interface_index))
    return LinkChangedError(0, expected_id=expected_id, actual=actual)
