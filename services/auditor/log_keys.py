# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a log changes its key: statements signed by the old key and the new one, in a chain.

Pure.  Whoever trusts an older key of the log is led to the one that signs now, offline.  A
statement is a signed note of five lines: what it is, the log, the old key, the new key, and when.

Rules:
 * A statement counts if both keys signed it; a chain leads on only where one ends and the next
   begins.
 * A chain that does not begin at the trusted key says nothing about it: the key stays the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.auditor.checkpoint import (
    CheckpointError,
    TreeHead,
    VerifierKey,
    open_checkpoint,
    open_note,
    parse_verifier_key,
    render_verifier_key,
    sign_note,
    split_note,
    verifier_key,
    with_signatures,
)
from shared.contracts.events import EventBody

FIRST_LINE: Final = "l3af-log-key/v1"
KEY_ACTION: Final = "log.key"
MAX_STATEMENTS: Final = 1000
_LINES: Final = 5


@dataclass(frozen=True, slots=True)
class KeyStatement:
    """The log signs with another key."""

    old: VerifierKey
    new: VerifierKey
    at: str
    """RFC 3339 UTC."""


def sign_statement(origin: str, *, old_seed: bytes, new_seed: bytes, at: str) -> str:
    """The statement that the log of `origin` goes on with another key, signed by both."""
    keys = [verifier_key(origin, seed=seed) for seed in (old_seed, new_seed)]
    text = "\n".join([FIRST_LINE, origin, *map(render_verifier_key, keys), at, ""])
    note = sign_note(text, name=origin, seed=old_seed)
    return with_signatures(note, split_note(sign_note(text, name=origin, seed=new_seed))[1])


def open_statement(note: str) -> KeyStatement:
    """What the statement says, once both of its keys are known to have signed it.

    Raises:
        CheckpointError: It is none, or is not signed by both.
    """
    lines = split_note(note)[0].split("\n")
    if len(lines) != _LINES + 1 or lines[0] != FIRST_LINE:
        raise CheckpointError("this is not a statement about a log's key")
    origin, old, new = lines[1], parse_verifier_key(lines[2]), parse_verifier_key(lines[3])
    if (old.name, new.name) != (origin, origin) or old == new:
        raise CheckpointError("a statement names two keys of one log")
    for key in (old, new):
        open_note(note, key=key)
    return KeyStatement(old, new, lines[4])


def follow_keys(trusted: VerifierKey, chain: Sequence[str]) -> list[VerifierKey]:
    """The trusted key and every later one that the chain leads to, in their order.

    Raises:
        CheckpointError: A statement is none, or the chain breaks off after the trusted key.
    """
    if len(chain) > MAX_STATEMENTS:
        raise CheckpointError(f"a chain of keys has at most {MAX_STATEMENTS} statements")
    keys = [trusted]
    for note in chain:
        statement = open_statement(note)
        if statement.old == keys[-1] and statement.new not in keys:
            keys.append(statement.new)
        elif len(keys) > 1:
            raise CheckpointError("the chain of keys breaks off")
    return keys


def chain_to(key: VerifierKey, chain: Sequence[str]) -> list[str]:
    """The statements up to the one that `key` is the new key of; none if it is of no statement."""
    ends = [at for at, note in enumerate(chain, 1) if open_statement(note).new == key]
    return list(chain[: ends[0]]) if ends else []


def open_by_any(note: str, keys: Sequence[VerifierKey]) -> TreeHead:
    """The head that one of the keys signed.

    Raises:
        CheckpointError: None of them did.
    """
    for key in keys[:-1]:
        try:
            return open_checkpoint(note, key=key)
        except CheckpointError:
            continue
    return open_checkpoint(note, key=keys[-1])


def key_event(note: str) -> tuple[EventBody, str]:
    """What is said about a change of key, and the id under which it is said once."""
    statement = open_statement(note)
    body = EventBody(
        action=KEY_ACTION,
        outcome="succeeded",
        details={
            "old_key": render_verifier_key(statement.old),
            "new_key": render_verifier_key(statement.new),
            "statement": note,
        },
    )
    return body, f"log-key-{hashlib.sha256(note.encode()).hexdigest()[:32]}"
