# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The smallest package folder around one C source."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.stage import ROOT

LICENCE = "GPL-2.0-only OR BSD-2-Clause"


def write_package(parent: Path, *, name: str, source: str, version: str = "1.0.0") -> Path:
    """A package folder for one XDP program, whose function is the name with `_` for `-`."""
    folder = parent / name
    function = name.replace("-", "_")
    (folder / "LICENSES").mkdir(parents=True)
    for licence in ("GPL-2.0-only", "BSD-2-Clause"):
        shutil.copy(ROOT / "LICENSES" / f"{licence}.txt", folder / "LICENSES")
    (folder / f"{function}.bpf.c").write_text(source)
    (folder / "package.toml").write_text(
        f'[package]\nname = "{name}"\nversion = "{version}"\nsummary = "{name}"\n'
        f'licence = "{LICENCE}"\n[[programs]]\nname = "{name}"\n'
        f'source = "{function}.bpf.c"\nfunction = "{function}"\nhooks = ["xdp"]\n'
    )
    return folder
