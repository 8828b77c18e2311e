# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of cosignatures: who cosigned is counted once, and nobody else is counted."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.checkpoint import (
    COSIGNATURE,
    CheckpointError,
    TreeHead,
    open_checkpoint,
    parse_verifier_key,
    render_verifier_key,
    sign_checkpoint,
    split_note,
    verifier_key,
    with_signatures,
)
from services.auditor.cosignature import MAX_TIME, check_witnessed, cosign, read_cosignatures
from services.auditor.merkle import EMPTY_ROOT

ORIGIN = "l3af.test/log"
LOG_SEED = bytes(range(32))
NOTE = sign_checkpoint(TreeHead(ORIGIN, 0, EMPTY_ROOT), seed=LOG_SEED)
TEXT = split_note(NOTE)[0]
SEEDS = {f"witness.example/{number}": bytes([number]) * 32 for number in range(5)}
KEYS = {name: verifier_key(name, seed=seed, algorithm=COSIGNATURE) for name, seed in SEEDS.items()}
NAMES = st.sampled_from(sorted(SEEDS))
TIMES = st.integers(0, MAX_TIME)


def line(name: str, time: int) -> str:
    """What a witness says of NOTE."""
    return cosign(TEXT, name=name, seed=SEEDS[name], time=time)


@given(st.lists(st.tuples(NAMES, TIMES)), st.sets(NAMES))
def test_each_named_witness_counts_once_with_what_it_said(
    said: list[tuple[str, int]], named: set[str]
) -> None:
    """Of any lines by any witnesses, those of the named ones are read, the newest of each."""
    note = NOTE + "".join(f"{line(name, time)}\n" for name, time in said)

    found = read_cosignatures(note, witnesses=[KEYS[name] for name in sorted(named)])

    expected = {
        name: max(time for other, time in said if other == name)
        for name in named & {name for name, _ in said}
    }
    assert {one.witness.name: one.time for one in found} == expected


@given(st.sets(NAMES), st.integers(0, 6))
def test_a_demand_is_met_exactly_if_so_many_cosigned(said: set[str], least: int) -> None:
    """Fewer than `least` of the named witnesses are refused, with those that are silent named."""
    note = with_signatures(NOTE, [line(name, 7) for name in sorted(said)])

    if least <= len(said):
        assert len(check_witnessed(note, witnesses=list(KEYS.values()), least=least)) == len(said)
        return
    with pytest.raises(CheckpointError, match=f"by {len(said)} of the witnesses") as refused:
        check_witnessed(note, witnesses=list(KEYS.values()), least=least)
    silent = {str(reason.got).partition("+")[0] for reason in refused.value.reasons}
    assert silent == set(KEYS) - said


@given(NAMES, TIMES, st.integers(4 * 8, (4 + 8 + 64) * 8 - 1))
def test_a_flipped_bit_in_a_cosignature_is_refused(name: str, time: int, bit: int) -> None:
    """In the time or in the signature; the key id only selects."""
    head, _, encoded = line(name, time).rpartition(" ")
    blob = bytearray(base64.b64decode(encoded))
    blob[bit // 8] ^= 1 << bit % 8
    note = f"{NOTE}{head} {base64.b64encode(blob).decode()}\n"

    with pytest.raises(CheckpointError):
        read_cosignatures(note, witnesses=[KEYS[name]])


def test_a_cosignature_of_another_head_is_refused() -> None:
    """A line moved to another note of the same log does not verify."""
    other = sign_checkpoint(TreeHead(ORIGIN, 1, EMPTY_ROOT), seed=LOG_SEED)
    name = min(SEEDS)

    with pytest.raises(CheckpointError, match="does not verify"):
        read_cosignatures(with_signatures(other, [line(name, 1)]), witnesses=[KEYS[name]])


def test_a_log_cannot_be_its_own_witness_and_no_witness_the_log() -> None:
    """The same seed and name as log and as witness are two keys, and neither opens the other's."""
    same = verifier_key(ORIGIN, seed=LOG_SEED, algorithm=COSIGNATURE)

    assert read_cosignatures(NOTE, witnesses=[same]) == []
    with pytest.raises(CheckpointError, match="does not verify"):
        open_checkpoint(f"{TEXT}\n{cosign(TEXT, name=ORIGIN, seed=LOG_SEED, time=1)}\n", key=same)
    with pytest.raises(CheckpointError, match="not an Ed25519 key"):
        parse_verifier_key(render_verifier_key(same))
    with pytest.raises(CheckpointError, match="not the key of a witness"):
        parse_verifier_key(
            render_verifier_key(verifier_key(ORIGIN, seed=LOG_SEED)), algorithm=COSIGNATURE
        )


@given(st.lists(st.tuples(NAMES, TIMES), min_size=1))
def test_a_cosigned_note_is_still_the_logs(said: list[tuple[str, int]]) -> None:
    """Lines added replace those of the same key, and never touch the log's own signature."""
    note = NOTE
    for name, time in said:
        note = with_signatures(note, [line(name, time)])

    assert open_checkpoint(note, key=verifier_key(ORIGIN, seed=LOG_SEED)).size == 0
    assert len(split_note(note)[1]) == 1 + len({name for name, _ in said})
