# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of a real executor: a slow catalog, a kill, a damaged file and a full disk."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.node_executor.adapters.artifact_cache import RESERVED_BYTES, ArtifactCache
from services.node_executor.artifact_eviction import NoRoomError
from shared.adapters.callers import Caller
from shared.canonical import sha256_hex
from shared.contracts.catalog import CHUNK_BYTES, ArtifactChunk, ReadArtifact
from shared.contracts.desired import DesiredChain
from shared.contracts.node import OBSERVED, STAGE_CHAINS, ObservedChain, StageChains
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from tests.support.executors import (
    Published,
    Wire,
    a_chain,
    a_program,
    a_wire,
    counting_object,
    packed,
    send_frames,
)
from tests.support.node_fleets import NODE, Fleet, a_fleet

CHUNKS = 6


class GatedFleet(Fleet):
    """Its catalog gives the first chunks of one archive, and the others when the gate opens."""

    gated = ""
    gate = asyncio.Event()
    asked: list[int]

    async def _read_artifact(self, request: ReadArtifact, caller: Caller) -> ArtifactChunk:
        if request.sha256 == self.gated:
            if request.offset_bytes >= 2 * CHUNK_BYTES:
                await self.gate.wait()
            self.asked.append(request.offset_bytes // CHUNK_BYTES)
        return await super()._read_artifact(request, caller)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[GatedFleet]:
    """Everything runs and the executor answers."""
    async with a_fleet(tmp_path, GatedFleet) as made:
        made.gate, made.asked = asyncio.Event(), []
        await made.start_and_register()
        yield made


@pytest.fixture
def other() -> Iterator[Wire]:
    """A second pair of interfaces."""
    with a_wire() as made:
        yield made


def _large_package() -> Published:
    """A package of several chunks, as one with sources and documents is."""
    files = {
        "counter.bpf.o": counting_object("1.0.0", "xdp"),
        "data.bin": bytes(range(256)) * (CHUNKS * CHUNK_BYTES // 256 - 400),
    }
    manifest = PackageManifest(
        name="counter",
        version="1.0.0",
        summary="Counts",
        licence="GPL-2.0-only OR BSD-2-Clause",
        programs=(
            ProgramEntry(name="counts", object="counter.bpf.o", function="counts", hooks=("xdp",)),
        ),
    )
    return packed(manifest, files)


def _gate(fleet: GatedFleet, wire: Wire) -> DesiredChain:
    """A chain whose archive comes no further than its second chunk."""
    large = _large_package()
    fleet.archives[large.signed.archive_sha256] = large.archive
    fleet.gated = large.signed.archive_sha256
    return a_chain(wire.name, a_program("large", signed=large.signed))


async def _seen(fleet: Fleet, wire: Wire, *, code: str = "") -> ObservedChain:
    """The wire's chain once it runs, or once it is refused with `code`."""

    async def read() -> ObservedChain | None:
        entry = await fleet.scheduler.bucket(OBSERVED).get(NODE)
        for one in entry.value.chains if entry else ():
            found = one.refusal.code if one.refusal else ""
            if one.interface == wire.name and found == code and (code or one.state == "attached"):
                return one
        return None

    found = await fleet.until(read)
    assert isinstance(found, ObservedChain)
    return found


async def _has_asked(fleet: GatedFleet, count: int) -> bool:
    return len(fleet.asked) >= count


async def test_a_slow_archive_holds_up_no_other_hook_point(
    fleet: GatedFleet, wire: Wire, other: Wire
) -> None:
    """The others are settled, this one says how far its archive is, and follows by itself."""
    generation = await fleet.desire(_gate(fleet, wire), a_chain(other.name, a_program("small")))
    await _seen(fleet, other)
    waiting = await _seen(fleet, wire, code="unavailable")
    fleet.gate.set()
    observed = await fleet.observed(generation)

    assert waiting.refusal is not None
    assert f"{2 * CHUNK_BYTES} of " in waiting.refusal.message
    assert [one.state for one in observed.chains] == ["attached", "attached"]
    assert fleet.asked == list(range(CHUNKS))


async def test_staging_holds_no_lock_while_it_downloads(
    fleet: GatedFleet, wire: Wire, other: Wire
) -> None:
    """A change of another hook is made meanwhile; the request is answered when all came."""
    request = StageChains(chains=(_gate(fleet, wire),))
    staging = asyncio.create_task(
        fleet.scheduler.request(STAGE_CHAINS.at(node=NODE), request, timeout_seconds=15)
    )
    await fleet.until(lambda: _has_asked(fleet, 2))
    await fleet.observed(await fleet.desire(a_chain(other.name, a_program("small"))))
    was_waiting = not staging.done()
    fleet.gate.set()
    staged = await staging

    assert was_waiting
    assert staged.chains[0].verified_instructions > 0
    assert staged.duration_ms["fetch"] > 0


async def test_a_killed_executor_goes_on_with_its_download(fleet: GatedFleet, wire: Wire) -> None:
    """The chunks that came before are not asked for again."""
    generation = await fleet.desire(_gate(fleet, wire))
    await _seen(fleet, wire, code="unavailable")
    fleet.stop(signal.SIGKILL)
    fleet.gate.set()
    await asyncio.sleep(0)
    before = list(fleet.asked)
    fleet.start()

    observed = await fleet.observed(generation)

    assert before[:2] == [0, 1]
    assert 0 not in fleet.asked[len(before) :]
    assert observed.chains[0].state == "attached"


async def test_a_damaged_archive_is_noticed_before_it_is_needed(
    fleet: GatedFleet, wire: Wire, tmp_path: Path
) -> None:
    """The next start says so and fetches it again; what runs is not touched."""
    before = await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    sha256 = before.chains[0].programs[0].archive_sha256
    path = tmp_path / "state" / "artifacts" / sha256
    fleet.stop()
    path.write_bytes(b"!" + path.read_bytes()[1:])
    fleet.start()

    async def said() -> bool:
        return "artifact.damage" in [one.data.action for one in fleet.events]

    async def whole() -> bool:
        return path.exists() and sha256_hex(path.read_bytes()) == sha256

    await fleet.until(said)
    await fleet.until(whole)

    body = next(one.data for one in fleet.events if one.data.action == "artifact.damage")
    assert body.details["archive_sha256"] == sha256
    assert fleet.reads == [sha256, sha256]
    assert (await _seen(fleet, wire)).program_id == before.chains[0].program_id


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB where the executor keeps its state."""
    folder = tmp_path / "state"
    folder.mkdir()
    options = "size=24m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_refuses_one_download_and_nothing_else(
    small_disk: Path, fleet: GatedFleet, wire: Wire, other: Wire
) -> None:
    """What runs goes on, its changes are journaled, and room on the disk is all it takes."""
    await fleet.observed(await fleet.desire(a_chain(wire.name, a_program("one"))))
    filler, disk = small_disk / "filler", os.statvfs(small_disk)
    with filler.open("wb") as file:
        free_bytes = disk.f_bavail * disk.f_frsize
        os.posix_fallocate(file.fileno(), 0, free_bytes - RESERVED_BYTES)
    limits = {"limits": {"80": 5}}
    generation = await fleet.desire(
        a_chain(wire.name, a_program("one", config=limits)),
        a_chain(other.name, a_program("two", "2.0.0")),
    )
    refused = await _seen(fleet, other, code="unavailable")
    said = await fleet.said(4)
    send_frames(wire.peer, 1)
    filler.unlink()
    observed = await fleet.observed(generation)

    assert refused.refusal is not None
    assert "does not fit on the disk" in refused.refusal.message
    assert refused.refusal.reasons[0].path.startswith("archive ")
    assert said[2:] == ["chain.request", "chain.configure"]
    assert [one.state for one in observed.chains] == ["attached", "attached"]


def test_a_disk_that_fills_up_meanwhile_leaves_no_part(small_disk: Path) -> None:
    """The room that the part took is given back."""
    cache = ArtifactCache(
        small_disk / "artifacts", max_bytes=100 << 20, reserved_bytes=-(100 << 20)
    )

    with pytest.raises(NoRoomError, match="does not fit on the disk"):
        cache.begin("a" * 64, 30 << 20)

    assert list((small_disk / "artifacts").iterdir()) == []
