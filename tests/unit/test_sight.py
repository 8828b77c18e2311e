# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A space that the log names is known before anything is answered from the log."""

from __future__ import annotations

from dataclasses import replace

from services.auditor.admission import EMPTY_LOG, Channel, LogState
from services.auditor.sight import Sight
from shared.contracts.events import PUBLIC, Audience
from shared.errors import RefusedError

ACME, OTHER = "p_acme", "p_other"


class FakeLog:
    """A log that names channels."""

    def __init__(self) -> None:
        self.state: LogState = EMPTY_LOG

    def hold(self, *channels: Channel) -> None:
        """Each of them has an event, beside those of before."""
        heads = {**self.state.heads, **dict.fromkeys(channels, 1)}
        self.state = replace(self.state, heads=heads)


class FakeSpaces:
    """Spaces whose changes are heard of when they are read again."""

    def __init__(self, *, may_read: bool = True) -> None:
        self.stored: set[Audience] = set()
        self.known: set[Audience] = set()
        self.reads = 0
        self._may_read = may_read

    def visible_to(self, name: str) -> frozenset[Audience]:
        """Ann is a member of all."""
        return frozenset({PUBLIC, *(self.known if name == "ann" else ())})

    def open_to_all(self) -> frozenset[Audience]:
        """None of them."""
        return frozenset({PUBLIC})

    def audience_now(self, audience: Audience) -> Audience:
        """None of them is open."""
        return audience

    async def sees(self, name: str, audience: Audience) -> bool:
        """As it is known."""
        return audience in self.visible_to(name)

    async def refresh(self) -> None:
        """Everything that is stored is known."""
        self.reads += 1
        if not self._may_read:
            raise RefusedError("not permitted")
        self.known = set(self.stored)


async def test_a_space_is_read_when_the_log_names_it_for_the_first_time() -> None:
    """Once, and not for every new channel of those that are known."""
    log, spaces = FakeLog(), FakeSpaces()
    sight = Sight(log, spaces)
    log.hold(Channel("catalog", PUBLIC))
    assert await sight.of("ann") == {PUBLIC}
    assert spaces.reads == 0

    spaces.stored |= {ACME, OTHER}
    log.hold(Channel("catalog", ACME))
    assert await sight.of("ann") == {PUBLIC, ACME, OTHER}
    assert await sight.of("sam") == {PUBLIC}
    log.hold(Channel("scheduler", ACME))
    assert await sight.of("ann") == {PUBLIC, ACME, OTHER}
    assert spaces.reads == 1


async def test_who_may_not_read_the_spaces_sees_what_is_public() -> None:
    """As with credentials of a release that knew none."""
    log, spaces = FakeLog(), FakeSpaces(may_read=False)
    log.hold(Channel("catalog", ACME))

    assert await Sight(log, spaces).of("ann") == {PUBLIC}
