# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes and which of their interfaces are meant."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.contracts.node import LabelKey, Labels, LabelValue

NetnsGlob = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:@+=*?\[\]!-]{0,66}(?!\n)$")]
InterfaceGlob = Annotated[str, Meta(pattern=r"^[A-Za-z0-9@_.:*?\[\]!-]{1,32}(?!\n)$")]
LabelOperator = Literal["in", "not-in", "exists", "not-exists"]


class LabelRule(Document, frozen=True, kw_only=True):
    """What is asked of one label of a node."""

    label: LabelKey
    operator: LabelOperator
    values: Annotated[tuple[LabelValue, ...], Meta(max_length=100)] = ()
    """For `in` and `not-in`, at least one; for the others none.  A node without the label is
    `not-in` whatever they are."""


class NodeSelector(Document, frozen=True, kw_only=True):
    """Which nodes: all labels must match, and all rules, and the name any of the globs."""

    labels: Labels = {}
    names: tuple[str, ...] = ("*",)
    rules: Annotated[tuple[LabelRule, ...], Meta(max_length=64)] = ()


class NodeShare(NodeSelector, frozen=True, kw_only=True):
    """Which nodes a deployment is for: those selected, or a part of them."""

    percent: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Of each hundred nodes about so many: which, a digest of the deployment's key and the node's
    name decides, so that no other node changes it, and a greater share holds the smaller one."""
    count: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """So many of those that can run it; who was chosen stays so until it is gone."""
    spread: LabelKey | None = None
    """Of `count`: label of nodes that fail together; the choice is spread over its values."""


class InterfaceSelector(Document, frozen=True, kw_only=True):
    """Which interfaces of a node, if not by name alone: everything that is said must hold."""

    glob: InterfaceGlob | None = None
    label: LabelKey | None = None
    """Of the node; the label's value is the interface's name."""
    driver: InterfaceGlob | None = None
    """Name of the driver, or a glob."""
    default_route: bool | None = None
    """Whether a default route of the main table leaves through it."""
