# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said when interfaces and named network namespaces come, go and change."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import PurePosixPath

import pytest

from services.node_executor.adapters.link_monitor import LinkMonitor, Places
from services.node_executor.adapters.netlink import Netlink
from tests.support.namespaces import a_namespace, a_pair, ip

pytestmark = pytest.mark.kernel
DEADLINE_SECONDS = 30.0


class Watch:
    """A monitor, and what it told."""

    def __init__(self) -> None:
        self.told: list[Places] = []
        self.monitor = LinkMonitor()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits for it."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so():
                await asyncio.sleep(0.005)

    def has_told(self, place: str) -> bool:
        """Whether that interface was said to have changed."""
        return any(place in one for one in self.told if one is not None)


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    """Everything is watched."""
    made = Watch()
    task = asyncio.create_task(made.monitor.watching(made.told.append))
    await made.until(lambda: bool(made.told))
    made.told.clear()
    yield made
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_burst_is_told_in_few_words(watch: Watch) -> None:
    """However many interfaces come and go at once."""
    for _ in range(10):
        with a_pair() as wire:
            pass
    await watch.until(lambda: watch.has_told(wire.name))

    assert len(watch.told) <= 8


async def test_a_namespace_that_comes_is_watched_and_one_that_goes_is_let_go(
    watch: Watch,
) -> None:
    """No socket keeps it alive: a pair of interfaces ends when one end's namespace does."""
    with a_pair() as wire:
        with a_namespace() as blue:
            await watch.until(lambda: watch.has_told(f"{blue}/"))
            ip("link", "set", wire.name, "netns", blue)
            await watch.until(lambda: watch.has_told(f"{blue}/{wire.name}"))
        await watch.until(lambda: watch.has_told(wire.peer) and not _exists(wire.peer))


def _exists(interface: str) -> bool:
    return interface in (name for _, name in socket.if_nameindex())


async def test_a_namespace_made_anew_under_its_name_is_watched_too(watch: Watch) -> None:
    """It is another one."""
    with a_namespace() as blue:
        await watch.until(lambda: watch.has_told(f"{blue}/"))
        ip("netns", "del", blue)
        ip("netns", "add", blue)
        watch.told.clear()
        await watch.until(lambda: watch.has_told(f"{blue}/"))
        ip("link", "set", "lo", "up", within=blue)
        await watch.until(lambda: watch.has_told(f"{blue}/lo"))


async def test_lost_messages_mean_that_anything_may_have_changed() -> None:
    """The kernel says that the buffer was too small, not what did not fit."""
    watch = Watch()
    task = asyncio.create_task(watch.monitor.watching(watch.told.append))
    await watch.until(lambda: bool(watch.told))
    watch.told.clear()
    source = watch.monitor._sources[""]
    source.opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(20):  # blocks the loop, so nobody reads meanwhile
        with a_pair():
            pass
    await watch.until(lambda: None in watch.told)
    source.opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    watch.told.clear()
    with a_pair() as wire:
        await watch.until(lambda: watch.has_told(wire.name))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_namespace_is_read_again_when_it_is_said_to_have_changed() -> None:
    """Or when everything may have; else it is believed for a while."""
    netlink = Netlink(PurePosixPath("/sys/fs/bpf/l3af"))
    try:
        with a_namespace() as blue:

            def interfaces() -> list[str]:
                return [one.name for one in netlink.survey().interfaces if one.netns == blue]

            assert interfaces() == []
            ip("link", "add", "one", "type", "veth", "peer", "name", "two", within=blue)
            assert interfaces() == []
            netlink.forget([f"{blue}/one"])
            assert interfaces() == ["one", "two"]
            ip("link", "del", "one", within=blue)
            netlink.forget(["eth0"])
            assert interfaces() == ["one", "two"]
            netlink.forget(None)
            assert interfaces() == []
    finally:
        netlink.close()
