# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What verification concludes from heads, keys and sequences."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.admission import EMPTY_LOG, admit
from services.auditor.checkpoint import TreeHead, sign_checkpoint, verifier_key
from services.auditor.log_keys import sign_statement
from services.auditor.records import read_message
from services.auditor.verification.adapters.verifying import repeated_ids, verify_store
from services.auditor.verification.heads import KeptHead, check_head, related_keys
from services.auditor.verification.sequences import (
    RunBuilder,
    SequenceReplay,
    check_channels,
    check_gaps,
)
from tests.support.log_stores import NOW, ORIGIN, append
from tests.support.records import an_event, message_of, messages
from tests.support.whole_logs import KEY, SEED, sign

SEEDS = [bytes([number]) * 32 for number in range(4)]
KEYS = [verifier_key(ORIGIN, seed=seed) for seed in SEEDS]
CHAIN = [
    (place, sign_statement(ORIGIN, old_seed=old, new_seed=new, at="2026-01-02T00:00:00Z"))
    for place, (old, new) in enumerate(pairwise(SEEDS))
]


@example([("a", 12), ("a", 12), ("a", 11), ("a", 12)])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), max_size=60))
def test_replayed_records_give_the_channels_and_gaps_that_admission_kept(
    sequences: list[tuple[str, int]],
) -> None:
    """Whatever emitters leave out, repeat or send late: the replay comes to the same."""
    drafts = [
        read_message(
            message_of(
                an_event(place, emitter=f"node/{name}", sequence=number, event_id=str(place)), place
            )
        )
        for place, (name, number) in enumerate(sequences, 1)
    ]
    admission = admit(EMPTY_LOG, drafts, {}, received_us=0)
    builder, replay = RunBuilder(), SequenceReplay()
    for record in admission.records:
        event = record.draft.event
        assert event is not None
        origin = record.draft.origin
        builder.add((origin.emitter, origin.audience), event.sequence, record.index)  # type: ignore[arg-type]
        if record.index % 17 == 16:
            replay.take(builder.finish())
            builder = RunBuilder()
    replay.take(builder.finish())

    state = admission.state
    missing = {channel: ranges for channel, ranges in state.missing.items() if ranges}
    assert check_channels(replay, heads=state.heads, missing=missing) == []
    assert check_gaps(replay, list(enumerate(admission.gaps)), size=len(drafts)) == []


@given(st.integers(0, 3), st.sets(st.integers(0, 2)))
def test_each_key_leads_to_those_that_statements_connect_it_with(
    trusted: int, kept: set[int]
) -> None:
    """From any key of the chain, both ways, and not over a statement that is missing."""
    keys, problems = related_keys([KEYS[trusted]], [CHAIN[place] for place in sorted(kept)])

    first = last = trusted
    while first - 1 in kept:
        first -= 1
    while last in kept:
        last += 1
    assert set(keys) == set(KEYS[first : last + 1])
    assert problems == []


@given(st.lists(st.integers(0, 20), max_size=50))
def test_repeated_ids_are_named_with_the_record_that_had_them_first(ids: list[int]) -> None:
    """Zero stands for no id; every other number may be used once."""
    data = b"".join(one.to_bytes(8, "little") for one in ids)

    assert repeated_ids(data) == [
        (index, ids.index(one)) for index, one in enumerate(ids) if one and one in ids[:index]
    ]


def test_a_head_of_more_records_than_there_are_says_how_many_are_gone() -> None:
    """Somebody else's head is what shows that a log was cut short."""
    head = TreeHead(ORIGIN, 12, KEYS[0].public_key)  # type: ignore[arg-type]
    note = sign_checkpoint(head, seed=SEEDS[0])

    (problem,) = check_head(
        KeptHead(note, "a witness"), size=9, keys=KEYS, root_of=lambda _: head.root
    )

    assert str(problem) == (
        "checkpoint 12: size: the one in a witness: the log has 9 records: "
        "the last 3 that were signed are gone"
    )


def test_last_records_that_were_cut_off_are_found_through_a_head_kept_elsewhere(
    tmp_path: Path,
) -> None:
    """A log put back to an older state of itself is in order, but for who remembers more."""

    async def write(count: int, first: int) -> str:
        with closing(SqliteStore.open(tmp_path, origin=ORIGIN)) as store:
            await append(store, messages(count, first=first), now=NOW)
            return await sign(store)

    asyncio.run(write(300, 1))
    with closing(sqlite3.connect(tmp_path / "log.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    older = (tmp_path / "log.db").read_bytes()
    newest = asyncio.run(write(40, 301))
    (tmp_path / "log.db").write_bytes(older)
    (tmp_path / "log.db-wal").unlink(missing_ok=True)

    assert verify_store(str(tmp_path), keys=[KEY]).problems == []
    (problem,) = verify_store(
        str(tmp_path), keys=[KEY], heads=[KeptHead(newest, "node host-1")]
    ).problems

    assert (problem.part, problem.at, problem.field) == ("checkpoint", "340", "size")
    assert verifier_key(ORIGIN, seed=SEED) == KEY
