# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit key show|rotate|retire`: the key that signs the log, and how it changes."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import cyclopts
import msgspec
from rich.text import Text

from cli.console import JsonFlag, emit, plain, refusing, say
from cli.principal import InstallationOption, chosen
from installation.adapters.directory import exclusive, read_facts, write_private
from installation.layout import Layout
from services.auditor.adapters.signing_key import (
    KEY_CHAIN_FILE,
    SEED_BYTES,
    SigningKeys,
    read_signing_keys,
)
from services.auditor.checkpoint import render_verifier_key, verifier_key
from services.auditor.log_keys import sign_statement
from shared.errors import RefusedError
from shared.installation_facts import CHECKPOINT_KEY_FILE, InstallationFacts

app = cyclopts.App(name="key", help="Change the key that signs the log.")


class LogKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a log."""

    verifier_key: str
    """Signs now."""
    older_keys: tuple[str, ...] = ()
    """Sign as well, until they are retired."""
    chain: tuple[str, ...] = ()
    """Statements that lead from the log's first key to this one."""


@app.command
def show(*, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """The key that signs the log now, those that sign as well, and the statements between them."""
    with refusing(json=json):
        facts, keys = _read(Layout(chosen(installation)))
    emit(_shown(facts, keys), _render, json=json)


@app.command
def rotate(*, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Give the log a new key; the old one signs as well until it is retired.

    The auditor knows it when it is started again, and then records it.
    """
    with refusing(json=json), exclusive(layout := _existing(installation)):
        facts, keys = _read(layout)
        if keys.older_seeds:
            raise RefusedError("an older key still signs; `l3af audit key retire` ends that first")
        seed = secrets.token_bytes(SEED_BYTES)
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        statement = sign_statement(facts.log_origin, old_seed=keys.seed, new_seed=seed, at=at)
        changed = SigningKeys(seed, (keys.seed,), (*keys.chain, statement))
        # Until the key file says so the new statement leads to no key that signs.
        directory = layout.credentials("service", "auditor")
        write_private(directory / KEY_CHAIN_FILE, changed.chain_text)
        write_private(directory / CHECKPOINT_KEY_FILE, changed.file_text)
    say(
        "start the auditor again; tell its witnesses the new key with `l3af witness trust`",
        json=json,
    )
    emit(_shown(facts, changed), _render, json=json)


@app.command
def retire(*, installation: InstallationOption = None, json: JsonFlag = False) -> None:
    """Only the newest key signs from the auditor's next start on; the older seeds are deleted."""
    with refusing(json=json), exclusive(layout := _existing(installation)):
        facts, keys = _read(layout)
        if not keys.older_seeds:
            raise RefusedError("no older key signs")
        changed = SigningKeys(keys.seed, (), keys.chain)
        directory = layout.credentials("service", "auditor")
        write_private(directory / CHECKPOINT_KEY_FILE, changed.file_text)
    say("start the auditor again", json=json)
    emit(_shown(facts, changed), _render, json=json)


def _existing(installation: Path | None) -> Layout:
    layout = Layout(chosen(installation))
    read_facts(layout)
    return layout


def _read(layout: Layout) -> tuple[InstallationFacts, SigningKeys]:
    facts = read_facts(layout)
    return facts, read_signing_keys(layout.credentials("service", "auditor"), facts)


def _shown(facts: InstallationFacts, keys: SigningKeys) -> LogKeys:
    rendered = [
        render_verifier_key(verifier_key(facts.log_origin, seed=seed))
        for seed in (keys.seed, *keys.older_seeds)
    ]
    return LogKeys(verifier_key=rendered[0], older_keys=tuple(rendered[1:]), chain=keys.chain)


def _render(shown: LogKeys) -> Text:
    lines = [shown.verifier_key, *(f"{key} signs as well" for key in shown.older_keys)]
    return Text(plain("\n".join(lines)))
