# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Our program on a hook, whatever holds it there: a pinned link, a filter, or the interface.

What holds is read from bpffs and the kernel at every call:
 * `link`: our link, or another owner's link whose program we replaced;
 * a cls_bpf filter of ours: TC without TCX;
 * `displaced` without `link`: XDP without a link, in the place of another owner's program.
`displaced` names the program that was there before, pinned before it was replaced; whatever moment
a process dies at, either the other's program runs or it can be put back.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.adapters import cls_bpf, hooks, kernel_info, pins, xdp_netlink
from services.node_executor.adapters.bpf_syscall import LINK_DETACH, PIN, Memory, bpf
from services.node_executor.adapters.hook_owners import owned_by
from services.node_executor.adapters.interface_facts import (
    largest_packets,
    read_interface_facts,
)
from services.node_executor.adapters.kernel_errors import (
    InterfaceGoneError,
    KernelFaultError,
    UnsupportedByKernelError,
)
from services.node_executor.adapters.probes import knows_tcx
from services.node_executor.attachment import (
    CLS_BPF_IS_WEAKER,
    NAMES_THE_DRIVER,
    NO_TCX,
    TAKEN_OVER,
    Held,
    InterfaceFacts,
    Surroundings,
    check_options,
    is_smaller,
    ways,
)
from services.node_executor.generations import Point
from services.node_executor.kernel_types import Handle, HookOccupant
from services.node_executor.pin_paths import displaced_path, link_path, namespace_path
from shared.contracts.link_options import AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind
from shared.errors import RefusedError

_NOBODY: Final = HookOccupant(0, "", "", 0)


