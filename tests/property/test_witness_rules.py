# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the witness: what it cosigned is one growing log, whatever it is asked."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.checkpoint import CheckpointError, TreeHead, sign_checkpoint
from services.auditor.merkle import Hash, check_consistency
from services.auditor.witness.exchange import (
    CONFLICT,
    FORBIDDEN,
    MALFORMED,
    OK,
    UNKNOWN,
    UNPROVED,
    AddCheckpoint,
    judge,
    parse_request,
    render_request,
)
from tests.support.small_logs import KEY, ORIGIN, SmallLog

SHARED = 12
LOGS = [
    SmallLog([b"%d" % n for n in range(SHARED)] + [b"%d of %d" % (n, fork) for n in range(20)])
    for fork in range(2)
]
KEYS = {ORIGIN: [KEY]}
SIZES = st.integers(0, SHARED + 20)


@given(st.lists(st.tuples(st.integers(0, 1), SIZES, SIZES), max_size=12))
def test_what_was_cosigned_never_forks_and_never_shrinks(
    asked: list[tuple[int, int, int]],
) -> None:
    """Every head cosigned follows from every one before it.

    Two logs share a beginning; any old and new sizes of either are offered in any order.
    """
    cosigned: list[tuple[int, TreeHead]] = []
    known: TreeHead | None = None
    for fork, old, new in asked:
        log = LOGS[fork]
        request = AddCheckpoint(old, log.consistency(old, new), log.note(new))
        verdict = judge(request, keys=KEYS, known=known)
        if verdict.status == OK:
            assert verdict.head is not None
            known = verdict.head
            cosigned.append((fork, known))
    for (_, before), (fork, after) in pairwise(cosigned):
        assert before.size <= after.size
        if before.size:
            check_consistency(
                LOGS[fork].consistency(before.size, after.size),
                old_size=before.size,
                old_root=before.root,
                new_size=after.size,
                new_root=after.root,
            )


@given(SIZES, SIZES)
def test_an_honest_log_is_always_cosigned(old: int, new: int) -> None:
    """From any size that was cosigned to any that is not smaller, and once more for the same."""
    old, new = sorted((old, new))
    log = LOGS[0]
    known = log.head(old) if old else None
    for before in (old, new):
        request = AddCheckpoint(before, log.consistency(before, new), log.note(new))
        verdict = judge(request, keys=KEYS, known=known)
        assert verdict.status == OK, verdict.why
        known = verdict.head if new else None


@given(st.integers(SHARED + 1, SHARED + 20))
def test_the_same_size_with_another_root_is_a_conflict(size: int) -> None:
    """409 with the size that is known, and the witness knows that the log contradicts itself."""
    request = AddCheckpoint(size, (), LOGS[1].note(size))

    verdict = judge(request, keys=KEYS, known=LOGS[0].head(size))

    assert (verdict.status, verdict.known_size) == (CONFLICT, size)
    assert verdict.is_contradiction


@given(st.integers(SHARED + 1, SHARED + 10), st.integers(1, 10))
def test_an_older_copy_continued_differently_is_not_proved(old: int, more: int) -> None:
    """422: whatever proof the other log gives, it does not lead from what was cosigned."""
    log = LOGS[1]
    request = AddCheckpoint(old, log.consistency(old, old + more), log.note(old + more))

    verdict = judge(request, keys=KEYS, known=LOGS[0].head(old))

    assert verdict.status == UNPROVED
    assert verdict.is_contradiction


@pytest.mark.parametrize(
    ("request_", "known", "status"),
    [
        (AddCheckpoint(0, (), SmallLog([], origin="other").note(0)), None, UNKNOWN),
        (AddCheckpoint(0, (), SmallLog([], seed=bytes(32)).note(0)), None, FORBIDDEN),
        (AddCheckpoint(5, (), LOGS[0].note(3)), None, MALFORMED),
        (AddCheckpoint(0, (), LOGS[0].note(3)), LOGS[0].head(5), CONFLICT),
        (AddCheckpoint(3, (), LOGS[0].note(5)), None, CONFLICT),
        (AddCheckpoint(3, (), LOGS[0].note(5)), LOGS[0].head(3), UNPROVED),
        (AddCheckpoint(0, (Hash(bytes(32)),), LOGS[0].note(3)), None, UNPROVED),
        (
            AddCheckpoint(
                0, (), sign_checkpoint(TreeHead(ORIGIN, 0, Hash(bytes(32))), seed=bytes(range(32)))
            ),
            None,
            UNPROVED,
        ),
    ],
)
def test_statuses_are_those_of_the_specification(
    request_: AddCheckpoint, known: TreeHead | None, status: int
) -> None:
    """Unknown log, untrusted key, old larger than new, wrong old size, no proof."""
    assert judge(request_, keys=KEYS, known=known).status == status


@given(st.integers(0, 2**60), st.lists(st.binary(min_size=32, max_size=32), max_size=63), SIZES)
def test_a_request_is_read_as_it_was_written(old: int, proof: list[bytes], size: int) -> None:
    """Old size, proof lines and note come back."""
    request = AddCheckpoint(old, tuple(map(Hash, proof)), LOGS[0].note(size))

    assert parse_request(render_request(request)) == request


@given(st.binary(max_size=300))
def test_no_bytes_break_the_witness(data: bytes) -> None:
    """Whatever comes is a request or is refused."""
    for start in (b"", b"old 0\n\n", b"old 12\n"):
        try:
            judge(parse_request(start + data), keys=KEYS, known=None)
        except CheckpointError:
            continue
