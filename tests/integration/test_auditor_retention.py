# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A running auditor that prunes: rules, commands, files for web servers, and who may what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.checkpoint import parse_verifier_key
from services.auditor.merkle import leaf_hash
from services.auditor.proofs import verify_bundle
from services.auditor.tile_layout import parse_entries
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, PROVE_RECORD, AuditRecord, ListRecords, ProveRecord
from shared.contracts.inventory import FIND_RUNS, GET_INVENTORY, FindRuns, GetInventory
from shared.contracts.retention import (
    GET_RETENTION,
    PRUNE_RECORDS,
    SET_RETENTION,
    GetRetention,
    PruneRecords,
    RecordsPruned,
    RetentionRule,
    RetentionRules,
    SetRetention,
)
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor, vkey
from tests.support.command_line import run_l3af
from tests.support.inventories import a_reading, at, chain_event
from tests.support.log_stores import append
from tests.support.operator_mode import OperatorModeServer
from tests.support.records import an_event, message_of

OLD = 40
RULES = RetentionRules(rules=(RetentionRule(name="month", keep_days=30),))


async def with_old_records(
    server: OperatorModeServer, state_dir: Path, *, count: int = OLD
) -> list[bytes]:
    """The auditor's store holds what was received long ago: the leaves' hashes."""
    store = SqliteStore.open(state_dir, origin=server.facts.log_origin)
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=1),
        chain_event("chain.attach", a_reading("b"), node="n1", sequence=2, seconds=60),
        *(
            an_event(number, action="package.yank", package="edge")
            for number in range(1, count - 1)
        ),
    ]
    messages = [message_of(event, number) for number, event in enumerate(events, start=1)]
    await append(store, messages, now=datetime.now(UTC) - timedelta(days=60))
    hashes: list[bytes] = [leaf_hash(leaf) for leaf in await store.leaves(0, count)]
    await store.aclose()
    return hashes


async def pruned(bus: Bus, **asked: object) -> RecordsPruned:
    """All that is due, in one answer."""
    done = await bus.request(PRUNE_RECORDS, PruneRecords(**asked), timeout_seconds=60)  # type: ignore[arg-type]
    assert done.position is None
    return done


async def listed(bus: Bus) -> dict[int, AuditRecord]:
    """Every record, by its number."""
    found = await bus.request(LIST_RECORDS, ListRecords(limit=1000))
    return {one.index: one for one in found.records}


async def test_what_is_pruned_is_said_proved_and_withheld(buses: Buses, tmp_path: Path) -> None:
    """Numbers and hashes remain for readers, proofs for everybody, and nothing in the files."""
    tiles = tmp_path / "tiles"
    hashes = await with_old_records(buses.server, tmp_path / "auditor")
    bundle = tiles / "tile" / "entries"
    settings = {"tiles_dir": str(tiles)}

    def published() -> list[bytes]:
        files = [*bundle.glob("000.p/*"), *bundle.glob("000")]
        return [one for file in files for one in parse_entries(file.read_bytes())[:OLD]]

    async with running_auditor(buses.server, tmp_path / "auditor", **settings):
        bus = await buses.open("administrator", "ann")
        await eventually(published)
        assert any(published())
        command = SetRetention(retention=RULES, reason="policy 3")
        await bus.request(SET_RETENTION, command)
        would = await pruned(bus, dry_run=True)
        assert would.by_rule == {"month": OLD - 1}
        assert not any(one.pruned for one in (await listed(bus)).values())
        done = await pruned(bus, reason="ticket 8")
        assert done.by_rule == would.by_rule

        records = await listed(bus)
        notes = {index: one for index, one in records.items() if one.pruned}
        assert set(notes) == set(range(OLD)) - {1}, "what says what runs stays"
        assert {one.leaf_hash for one in notes.values()} == {hashes[index].hex() for index in notes}
        (by,) = {one.pruned.record for one in notes.values() if one.pruned}
        said = records[by].event
        assert said is not None
        assert (said.data.action, said.data.reason) == ("log.prune", "ticket 8")
        proof = await bus.request(PROVE_RECORD, ProveRecord(index=5))
        proved = verify_bundle(proof, key=parse_verifier_key(vkey(buses.server)))
        assert (proved.index, proved.event) == (5, None)
        await eventually(lambda: len({one for one in published() if one}) == 1)


async def test_what_is_not_known_any_more_is_said(buses: Buses, tmp_path: Path) -> None:
    """As-of before the cut is refused by name, since then it answers; runs say from when on."""
    await with_old_records(buses.server, tmp_path / "auditor")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        bus = await buses.open("administrator", "ann")
        before = await bus.request(GET_INVENTORY, GetInventory(at=at(30)))
        assert [one.reading.program_tag for one in before.hook_points]
        await bus.request(SET_RETENTION, SetRetention(retention=RULES, reason="policy 3"))
        await pruned(bus)
        with pytest.raises(RefusedError, match="is not known: records that said it were pruned"):
            await bus.request(GET_INVENTORY, GetInventory(at=at(30)))
        now = datetime.now(UTC).isoformat()
        (run,) = (await bus.request(GET_INVENTORY, GetInventory(at=now))).hook_points
        found = await bus.request(FIND_RUNS, FindRuns(digest=run.reading.plan_sha256))
        assert found.pruned_before
        assert len(found.runs) == 1


