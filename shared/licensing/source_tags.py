# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the files of a package say of their own licence: their SPDX tags.

Pure.  The tag is `SPDX-License-Identifier:` and an expression, within the first lines of a text
(SPDX 2.3 annex E).  Texts of licences and package.toml are left out: they are no part of the work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.contracts.package_manifest import FileGroup
from shared.licensing.expressions import MAX_EXPRESSION_LENGTH

HEAD_BYTES: Final = 4096
_TAG: Final = re.compile(
    # The tag's name is taken apart, so that no tool takes this line for this file's own tag.
    rb"SPDX-License" rb"-Identifier:[ \t]*([^\r\n]{1,%d})" % MAX_EXPRESSION_LENGTH
)
_COMMENT_END: Final = re.compile(r"\s*(\*/|-->)?\s*$")
_TEXTS: Final = "LICENSES/"
_DESCRIPTION: Final = "package.toml"
_KERNEL: Final = (".c", ".h")
_DOCS: Final = (".md", ".rst", ".txt")


def source_licences(files: Mapping[str, bytes]) -> dict[str, str]:
    """The expression of each file that states one, by path; HEAD_BYTES of each are enough."""
    found = {}
    for path, content in sorted(files.items()):
        match = _TAG.search(content[:HEAD_BYTES])
        if match and is_work(path, content):
            found[path] = _COMMENT_END.sub("", match[1].decode(errors="replace"))
    return found


def is_work(path: str, content: bytes) -> bool:
    """Whether the file is a text that is part of the work."""
    is_about_it = path == _DESCRIPTION or path.startswith(_TEXTS)
    return not is_about_it and not content.startswith(b"\x7fELF")


def group_by_suffix(path: str) -> FileGroup:
    """What a file of a package is if nobody says: C goes into the kernel."""
    if path.endswith(_KERNEL):
        return "kernel"
    return "docs" if path.endswith(_DOCS) else "user"
