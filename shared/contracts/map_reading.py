# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reading the maps of a running program, as its package writes their entries."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request
from shared.deployment_keys import DeploymentKey
from shared.identifiers import Hook, NetnsText, PlaceText, render_place

MAX_KEY_CHARACTERS: Final = 4096

MapName = Annotated[str, Meta(min_length=1, max_length=127)]
"""As the program declares it; `.data`, `.bss` and `.rodata` are its global variables."""


class ReadMap(Request, frozen=True, kw_only=True):
    """A map of one program on one hook point."""

    interface: PlaceText
    hook: Hook
    netns: NetnsText = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""
    program: DeploymentKey
    """The deployment that the program belongs to."""
    map: MapName
    key: Annotated[str, Meta(max_length=MAX_KEY_CHARACTERS)] | None = None
    """One entry, by its key in text form; null: all."""
    within: Annotated[str, Meta(max_length=MAX_KEY_CHARACTERS)] | None = None
    """In a map of maps: the key whose map is meant; `key` is then of that one.  Null: the map of
    maps itself, in which each value is the object of an inner map's entries."""
    after: Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", max_length=MAX_KEY_CHARACTERS)] = ""
    """Where the reply before ended: its `next`."""


class MapEntryShown(Message, frozen=True, kw_only=True):
    """One entry."""

    key: str
    """In text form, as configuration has it."""
    value: Any = None
    cpus: tuple[Any, ...] | None = None
    """Instead of `value` in a per-CPU map: the value of every possible processor."""


class MapShown(Message, frozen=True, kw_only=True):
    """Entries as the kernel had them when it was asked, in the order of their bytes."""

    node: str
    interface: str
    netns: str = ""
    hook: Hook
    program: str
    map: str
    map_id: int
    type: str
    """Kernel name in lower case, as `percpu_hash`."""
    max_entries: int
    total: int
    """Entries that the map has, those that are not in this reply included."""
    within: str | None = None
    """The key of the map of maps under which this map is; null: it is the one that was named."""
    entries: tuple[MapEntryShown, ...] = ()
    next: str = ""
    """What to go on after; empty: these were the last."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


READ_MAP: Final = Endpoint(f"{API}.node.{{node}}.map.read", ReadMap, MapShown)
