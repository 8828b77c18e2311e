# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The files of an archive where they lie in it: in memory, or in a mapped file.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

ArchiveBytes: TypeAlias = bytes | memoryview
"""An archive: in memory, or a view of a mapped file."""


class ArchiveFiles(Mapping[str, bytes]):
    """Path to content; a content is read when it is asked for, and not kept."""

    def __init__(self, data: ArchiveBytes, places: Mapping[str, slice]) -> None:
        """The files at these places of an archive."""
        self._data: Final = memoryview(data)
        self._places: Final = places

    def __getitem__(self, path: str) -> bytes:
        """All of it, as a copy."""
        return bytes(self.view(path))

    def __iter__(self) -> Iterator[str]:
        """The paths, in the order of the archive."""
        return iter(self._places)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._places)

    def view(self, path: str) -> memoryview:
        """All of it, where it lies."""
        return self._data[self._places[path]]
