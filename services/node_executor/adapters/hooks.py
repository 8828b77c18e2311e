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
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from services.node_executor.adapters import kernel_info, xdp_netlink
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
from services.node_executor.adapters.interface_facts import read_interface_facts
from services.node_executor.adapters.kernel_errors import (
    HookOwnedError,
    InterfaceGoneError,
    KernelFaultError,
    LinkChangedError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.probes import knows_tcx
from services.node_executor.attachment import (
    ENOTSUPP,
    NO_TCX,
    AttachmentRefusedError,
    falls_back,
    place_among,
    swap_refused,
    ways,
    why_refused,
)
from services.node_executor.kernel_types import ATTACH_TYPES, Handle, HookOccupant, LinkInfo
from shared.contracts.link_options import DEFAULT_POSITION, AttachChoice
from shared.contracts.node import AttachmentKind
from shared.errors import Reason
from shared.identifiers import Hook


@dataclass(frozen=True, slots=True)
class Attachment:
    """A link just made."""

    link: Handle
    kind: AttachmentKind
    reason: str
    """Why the better ways were not taken; empty: there is no better one."""


DYING_LINK_SECONDS: Final = 0.2
_REPLACE: Final = 4
_MAX_OCCUPANTS: Final = 64
_DRIVER_REFUSALS: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, ENOTSUPP)
_BEFORE, _AFTER, _BY_ID = 1 << 3, 1 << 4, 1 << 5
"""include/uapi/linux/bpf.h: BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID."""
_LIST_CHANGED: Final = (errno.ESTALE, errno.EEXIST, errno.ENOENT)
"""The list is another than was read; the same program has a link that is just ending."""
_INSERTIONS: Final = 10
_CREATE_BYTES: Final = 64


def attach(
    program: Handle,
    interface_index: int,
    hook: Hook,
    *,
    hook_point: str,
    choice: AttachChoice = "auto",
    position: str = DEFAULT_POSITION,
) -> Attachment:
    """A new link that holds `program` on the hook.

    Args:
        program: The linked program.
        interface_index: Of the interface, in this process's network namespace.
        hook: Which hook of the interface.
        hook_point: How refusals call the place.
        choice: The way; `auto` takes XDP in the driver where that is possible.
        position: Among the programs of others on a TCX hook.

    Raises:
        HookOwnedError: another program holds XDP.
        AttachmentRefusedError: driver or kernel refuse every way that was allowed.
        AnchorMissingError: the program to stand beside is not on the hook.
        InterfaceGoneError: there is no such interface.
        UnsupportedByKernelError: the kernel has no links for this hook.
        KernelFaultError: any other failure.
    """
    if not _exists(interface_index):
        raise InterfaceGoneError(f"{hook_point}: there is no such interface")
    if hook != "xdp":
        link = _insert(program, interface_index, hook, position, hook_point)
        return Attachment(link, "tcx", "")
    present = _occupants_that_stay(interface_index, hook)
    if present:
        raise HookOwnedError(hook_point, present)
    refusals: list[str] = []
    for kind in ways(hook, choice, has_tcx=True):
        flags = xdp_netlink.MODE_FLAGS[kind]
        try:
            link = _create(program, interface_index, hook, flags=flags, hook_point=hook_point)
        except KernelFaultError as error:
            if not falls_back(error.number):
                raise
            words = xdp_netlink.words_of_refusal(interface_index, program, kind)
            facts = read_interface_facts(socket.if_indextoname(interface_index), interface_index)
            refusals.append(why_refused(kind, error.number, words, facts))
        else:
            return Attachment(link, kind, "; ".join(refusals))
    reasons = [Reason(path=hook_point, rule=refusal, got=choice) for refusal in refusals]
    raise AttachmentRefusedError(f"{hook_point}: {'; '.join(refusals)}", reasons)