class Attachments:
    """The hook points whose pins lie below one directory."""

    def __init__(
        self, base: PurePosixPath, short_waits: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Whatever makes the kernel wait for packets under way happens within `short_waits`."""
        self._base = base
        self._short_waits = short_waits
        self._reasons: dict[Point, str] = {}
        self._left: dict[Point, tuple[int, AttachmentKind, str | None]] = {}
        """What was taken off last: program, way and reason."""
        self._kinds: dict[int, AttachmentKind] = {}
        """Of XDP links, by their id: the way of a link is that of its whole life."""
        self._packets: dict[Point, tuple[int, int]] = {}
        """How large packets could be when generic XDP was taken."""

    def observe(self, point: Point, index: int | None, own_programs: Collection[int]) -> Held:
        """What is on the hook; `own_programs` are those that are pinned for this point."""
        link_id, program_id = self._link_on(point, index)
        displaced = self._displaced_id(point)
        if index is None:
            return Held(link_id=link_id, displaced_program_id=displaced)
        if program_id and displaced and program_id not in own_programs:
            return Held(link_id, 0, "", program_id, displaced)
        if program_id:
            kind = self._kind(link_id, index) if point.hook == "xdp" else "tcx"
            fits_better = kind == "xdp-generic" and self._fits_better(point, index)
            return Held(link_id, program_id, kind, 0, displaced, fits_better)
        if point.hook != "xdp":
            return self._filter_on(point, index, link_id, own_programs)
        found = xdp_netlink.program_on(index)
        if displaced and not link_id and found in own_programs:
            return Held(0, found, xdp_netlink.kind_on(index), 0, displaced)
        return Held(link_id, 0, "", found, displaced)

    def _fits_better(self, point: Point, index: int) -> bool:
        """Whether packets are smaller than at the last attempt, or than when it was first seen."""
        now = largest_packets(point.interface, index)
        return is_smaller(now, self._packets.setdefault(point, now))

    def stray_index(self, point: Point, index: int | None) -> tuple[int, bool]:
        """Interface that our program is on while `index` is not it, 0: none; whether by a link."""
        link = pins.open_pinned(self._link(point))
        if link is not None:
            with link:
                found = kernel_info.link_info(link.fd).interface_index
            return (found if found != index else 0), True
        if point.hook == "xdp":
            return 0, True
        found = cls_bpf.marked_index(self._below(point), point.interface)
        return (found if found != index else 0), False

    def holds(self, point: Point, index: int, *, is_link: bool) -> bool:
        """Whether that interface of this network namespace has our program on the point's hook."""
        if not is_link:
            return cls_bpf.own_program(self._below(point), point.interface, index, point.hook) != 0
        link = pins.open_pinned(self._link(point))
        if link is None:
            return False
        with link:
            info = kernel_info.link_info(link.fd)
        if point.hook == "xdp":
            return xdp_netlink.program_on(index) == info.program_id
        return any(one.link_id == info.id for one in hooks.occupants(index, point.hook))

    def drop_filter(self, point: Point, index: int) -> None:
        """Our filter is not on that interface of this network namespace."""
        with self._short_waits():
            cls_bpf.detach(self._below(point), point.interface, index, point.hook)

    def _kind(self, link_id: int, index: int) -> AttachmentKind:
        known = self._kinds.get(link_id)
        if known is None:
            known = xdp_netlink.kind_on(index)
            if known:
                self._kinds[link_id] = known
        return known

    def surroundings(self, point: Point, index: int) -> Surroundings:
        """What else is to be said of our program on the hook."""
        reason = self._reasons.get(point)
        displaced = self._displaced_id(point)
        if point.hook == "xdp":
            if not displaced:
                return Surroundings(reason)
            return Surroundings(TAKEN_OVER, displaced=kernel_info.occupant(displaced))
        link_id, _ = self._link_on(point, index)
        present = hooks.occupants(index, point.hook) if knows_tcx() else ()
        if link_id:
            at = next((n for n, one in enumerate(present) if one.link_id == link_id), len(present))
            return Surroundings(reason, present[:at], present[at + 1 :])
        before, after = cls_bpf.others(self._below(point), point.interface, index, point.hook)
        why = CLS_BPF_IS_WEAKER if knows_tcx() else f"{NO_TCX}; {CLS_BPF_IS_WEAKER}"
        return Surroundings(why, (*present, *before), after)

    def owner(self, point: Point, index: int, *, program_id: int, hint: str) -> RefusedError:
        """A refusal that names whoever holds the hook."""
        present = hooks.occupants(index, point.hook) if point.hook == "xdp" else ()
        found = next((one for one in present if one.program_id == program_id), None)
        return owned_by(str(point), found or kernel_info.occupant(program_id), hint=hint)

    def check(self, point: Point, index: int, options: LinkOptions) -> None:
        """Nothing, if nothing that is known beforehand speaks against the options.

        Raises:
            AttachmentRefusedError: The driver or the kernel has no such way.
            AnchorMissingError: The program to stand beside is not on the hook.
            ForeignOwnerError: Another's filter is where ours would be.
        """
        # Asking a driver takes longer than all else that comes before a swap.
        facts = (
            read_interface_facts(point.interface, index)
            if options.attach in NAMES_THE_DRIVER
            else InterfaceFacts(point.interface)
        )
        check_options(point.hook, options, facts, has_tcx=knows_tcx())
        way = ways(point.hook, options.attach, has_tcx=knows_tcx())[0]
        if way == "tcx":
            own, _ = self._link_on(point, index)
            hooks.check_position(index, point.hook, options.position, own_link_id=own)
        elif way == "cls_bpf":
            found = cls_bpf.in_the_way(self._below(point), point.interface, index, point.hook)
            # Ours under its interface's old name is taken off before a new one comes.
            if found is not None and not cls_bpf.is_below(self._base, found):
                raise owned_by(str(point), cls_bpf.holder(found), free="attach = tcx")

    def attach(
        self,
        point: Point,
        program: Handle,
        *,
        interface_index: int,
        choice: AttachChoice,
        position: str,
        own_programs: Collection[int],
    ) -> None:
        """The program is on the hook and stays there without this process, or nothing happened.

        An XDP program of ours that another tool put there without a link makes room for it.
        """
        if ways(point.hook, choice, has_tcx=knows_tcx())[0] == "cls_bpf":
            with self._short_waits():
                cls_bpf.attach(
                    self._below(point), point.interface, interface_index, point.hook, program
                )
            return
        if self._pinned_again(point, program, interface_index):
            return
        with self._short_waits():
            found = xdp_netlink.program_on(interface_index) if point.hook == "xdp" else 0
            if found in own_programs:
                xdp_netlink.take_off(interface_index, found)
            made = hooks.attach(
                program,
                interface_index,
                point.hook,
                hook_point=str(point),
                choice=choice,
                position=position,
            )
        with made.link:
            self._pin_link(made.link, point)
        self._packets.pop(point, None)
        program_id = kernel_info.program_info(program.fd).id
        left = self._left.pop(point, None)
        if left is None or left[:2] != (program_id, made.kind):
            self._reasons[point] = made.reason
        elif left[2] is not None:  # it is back as it was, because another way was refused
            self._reasons[point] = left[2]

    def detach(self, point: Point, index: int | None, own_programs: Collection[int]) -> None:
        """Nothing of ours is on the hook, and what another owner had there is back."""
        if self._displaced_id(point):
            self._give_back(point, index, own_programs)
            return
        link = pins.open_pinned(self._link(point))
        if link is not None:
            with link, self._short_waits():
                self._leave(point, link, index)
                bpf(LINK_DETACH, struct.pack("<I", link.fd), action="detaching a link")
        elif point.hook != "xdp" and index is not None:
            cls_bpf.detach(self._below(point), point.interface, index, point.hook)
        pins.unpin(self._link(point), base=self._base)

    def _leave(self, point: Point, link: Handle, index: int | None) -> None:
        """Why our program is attached as it is stays known, should it come back the same way."""
        self._left.pop(point, None)
        if point.hook == "xdp" and index is not None:
            info = kernel_info.link_info(link.fd)
            reason = self._reasons.pop(point, None)
            self._left[point] = info.program_id, self._kind(info.id, index), reason

    def replace(
        self, point: Point, program: Handle, *, index: int | None, expected_program_id: int
    ) -> None:
        """Our program is this one now; refused if it was another than expected."""
        link = pins.open_pinned(self._link(point))
        if link is not None:
            with link, self._short_waits():
                hooks.replace_program(link, program, expected_id=expected_program_id)
        elif index is None:
            raise InterfaceGoneError(f"{point}: there is no such interface")
        elif self._displaced_id(point):
            self._replace_on_interface(index, program, expected_program_id)
        elif point.hook != "xdp":
            cls_bpf.replace(
                self._below(point),
                point.interface,
                index,
                point.hook,
                program,
                expected_id=expected_program_id,
            )
        else:
            raise KernelFaultError(f"opening {self._link(point)}", errno.ENOENT)

    def take_over(
        self, point: Point, program: Handle, *, interface_index: int, foreign_program_id: int
    ) -> None:
        """The program replaced another owner's in one step, and that one is kept pinned.

        Raises:
            RefusedError: The hook holds another program than expected by now, or the kernel does
                not let its link be changed.
            KernelFaultError: Any other failure.
        """
        if point.hook != "xdp":
            raise UnsupportedByKernelError(f"{point}: only XDP programs are taken over")
        present = hooks.occupants(interface_index, "xdp")
        found = present[0] if present else _NOBODY
        if found.program_id != foreign_program_id:
            raise owned_by(str(point), found)
        with kernel_info.program_by_id(foreign_program_id) as foreign:
            pins.pin(foreign, self._displaced(point))
        try:
            self._take(point, program, interface_index, found)
        except (RefusedError, KernelFaultError):
            self.drop(point)
            raise
        self._reasons[point] = TAKEN_OVER

    def drop(self, point: Point) -> None:
        """The pins of what runs nothing of ours are gone; the hook is not touched."""
        pins.unpin(self._link(point), base=self._base)
        pins.unpin(self._displaced(point), base=self._base)

    def _take(
        self, point: Point, program: Handle, interface_index: int, found: HookOccupant
    ) -> None:
        if not found.link_id:
            self._replace_on_interface(interface_index, program, found.program_id)
            return
        try:
            link = kernel_info.link_by_id(found.link_id)
        except KernelFaultError as error:
            if error.number != errno.EPERM:
                raise
            hint = "its link may not be changed by this process"
            raise owned_by(str(point), found, hint=hint) from error
        with link:
            self._pin_link(link, point)
            with self._short_waits():
                hooks.replace_program(link, program, expected_id=found.program_id)

    def _give_back(self, point: Point, index: int | None, own_programs: Collection[int]) -> None:
        """The displaced program is put in the place of ours, unless its owner did that already."""
        displaced = pins.open_pinned(self._displaced(point))
        if displaced is not None and index is not None:
            with displaced, self._short_waits():
                _, held = self._link_on(point, index)
                link = pins.open_pinned(self._link(point))
                if link is None:
                    found = xdp_netlink.program_on(index)
                    if found in own_programs:
                        self._replace_on_interface(index, displaced, found)
                else:
                    with link:
                        if held in own_programs:
                            hooks.replace_program(link, displaced, expected_id=held)
        self.drop(point)

    def _replace_on_interface(self, index: int, program: Handle, expected_id: int) -> None:
        with self._short_waits():
            kind = xdp_netlink.kind_on(index)
            xdp_netlink.replace_program(
                index, program, expected_id=expected_id, kind=kind or "xdp-generic"
            )

    def _filter_on(
        self, point: Point, index: int, link_id: int, own_programs: Collection[int]
    ) -> Held:
        """Filters are looked for only where a program of ours could be in one."""
        if link_id or not own_programs:
            return Held(link_id=link_id)
        found = cls_bpf.own_program(self._below(point), point.interface, index, point.hook)
        return Held(program_id=found, kind="cls_bpf" if found else "")

    def _link_on(self, point: Point, index: int | None) -> tuple[int, int]:
        """Ids of our pinned link, and of its program if it is on the interface of that name."""
        link = pins.open_pinned(self._link(point))
        if link is None:
            return 0, 0
        with link:
            info = kernel_info.link_info(link.fd)
        is_here = info.interface_index != 0 and info.interface_index == index
        return info.id, info.program_id if is_here else 0

    def _displaced_id(self, point: Point) -> int:
        if point.hook != "xdp":
            return 0
        opened = pins.open_pinned(self._displaced(point))
        if opened is None:
            return 0
        with opened:
            return kernel_info.program_info(opened.fd).id

    def _pinned_again(self, point: Point, program: Handle, index: int) -> bool:
        """Whether our link is on the hook, held by others alone; it has its name again."""
        program_id = kernel_info.program_info(program.fd).id
        for found in hooks.links_on(index, point.hook):
            if found.program_id == program_id:
                with suppress(KernelFaultError), kernel_info.link_by_id(found.id) as link:
                    self._pin_link(link, point)
                    return True
        return False

    def _pin_link(self, link: Handle, point: Point) -> None:
        """In one step and not under another name first: a kill must not leave a link unnamed."""
        path = self._link(point)
        Path(path.parent).mkdir(mode=0o700, parents=True, exist_ok=True)
        memory = Memory()
        request = struct.pack("<QII", memory.text(str(path)), link.fd, 0)
        bpf(PIN, request, action=f"pinning {path}")

    def _link(self, point: Point) -> PurePosixPath:
        return link_path(self._base, *point)

    def _displaced(self, point: Point) -> PurePosixPath:
        return displaced_path(self._base, *point)

    def _below(self, point: Point) -> PurePosixPath:
        return namespace_path(self._base, point.netns)
