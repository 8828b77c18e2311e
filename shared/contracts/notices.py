# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What licences ask to be handed on with a package: the attribution bundle."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.licences import LicenceElection
from shared.contracts.package_manifest import FileGroup, SourceLocation
from shared.contracts.spaces import SpaceOrAny
from shared.identifiers import Token

MAX_NOTICE_BYTES: Final = 512 * 1024
"""Of all texts of a bundle together."""


class CopyrightLine(Message, frozen=True, kw_only=True):
    """What stands behind an `SPDX-FileCopyrightText` tag."""

    text: str
    files: tuple[str, ...]
    """That have it, ascending."""


class NoticeText(Message, frozen=True, kw_only=True):
    """A text that is handed on word by word."""

    path: str
    text: str


class ObjectSource(Message, frozen=True, kw_only=True):
    """Where the source of one object is."""

    file: str
    elected: str
    """SPDX expression without OR."""
    sources: tuple[str, ...] = ()
    """In the archive."""


class PackageNotice(Message, frozen=True, kw_only=True):
    """The bundle of one version; the same package always gives the same."""

    name: str
    version: str
    summary: str
    expressions: dict[FileGroup, str]
    """SPDX expression of the kernel code, and of each group that has its own."""
    elections: tuple[LicenceElection, ...] = ()
    copyrights: tuple[CopyrightLine, ...] = ()
    """By text, ascending."""
    notices: tuple[NoticeText, ...] = ()
    """NOTICE files (Apache-2.0 section 4(d)), by path."""
    licences: tuple[NoticeText, ...] = ()
    """Texts of licences in the archive, by path."""
    missing: tuple[str, ...] = ()
    """Licences that are named and whose text is not in the archive."""
    objects: tuple[ObjectSource, ...] = ()
    """Objects that are taken under the GPL, by path."""
    source: SourceLocation | None = None
    """Where the publisher says that the sources are kept."""


class GetNotice(Request, frozen=True, kw_only=True):
    """The bundle of one version; empty version: the newest release in `stable`."""

    name: Token
    version: str = ""
    space: SpaceOrAny = ""


GET_NOTICE: Final = Endpoint(f"{API}.catalog.package.notice", GetNotice, PackageNotice)
