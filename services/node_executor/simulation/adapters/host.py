# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a simulated node has whether its executor runs or not: kernel, disk, line to the bus."""

from __future__ import annotations

import secrets
from typing import Final

from services.node_executor.adapters.state_file import open_in_memory
from services.node_executor.simulation.adapters.archives import MemoryCache, Shelf
from services.node_executor.simulation.adapters.line import Line
from services.node_executor.simulation.inventory import INTERFACES
from services.node_executor.simulation.kernel import SimulatedKernel
from services.node_executor.simulation.troubles import Troubles


class SimulatedHost:
    """One node's, booted once."""

    def __init__(
        self, name: str, number: int, *, troubles: Troubles, shelf: Shelf, line: Line
    ) -> None:
        """Nothing is on its disk, and nothing in its kernel.

        Args:
            name: Of the node.
            number: Among the nodes of its fleet; decides its labels.
            troubles: What goes wrong.
            shelf: Where the bytes of archives lie.
            line: Its own.
        """
        self.name: Final = name
        self.number: Final = number
        self.line: Final = line
        self.boot_id: Final = secrets.token_hex(16)
        self.kernel: Final = SimulatedKernel(
            failure_rate=troubles.failure_rate, rng=troubles.rng(name, "failures")
        )
        for interface in INTERFACES:
            self.kernel.add_interface(interface)
        self.state: Final = open_in_memory()
        self.cache: Final = MemoryCache(shelf)

    def close(self) -> None:
        """The disk is gone."""
        self.state.close()
