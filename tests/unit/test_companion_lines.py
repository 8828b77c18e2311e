# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept of what companions say, who they run as, and what happened to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.companions.adapters.event_store import EventStore, EventStoreError
from services.companions.capability_numbers import (
    capability_mask,
    missing_capabilities,
    unknown_capabilities,
)
from services.companions.config import check_may_lack
from services.companions.said_lines import (
    BURST_LINES,
    LINES_PER_SECOND,
    MAX_CHARACTERS,
    SaidLines,
    Splitter,
)
from services.companions.user_ids import parse_user_ids, user_id
from shared.contracts.companions import (
    MAX_LOG_LINES,
    ApplyCompanions,
    CompanionCommand,
    CompanionEvent,
    CompanionSpec,
)
from shared.errors import RefusedError


def test_lines_are_whole_however_they_come() -> None:
    """In pieces, many at once, and too long ones cut once."""
    splitter, said = Splitter(), []
    for data in (b"on", b"e\ntwo\r\n\xff\n", b"x" * 9000, b"y" * 9000 + b"\nshort\n"):
        lines, more = splitter.feed(data, most=10)
        assert more == 0
        said += lines

    assert said[:3] == [("one", False), ("two", False), ("\ufffd", False)]
    assert (len(said[3][0]), said[3][1]) == (4096, True)
    assert said[4] == ("short", False)


def test_what_was_said_last_is_a_line_without_its_end() -> None:
    """A reason that a program ends with is kept, once, and counts like every line."""
    splitter = Splitter()
    splitter.feed(b"one\nfatal: no", most=1)

    assert splitter.end(most=1) == ([("fatal: no", False)], 0)
    assert splitter.end(most=1) == ([], 0)
    splitter.feed(b"fatal", most=1)
    assert splitter.end(most=0) == ([], 1)


def test_lines_above_the_share_are_counted_alone() -> None:
    """None of them is looked at, and what follows them is whole again."""
    splitter = Splitter()

    assert splitter.feed(b"1\n2\n3\n" + b"x" * 9000 + b"\n5\n6", most=2) == (
        [("1", False), ("2", False)],
        3,
    )
    assert splitter.feed(b"7\n", most=0) == ([], 1)
    assert splitter.feed(b"8\n", most=1) == ([("8", False)], 0)


def test_too_many_lines_are_told_with_the_next() -> None:
    """So many at once, then so many a second, and nothing is left out silently."""
    lines = SaidLines()
    assert lines.room(now=0.0) == BURST_LINES
    for number in range(BURST_LINES):
        lines.keep("stdout", str(number), is_cut=False, time="")
    lines.leave_out(7)
    assert lines.room(now=0.5 / LINES_PER_SECOND) == 0
    assert lines.room(now=2 / LINES_PER_SECOND) == 2

    kept = lines.keep("stdout", "y", is_cut=False, time="")

    assert kept.left_out == 7
    assert lines.last(1) == (kept,)
    assert (lines.said, lines.left_out) == (BURST_LINES + 8, 7)


def test_the_last_lines_are_kept_and_no_more() -> None:
    """Whatever it says, it takes so much memory."""
    lines = SaidLines()
    for number in range(3 * MAX_LOG_LINES):
        lines.keep("stdout", str(number), is_cut=False, time="")
    assert [line.text for line in lines.last(2)] == ["2998", "2999"]
    assert len(lines.last(10 * MAX_LOG_LINES)) == MAX_LOG_LINES

    for _ in range(MAX_LOG_LINES):
        lines.keep("stdout", "x" * 4096, is_cut=False, time="")

    assert sum(len(line.text) for line in lines.last(MAX_LOG_LINES)) <= MAX_CHARACTERS


def test_user_ids_are_the_same_again_and_never_shared() -> None:
    """By the companion's id, and the next free one where that is taken."""
    ids = range(100, 110)
    first = user_id("one", (), ids)
    assert first is not None

    assert user_id("one", (), ids) == first
    assert user_id("one", {first}, ids) not in {first, None}
    assert user_id("one", set(ids), ids) is None


