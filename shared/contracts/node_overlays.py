# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of a deployment that are others on some of its nodes, and who set what there."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from shared.contracts.base import Document, Message
from shared.contracts.desired import MapConfig
from shared.contracts.link_options import LinkWishes
from shared.contracts.metrics import MetricSource
from shared.contracts.node_companions import CompanionWish
from shared.contracts.package_manifest import Symbol
from shared.contracts.selectors import NodeSelector
from shared.identifiers import Token

MAX_OVERLAYS: Final = 16


class NodeOverlay(Document, frozen=True, kw_only=True):
    """What is different on some nodes of a deployment; of several the later ones win."""

    name: Token
    """By which plans and questions tell who set what; not `package` or `deployment`."""
    nodes: NodeSelector
    """Among those of the deployment."""
    config: dict[str, MapConfig] = {}
    """Entry by entry, beside those that hold without it."""
    variables: dict[Symbol, Any] = {}
    metrics: dict[Token, MetricSource] = {}
    companions: Annotated[dict[Token, CompanionWish], Meta(max_length=16)] = {}
    """Argument by argument."""
    link: LinkWishes = LinkWishes()
    """What it leaves out is as the deployment says."""


Overlays = Annotated[tuple[NodeOverlay, ...], Meta(max_length=MAX_OVERLAYS)]


class SaidValue(Message, frozen=True, kw_only=True):
    """What one of them says."""

    by: str
    """`package`, `deployment`, or the name of an overlay."""
    value: Any = None


class OverlaidSetting(Message, frozen=True, kw_only=True):
    """One parameter that an overlay sets."""

    path: str
    """As `config.limits.80`."""
    value: Any = None
    by: str
    """The overlay that has the last word."""
    instead_of: tuple[SaidValue, ...] = ()
    """What holds without it, and what overlays before it say, the weakest first."""


class OverlaidNodes(Message, frozen=True, kw_only=True):
    """The nodes of a deployment that the same overlays are for."""

    deployment: str
    """By its key."""
    overlays: tuple[str, ...]
    """In their order: later ones win."""
    nodes: tuple[str, ...]
    """By name, the first of them."""
    node_count: int
    settings: tuple[OverlaidSetting, ...] = ()
    """By path, the first of them."""
    more_settings: int = 0
