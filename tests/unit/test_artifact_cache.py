# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts on a node's disk that do not fit its memory."""

from __future__ import annotations

from pathlib import Path

from services.node_executor.adapters.artifact_cache import ArtifactCache
from shared.canonical import sha256_hex

DATA = b"an artifact" * 1000
NAME = sha256_hex(DATA)


def test_an_archive_too_large_for_memory_is_mapped(tmp_path: Path) -> None:
    """It is hashed like any other, and whoever holds it keeps it when it is evicted."""
    cache = ArtifactCache(
        tmp_path, max_bytes=1 << 20, reserved_bytes=0, in_memory_bytes=len(DATA) - 1
    )
    part = cache.begin(NAME, len(DATA))
    part.append(DATA)
    part.finish()

    taken = cache.read(NAME)
    cache.drop(NAME, whole=True)

    assert isinstance(taken, memoryview)
    assert taken == DATA
    assert list(tmp_path.iterdir()) == []
