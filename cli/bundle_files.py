# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of files on disk: a folder, or a tar archive in gzip; whole, or not there."""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.errors import FaultError, Reason, RefusedError
from shared.foreign.archives import Limits
from shared.foreign.tar_files import read_tar

SUFFIXES: Final = (".tar.gz", ".tgz")
LIMITS: Final = Limits(total_bytes=1024 * 1024 * 1024, files=100_000, ratio=1000)


def check_new(place: Path) -> None:
    """There is nothing at that place yet, or an empty folder.

    Raises:
        RefusedError: There is something.
    """
    is_empty_folder = place.is_dir() and not any(place.iterdir())
    if place.exists() and not (is_empty_folder and not _is_archive(place)):
        reason = Reason(path=str(place), rule="is there already")
        raise RefusedError(f"{place}: is there already", [reason])


def write_bundle(place: Path, files: Mapping[str, bytes]) -> None:
    """The files (path to content) are there; the same files make the same bytes.

    Args:
        place: An archive if its name ends so, else a folder.
        files: Their paths have no `..` and do not begin with `/`.

    Raises:
        FaultError: The disk does not take them; nothing is left behind.
    """
    parent = place.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".bundle-") as beside:
            made = Path(beside) / "made"
            if _is_archive(place):
                made.write_bytes(_archive(files))
            else:
                for path, content in files.items():
                    file = made / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
            made.replace(place)
    except OSError as error:
        raise FaultError(f"{place}: cannot be written: {error.strerror}") from error


def read_bundle(place: Path) -> dict[str, bytes]:
    """All files, path to content.

    Raises:
        RefusedError: It is neither folder nor archive, or holds what is no plain file.
        FaultError: It cannot be read.
    """
    try:
        if place.is_dir():
            return _folder(place)
        return {path: one.data for path, one in read_tar(place.read_bytes(), LIMITS).items()}
    except FileNotFoundError as error:
        reason = Reason(path=str(place), rule="is not there")
        raise RefusedError(f"{place}: is not there", [reason]) from error
    except OSError as error:
        raise FaultError(f"{place}: cannot be read: {error.strerror}") from error


def _is_archive(place: Path) -> bool:
    return place.name.endswith(SUFFIXES)


def _archive(files: Mapping[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in sorted(files.items()):
            member = tarfile.TarInfo(path)  # of nobody, from 1970
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _folder(place: Path) -> dict[str, bytes]:
    found, reasons = dict[str, bytes](), list[Reason]()
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            reasons.append(Reason(path=name, rule="is no plain file"))
        elif path.is_file():
            found[name] = path.read_bytes()
    if reasons:
        raise RefusedError(f"{place}: {reasons[0].path} {reasons[0].rule}", reasons)
    return found
