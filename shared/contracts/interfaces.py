# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The network interfaces of a node, as its inventory lists them."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message
from shared.identifiers import render_place

RouteFamily = Literal["ipv4", "ipv6"]


class Interface(Message, frozen=True, kw_only=True):
    """One network interface."""

    name: str
    index: int
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    driver: str = ""
    xdp_features: tuple[str, ...] | None = None
    """What the driver does with XDP, as `basic` (native), `rx-sg` (frags), `hw-offload`; null: the
    kernel does not say (before Linux 6.3)."""
    default_routes: tuple[RouteFamily, ...] | None = None
    """Families whose default route, in the main table, leaves through it; null: it is not said (an
    executor of an earlier release, or too many routes to look through)."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""

    @property
    def place(self) -> str:
        """Name and namespace in their one written form."""
        return render_place(self.name, self.netns)
