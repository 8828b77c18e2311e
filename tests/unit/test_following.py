# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A follower hands on what is stored, whatever its hints say and whenever they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.adapters.direct_get import Stored
from shared.adapters.following import Follower
from shared.errors import FaultError


@dataclass
class Stream:
    """What is stored, and what it was asked; can be slow to store."""

    stored: dict[str, Stored] = field(default_factory=dict)
    late: list[Stored] = field(default_factory=list)
    """Become visible one by one, each after the next reading."""
    reads: int = 0
    faults: int = 0

    def put(self, key: str, sequence: int, data: bytes, *, second: str = "00") -> None:
        """Stored at once."""
        time = f"2026-01-01T00:00:{second}Z"
        self.stored[key] = Stored(key, sequence, {"Nats-Time-Stamp": time}, data)

    async def read(self, subject: str) -> list[Stored]:
        """As direct get does."""
        self.reads += 1
        if self.faults:
            self.faults -= 1
            raise FaultError("not now")
        found = [item for key, item in self.stored.items() if subject in (">", key)]
        if self.late:
            item = self.late.pop(0)
            self.stored[item.subject] = item
        return found


@asynccontextmanager
async def following(
    stream: Stream, told: list[tuple[str, bytes]], *, relist_seconds: float = 60.0
) -> AsyncIterator[Follower]:
    """A follower at work."""

    async def note(stored: Stored) -> None:
        told.append((stored.subject, stored.data))

    follower = Follower(read=stream.read, handler=note, subject=">", relist_seconds=relist_seconds)
    work = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        work.cancel()


def hint(key: str, data: bytes) -> Msg:
    """A core message on a key's subject."""
    return Msg(_client=Client(), subject=key, data=data)


async def told_at_last(told: list[tuple[str, bytes]], wanted: list[tuple[str, bytes]]) -> None:
    """Wait until exactly that was told."""
    async with asyncio.timeout(60):
        while told != wanted:
            await asyncio.sleep(0.001)


async def test_value_that_is_stored_after_its_hint_is_handed_on() -> None:
    """The hint comes first; the follower waits for the stream."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    stream.put("a", 1, b"one")
    async with following(stream, told) as follower:
        await told_at_last(told, [("a", b"one")])
        stream.late += [Stored("a", 1, {}, b"one"), Stored("a", 2, {}, b"two")]
        await follower.on_message(hint("a", b"two"))
        await told_at_last(told, [("a", b"one"), ("a", b"two")])


async def test_it_is_known_when_everything_that_was_stored_was_handed_on() -> None:
    """Not while it cannot be read, and not before the last of it was taken."""
    stream, told = Stream(faults=1), list[tuple[str, bytes]]()
    for number in range(3):
        stream.put(f"key-{number}", number + 1, b"value")
    async with following(stream, told) as follower:
        assert not follower.has_listed.is_set()
        async with asyncio.timeout(60):
            await follower.has_listed.wait()

    assert (stream.faults, len(told)) == (0, 3)


async def test_value_that_is_never_stored_is_not_handed_on() -> None:
    """A refused write has a hint too; the follower looks for it and gives up."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    stream.put("a", 1, b"one")
    async with following(stream, told) as follower:
        await told_at_last(told, [("a", b"one")])
        await follower.on_message(hint("a", b"refused"))
        async with asyncio.timeout(60):
            while stream.reads < 10:
                await asyncio.sleep(0.001)
        stream.put("b", 2, b"b")
        await follower.on_message(hint("b", b"b"))
        await told_at_last(told, [("a", b"one"), ("b", b"b")])


async def test_only_the_newest_of_many_hints_is_waited_for() -> None:
    """A burst costs one reading, and the same revision is handed on once."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    async with following(stream, told) as follower:
        stream.put("a", 100, b"100")
        for number in range(101):
            await follower.on_message(hint("a", str(number).encode()))
        await told_at_last(told, [("a", b"100")])
        await follower.relist()
        stream.put("b", 101, b"b")
        await follower.on_message(hint("b", b"b"))
        await told_at_last(told, [("a", b"100"), ("b", b"b")])

    assert stream.reads < 10


async def test_newer_hint_ends_the_wait_for_an_older_one() -> None:
    """A refused write does not delay the one that follows it."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    async with following(stream, told) as follower:
        await follower.on_message(hint("a", b"refused"))
        async with asyncio.timeout(60):
            while stream.reads < 3:
                await asyncio.sleep(0)
        stream.put("a", 1, b"one")
        await follower.on_message(hint("a", b"one"))
        await told_at_last(told, [("a", b"one")])

    # One list, some looks for the refused one, one for its successor; nine looks are a full wait.
    assert stream.reads < 9


async def test_everything_is_read_again_after_a_reconnection() -> None:
    """Hints were missed; the list is not."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    async with following(stream, told) as follower:
        stream.put("a", 1, b"one")
        await follower.relist()
        await told_at_last(told, [("a", b"one")])
        stream.put("a", 2, b"two")
        await follower.relist()
        await told_at_last(told, [("a", b"one"), ("a", b"two")])


async def test_everything_is_read_again_from_time_to_time() -> None:
    """Without any hint or reconnection."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    async with following(stream, told, relist_seconds=0.02):
        stream.put("a", 1, b"one")
        await told_at_last(told, [("a", b"one")])


async def test_key_that_left_no_marker_is_told_as_gone() -> None:
    """Deleted so long ago that its marker has expired, while nobody listened."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    stream.put("a", 1, b"one")
    async with following(stream, told) as follower:
        await told_at_last(told, [("a", b"one")])
        del stream.stored["a"]
        await follower.relist()
        await told_at_last(told, [("a", b"one"), ("a", b"")])
        stream.put("a", 2, b"two")
        await follower.relist()
        await told_at_last(told, [("a", b"one"), ("a", b""), ("a", b"two")])


async def test_bucket_that_was_made_anew_is_followed_from_its_start() -> None:
    """Its sequences are those of the old one again, or smaller; its values are later."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    stream.put("a", 1, b"one")
    stream.put("b", 9, b"nine", second="00.1")
    before = [("a", b"one"), ("b", b"nine")]
    async with following(stream, told) as follower:
        await told_at_last(told, before)
        stream.put("a", 1, b"new one", second="00.15")
        stream.put("b", 2, b"new two", second="00.15")
        await follower.relist()
        await told_at_last(told, [*before, ("a", b"new one"), ("b", b"new two")])


async def test_answer_of_a_server_that_lags_behind_is_not_handed_on() -> None:
    """A smaller sequence that was stored earlier is old news."""
    stream, told = Stream(), list[tuple[str, bytes]]()
    stream.put("a", 2, b"two", second="02")
    async with following(stream, told) as follower:
        await told_at_last(told, [("a", b"two")])
        stream.put("a", 1, b"one", second="01")
        stream.put("b", 3, b"three", second="03")
        await follower.relist()
        await told_at_last(told, [("a", b"two"), ("b", b"three")])
