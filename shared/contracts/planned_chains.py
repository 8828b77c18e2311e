# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains as a plan of the scheduler shows them."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Message
from shared.contracts.link_options import LinkOptions
from shared.contracts.probes import ProbeTarget
from shared.identifiers import Hook, render_place


class ProgramPlace(Message, frozen=True, kw_only=True):
    """One program in a planned chain."""

    deployment: str
    package: str
    version: str
    order: int
    has_packages_order: bool = False
    """Whether its deployment leaves the place to the package, which says so."""
    proceed_on: tuple[str, ...]
    change: Literal["kept", "added", "changed", "removed"]
    archive_sha256: str = ""
    instructions: int = 0
    """As the node linked it for the plan, or as is said below; 0: not known."""
    is_estimate: bool = False
    """Whether the node did not try it, and `instructions` are those that the object's bytes have;
    linking adds some."""
    object_sha256: str = ""
    """Of the object that the node took from the archive; empty: it was not tried."""
    restricted: bool = False
    """Whether it is only said that there is one: it is in a space that whoever asked does not see.
    """


class PlannedChain(Message, frozen=True, kw_only=True):
    """One hook point after the change, first program first; removed ones last."""

    node: str
    interface: str
    hook: Hook
    programs: tuple[ProgramPlace, ...]
    link: LinkOptions = LinkOptions()
    """How the chain is linked and attached, from what all its deployments ask for."""
    verified_instructions: int = 0
    """What the node's verifier walked when it tried the chain; 0: it was not tried, or is not seen
    whole."""
    configuration_only: bool = False
    """Whether only map entries, variables, metrics and arguments of companions change, so that
    nothing is linked anew."""
    draft: str = ""
    """Under which the node keeps the staged chain for some minutes, to be explained or tried;
    empty: the chain was not staged."""
    netns: str = ""
    """Network namespace by its name below /run/netns; empty: the executor's own."""
    target: ProbeTarget | None = None
    """What the probe is attached to; null: it is a chain of a network hook, or is taken off."""

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)
