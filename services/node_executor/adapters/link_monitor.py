# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Says when interfaces come, go or change, here and in named network namespaces.

A message is a hint to look, never a fact: whoever is told reads the kernel.  Messages that were
lost (ENOBUFS) are a hint to look at everything.  A socket keeps its namespace alive, so it is
closed as soon as the namespace has no name any more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.network_namespaces import (
    FOLDER,
    NamespaceGoneError,
    inside,
    names,
)
from services.node_executor.link_messages import KnownLinks
from shared.identifiers import render_place

Places: TypeAlias = frozenset[str] | None
"""Interfaces in their written form; None: any may have changed."""

SETTLE_SECONDS: Final = 0.02
"""What changes within is one change: an interface that is made is said several times."""
PAUSE_SECONDS: Final = 0.1
"""Between one telling and the next, however much changes."""
RESCAN_SECONDS: Final = 5.0
"""How often namespaces are counted without anybody saying so."""
_AFTER_A_NAME: Final = (0.0, 0.05, 0.2, 0.5, 1.0)
"""A namespace is mounted a moment after its name was made, which nobody says."""
_LINK_GROUP: Final = 1
"""include/uapi/linux/rtnetlink.h: RTMGRP_LINK."""
_BUFFER_BYTES: Final = 1 << 20
_MESSAGE_BYTES: Final = 1 << 16
_NAMES_CHANGE: Final = 0x100 | 0x200 | 0x80 | 0x40
"""include/uapi/linux/inotify.h: IN_CREATE, IN_DELETE, IN_MOVED_TO, IN_MOVED_FROM."""
_INOTIFY_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class _Source:
    """The socket of one namespace."""

    opened: socket.socket
    inode: int
    links: KnownLinks = field(default_factory=KnownLinks)


class LinkMonitor:
    """All interfaces of this host that can have hook points."""

    def __init__(
        self,
        *,
        first: Callable[[Places], None] = lambda _places: None,
        named: Callable[[], tuple[str, ...]] = names,
        folder: Path = FOLDER,
    ) -> None:
        """Nothing is watched yet.

        Args:
            first: Told before everybody else.
            named: Lists the network namespaces to watch, beside this thread's own.
            folder: Where they have their names.
        """
        self._first = first
        self._names = named
        self._folder = folder
        self._sources: dict[str, _Source] = {}
        self._places: set[str] = set()
        self._is_everything = False
        self._happened = asyncio.Event()
        self._rescans: list[float] = []
        """When namespaces are counted next, by the loop's clock."""

    async def watching(self, changed: Callable[[Places], None]) -> None:
        """`changed` is called after every change, in bursts once; never ends by itself.

        It is called when everything is watched, too: what changed before was not seen.

        Raises:
            KernelFaultError: The kernel gives no socket.
        """
        loop = asyncio.get_running_loop()
        names_watch = self._watch_names()
        loop.add_reader(names_watch, self._on_names, names_watch)
        try:
            self._is_everything = True
            self._rescans = [loop.time()]
            while True:
                if self._is_due():
                    await self._rescan()
                self._tell(changed)
                await asyncio.sleep(PAUSE_SECONDS)
                await self._wait()
        finally:
            loop.remove_reader(names_watch)
            os.close(names_watch)
            for netns in list(self._sources):
                self._close(netns)

    async def _wait(self) -> None:
        """Something happened, and then nothing for a moment; or it is time to count namespaces."""
        seconds = max(0.0, min(self._rescans) - asyncio.get_running_loop().time())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._happened.wait()
                await asyncio.sleep(SETTLE_SECONDS)

    def _tell(self, changed: Callable[[Places], None]) -> None:
        self._happened.clear()
        if self._is_everything or self._places:
            places = None if self._is_everything else frozenset(self._places)
            self._places.clear()
            self._is_everything = False
            self._first(places)
            changed(places)

    def _is_due(self) -> bool:
        """Whether namespaces are to be counted; what was due is not due again."""
        now = asyncio.get_running_loop().time()
        is_due = min(self._rescans) <= now
        if is_due:
            self._rescans = [one for one in self._rescans if one > now] or [now + RESCAN_SECONDS]
        return is_due

    async def _rescan(self) -> None:
        """Every namespace has its socket, and no other has one."""
        found = await asyncio.to_thread(self._names)
        for netns in set(self._sources) - {"", *found}:
            self._close(netns)
            self._places.add(render_place("", netns))
        for netns in ("", *found):
            inode = await asyncio.to_thread(_inode, self._folder / netns) if netns else 0
            known = self._sources.get(netns)
            if known is not None and known.inode == inode:
                continue
            if known is not None:
                self._close(netns)
            with suppress(NamespaceGoneError):
                self._open(netns, await asyncio.to_thread(_link_socket, netns), inode)

    def _open(self, netns: str, opened: socket.socket, inode: int) -> None:
        self._sources[netns] = _Source(opened, inode)
        self._places.add(render_place("", netns))
        asyncio.get_running_loop().add_reader(opened.fileno(), self._on_links, netns)

    def _close(self, netns: str) -> None:
        source = self._sources.pop(netns)
        asyncio.get_running_loop().remove_reader(source.opened.fileno())
        source.opened.close()

    def _on_links(self, netns: str) -> None:
        source = self._sources[netns]
        while True:
            try:
                data = source.opened.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                source.links = KnownLinks()
                self._is_everything = True
            else:
                self._places |= {render_place(name, netns) for name in source.links.take(data)}
        if self._places or self._is_everything:
            self._happened.set()

    def _on_names(self, names_watch: int) -> None:
        with suppress(BlockingIOError):
            os.read(names_watch, _MESSAGE_BYTES)
        self._add_watches(names_watch)
        now = asyncio.get_running_loop().time()
        self._rescans = [now + seconds for seconds in _AFTER_A_NAME]
        self._happened.set()

    def _watch_names(self) -> int:
        ffi, _, c = libraries()
        names_watch = int(c.inotify_init1(_INOTIFY_FLAGS))
        if names_watch < 0:
            raise KernelFaultError("watching names of network namespaces", ffi.errno)
        self._add_watches(names_watch)
        return names_watch

    def _add_watches(self, names_watch: int) -> None:
        """What cannot be watched, because it is not there, is looked at from time to time."""
        _, _, c = libraries()
        for folder in (self._folder.parent, self._folder):
            c.inotify_add_watch(names_watch, str(folder).encode(), _NAMES_CHANGE)


def _link_socket(netns: str) -> socket.socket:
    try:
        with inside(netns):
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            opened.setblocking(False)
            opened.bind((0, _LINK_GROUP))
            return opened
    except OSError as error:
        raise KernelFaultError("opening a socket for interfaces", error.errno or 0) from error


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
