# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What licences say of programs that are linked into one chain.

Pure.  The kernel sees one program a segment and checks each alone; whether works of different
authors become one work is not the kernel's question, so what is unclear is for review.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.licences import LicenceFinding
from shared.licensing.compatibility import joint_arms
from shared.licensing.expressions import Arm, bare, render_arm
from shared.licensing.package import finding


@dataclass(frozen=True, slots=True)
class ChainMember:
    """One program of a chain."""

    name: str
    licence: str
    """What its object tells the kernel."""
    arms: frozenset[Arm]
    """What its package offers; none if nobody can tell."""


def is_gpl_alone(member: ChainMember) -> bool:
    """Whether its package offers nothing but licences of the GPL family."""
    return bool(member.arms) and all(
        any("GPL" in licence for licence in bare(arm)) for arm in member.arms
    )


def segments_by_licence(members: Sequence[ChainMember]) -> tuple[tuple[ChainMember, ...], ...]:
    """The fewest kernel programs that never join GPL-compatible programs and others."""
    groups = groupby(members, key=lambda one: is_gpl_compatible(one.licence))
    return tuple(tuple(group) for _, group in groups)


def chain_findings(segments: Sequence[Sequence[ChainMember]]) -> Iterator[LicenceFinding]:
    """Every rule about works that run as one, at the segment where it does not hold."""
    found = [
        *(one for index, each in enumerate(segments) for one in _of_segment(index, each)),
        *_of_chain(segments),
    ]
    broken = {one.rule for one in found}
    for rule in ("segment-string", "segment-combines", "chain-mixed"):
        if rule not in broken:
            yield LicenceFinding(rule=rule, outcome="passed")
    yield from found


def _of_segment(index: int, members: Sequence[ChainMember]) -> Iterator[LicenceFinding]:
    path = f"segments[{index}]"
    closed = [one.name for one in members if not is_gpl_compatible(one.licence)]
    opened = [one.name for one in members if is_gpl_compatible(one.licence)]
    if closed and opened:
        yield finding(
            "segment-string",
            "refused",
            path,
            f"{opened[0]} and {closed[0]} are one kernel program, which has one licence string",
            "end the segment between them",
            programs={one.name: one.licence for one in members},
        )
    known = [one for one in members if one.arms]
    if not joint_arms(one.arms for one in known):
        yield finding(
            "segment-combines",
            "review",
            path,
            "no choice of their licences is known to allow these programs to be one work",
            "have it looked at, or let another program of the chain end the segment between them",
            programs={one.name: sorted(map(render_arm, one.arms)) for one in known},
        )


def _of_chain(segments: Sequence[Sequence[ChainMember]]) -> Iterator[LicenceFinding]:
    """Tail calls and replaced functions join what the kernel checked apart."""
    members = [one for segment in segments for one in segment]
    closed = [one.name for one in members if not is_gpl_compatible(one.licence)]
    copyleft = [one.name for one in members if is_gpl_alone(one)]
    if closed and copyleft:
        yield finding(
            "chain-mixed",
            "review",
            "chain",
            f"{copyleft[0]} is under the GPL alone and {closed[0]} is not GPL-compatible; the "
            "kernel takes each, since they are programs of their own",
            "have it looked at whether both are handed out together as one work",
            programs={one.name: one.licence for one in members},
        )
