# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Unfinished uploads on a real disk: bounded, kept over a restart, forgotten when wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from cli.package_publish import upload
from services.catalog.adapters.artifacts import ArtifactDamagedError
from services.catalog.adapters.spooling import Spool
from services.catalog.adapters.uploads import Uploads, UploadStoreError
from services.catalog.chunks import check_chunk, missing_ranges
from shared.adapters.exception_groups import plain_task_group
from shared.archive_files import ArchiveBytes
from shared.contracts.catalog import CHUNK_BYTES, ArtifactWritten, FindMissing, MissingFound
from shared.errors import FaultError

FIRST, LAST = b"a" * CHUNK_BYTES, b"tail"
WHOLE = FIRST + LAST
DIGEST = hashlib.sha256(WHOLE).hexdigest()


async def add(
    uploads: Uploads, number: int, data: bytes, *, digest: str = DIGEST, owner: str = "UONE"
) -> ArchiveBytes | None:
    """One chunk of the upload."""
    return await uploads.add(owner, digest, size_bytes=len(WHOLE), number=number, data=data)


async def test_the_last_missing_chunk_gives_the_whole(tmp_path: Path) -> None:
    """In any order, and over a restart."""
    assert await add(Uploads(tmp_path), 1, LAST) is None

    assert await add(Uploads(tmp_path), 0, FIRST) == WHOLE


async def test_a_wrong_whole_is_forgotten(tmp_path: Path) -> None:
    """After a wrong chunk the next upload begins from nothing."""
    uploads = Uploads(tmp_path)
    await add(uploads, 0, b"b" * CHUNK_BYTES)
    with pytest.raises(ArtifactDamagedError):
        await add(uploads, 1, LAST)

    assert await add(uploads, 1, LAST) is None
    assert await add(uploads, 0, FIRST) == WHOLE


async def test_a_new_upload_makes_room_for_itself(tmp_path: Path) -> None:
    """The upload that was longest without a chunk goes first."""
    uploads = Uploads(tmp_path, kept_bytes=2 * len(WHOLE))
    names = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
    for digest in names:
        await add(uploads, 0, FIRST, digest=digest)

    kept = {path.name.split("-")[1] for path in tmp_path.iterdir()}
    assert kept == set(names[1:])


async def test_nobody_spoils_the_upload_of_another(tmp_path: Path) -> None:
    """A wrong chunk under the same digest is a chunk of somebody else's upload."""
    uploads = Uploads(tmp_path)
    await add(uploads, 0, FIRST)
    await add(uploads, 0, b"b" * CHUNK_BYTES, owner="UTWO")
    with pytest.raises(ArtifactDamagedError):
        await add(uploads, 1, LAST, owner="UTWO")

    assert await add(uploads, 1, LAST) == WHOLE


async def test_room_is_made_at_the_cost_of_ones_own_uploads(tmp_path: Path) -> None:
    """Whoever begins many uploads loses the first of them, and others lose nothing."""
    uploads = Uploads(tmp_path, kept_bytes=3 * len(WHOLE))
    await add(uploads, 0, FIRST)
    for number in range(5):
        digest = hashlib.sha256(bytes([number])).hexdigest()
        await add(uploads, 0, FIRST, digest=digest, owner="UTWO")

    assert await add(uploads, 1, LAST) == WHOLE


async def test_uploads_do_not_fill_the_disk(tmp_path: Path) -> None:
    """Where it is smaller than what they may have, whoever has most makes room."""
    uploads = Uploads(tmp_path, spare_bytes=1 << 62)
    for number in range(2):
        digest = hashlib.sha256(bytes([number])).hexdigest()
        await add(uploads, 0, FIRST, digest=digest, owner="UTWO")
    await add(uploads, 0, FIRST)

    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["UONE"]
    assert await add(uploads, 1, LAST) == WHOLE


async def test_what_went_is_not_taken_for_there(tmp_path: Path) -> None:
    """Another upload looks what all have, to make room, while this one goes."""
    size_bytes = 200 * CHUNK_BYTES
    for turn in range(30):
        uploads = Uploads(tmp_path / str(turn))

        async def grow(owner: str, uploads: Uploads = uploads) -> None:
            for number in range(60):
                await uploads.add(owner, DIGEST, size_bytes=size_bytes, number=number, data=b"x")

        await grow("UONE")
        async with plain_task_group() as tasks:
            tasks.create_task(grow("UTWO"))
            tasks.create_task(uploads.forget("UONE", DIGEST, size_bytes=size_bytes))

        assert await uploads.held("UONE", DIGEST, size_bytes=size_bytes) == frozenset()


async def test_what_is_stored_is_not_kept_here(tmp_path: Path) -> None:
    """A finished upload leaves nothing behind, however often it is forgotten."""
    uploads = Uploads(tmp_path)
    await add(uploads, 0, FIRST)

    await uploads.forget("UONE", DIGEST, size_bytes=len(WHOLE))
    await uploads.forget("UONE", DIGEST, size_bytes=len(WHOLE))

    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_fails_is_a_fault(tmp_path: Path) -> None:
    """The caller may try again later."""
    (tmp_path / "file").touch()

    with pytest.raises(UploadStoreError):
        await add(Uploads(tmp_path / "file"), 0, FIRST)


@pytest.mark.parametrize("in_memory_bytes", [0, 1 << 20])
def test_pieces_become_a_whole_in_memory_or_in_a_file(tmp_path: Path, in_memory_bytes: int) -> None:
    """The file has no name, so that nothing of it is left behind, whoever dies."""
    spool = Spool(tmp_path, size_bytes=len(WHOLE), in_memory_bytes=in_memory_bytes)
    spool.append(FIRST)
    spool.append(LAST)

    assert spool.whole() == WHOLE
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A client that comes back sends what is missing, and nothing else."""
    catalog = _Catalog(tmp_path, dies_after=5)
    archive = bytes(range(251)) * 4096
    with pytest.raises(FaultError):
        await upload(catalog, archive)
    catalog.dies_after = 1000
    before = list(catalog.acknowledged)

    await upload(catalog, archive)

    again = catalog.acknowledged[len(before) :]
    assert catalog.stored == archive
    assert before
    assert set(again).isdisjoint(before)


class _Catalog:
    """An intake without a bus, which dies after some chunks; what it holds is on the disk."""

    def __init__(self, folder: Path, *, dies_after: int) -> None:
        self.folder = folder
        self.dies_after = dies_after
        self.written = 0
        self.acknowledged: list[int] = []
        self.stored: ArchiveBytes | None = None
        self._uploads = Uploads(folder)

    async def request(
        self, _endpoint: Any, message: Any, *, timeout_seconds: float = 1.0
    ) -> ArtifactWritten | MissingFound:
        """What the catalog would answer."""
        if isinstance(message, FindMissing):
            self._uploads = Uploads(self.folder)
            size_bytes = message.size_bytes
            held = await self._uploads.held("UONE", message.sha256, size_bytes=size_bytes)
            return MissingFound(complete=False, missing=missing_ranges(held, size_bytes=size_bytes))
        if self.written >= self.dies_after:
            raise FaultError(f"the catalog does not answer within {timeout_seconds} s")
        self.written += 1
        number = check_chunk(message)
        self.stored = await self._uploads.add(
            "UONE",
            message.sha256,
            size_bytes=message.size_bytes,
            number=number,
            data=message.data,
        )
        self.acknowledged.append(number)
        return ArtifactWritten(complete=self.stored is not None)
