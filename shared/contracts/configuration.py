# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a package says what the values of its maps and variables mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from shared.contracts.base import Document

ValueFormat = Literal[
    "", "integer", "bool", "enum", "ipv4", "ipv6", "mac", "port", "cidr", "string", "hex"
]
"""How a value is written; empty: as its type says.  `port`: 16 bits in network order."""

MemberPath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(?!\n)$",
        max_length=255,
    ),
]
"""A member of a struct or union, as `flow.port`; of an array's elements all are meant."""

MapMode = Literal["exact", "merge"]
"""`exact`: the map holds what is configured and nothing else.  `merge`: what others put into it
stays, and only entries that were configured before go when they are not any more."""


class MemberEntry(Document, frozen=True, kw_only=True):
    """What one member of a struct or union means."""

    summary: str = ""
    format: ValueFormat = ""
    minimum: int | None = None
    maximum: int | None = None


class VariableEntry(Document, frozen=True, kw_only=True):
    """One global variable that a deployment may set.

    `const volatile` ones are part of the program, which is linked anew for another value; others
    change while it runs.
    """

    summary: str = ""
    format: ValueFormat = ""
    minimum: int | None = None
    maximum: int | None = None
    members: dict[MemberPath, MemberEntry] = {}
    default: Any = None
    """Instead of the source's value, where a deployment says nothing."""
