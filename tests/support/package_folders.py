# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of packages whose program is one of the tests' own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.support.bpf_objects import SOURCES

PACKAGES: Final = Path(__file__).parents[2] / "packages"


def package_folder(folder: Path, name: str, manifest: str) -> Path:
    """The folder, as an author has it: licences, readme, manifest and `name.bpf.c`."""
    shutil.copytree(PACKAGES / "rate-limit" / "LICENSES", folder / "LICENSES")
    shutil.copy(SOURCES / f"{name}.bpf.c", folder)
    (folder / "README.md").write_text(f"# {name}\n")
    (folder / "package.toml").write_text(manifest)
    return folder
