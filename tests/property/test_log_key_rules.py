# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of changing the log's key: only both keys together lead from one to the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.checkpoint import (
    CheckpointError,
    TreeHead,
    parse_tree_head,
    sign_checkpoint,
    split_note,
    verifier_key,
)
from services.auditor.log_keys import (
    chain_to,
    follow_keys,
    open_by_any,
    open_statement,
    sign_statement,
)
from services.auditor.merkle import EMPTY_ROOT

ORIGIN = "l3af.test/log"
AT = "2026-01-02T03:04:05Z"
SEEDS = [bytes([number]) * 32 for number in range(6)]
KEYS = [verifier_key(ORIGIN, seed=seed) for seed in SEEDS]


def statement(old: int, new: int, origin: str = ORIGIN) -> str:
    """From one key to another."""
    return sign_statement(origin, old_seed=SEEDS[old], new_seed=SEEDS[new], at=AT)


CHAIN = [statement(number, number + 1) for number in range(5)]


@given(st.integers(0, 5), st.integers(0, 5))
def test_from_any_key_of_the_chain_every_later_one_is_reached(start: int, end: int) -> None:
    """And no earlier one; a chain that was cut leads as far as it goes."""
    chain = chain_to(KEYS[end], CHAIN)

    assert len(chain) == end
    assert follow_keys(KEYS[start], chain) == KEYS[start : max(start, end) + 1]


@given(st.sampled_from(CHAIN), st.integers(0))
def test_a_changed_character_of_a_statement_leads_nowhere(note: str, at: int) -> None:
    """Whatever character of text or signatures is another one."""
    at %= len(note)
    changed = note[:at] + ("x" if note[at] != "x" else "y") + note[at + 1 :]

    with pytest.raises(CheckpointError):
        open_statement(changed)


def test_one_key_alone_leads_nowhere() -> None:
    """A statement without the signature of the old key, or of the new one, is none."""
    text, lines = split_note(CHAIN[0])
    assert len(lines) == 2
    for line in lines:
        with pytest.raises(CheckpointError, match="not signed by"):
            open_statement(f"{text}\n{line}\n")


@pytest.mark.parametrize(
    "chain",
    [
        [CHAIN[0], CHAIN[2]],
        [CHAIN[0], CHAIN[1], CHAIN[1]],
        [CHAIN[0], statement(1, 0)],
        [CHAIN[0], "nonsense"],
        [sign_checkpoint(TreeHead(ORIGIN, 0, EMPTY_ROOT), seed=SEEDS[0])],
    ],
)
def test_a_chain_that_breaks_off_is_refused(chain: list[str]) -> None:
    """Left out, doubled, led back, or no statement at all."""
    with pytest.raises(CheckpointError):
        follow_keys(KEYS[0], chain)


def test_a_key_that_is_not_in_the_chain_stays_what_it_is() -> None:
    """Nobody is led from it to somebody else's key, whatever the chain says of others."""
    stranger = verifier_key(ORIGIN, seed=bytes(range(32)))

    assert follow_keys(stranger, CHAIN) == [stranger]
    assert follow_keys(KEYS[0], [statement(0, 1, origin="other/log")]) == [KEYS[0]]


def test_a_statement_is_no_head_and_a_head_is_opened_by_any_of_its_keys() -> None:
    """No checkpoint reader takes a statement for one."""
    with pytest.raises(CheckpointError):
        parse_tree_head(split_note(CHAIN[0])[0])
    head = TreeHead(ORIGIN, 0, EMPTY_ROOT)
    for seed in SEEDS:
        assert open_by_any(sign_checkpoint(head, seed=seed), KEYS) == head
    with pytest.raises(CheckpointError):
        open_by_any(sign_checkpoint(head, seed=bytes(range(32))), KEYS)
