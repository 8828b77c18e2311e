# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit export` as Parquet, opened by DuckDB, beside the same records as NDJSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from services.auditor.checkpoint import open_checkpoint, parse_verifier_key
from shared.contracts.events import Actor
from shared.errors import Reason
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus
from tests.support.hostile.texts import HOSTILE_TEXTS
from tests.support.log_readers import Reader, reading

ANN = Actor(key="U" + "A" * 55, role="operator", attested=True, through="scheduler")
OF_BODY = ("action", "outcome", "node", "netns", "interface", "hook", "deployment", "package",
           "version", "correlation", "reason", "before", "after")  # fmt: skip
MICROSECOND = timedelta(microseconds=1)
TYPES = {
    "record": "BIGINT",
    "time": "TIMESTAMP WITH TIME ZONE",
    "received_at": "TIMESTAMP WITH TIME ZONE",
    "attested": "BOOLEAN",
    "erased": "BOOLEAN",
    "sequence": "BIGINT",
    "stream_sequence": "BIGINT",
}
"""All others are VARCHAR."""


@pytest.fixture
async def reader(buses: Buses, tmp_path: Path) -> AsyncIterator[Reader]:
    """Somebody who may read a log with everything in it that a record can be."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    async with reading(buses, tmp_path) as found:
        for text in HOSTILE_TEXTS:
            await catalog.emit(
                reason=text, package=text, actor=ANN, details={"text": [text], "n": 1}
            )
        await catalog.emit(
            outcome="refused", reasons=(Reason(path="a.b", rule="no", got=1, allowed=[2]),)
        )
        await catalog.emit(details={"text": "long" * 5000})
        await catalog.bus.connection.publish(
            "l3af.v1.evt.public.catalog.package.publish", b"{}", headers={"Nats-Msg-Id": "bad"}
        )
        await catalog.emit(audience="p_acme", package="secret")
        await catalog.emit(version="2.0.0")
        await found.until_recorded(len(HOSTILE_TEXTS) + 3, action="package.publish")
        yield found


def rows_of(file: Path) -> list[dict[str, Any]]:
    """What DuckDB reads, a row each; times in microseconds since 1970."""
    with duckdb.connect() as database:
        found = database.execute(
            "SELECT * REPLACE (epoch_us(time) AS time, epoch_us(received_at) AS received_at) "
            "FROM read_parquet($1) ORDER BY record",
            [str(file)],
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def row_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a record of NDJSON is as a row, by the words of the contract alone."""
    event = record.get("event", {})
    body = event.get("data", {})
    actor = body.get("actor", {})
    return {
        "record": record["index"],
        "time": moment(event.get("time", "")),
        "received_at": moment(record["received_at"]),
        **{name: body.get(name) or None for name in OF_BODY},
        "actor": actor.get("key"),
        "role": actor.get("role"),
        "attested": actor.get("attested"),
        "address": actor.get("address"),
        "through": actor.get("through"),
        "audience": event.get("audience"),
        "emitter": event.get("emitter"),
        "sequence": event.get("sequence"),
        "event": event.get("id"),
        "reasons": body.get("reasons"),
        "details": body.get("details"),
        "contents": event.get("contents"),
        "problem": record.get("problem"),
        "stream_sequence": record["stream_sequence"] or None,
        "erased": record.get("erased", False),
        "pruned": record.get("pruned"),
        "leaf": record["leaf"] or None,
        "leaf_hash": record.get("leaf_hash"),
    }


def moment(text: str) -> int | None:
    """Microseconds since 1970 at a moment as a record says it."""
    if not text:
        return None
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


async def test_duckdb_reads_what_ndjson_says(reader: Reader) -> None:
    """Every column of every record, with its type; hostile, restricted, and not believed."""
    table, lines = reader.folder / "all.parquet", reader.folder / "all.ndjson"
    await reader.must("export", str(lines))
    records = [json.loads(line) for line in lines.read_text("ascii").splitlines()]
    await reader.must("export", str(table))

    rows = rows_of(table)[: len(records)]
    for row in rows:
        for name in ("reasons", "details", "contents", "pruned"):
            row[name] = json.loads(row[name]) if row[name] else None
    assert rows == [row_of(record) for record in records]
    assert [bool(one["leaf_hash"]) for one in rows].count(True) == 1
    assert any(one["problem"] for one in rows)
    assert any(one["contents"] for one in rows)
    with duckdb.connect() as database:
        found = database.execute("DESCRIBE SELECT * FROM read_parquet($1)", [str(table)])
        types = {name: kind for name, kind, *_ in found.fetchall()}
    assert types == {name: TYPES.get(name, "VARCHAR") for name in rows[0]}


async def test_the_file_says_of_which_log_it_is(reader: Reader) -> None:
    """Origin and a head that its key signed, over every record in the file."""
    table = reader.folder / "table"
    done = await reader.must("export", str(table), "--format", "parquet", "--package", "none")
    assert (done["records"], rows_of(table)) == (0, [])
    table.unlink()
    done = await reader.must("export", str(table), "--format", "parquet")

    with duckdb.connect() as database:
        found = database.execute(
            "SELECT key, value FROM parquet_kv_metadata($1)", [str(table)]
        ).fetchall()
    said = {key.decode(): value.decode() for key, value in found}
    head = open_checkpoint(said["l3af.checkpoint"], key=parse_verifier_key(reader.key))
    assert said["l3af.verifier_key"] == reader.key
    assert (said["l3af.origin"], int(said["l3af.tree_size"])) == (head.origin, done["tree_size"])
    assert rows_of(table)[-1]["record"] < head.size


async def test_a_file_is_there_when_it_is_whole(reader: Reader) -> None:
    """What somebody who was killed left behind is made anew; nothing is written over or gone on."""
    table = reader.folder / "all.parquet"
    left = table.with_name("all.parquet.part")
    left.write_bytes(b"PAR1 and half a group")
    refused = await reader.l3af("export", str(table), "--since", "2026-13-01")
    assert (refused.status, table.exists()) == (2, False)
    done = await reader.must("export", str(table), "--after", "2")
    assert [one["record"] for one in rows_of(table)][:2] == [3, 4]
    assert (done["records"], left.exists()) == (len(rows_of(table)), False)

    before = table.read_bytes()
    for words in ((), ("--resume",)):
        said = await reader.l3af("export", str(table), *words)
        assert (said.status, "whole" in said.message) == (2, True)
    assert (table.read_bytes(), left.exists()) == (before, False)
    said = await reader.l3af("forward", str(reader.folder / "x.parquet"), "--state", "state")
    assert (said.status, "Parquet" in said.message) == (2, True)