@pytest.mark.parametrize("text", ["", "5", "0-9", "2000-1000", "1000-9999999999", "a-b"])
def test_user_ids_are_a_range_above_the_systems(text: str) -> None:
    """Ids of accounts that machines come with are no companion's."""
    with pytest.raises(RefusedError):
        parse_user_ids(text)
    assert parse_user_ids("2000-2001") == range(2000, 2002)


def test_limits_that_may_be_lacking_are_named() -> None:
    """A word that is no limit is refused, so nothing is excused by mistake."""
    assert check_may_lack("cpu,memory") == {"cpu", "memory"}
    with pytest.raises(RefusedError):
        check_may_lack("cpu,swap")


def test_capabilities_have_the_kernels_numbers() -> None:
    """CAP_BPF is 39; what nobody knows and what is not held is named."""
    assert capability_mask(["CAP_CHOWN", "CAP_BPF"]) == 1 | 1 << 39
    assert unknown_capabilities(["CAP_FLY", "CAP_BPF"]) == ("CAP_FLY",)
    assert missing_capabilities(["CAP_BPF", "CAP_CHOWN"], 1) == ("CAP_BPF",)


def an_event(text: str = "") -> CompanionEvent:
    """One that has no number yet."""
    return CompanionEvent(number=0, time="", id="one", kind="start", problem=text)


def a_store(folder: Path, *, max_bytes: int = 1 << 20) -> EventStore:
    """Opened there."""
    return EventStore(folder, max_bytes=max_bytes, first_number=lambda: 1000)


def test_events_have_numbers_that_never_come_again(tmp_path: Path) -> None:
    """Not after they were acknowledged, not after a new start."""
    store = a_store(tmp_path)
    store.add([an_event(), an_event()])
    assert [event.number for event in store.after(0)] == [1001, 1002]
    assert [event.number for event in store.after(1001)] == [1002]
    assert store.after(1002) == ()
    store.close()

    store = a_store(tmp_path)
    store.add([an_event()])
    assert [event.number for event in store.after(0)] == [1003]

    # Somebody saw events of a file that was lost.
    store.after(5000)
    store.add([an_event()])

    assert [event.number for event in store.after(5000)] == [5001]
    store.close()


def test_events_that_had_to_make_room_are_counted(tmp_path: Path) -> None:
    """The oldest go, one event stands for all of them, and the newest are there."""
    store = a_store(tmp_path, max_bytes=4000)
    for number in range(100):
        store.add([an_event(f"{number} " + "x" * 100)])

    events = store.after(0)

    assert events[0].kind == "lost"
    assert events[0].count + len(events) - 1 == 100
    assert events[-1].problem.startswith("99 ")
    assert [event.number for event in events] == list(
        range(events[0].number, events[0].number + len(events))
    )
    store.close()


def test_what_was_wanted_counts_for_one_run_of_the_kernel(tmp_path: Path) -> None:
    """After a start of the machine its map ids mean other maps."""
    spec = CompanionSpec(
        id="one", name="one", start=CompanionCommand(sha256="a" * 64, path="/x"), maps={"m": 3}
    )
    wanted = ApplyCompanions(instances=(spec,))
    store = a_store(tmp_path)
    assert store.remembered(boot_id="first") == (ApplyCompanions(instances=()), False)
    store.remember(wanted, boot_id="first")
    store.close()

    store = a_store(tmp_path)

    assert store.remembered(boot_id="first") == (wanted, True)
    assert store.remembered(boot_id="second") == (wanted, False)
    store.close()


def test_a_store_has_one_holder(tmp_path: Path) -> None:
    """The second one is told so."""
    store = a_store(tmp_path)

    with pytest.raises(EventStoreError):
        a_store(tmp_path)
    store.close()