async def test_rules_are_set_by_administrators_with_a_reason(buses: Buses, tmp_path: Path) -> None:
    """Nobody else prunes; until rules are set everything is kept; generations are counted."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        ann = await buses.open("administrator", "ann")
        bob = await buses.open("auditor", "bob")
        assert (await bob.request(GET_RETENTION, GetRetention())).generation == 0
        for refused in (
            bob.request(SET_RETENTION, SetRetention(retention=RULES, reason="x")),
            bob.request(PRUNE_RECORDS, PruneRecords()),
            ann.request(SET_RETENTION, SetRetention(retention=RULES)),
        ):
            with pytest.raises(RefusedError):
                await refused
        assert (await pruned(ann)).by_rule == {}
        await ann.request(SET_RETENTION, SetRetention(retention=RULES, reason="x"))
        stale = SetRetention(retention=RULES, reason="x", if_generation=0)
        with pytest.raises(RefusedError, match="of generation 1 and not 0"):
            await ann.request(SET_RETENTION, stale)
        shown = await bob.request(GET_RETENTION, GetRetention())
        assert (shown.retention, shown.generation, shown.reason) == (RULES, 1, "x")

        async def recorded() -> bool:
            found = await bob.request(LIST_RECORDS, ListRecords(action="retention.set"))
            outcomes = {one.event.data.outcome for one in found.records if one.event}
            return outcomes == {"accepted", "refused"}

        await eventually(recorded)


async def test_what_is_due_is_pruned_daily_if_the_rules_say_so(
    buses: Buses, tmp_path: Path
) -> None:
    """At the next start, without anybody asking."""
    await with_old_records(buses.server, tmp_path / "auditor")
    ann = await buses.open("administrator", "ann")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        daily = RetentionRules(rules=RULES.rules, daily=True)
        await ann.request(SET_RETENTION, SetRetention(retention=daily, reason="policy 3"))
    async with running_auditor(buses.server, tmp_path / "auditor"):

        async def gone() -> bool:
            return (await listed(ann))[0].pruned is not None

        await eventually(gone)


async def test_the_commands_show_set_and_prune(buses: Buses, tmp_path: Path) -> None:
    """A file of rules is set, shown and acted on; `log` says what was pruned."""
    await with_old_records(buses.server, tmp_path / "auditor")
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nname = "month"\nkeep_days = 30\n')
    async with running_auditor(buses.server, tmp_path / "auditor"):
        ann = buses.server.credentials("administrator", "ann")
        words = ("audit", "retention", "set", str(rules), "--reason", "policy 3")
        assert (await run_l3af(*words, credentials=ann)).status == 0
        shown = await run_l3af("audit", "retention", "show", credentials=ann)
        assert "30 days" in shown.output
        would = await run_l3af("audit", "prune", "--dry-run", "--json", credentials=ann)
        assert would.document["by_rule"] == {"month": OLD - 1}
        done = await run_l3af("audit", "prune", credentials=ann)
        assert f"month: {OLD - 1} records pruned" in done.output
        log = await run_l3af("audit", "log", "--all", credentials=ann)
        assert "pruned" in log.output
        assert "by rule month" in log.output


async def test_the_commands_archive_list_and_verify(buses: Buses, tmp_path: Path) -> None:
    """Without a directory a rule that archives is refused; with one its segments are proved."""
    await with_old_records(buses.server, tmp_path / "auditor", count=300)
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rules]]\nname = "month"\nkeep_days = 30\narchive = true\n')
    ann = buses.server.credentials("administrator", "ann")
    words = ("audit", "retention", "set", str(rules), "--reason", "policy 3")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        refused = await run_l3af(*words, credentials=ann)
        assert (refused.status, "AUDITOR_ARCHIVE_DIR" in refused.message) == (2, True)
    settings = {"archive_dir": str(tmp_path / "archive")}
    async with running_auditor(buses.server, tmp_path / "auditor", **settings):
        assert (await run_l3af(*words, credentials=ann)).status == 0
        done = await run_l3af("audit", "prune", "--json", credentials=ann)
        assert done.document["by_rule"] == {"month": 255}
        (file,) = (tmp_path / "archive").iterdir()
        listed = await run_l3af("audit", "archive", "list", "--json", credentials=ann)
        assert [one["name"] for one in listed.document["segments"]] == [file.name]
        proved = await run_l3af(
            "audit", "archive", "verify", str(file), "--key", vkey(buses.server), "--json"
        )
        assert (proved.status, proved.document["records"]) == (0, 255)
        file.write_bytes(file.read_bytes()[:-1])
        assert (await run_l3af("audit", "archive", "list", credentials=ann)).status == 1
        broken = await run_l3af("audit", "archive", "verify", str(file))
        assert broken.status == 2
