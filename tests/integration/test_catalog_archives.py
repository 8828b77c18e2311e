# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives in the stream of a real server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from cli.package_publish import upload
from services.catalog.adapters.artifacts import CHUNKS_AT_ONCE, SIZE_HEADER, Artifacts
from shared.adapters.direct_get import get_last
from shared.adapters.stored_publish import publish_stored
from shared.canonical import sha256_hex
from shared.contracts.catalog import CHUNK_BYTES
from shared.contracts.storage import ARTIFACT_STREAM, artifact_subject
from tests.integration.conftest import Buses
from tests.support.catalog_stage import BUILT, a_stage

CHUNKS: Final = 2 * CHUNKS_AT_ONCE + 1


async def test_the_last_chunk_of_an_archive_is_stored_after_all_others(
    buses: Buses, tmp_path: Path
) -> None:
    """Chunks travel side by side; who sees the last one may rely on all of them."""
    connection = (await buses.open("service-catalog")).connection
    archives = Artifacts(connection, folder=tmp_path)
    data = os.urandom((CHUNKS - 1) * CHUNK_BYTES + 1)
    digest = sha256_hex(data)

    await archives.store(digest, data)

    found = [
        await get_last(connection, ARTIFACT_STREAM, artifact_subject(digest, number))
        for number in range(CHUNKS)
    ]
    sequences = [chunk.sequence for chunk in found if chunk is not None]
    assert len(sequences) == CHUNKS
    assert sequences[-1] == max(sequences)
    assert await archives.read(digest) == data


async def test_an_archive_that_lacks_a_chunk_is_not_there(buses: Buses, tmp_path: Path) -> None:
    """What a process that died left behind is completed by storing it again."""
    connection = (await buses.open("service-catalog")).connection
    archives = Artifacts(connection, folder=tmp_path)
    data = os.urandom(2 * CHUNK_BYTES + 1)
    digest = sha256_hex(data)
    await publish_stored(
        connection,
        artifact_subject(digest, 0),
        data[:CHUNK_BYTES],
        message_id=f"{digest}.0",
        headers={SIZE_HEADER: str(len(data))},
    )

    assert await archives.read(digest) is None
    assert not await archives.has(digest, size_bytes=len(data))
    await archives.store(digest, data)
    assert await archives.read(digest) == data


async def test_chunks_of_what_is_stored_do_not_stay(buses: Buses, tmp_path: Path) -> None:
    """A catalog died after it had stored the archive, and before it forgot the chunks."""
    archive = BUILT.archive
    async with a_stage(buses, tmp_path) as stage:
        await upload(stage.publisher, archive)
        stage.catalog.kill()
        left = tmp_path / "uploads" / f"{stage.publisher.key}-{sha256_hex(archive)}-{len(archive)}"
        left.mkdir()
        (left / "0").write_bytes(archive[:CHUNK_BYTES])
        await stage.catalog.start(stage.publisher)

        await upload(stage.publisher, archive)

        assert not left.exists()
