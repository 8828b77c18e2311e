# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which group a file of a package belongs to, as far as its manifest says.

Pure.  A glob has one `*` in a part and one `**` in all (`FileGlob`), so that matching it never
takes longer than reading it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from shared.contracts.package_manifest import FileGroup

_ANY_PARTS: Final = "**"


def matches_glob(path: str, glob: str) -> bool:
    """Whether the glob names the file.

    >>> matches_glob("docs/guide/first.md", "docs/**/*.md"), matches_glob("a/b.c", "*.c")
    (True, False)
    """
    parts, wanted = path.split("/"), glob.split("/")
    if _ANY_PARTS not in wanted:
        return _match_all(parts, wanted)
    place = wanted.index(_ANY_PARTS)
    before, after = wanted[:place], wanted[place + 1 :]
    if len(parts) < len(before) + len(after):
        return False
    return _match_all(parts[:place], before) and _match_all(parts[len(parts) - len(after) :], after)


def stated_groups(
    path: str, file_groups: Mapping[FileGroup, Iterable[str]]
) -> tuple[FileGroup, ...]:
    """Every group whose globs name the file; a manifest that is published has at most one."""
    return tuple(
        group
        for group, globs in file_groups.items()
        if any(matches_glob(path, glob) for glob in globs)
    )


def files_named(paths: Collection[str], globs: Iterable[str]) -> list[str]:
    """The files that any of the globs names, ascending."""
    globs = tuple(globs)
    return sorted(path for path in paths if any(matches_glob(path, glob) for glob in globs))


def _match_all(parts: Sequence[str], globs: Sequence[str]) -> bool:
    return len(parts) == len(globs) and all(map(_match_part, parts, globs))


def _match_part(part: str, glob: str) -> bool:
    begin, star, end = glob.partition("*")
    if not star:
        return part == glob
    return len(part) >= len(begin) + len(end) and part.startswith(begin) and part.endswith(end)
