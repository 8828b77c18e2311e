# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `l3af dev` looks at in a folder that somebody works in."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from cli.dev import fingerprint
from cli.package_build import read_source
from shared.errors import RefusedError

LOOKS = 200


def test_files_are_told_by_time_and_size_and_hidden_ones_are_not(tmp_path: Path) -> None:
    """Of the package and its deployment, in folders below too; a folder that is gone has none."""
    folder, deployment = tmp_path / "pkg", tmp_path / "deployment.toml"
    for path in (folder / "a" / "one.c", folder / ".git" / "index", folder / "a" / ".swp"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("12")
    deployment.write_text("123")

    found = fingerprint(folder, deployment)

    assert {path: size for path, (_, size) in found.items()} == {
        str(folder / "a" / "one.c"): 2,
        str(deployment): 3,
    }
    assert fingerprint(tmp_path / "gone", tmp_path / "gone.toml") == {}


def test_links_that_lead_nowhere_stop_nobody(tmp_path: Path) -> None:
    """They are no files; a package.toml that is one is refused as a file that cannot be read."""
    for name, target in (("package.toml", "package.toml"), ("b", "a"), ("a", "b"), ("c", "gone")):
        (tmp_path / name).symlink_to(target)

    assert fingerprint(tmp_path, None) == {}
    with pytest.raises(RefusedError, match="cannot be read: Too many levels"):
        read_source(tmp_path)


def test_folders_may_vanish_while_they_are_looked_at(tmp_path: Path) -> None:
    """As when another branch is checked out."""
    (tmp_path / "kept.c").write_text("1")
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            for number in range(20):
                (tmp_path / f"sub{number}" / "x" / "y").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"sub{number}")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        found = [fingerprint(tmp_path, None) for _ in range(LOOKS)]
    finally:
        is_over.set()
        worker.join()

    assert all(set(one) == {str(tmp_path / "kept.c")} for one in found)
