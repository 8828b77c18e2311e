# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When what ended is started again, and how it reads."""

from __future__ import annotations

import pytest

from installation.supervision import (
    ProcessSpec,
    ProcessStatus,
    RestartPolicy,
    answer_name,
    is_finished,
    is_telling,
    missing_answers,
    stages,
    status_line,
)


def test_waits_double_up_to_the_longest() -> None:
    """0.2 s, 0.4 s, … 10 s, however often it ends."""
    policy, ends, waits = RestartPolicy(), 0, []
    for _ in range(9):
        ends, wait_seconds = policy.after_end(ends, ran_seconds=0.1)
        waits.append(wait_seconds)

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


@pytest.mark.parametrize(("ran_seconds", "wait_seconds"), [(29.9, 6.4), (30.0, 0.2), (3e6, 0.2)])
def test_a_stable_run_is_forgiven(ran_seconds: float, wait_seconds: float) -> None:
    """Whoever ran for 30 s starts from the shortest wait again."""
    assert RestartPolicy().after_end(5, ran_seconds=ran_seconds)[1] == wait_seconds


def test_the_wait_stays_bounded_for_ever() -> None:
    """A process that ends all day is still started every 10 s."""
    assert RestartPolicy().after_end(10**9, ran_seconds=0)[1] == 10.0


@pytest.mark.parametrize(
    ("runs_once", "exit_status", "finished"),
    [(True, 0, True), (True, 3, False), (False, 0, False), (False, -9, False)],
)
def test_only_a_successful_one_off_is_finished(
    runs_once: bool, exit_status: int, finished: bool
) -> None:
    """A service that exits cleanly by itself is started again all the same."""
    spec = ProcessSpec(name="x", command=("x",), runs_once=runs_once)

    assert is_finished(spec, exit_status) is finished


def test_stages_are_ordered_and_keep_their_members_together() -> None:
    """Lower stages first, within one as given."""
    specs = [ProcessSpec(name=n, command=(), stage=s) for n, s in (("c", 2), ("a", 0), ("d", 2))]

    assert [[spec.name for spec in stage] for stage in stages(specs)] == [["a"], ["c", "d"]]


def test_who_has_not_answered_is_missing() -> None:
    """Executors are told apart by their node, and another node's answer is nobody's here."""
    specs = [
        ProcessSpec(name="nats-server", command=()),
        ProcessSpec(name="catalog", command=(), answers_as=answer_name("catalog")),
        ProcessSpec(name="executor-1", command=(), answers_as=answer_name("node", "n1")),
        ProcessSpec(name="executor-2", command=(), answers_as=answer_name("node", "n2")),
    ]

    missing = missing_answers(specs, {"catalog", "node/n2", "node/elsewhere"})

    assert [spec.name for spec in missing] == ["executor-1"]


def test_the_state_of_all_is_one_line() -> None:
    """Running ones show their id, ended ones their status."""
    statuses = [
        ProcessStatus(name="nats-server", state="running", pid=7, starts=1),
        ProcessStatus(name="provisioner", state="done"),
        ProcessStatus(name="catalog", state="running", pid=8, starts=3),
        ProcessStatus(name="auditor", state="ended", starts=2, last_exit=-9),
    ]

    assert status_line(statuses) == (
        "nats-server 7  provisioner done  catalog 8 (start 3)  auditor ENDED with -9 (start 2)"
    )


def test_a_start_that_goes_well_is_one_line() -> None:
    """Lines that stay are printed once all are started, or when something ends."""
    waiting = ProcessStatus(name="a", state="waiting")
    running = ProcessStatus(name="b", state="running")
    ended = ProcessStatus(name="c", state="ended")

    assert not is_telling([waiting, running])
    assert is_telling([running, running])
    assert is_telling([waiting, ended])
