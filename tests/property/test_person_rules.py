# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a message says: it comes back to the last byte, and without keys nobody is in it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.persons.erasing import Finding, Sought
from services.auditor.persons.masking import masked
from services.auditor.persons.tokens import MARKER, opened_bodies, subject_of, tokens_in
from services.auditor.persons.vault import KEY_BYTES, Seals, Vault
from services.auditor.records import read_message
from shared.canonical import canonical_bytes
from shared.contracts.events import Actor
from tests.support.records import altered, an_event, message_of

KEYS = [f"U{letter * 55}" for letter in "ABW"]
WORDS = st.one_of(
    st.sampled_from([*KEYS, "alice", "bob", '"', ",", '","', "\\", "l3af-person:", "é\u2028\0"]),
    st.from_regex(r'"?l3af-person:[0-9a-f]{16}:[0-9a-f]{32}"?', fullmatch=True),
    st.text(max_size=12),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)
DETAILS = st.dictionaries(
    st.one_of(st.sampled_from(["owners", "author", "filters", "before", "licence"]), WORDS),
    VALUES,
    max_size=4,
)
ACTORS = st.one_of(
    st.none(),
    st.builds(Actor, key=WORDS, role=st.just("operator"), attested=st.booleans(), address=WORDS),
)


def a_vault(seed: int) -> Vault:
    """Nobody is known."""
    return Vault(bytes(KEY_BYTES), (), random.Random(seed).randbytes)


@given(
    actor=ACTORS,
    reason=WORDS,
    details=DETAILS,
    action=st.sampled_from(["owners.set", "log.read"]),
    long=st.booleans(),
    is_believed=st.booleans(),
    forgotten=st.sets(st.integers(0, 5)),
)
def test_a_message_comes_back_or_has_tokens(
    *,
    actor: Actor | None,
    reason: str,
    details: dict[str, Any],
    action: str,
    long: bool,
    is_believed: bool,
    forgotten: set[int],
) -> None:
    """Made again it is the same; with all keys it is what came; without some it has tokens."""
    text = reason * 9_000 if long else reason
    message = message_of(an_event(1, action=action, actor=actor, reason=text, details=details), 1)
    if not is_believed:
        message = altered(message, emitter="scheduler")
    draft = read_message(message)
    vault, seals = a_vault(1), Seals()

    def kept() -> bytes:
        believed = not draft.problem
        return masked(message.data, draft.event, is_believed=believed, vault=vault, seals=seals)

    body = kept()
    assert kept() == body
    assert tokens_in([body]) <= seals.keys()
    if actor is not None and actor.key and not draft.problem:
        said = msgspec.json.decode(body)["data"]["actor"]["key"].encode()
        assert said.startswith(MARKER)
    words = vault.read(seals)
    assert opened_bodies([body], words) == [(message.data, False)]

    gone = {subject for at, subject in enumerate(sorted(vault.subjects())) if at in forgotten}
    vault.forget(gone)
    ((left, is_erased),) = opened_bodies([body], vault.read(seals))
    assert is_erased == bool({subject_of(token) for token in tokens_in([body])} & gone)
    if left is not None and not draft.problem:
        msgspec.json.decode(left)


NAMES = st.sampled_from(["alice", "Ünal", 'o"neil'])


@given(before=st.text(max_size=3), after=st.text(max_size=3), name=NAMES)
def test_a_name_counts_as_a_word(before: str, after: str, name: str) -> None:
    """Between anything but letters and digits, whatever the case of its letters; a key anywhere."""
    finding = Finding(Sought(frozenset({name}), frozenset({KEYS[0]})))
    is_word = not before[-1:].isalnum() and not after[:1].isalnum()
    said = f"{before}{name.upper()}{after}"
    assert finding.is_in(said) == is_word
    assert finding.may_be_in(canonical_bytes(said))
    assert finding.is_in(f"{before}{KEYS[0]}{after}")
