# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archived segments: whole before anything is removed, and proved by the log's key alone."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.checkpoint import VerifierKey
from services.auditor.execution import Heads
from services.auditor.retention.adapters.archive_directory import ArchiveDirectory
from services.auditor.retention.execution import Archive, Pruner
from services.auditor.retention.remains import PRUNED, is_remains, own_pruning
from services.auditor.retention.segments import (
    SegmentError,
    SegmentHead,
    has_records,
    verify_segment,
)
from services.auditor.store import LogStore, StoreFaultError
from services.auditor.tiles import TILE_WIDTH
from services.auditor.verification.adapters.verifying import verify_store
from shared.canonical import sha256_hex
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.retention import RetentionRule, RetentionRules
from shared.errors import FaultError
from tests.support.log_stores import ORIGIN, LogPlace, where
from tests.support.pruning import LATER, AsTold, Recorder, at_once, every_record
from tests.support.whole_logs import KEY, SEED, fill

ARCHIVING = RetentionRules(rules=(RetentionRule(name="kept", keep_days=30, archive=True),))


class Ended(Recorder):
    """Of an auditor that ends before it says anything."""

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """Nothing is recorded."""
        raise FaultError(f"ended before it said {body.action} {event_id} to {audience}")


def archiving(store: LogStore, files: Path, state: Path, emitter: Recorder | None = None) -> Pruner:
    """Prunes the store into an archive."""
    heads = Heads(log=store, safe=CheckpointFile(state), origin=ORIGIN, seed=SEED)
    return Pruner(
        log=store,
        emitter=emitter or Recorder(store),
        spaces=AsTold(),
        recorded=at_once,
        archive=Archive(ArchiveDirectory(files), heads),
    )


def trusted(_: SegmentHead) -> VerifierKey:
    """The log's key, as whoever verifies knows it."""
    return KEY


async def test_what_is_archived_is_what_was_pruned(place: LogPlace, tmp_path: Path) -> None:
    """Leaf by leaf, each proved by the key; what is in the open tile stays until it is whole."""
    async with place.open() as store:
        await fill(store)
        before = {one.index: one for one in await every_record(store)}
        work = archiving(store, tmp_path / "archive", tmp_path)
        done = await work.prune(ARCHIVING, now=LATER)
        gone = {one.index for one in await every_record(store) if is_remains(one.leaf)}
        assert len(gone) == sum(done.counts.values()) > 300
        assert max(gone) < len(before) // TILE_WIDTH * TILE_WIDTH
        said = await store.of_actions((PRUNED,), emitter="auditor")
        archived: set[int] = set()
        for record in said:
            pruning = own_pruning(record)
            data = (tmp_path / "archive" / pruning.segment).read_bytes()
            assert sha256_hex(data) == pruning.segment_sha256
            found = verify_segment(data, key_of=trusted)
            assert [one.index for one in found.records] == list(pruning.indexes)
            for one in found.records:
                assert one.leaf.encode() == before[one.index].leaf
                assert one.problem == before[one.index].problem
            archived |= {one.index for one in found.records}
            assert await work.segment_problem(pruning) == ""
        assert archived == gone
    problems = (await asyncio.to_thread(verify_store, where(place), keys=[KEY])).problems
    assert problems == []


async def test_any_change_in_a_segment_is_found(place: LogPlace, tmp_path: Path) -> None:
    """A leaf, a hash, a path, a number, a record that is gone, bytes that are gone or too many."""
    async with place.open() as store:
        await fill(store, records=300)
        await archiving(store, tmp_path / "archive", tmp_path).prune(ARCHIVING, now=LATER)
    file = max((tmp_path / "archive").iterdir(), key=lambda one: one.stat().st_size)
    data = file.read_bytes()
    text = gzip.decompress(data)
    lines = text.split(b"\n")
    for other in (
        text.replace(b'\\"sequence\\":3', b'\\"sequence\\":4', 1),
        text.replace(b'"hashes":"', b'"hashes":"AAAA', 1),
        text.replace(b'"rule":"kept"', b'"rule":"kept","more":1', 1),
        b"\n".join([*lines[:5], *lines[6:]]),
        b"\n".join([*lines[:5], lines[6], lines[5], *lines[7:]]),
        b"\n".join([lines[0], b"{}", *lines[2:]]),
        b"",
    ):
        assert other != text
        with pytest.raises(SegmentError):
            verify_segment(gzip.compress(other), key_of=trusted)
    for broken in (data[:-20], data + b"x", b"\x1f\x8b" + data[2:100], b""):
        with pytest.raises(SegmentError):
            verify_segment(broken, key_of=trusted)
    assert verify_segment(data, key_of=trusted).records


async def test_nothing_is_pruned_that_cannot_be_archived(place: LogPlace, tmp_path: Path) -> None:
    """As when the archive's disk is full: nothing is said, nothing is gone; later it is."""
    (tmp_path / "archive").write_text("no directory")
    async with place.open() as store:
        await fill(store, records=300)
        size = store.size
        work = archiving(store, tmp_path / "archive", tmp_path)
        with pytest.raises(StoreFaultError):
            await work.prune(ARCHIVING, now=LATER)
        assert store.size == size
        assert not any(is_remains(one.leaf) for one in await every_record(store))
        (tmp_path / "archive").unlink()
        done = await work.prune(ARCHIVING, now=LATER)
        assert sum(done.counts.values()) > 100


async def test_a_segment_that_was_lost_or_changed_is_named(place: LogPlace, tmp_path: Path) -> None:
    """By the digest that the log has of it."""
    async with place.open() as store:
        await fill(store, records=300)
        work = archiving(store, tmp_path / "archive", tmp_path)
        await work.prune(ARCHIVING, now=LATER)
        pruning = own_pruning((await store.of_actions((PRUNED,), emitter="auditor"))[0])
        file = tmp_path / "archive" / pruning.segment
        file.write_bytes(file.read_bytes() + b"x")
        assert "another one" in await work.segment_problem(pruning)
        file.unlink()
        assert "not there" in await work.segment_problem(pruning)


async def test_only_a_segment_that_has_the_records_stands_for_them(
    place: LogPlace, tmp_path: Path
) -> None:
    """Who was ended before the log said anything left one; what else has its name is replaced."""
    async with place.open() as store:
        await fill(store, records=300)
        files = tmp_path / "archive"
        with pytest.raises(FaultError, match="ended"):
            await archiving(store, files, tmp_path, Ended(store)).prune(ARCHIVING, now=LATER)
        (file,) = files.iterdir()
        data = file.read_bytes()
        indexes = [one.index for one in verify_segment(data, key_of=trusted).records]
        records = await store.kept(indexes)
        assert has_records(data, records, key=KEY)
        assert not has_records(data, records[1:], key=KEY)
        assert not has_records(data[:-1], records, key=KEY)
        file.write_bytes(data[:-1])
        await archiving(store, files, tmp_path).prune(ARCHIVING, now=LATER)
        assert not any(one.body for one in await store.kept(indexes))
        assert has_records(file.read_bytes(), records, key=KEY)
