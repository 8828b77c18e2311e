# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why the chains of an interface are what they are: which deployments, by which rules."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.link_options import LinkOptions
from shared.contracts.node_overlays import OverlaidSetting
from shared.identifiers import Hook, InterfaceText, NetnsText, Token


class WhyChains(Request, frozen=True, kw_only=True):
    """Which deployments and rules made the chains of an interface what they are."""

    node: Token
    interface: InterfaceText
    netns: NetnsText = ""
    hook: Hook | None = None
    """Of one hook alone."""


class ProgramReasons(Message, frozen=True, kw_only=True):
    """One program of a chain, and why it is there and in this place."""

    deployment: str
    order: int
    """The number that it is shown with."""
    revision: int = 0
    package: str = ""
    version: str = ""
    archive_sha256: str = ""
    node: tuple[str, ...] = ()
    """What the deployment asks of nodes, and this one meets."""
    interface: str = ""
    """By which of its selectors the interface is meant."""
    place: tuple[str, ...] = ()
    """What decides its place in the chain."""
    rollout: str = ""
    """While a revision of the deployment is on its way: with which wave it came, or comes."""
    settings: tuple[OverlaidSetting, ...] = ()
    """What overlays of the deployment set on this node, and what they set aside."""
    at: str = ""
    """When the revision was accepted, RFC 3339 UTC."""
    by: str = ""
    """Role and key of who gave the command."""
    reason: str = ""
    owner: str = ""
    expiry: str = ""
    restricted: bool = False
    """Whether it is only said that there is one: it is in a space that whoever asked does not see.
    """


class LinkReason(Message, frozen=True, kw_only=True):
    """An option of a chain that deployments ask for."""

    option: str
    deployments: tuple[str, ...]


class AbsentDeployment(Message, frozen=True, kw_only=True):
    """A deployment that is not in a chain of the interface."""

    deployment: str
    hook: Hook
    why: str
    """The first requirement that fails, or who is there instead."""


class HookReasons(Message, frozen=True, kw_only=True):
    """One chain, first program first."""

    hook: Hook
    programs: tuple[ProgramReasons, ...]
    link: LinkOptions = LinkOptions()
    link_reasons: tuple[LinkReason, ...] = ()
    """Options that nobody asks for are the default."""


class ChainReasons(Message, frozen=True, kw_only=True):
    """The chains that the interface shall have now, and who is in none of them."""

    node: str
    place: str
    """Interface and network namespace in their one written form."""
    hooks: tuple[HookReasons, ...]
    absent: tuple[AbsentDeployment, ...] = ()


WHY_CHAINS: Final = Endpoint(f"{API}.scheduler.chain.why", WhyChains, ChainReasons)
