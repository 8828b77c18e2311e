# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whom a node tells what happens on a hook point, and how much of it.

Pure.

Rules:
 * What happens on a hook point is told to the one space with a program there that not everybody
   sees, else to everybody.
 * A change from one audience to another is told to each no more than it may see: what ran before,
   or what runs now.  Everybody is told of what is everybody's now, and of nothing else.
 * Who gave a command is told to those who may know of the command.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from shared.contracts.desired import Cause, DesiredChain
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.node import ObservedChain


class Said(NamedTuple):
    """An event to be, for one audience."""

    event_id: str
    body: EventBody
    audience: Audience = PUBLIC


Entry: TypeAlias = tuple[str, EventBody] | Said
"""What is journaled; a pair is for everybody, unless whoever takes it says otherwise."""


class Telling(NamedTuple):
    """One audience of a change."""

    audience: Audience
    sees_before: bool = True
    sees_after: bool = True
    is_further: bool = False
    """Whether the same was told to another audience."""

    def named(self, action: str) -> str:
        """What makes the event's id; those of one step have different ones."""
        return f"{action}|{self.audience}" if self.is_further else action


def audience_of(*chains: DesiredChain | None) -> Audience:
    """Whom it is told what concerns these chains of one hook point; the first has the say."""
    restricted = (one.audience for one in chains if one is not None and one.audience != PUBLIC)
    return next(restricted, PUBLIC)


def tellings(before: DesiredChain | None, after: DesiredChain | None) -> tuple[Telling, ...]:
    """To whom a change from one chain to another is told."""
    was, now = audience_of(before), audience_of(after)
    if was in (PUBLIC, now):
        return (Telling(now),)
    if now != PUBLIC:
        return (Telling(was, sees_after=False), Telling(now, sees_before=False, is_further=True))
    if after is not None and after.programs:
        return (Telling(was), Telling(PUBLIC, sees_before=False, is_further=True))
    return (Telling(was),)


def known_cause(cause: Cause | None, audience: Audience) -> Cause | None:
    """What led to something, if this audience may know it."""
    if cause is None or cause.audience in (PUBLIC, audience):
        return cause
    return None


def nothing_seen(seen: ObservedChain) -> ObservedChain:
    """The hook point for those who may not see what is there."""
    return ObservedChain(
        interface=seen.interface,
        netns=seen.netns,
        hook=seen.hook,
        state="absent",
        generation=seen.generation,
        desired_generation=seen.desired_generation,
    )
