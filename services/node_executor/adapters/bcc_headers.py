# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a node has kernel headers that bcc can compile against.

In this order: those of the running kernel, the kernel's own archive (CONFIG_IKHEADERS), the newest
that are installed.  Networking programs use the stable part of them, so others than the running
kernel's serve, and are reported.  Debian splits a tree in two: what all flavours share, and what
was generated for one; Ubuntu has one tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ARCHITECTURES: Final = {"x86_64": "x86", "aarch64": "arm64"}
_CONFIGURATION: Final = "include/generated/autoconf.h"
_COMMON: Final = "include/linux/kconfig.h"
_REFERENCE: Final = re.compile(r"^\s*include\s+(\S+)/Makefile\s*$", re.MULTILINE)
_PREFIX: Final = "linux-headers-"


@dataclass(frozen=True, slots=True)
class KernelHeaders:
    """A tree of headers, or the archive of one."""

    release: str
    """Of the kernel that they belong to."""
    source: Path | None
    """What bcc takes as BCC_KERNEL_SOURCE; None: what `archive` holds."""
    include_folders: tuple[Path, ...] = ()
    """Beside those in `source`."""
    archive: Path | None = None


def find_kernel_headers(
    release: str, architecture: str, *, root: Path = Path("/")
) -> KernelHeaders | None:
    """The best headers for a kernel; None if there are none.

    Args:
        release: As `uname -r` says.
        architecture: As `uname -m` says.
        root: Where the file system begins.
    """
    # Where the kernel's modules are out of a service's sight, its headers are not.
    for own in (root / "lib/modules" / release / "build", root / f"usr/src/{_PREFIX}{release}"):
        found = _tree(own, release, architecture)
        if found is not None:
            return found
    archive = root / "sys/kernel/kheaders.tar.xz"
    if archive.is_file():
        return KernelHeaders(release=release, source=None, archive=archive)
    others = sorted((root / "usr/src").glob(f"{_PREFIX}*"), key=_newness, reverse=True)
    for folder in others:
        found = _tree(folder, folder.name.removeprefix(_PREFIX), architecture)
        if found is not None:
            return found
    return None


def _newness(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.name)]


def _tree(folder: Path, release: str, architecture: str) -> KernelHeaders | None:
    if not (folder / _CONFIGURATION).is_file():
        return None
    folder = folder.resolve()
    if (folder / _COMMON).is_file():
        return KernelHeaders(release=release, source=folder)
    common = _common_part(folder)
    if common is None:
        return None
    here = folder / "arch" / _ARCHITECTURES.get(architecture, architecture) / "include/generated"
    include = folder / "include"
    return KernelHeaders(
        release=release,
        source=common,
        include_folders=(here, here / "uapi", include, include / "generated/uapi"),
    )


def _common_part(folder: Path) -> Path | None:
    """The tree that a flavour's Makefile names; it lies beside it."""
    makefile = folder / "Makefile"
    found = _REFERENCE.search(makefile.read_text()) if makefile.is_file() else None
    if found is None:
        return None
    common = folder.parent / Path(found[1]).name
    return common if (common / _COMMON).is_file() else None
