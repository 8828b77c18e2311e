# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log's key is changed: both sign for a while, the log says so, old trust leads to the new."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.auditor.adapters.signing_key import KEY_CHAIN_FILE, SigningKeys, read_signing_keys
from services.auditor.checkpoint import (
    CheckpointError,
    open_checkpoint,
    parse_verifier_key,
    verifier_key,
)
from services.auditor.log_keys import follow_keys, sign_statement
from services.auditor.tlog_proof import render_tlog_proof
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    GET_CHECKPOINT,
    LIST_RECORDS,
    PROVE_RECORD,
    GetCheckpoint,
    ListRecords,
    ProofBundle,
    ProveRecord,
)
from shared.errors import RefusedError
from shared.installation_facts import CHECKPOINT_KEY_FILE
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor, vkey
from tests.support.operator_mode import OperatorModeServer

NEW_SEED = bytes(range(32, 64))
COMMAND = Path(sys.executable).parent / "l3af"


def l3af(*words: str) -> tuple[int, Any]:
    """Status and JSON output of one command; its message if it was refused."""
    done = subprocess.run([COMMAND, *words, "--json"], capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


def test_the_command_rotates_once_and_retires(tmp_path: Path) -> None:
    """Each change leads from the installation's key to the new one; out of turn is refused."""
    place = ("--installation", str(tmp_path / "installation"))
    assert l3af("audit", "key", "rotate", *place)[0] == 2
    status, _ = l3af("init", place[1])
    assert status == 0
    directory = tmp_path / "installation" / "credentials" / "services" / "auditor"
    _, before = l3af("audit", "key", "show", *place)
    assert l3af("audit", "key", "retire", *place)[0] == 2

    status, during = l3af("audit", "key", "rotate", *place)
    assert status == 0
    assert during["older_keys"] == [before["verifier_key"]]
    assert l3af("audit", "key", "rotate", *place)[0] == 2
    trusted = parse_verifier_key(before["verifier_key"])
    assert follow_keys(trusted, during["chain"])[-1] == parse_verifier_key(during["verifier_key"])
    assert (directory / "checkpoint.key").stat().st_mode & 0o077 == 0

    status, after = l3af("audit", "key", "retire", *place)
    assert status == 0
    assert after.get("older_keys", []) == []
    assert after["verifier_key"] == during["verifier_key"]
    assert len((directory / "checkpoint.key").read_text().split()) == 1
    assert l3af("audit", "key", "rotate", *place)[0] == 0


def change_keys(server: OperatorModeServer, change: str) -> None:
    """As the command does, in the credentials of the auditor."""
    directory = server.credentials("service-auditor")
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    keys = read_signing_keys(directory, facts)
    if change == "rotate":
        statement = sign_statement(
            facts.log_origin, old_seed=keys.seed, new_seed=NEW_SEED, at="2026-01-02T03:04:05Z"
        )
        keys = SigningKeys(NEW_SEED, (keys.seed,), (*keys.chain, statement))
    else:
        keys = SigningKeys(keys.seed, (), keys.chain)
    (directory / KEY_CHAIN_FILE).write_bytes(keys.chain_text)
    (directory / CHECKPOINT_KEY_FILE).write_bytes(keys.file_text)


async def proved(reader: Bus, index: int) -> ProofBundle:
    """A record's proof."""
    return await reader.request(PROVE_RECORD, ProveRecord(index=index))


async def test_old_trust_leads_to_the_new_key(buses: Buses, tmp_path: Path) -> None:
    """Who trusts the old key verifies, offline, what only the new one signed.

    Both sign until the old one is retired, and the log says once that they changed.
    """
    server, state_dir = buses.server, tmp_path / "auditor"
    old, new = (
        parse_verifier_key(vkey(server)),
        verifier_key(server.facts.log_origin, seed=NEW_SEED),
    )
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    async with running_auditor(server, state_dir):
        await catalog.emit_many(10)

    change_keys(server, "rotate")
    async with running_auditor(server, state_dir):
        found = await reader.request(GET_CHECKPOINT, GetCheckpoint())
        assert open_checkpoint(found.checkpoint, key=old) == open_checkpoint(
            found.checkpoint, key=new
        )
        await eventually(lambda: said(reader, 1))

    change_keys(server, "retire")
    async with running_auditor(server, state_dir):
        await catalog.emit_many(10)
        await eventually(lambda: grown(reader, 20))
        assert await said(reader, 1)
        bundle = await proved(reader, 3)
    with pytest.raises(CheckpointError):
        open_checkpoint(bundle.checkpoint, key=old)
    assert follow_keys(old, bundle.key_chain) == [old, new]

    files = {"proof.json": msgspec.json.encode(bundle), "proof": render_tlog_proof(bundle).encode()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        status, shown = l3af("audit", "verify", str(tmp_path / name), "--key", vkey(server))
        assert (status, shown["verified"]) == (0, True), shown
    without = msgspec.structs.replace(bundle, key_chain=())
    (tmp_path / "proof.json").write_bytes(msgspec.json.encode(without))
    assert l3af("audit", "verify", str(tmp_path / "proof.json"), "--key", vkey(server))[0] == 2


async def said(reader: Bus, count: int) -> bool:
    """Whether the log holds so many changes of its key."""
    found = await reader.request(LIST_RECORDS, ListRecords(action="log.key"))
    assert len(found.records) <= count
    return len(found.records) == count


async def grown(reader: Bus, least: int) -> bool:
    """Whether the signed head is so large."""
    return (await reader.request(GET_CHECKPOINT, GetCheckpoint())).tree_size >= least


def test_keys_that_do_not_follow_from_the_installations_are_refused(
    buses: Buses, tmp_path: Path
) -> None:
    """Another seed without a statement; and a statement about another seed."""
    directory = tmp_path / "credentials"
    server = buses.server
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    directory.mkdir()
    (directory / CHECKPOINT_KEY_FILE).write_text(NEW_SEED.hex())
    with pytest.raises(RefusedError, match="signed by"):
        read_signing_keys(directory, facts)
    statement = sign_statement(facts.log_origin, old_seed=bytes(32), new_seed=NEW_SEED, at="now")
    (directory / KEY_CHAIN_FILE).write_bytes(SigningKeys(NEW_SEED, (), (statement,)).chain_text)
    with pytest.raises(RefusedError, match="signed by"):
        read_signing_keys(directory, facts)
