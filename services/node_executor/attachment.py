# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a linked program gets on its hook: which ways are tried, where it stands, and in what words.

Pure.  The adapters try; this says what to try, and says what came back.

Rules:
 * A way that was asked for by name is that way or a refusal, never another one in silence.
 * `auto` is the best way that works, and says why no better one was taken.
 * An XDP program of another owner is never replaced unasked; on TCX all owners stay.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from services.node_executor.kernel_types import HookOccupant
from shared.contracts.errors import ErrorCode
from shared.contracts.link_options import AttachChoice, LinkOptions
from shared.contracts.node import AttachmentKind
from shared.contracts.probes import ObservedProbe
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook

Holder = Literal["", "link", "filter", "netlink"]
"""What keeps our program on its hook: a pinned bpf_link, a cls_bpf filter, or the interface."""

CLS_BPF_IS_WEAKER: Final = (
    "cls_bpf filters are no links: a swap does not compare what it replaces, any administrator of"
    " the interface can remove the filter, and removing the qdisc removes the chain"
)
NO_TCX: Final = "this kernel has no TCX links (Linux 6.6)"
TAKEN_OVER: Final = "taken over from another owner, in the way in which it was attached"
ENOTSUPP: Final = 524
"""include/linux/errno.h; what some drivers answer, and no errno of user space."""
_NEVER_FALLS_BACK: Final = frozenset(
    {errno.EPERM, errno.ENODEV, errno.EBADF, errno.EFAULT, errno.EAGAIN, errno.E2BIG}
)
_ORDINARY_MTU: Final = 1500
_XDP_WAYS: Final[dict[AttachChoice, tuple[AttachmentKind, ...]]] = {
    "auto": ("xdp-native", "xdp-generic"),
    "native": ("xdp-native",),
    "generic": ("xdp-generic",),
    "offload": ("xdp-offload",),
}
_BEST: Final[tuple[AttachmentKind, ...]] = ("xdp-native", "tcx")
_TC_WAYS: Final[dict[AttachChoice, AttachmentKind]] = {"tcx": "tcx", "cls_bpf": "cls_bpf"}


class AttachmentRefusedError(RefusedError):
    """The kernel or the driver does not take the chain in the way that was asked for."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


class ForeignOwnerError(RefusedError):
    """Somebody else's program is on the hook; the owner is named as far as it can be found."""

    code: ClassVar[ErrorCode] = "hook_owned"


class AnchorMissingError(RefusedError):
    """The program beside which the chain shall stand is not on the hook; it may come."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class InterfaceFacts:
    """What decides how XDP can run on an interface."""

    name: str
    mtu: int = 0
    """0: not known."""
    driver: str = ""
    has_receive_offload: bool = False
    """Whether packets are merged before the driver hands them on (LRO)."""
    xdp_features: tuple[str, ...] | None = None
    """As the kernel lists them (Linux 6.3); None: not known."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a TCX program is inserted: at an end, or beside a program."""

    is_before: bool
    anchor_id: int = 0
    """0: at the end of the list."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is on a hook, as far as it is ours or in our way."""

    link_id: int = 0
    """Of our pinned link; 0: none."""
    program_id: int = 0
    """What is ours and runs; 0: nothing, or the interface is gone."""
    kind: AttachmentKind = ""
    """How it is attached; empty: it is not."""
    foreign_program_id: int = 0
    """A program of another owner that leaves no room for ours; 0: none."""
    displaced_program_id: int = 0
    """The program of another owner that was taken over, kept to be put back; 0: none."""
    fits_better: bool = False
    """Whether packets are smaller than when the driver refused what runs generic."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else is to be said of the place where our program is."""

    reason: str | None = None
    """Why it is attached as it is; None: it was attached by an earlier process, who knew."""
    runs_after: tuple[HookOccupant, ...] = ()
    """Programs of others that see packets before ours."""
    runs_before: tuple[HookOccupant, ...] = ()
    """Programs of others that see what ours lets through."""
    displaced: HookOccupant | None = None
    probe: ObservedProbe | None = None
    """What the kernel says of a probe's link."""


def ways(hook: Hook, choice: AttachChoice, *, has_tcx: bool) -> tuple[AttachmentKind, ...]:
    """The ways to try, best first.

    Raises:
        AttachmentRefusedError: The hook, or this kernel, has no such way.
    """
    if hook == "xdp":
        if choice in _XDP_WAYS:
            return _XDP_WAYS[choice]
        raise _refused(f"'{choice}' is no way of attaching to XDP", choice, list(_XDP_WAYS))
    if choice == "auto":
        return ("tcx",) if has_tcx else ("cls_bpf",)
    if choice not in _TC_WAYS:
        raise _refused(f"'{choice}' is no way of attaching to TC", choice, ["auto", *_TC_WAYS])
    if choice == "tcx" and not has_tcx:
        raise _refused(NO_TCX, choice, ["auto", "cls_bpf"])
    return (_TC_WAYS[choice],)


NAMES_THE_DRIVER: Final = ("native", "offload")
"""Choices that a driver can be known to refuse beforehand."""


