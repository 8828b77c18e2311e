# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives that the catalog gives away are recorded, once each, and the log tells to whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.catalog import CHUNK_BYTES, READ_ARCHIVE, ReadArchive
from shared.contracts.distribution import DISTRIBUTE
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.package_builders import TRUST_SEED
from tests.support.auditing import eventually, running_auditor
from tests.support.catalog_process import a_built_package, write_trust_root
from tests.support.catalog_stage import a_stage
from tests.support.command_line import run_l3af

READ = ReadArchive(name="rate-limit", version="1.0.0")
CHUNKS = 4


async def test_whoever_is_given_an_archive_is_in_the_log(buses: Buses, tmp_path: Path) -> None:
    """Once for all chunks, again for another place; what is refused was not handed out."""
    built = a_built_package(padding_bytes=(CHUNKS - 1) * CHUNK_BYTES)
    async with (
        running_auditor(buses.server, tmp_path / "auditor"),
        a_stage(buses, tmp_path / "catalog") as stage,
    ):
        await stage.publish(built)
        viewer = await buses.open("viewer", "vera")
        asked = [
            msgspec.structs.replace(READ, offset_bytes=number * CHUNK_BYTES)
            for number in range(CHUNKS)
        ]
        await asyncio.gather(*(viewer.request(READ_ARCHIVE, one) for one in asked))
        for name in ("nobody", "rate-limit"):
            wrong = msgspec.structs.replace(READ, name=name, version="9.0.0")
            with pytest.raises(RefusedError):
                await viewer.request(READ_ARCHIVE, wrong)
        reader = buses.server.credentials("viewer", "vera")
        write_trust_root(reader, TRUST_SEED)
        exported = await run_l3af(
            "package", "export", "rate-limit", "--layout", "carried",
            credentials=reader, folder=tmp_path,
        )  # fmt: skip
        assert exported.status == 0, exported.message

        auditor = await buses.open("auditor", "ann")

        async def recorded() -> bool:
            found = await auditor.request(LIST_RECORDS, ListRecords(action=DISTRIBUTE))
            return len(found.records) == 2

        await eventually(recorded)
        credentials = buses.server.credentials("auditor", "ann")
        words = ("audit", "report", "distribution")
        told = await run_l3af(*words, "--json", credentials=credentials)
        table = await run_l3af(*words, credentials=credentials)
        bundles = [
            await bundle(place, credentials) for place in (tmp_path / "b", tmp_path / "b.tgz")
        ]
        verified = await run_l3af("audit", "bundle", "verify", str(tmp_path / "b"), "--json")
        (tmp_path / "b" / "NOTICE.txt").write_text("nothing")
        damaged = await run_l3af("audit", "bundle", "verify", str(tmp_path / "b"))

    (version,) = told.document["versions"]
    assert version["package"] == "rate-limit"
    assert version["archive_sha256"] == stage.events[0].data.details["archive_sha256"]
    assert version["licence"] == built.manifest.licence
    assert version["size_bytes"] == len(built.archive)
    assert [
        (one["key"], one.get("destination"), one["times"]) for one in version["recipients"]
    ] == [
        (viewer.key, None, 1),
        (viewer.key, "a folder in OCI layout", 1),
    ]
    assert "a folder in OCI layout" in table.output
    assert bundles[0]["manifest_sha256"] == bundles[1]["manifest_sha256"]
    assert verified.document == bundles[0]
    assert (damaged.status, "NOTICE.txt" in damaged.message) == (2, True)
    (package,) = bundles[0]["bundle"]["packages"]
    assert package["archive_sha256"] == version["archive_sha256"]
    assert any(path.endswith("/rate_limit.bpf.c") for path in package["sources"])
    assert viewer.key not in str(bundles[0])


async def bundle(place: Path, credentials: Path) -> Any:
    """What was made there, of all that was handed out this century."""
    write_trust_root(credentials, TRUST_SEED)
    words = ("audit", "bundle", "notices", str(place), "--until", "2099-01-01", "--json")
    made = await run_l3af(*words, credentials=credentials)
    assert made.status == 0, made.message
    return {**made.document, "place": str(place.with_suffix(""))}
