# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who has brought an archive is known to be so, also after a restart, and nobody else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.catalog.adapters.own_archives import OwnArchives
from shared.errors import FaultError

DIGESTS = [f"{number:064x}" for number in range(4)]


async def test_each_owner_has_what_it_brought(tmp_path: Path) -> None:
    """The same archive twice is one note; another owner, or another archive, is none."""
    own = OwnArchives(tmp_path / "own")
    before = await own.has("UA", DIGESTS[0])

    await own.add("UA", DIGESTS[0])
    await own.add("UA", DIGESTS[0])

    again = OwnArchives(tmp_path / "own")
    found = [await again.has(owner, one) for owner in ("UA", "UB") for one in DIGESTS[:2]]
    assert (before, found) == (False, [True, False, False, False])
    assert len(list((tmp_path / "own").iterdir())) == 1


async def test_the_oldest_notes_go(tmp_path: Path) -> None:
    """As many as are kept stay, the youngest of them."""
    own = OwnArchives(tmp_path, kept=2)
    for number, digest in enumerate(DIGESTS[:3]):
        await own.add("UA", digest)
        os.utime(tmp_path / f"UA-{digest}", (number, number))
    await own.add("UA", DIGESTS[3])

    assert [await own.has("UA", digest) for digest in DIGESTS] == [False, False, True, True]


async def test_a_disk_that_fails_is_a_fault(tmp_path: Path) -> None:
    """Nothing is promised then."""
    (tmp_path / "file").write_text("")

    with pytest.raises(FaultError):
        await OwnArchives(tmp_path / "file").add("UA", DIGESTS[0])