def check_options(
    hook: Hook, options: LinkOptions, facts: InterfaceFacts, *, has_tcx: bool
) -> None:
    """Nothing, if nothing that is known beforehand speaks against the options.

    Raises:
        AttachmentRefusedError: The kernel or the driver would refuse.
    """
    first = ways(hook, options.attach, has_tcx=has_tcx)[0]
    features = facts.xdp_features
    if options.attach == "offload" and features is not None and "hw-offload" not in features:
        raise _refused(f"{_named(facts)} cannot run XDP in hardware", "offload", _offers(facts))
    if options.attach == "native" and features is not None and "basic" not in features:
        raise _refused(f"{_named(facts)} does not run XDP itself", "native", _offers(facts))
    if first == "cls_bpf" and options.position != "last":
        raise AttachmentRefusedError(
            "a cls_bpf filter cannot be placed beside TCX programs",
            [Reason(path="link.position", rule="needs TCX", got=options.position, allowed="last")],
        )
    if first == "cls_bpf" and options.end_verdict != "unspec":
        got = options.end_verdict
        raise AttachmentRefusedError(
            "a cls_bpf chain returns its verdicts as they are",
            [Reason(path="link.end_verdict", rule="needs TCX", got=got, allowed="unspec")],
        )


def falls_back(number: int) -> bool:
    """Whether the next way is tried after an attempt that ended with this errno."""
    return number not in _NEVER_FALLS_BACK


def why_refused(kind: AttachmentKind, number: int, words: str, facts: InterfaceFacts) -> str:
    """One sentence: the kernel's words where it gave any, and what is known of such refusals.

    Args:
        kind: The way that was tried.
        number: errno of the attempt.
        words: The kernel's own (netlink's extended acknowledgement); may be empty.
        facts: Of the interface, as they are now.
    """
    name = "ENOTSUPP" if number == ENOTSUPP else errno.errorcode.get(number, str(number))
    said = f"{words} ({name})" if words else name
    hints = _hints(kind, number, facts)
    return f"{_named(facts)} refused {kind}: {said}" + "".join(f"; {hint}" for hint in hints)


def swap_refused(number: int, facts: InterfaceFacts) -> str:
    """Why a driver refuses the next program of a link that it runs."""
    name = errno.errorcode.get(number, str(number))
    hints = _hints("xdp-native", number, facts)
    return f"{_named(facts)} refused the next program of its link: {name}" + "".join(
        f"; {hint}" for hint in hints
    )


def place_among(position: str, present: Sequence[HookOccupant]) -> Place:
    """Where the chain is inserted among the programs that are on a TCX hook.

    Raises:
        AnchorMissingError: The program to stand beside is not there, or is not the only one of
            its name.
    """
    if position in ("first", "last"):
        return Place(is_before=position == "first")
    side, _, wanted = position.partition(":")
    found = [one for one in present if wanted in (str(one.program_id), one.program_name)]
    if len(found) != 1:
        there = [f"{one.program_name} ({one.program_id})" for one in present]
        rule = "must name one program on the hook" if not found else "names several programs"
        raise AnchorMissingError(
            f"the chain cannot stand {side} '{wanted}'",
            [
                Reason(
                    path="link.position",
                    rule=rule,
                    got=wanted,
                    allowed=there or "first or last: nobody else is on the hook",
                )
            ],
        )
    return Place(is_before=side == "before", anchor_id=found[0].program_id)


def must_attach_anew(
    kind: AttachmentKind,
    options: LinkOptions,
    attached_with: LinkOptions,
    *,
    is_taken_over: bool = False,
    fits_better: bool = False,
) -> bool:
    """Whether what runs has to leave the hook for a moment, because a link cannot change its way.

    Where a chain stands is looked at only when the wish changed: owners that come later are no
    reason to start a contest.

    Args:
        kind: How it is attached.
        options: The wish.
        attached_with: The wish when it was attached.
        is_taken_over: Whether it is in the place of another owner's program.
        fits_better: Whether packets are smaller than when the driver refused it.
    """
    if is_taken_over or not kind:
        return False
    wanted = {**_XDP_WAYS, **{choice: (way,) for choice, way in _TC_WAYS.items()}}
    if options.attach != "auto" and kind not in wanted[options.attach]:
        return True
    if options.attach == "auto" and attached_with.attach != "auto" and kind not in _BEST:
        return True
    if options.attach == "auto" and kind == "xdp-generic" and fits_better:
        return True
    return kind == "tcx" and options.position != attached_with.position


def is_smaller(now: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether one of the largest packets is smaller than it was; 0, not known, is no size."""
    return any(0 < one < other for one, other in zip(now, before, strict=True))


def _hints(kind: AttachmentKind, number: int, facts: InterfaceFacts) -> list[str]:
    if kind not in ("xdp-native", "xdp-offload"):
        return []
    hints = []
    if facts.mtu > _ORDINARY_MTU and number in (errno.ERANGE, errno.EINVAL, errno.EOPNOTSUPP):
        hints.append(
            f"the MTU is {facts.mtu}, and a chain that does not take packets in several buffers"
            " (frags) fits a driver only if a packet fits one buffer: usually a page of 4,096 bytes"
            " less about 600; use only programs with frags, or a smaller MTU"
        )
    if facts.has_receive_offload:
        hints.append(f"large receive offload is on (ethtool -K {facts.name} lro off)")
    if number in (errno.EOPNOTSUPP, ENOTSUPP) and facts.xdp_features == ():
        hints.append("the driver has no XDP at all")
    return hints


def _named(facts: InterfaceFacts) -> str:
    return f"{facts.name} (driver {facts.driver})" if facts.driver else facts.name


def _offers(facts: InterfaceFacts) -> list[str]:
    features = facts.xdp_features or ()
    offered = ["auto", "generic"]
    offered += ["native"] if "basic" in features else []
    return offered + (["offload"] if "hw-offload" in features else [])


def _refused(sentence: str, got: str, allowed: list[str]) -> AttachmentRefusedError:
    reason = Reason(path="link.attach", rule=sentence, got=got, allowed=allowed)
    return AttachmentRefusedError(sentence, [reason])
