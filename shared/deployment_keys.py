# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a deployment is known by: its name in `public`, in another space `<space>.<name>`.

Pure.  Names are per space, so that a name which is taken where one does not see it tells nothing.
Keys stand where the instance has to be unlike every other one: in chains, records, pins, counters
and events.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.events import PUBLIC, Audience

_NAME: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_KEY: Final = rf"((p_[a-z0-9]([a-z0-9-]{{0,30}}[a-z0-9])?|r_[0-9a-f]{{16}})\.)?{_NAME}"
KEY_PATTERN: Final = rf"^{_KEY}(?!\n)$"
NEIGHBOUR_PATTERN: Final = rf"^(package:{_NAME}|deployment:{_KEY})(?!\n)$"
"""Programs of a chain by their package, or the one of a deployment."""

DeploymentKey = Annotated[str, Meta(pattern=KEY_PATTERN)]


def deployment_key(space: Audience, name: str) -> str:
    """The key of the deployment of that name in that space."""
    return name if space == PUBLIC else f"{space}.{name}"


def split_key(key: str) -> tuple[Audience, str]:
    """Space and name of what `deployment_key` wrote; neither has a `.`."""
    space, _, name = key.rpartition(".")
    return space or PUBLIC, name


def space_of(key: str) -> Audience:
    """The space of the deployment with that key."""
    return split_key(key)[0]
