# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Overlays: what a private space has of its own beside what everybody has.

A private space shows its members all that is public, and in front of it its own versions.  Its own
versions of a package that is public too are `<version>+<namespace>.<number>`: what they stand on,
and the how manieth change of it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.spaces import SpaceText

MAX_FILE_CHANGES: Final = 200

OverlayState = Literal["own", "current", "behind", "caught-up"]
"""`own`: nothing public is called so.  `current`: it stands on the newest release.  `behind`:
there is a newer one.  `caught-up`: a public version has the same, so the own one has done."""


class GetOverlay(Request, frozen=True, kw_only=True):
    """What a private space has of its own."""

    space: SpaceText
    package: Annotated[str, Meta(min_length=1, max_length=128)] = "*"
    """Glob of names."""


class FileChange(Message, frozen=True, kw_only=True):
    """One file that is another than in what the version stands on."""

    path: str
    change: Literal["added", "removed", "changed"]


class OverlayVersion(Message, frozen=True, kw_only=True):
    """One of the space's own versions."""

    version: str
    base: str
    """What it stands on; empty: on nothing that is public."""
    channels: tuple[str, ...] = ()
    caught_up_by: str = ""
    """The oldest public version after `base` that has the same files, which `base` has not, and the
    same licence, and was neither yanked nor revoked; empty: none has."""


class OverlayPackage(Message, frozen=True, kw_only=True):
    """One package of the space."""

    name: str
    state: OverlayState
    """Of the newest version of its own."""
    upstream: str = ""
    """The newest public release; empty: there is none."""
    versions: tuple[OverlayVersion, ...]
    """Newest first."""
    changes: tuple[FileChange, ...] = ()
    """Of the newest against what it stands on, package.toml aside, by path; the first
    MAX_FILE_CHANGES, and fewer where many packages are shown together."""
    more_changes: int = 0


class OverlayShown(Message, frozen=True, kw_only=True):
    """Packages by name."""

    space: str
    packages: tuple[OverlayPackage, ...] = ()


GET_OVERLAY: Final = Endpoint(f"{API}.catalog.overlay.get", GetOverlay, OverlayShown)