def replace_program(link: Handle, program: Handle, *, expected_id: int) -> None:
    """The link runs `program`, if it ran the program `expected_id` until now: one atomic step.

    Raises:
        LinkChangedError: it ran another program.
        InterfaceGoneError: the interface is gone, so the link holds nothing.
        AttachmentRefusedError: the driver does not take this program.
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
    info = kernel_info.link_info(link.fd)
    if info.kind == "xdp" and failure in _DRIVER_REFUSALS and info.interface_index:
        index = info.interface_index
        facts = read_interface_facts(socket.if_indextoname(index), index)
        raise AttachmentRefusedError(swap_refused(failure, facts))
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
    return _tcx_list(interface_index, hook)[0]


def program_ids(interface_index: int, hook: Hook) -> tuple[int, ...]:
    """The programs on a TCX hook now, first to run first, without asking who they are.

    Raises:
        InterfaceGoneError: there is no such interface.
        KernelFaultError: the kernel cannot be asked.
    """
    return _tcx_ids(interface_index, hook)[0]


def check_position(
    interface_index: int, hook: Hook, position: str, *, own_link_id: int = 0
) -> None:
    """Nothing, if a program could be inserted there now; beside its own link it cannot be.

    Raises:
        AnchorMissingError: the program to stand beside is not on the hook.
    """
    present = occupants(interface_index, hook)
    place_among(position, [one for one in present if not own_link_id or one.link_id != own_link_id])


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


def links_on(interface_index: int, hook: Hook) -> tuple[LinkInfo, ...]:
    """Every bpf_link on the hook, by id."""
    wanted = interface_index, ATTACH_TYPES[hook]
    return tuple(one for one in links() if (one.interface_index, one.attach_type) == wanted)


def links() -> Iterator[LinkInfo]:
    """Every bpf_link of the kernel, by id."""
    for link_id in ids(LINK_NEXT_ID):
        try:
            with kernel_info.link_by_id(link_id) as link:
                info = kernel_info.link_info(link.fd)
        except KernelFaultError as error:
            # Links come (EAGAIN: not attached yet, bpf_link_by_id) and go while they are listed.
            if error.number not in (errno.ENOENT, errno.EAGAIN):
                raise
        else:
            yield info


def _insert(
    program: Handle, interface_index: int, hook: Hook, position: str, hook_point: str
) -> Descriptor:
    """A TCX link at its place among those of others; the list did not change in between."""
    last = KernelFaultError(f"attaching to {hook_point}", errno.ESTALE)
    for _ in range(_INSERTIONS):
        present, revision = _tcx_list(interface_index, hook)
        place = place_among(position, present)
        flags = (_BEFORE if place.is_before else _AFTER) | (_BY_ID if place.anchor_id else 0)
        try:
            return _create(
                program,
                interface_index,
                hook,
                flags=flags,
                hook_point=hook_point,
                relative=struct.pack("<I4xQ", place.anchor_id, revision),
            )
        except KernelFaultError as error:
            if error.number not in _LIST_CHANGED:
                raise
            last = error
            sleep(DYING_LINK_SECONDS / _INSERTIONS)
    raise last


def _create(
    program: Handle,
    interface_index: int,
    hook: Hook,
    *,
    flags: int,
    hook_point: str,
    relative: bytes = b"",
) -> Descriptor:
    request = struct.pack("<IIII", program.fd, interface_index, ATTACH_TYPES[hook], flags)
    fd, failure, _ = bpf_attempt(LINK_CREATE, (request + relative).ljust(_CREATE_BYTES, b"\0"))
    if not failure:
        return Descriptor(fd)
    if failure in (errno.EBUSY, errno.EEXIST) and hook == "xdp":
        present = occupants(interface_index, hook)
        if present:
            raise HookOwnedError(hook_point, present)
    if failure == errno.ENODEV:
        raise InterfaceGoneError(f"{hook_point}: there is no such interface")
    if failure == errno.EINVAL and hook != "xdp" and not knows_tcx():
        raise UnsupportedByKernelError(f"{hook_point}: {NO_TCX}")
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
    program_id = xdp_netlink.program_on(interface_index)
    if not program_id:
        return ()
    link = next(
        (found for found in links_on(interface_index, "xdp") if found.program_id == program_id),
        None,
    )
    return (kernel_info.occupant(program_id, link.id if link else 0),)


def _tcx_list(interface_index: int, hook: Hook) -> tuple[tuple[HookOccupant, ...], int]:
    """The programs, first to run first, and the number that changes with the list."""
    programs, links, revision = _tcx_ids(interface_index, hook)
    found = (kernel_info.occupant(*both) for both in zip(programs, links, strict=True))
    return tuple(found), revision


def _tcx_ids(interface_index: int, hook: Hook) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Ids of programs and of their links, and the number that changes with the list."""
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
        raise UnsupportedByKernelError(NO_TCX)
    if failure not in (0, errno.ENOENT):
        raise KernelFaultError(f"asking for the {hook} programs of {interface_index}", failure)
    count = 0 if failure else struct.unpack_from("<I", reply, 24)[0]
    return (
        struct.unpack(f"<{count}I", read_programs()[: 4 * count]),
        struct.unpack(f"<{count}I", read_links()[: 4 * count]),
        0 if failure else int(struct.unpack_from("<Q", reply, 56)[0]),
    )
