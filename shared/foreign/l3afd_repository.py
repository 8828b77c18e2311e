# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Repositories of l3afd: `<name>/<version>/<platform>/<artifact>`.

Pure.  l3afd, bpfprogs/bpf.go: the artifact is a `.tar.gz` or `.zip` that holds one folder, named
like the artifact up to its first dot; in it lie object files and executables of user space.  The
platform is a distribution's codename (`jammy`), or `Windows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from shared.foreign.archives import ForeignFile, archive_error, is_zip
from shared.foreign.tar_files import read_tar
from shared.foreign.zip_files import read_zip

SUFFIXES: Final = (".tar.gz", ".zip")
WINDOWS: Final = "Windows"
_DEPTH: Final = 4
_ELF: Final = b"\x7fELF"
_MACHINE: Final = slice(18, 20)
_BPF: Final = (247).to_bytes(2, "little")
"""ELF's e_machine of eBPF (include/uapi/linux/elf-em.h, EM_BPF)."""


@dataclass(frozen=True, slots=True, order=True)
class RepositoryEntry:
    """One artifact of a repository."""

    name: str
    version: str
    platform: str
    artifact: str

    @property
    def path(self) -> str:
        """Below the repository's root."""
        return f"{self.name}/{self.version}/{self.platform}/{self.artifact}"


@dataclass(frozen=True, slots=True)
class ArtifactContent:
    """What an artifact holds, by path below its folder."""

    objects: Mapping[str, bytes]
    """ELF files for eBPF."""
    executables: Mapping[str, bytes]
    """What runs in user space: other ELF files, and files that may be executed."""
    others: tuple[str, ...] = ()


def repository_entries(paths: Iterable[str]) -> tuple[RepositoryEntry, ...]:
    """The artifacts among paths below a repository's root, ascending; other files are none."""
    return tuple(sorted(_entries(paths)))


def is_artifact(name: str) -> bool:
    """Whether a file of that name is an artifact."""
    return name.endswith(SUFFIXES)


def read_artifact(name: str, data: bytes) -> ArtifactContent:
    """What the artifact with this file name holds.

    Raises:
        ForeignArchiveError: It holds what is not unpacked, or not the folder of its name.
    """
    files = read_zip(data) if is_zip(data) else read_tar(data)
    folder = name.partition(".")[0]
    beside = sorted(path for path in files if not path.startswith(f"{folder}/"))
    if beside or not files:
        rule = f"all must be in the folder {folder}, as the artifact's name says"
        raise archive_error("archive", rule, beside[:20])
    return artifact_content({path.removeprefix(f"{folder}/"): file for path, file in files.items()})


def artifact_content(files: Mapping[str, ForeignFile]) -> ArtifactContent:
    """What the files are."""
    objects = {path: file.data for path, file in files.items() if _is_bpf(file)}
    executables = {
        path: file.data
        for path, file in files.items()
        if path not in objects and (file.is_executable or file.data.startswith(_ELF))
    }
    others = tuple(sorted(set(files) - set(objects) - set(executables)))
    return ArtifactContent(objects, executables, others)


def _entries(paths: Iterable[str]) -> Iterator[RepositoryEntry]:
    for path in paths:
        parts = PurePosixPath(path).parts
        if len(parts) == _DEPTH and is_artifact(parts[-1]):
            yield RepositoryEntry(*parts)


def _is_bpf(file: ForeignFile) -> bool:
    return file.data.startswith(_ELF) and file.data[_MACHINE] == _BPF
