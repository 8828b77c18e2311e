# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which way SQLite takes for each question: by an index, and never by sorting whole records."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from services.auditor.adapters.page_bounds import FEW
from services.auditor.adapters.sqlite_database import prepare
from services.auditor.adapters.sqlite_pages import page_statement
from services.auditor.adapters.sqlite_rows import insert_records
from services.auditor.query import RecordQuery

ALL = RecordQuery(
    audiences=frozenset({"public"}),
    since_us=None,
    until_us=None,
    equal=(),
    action="",
    above=-1,
    below=None,
    limit=100,
)
RECORDS = 12_000
ACTIONS = ("chain.attach", "chain.request", "package.publish")


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    """A log of RECORDS records, one a second."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        prepare(connection, "l3af.test/log")
        insert_records(connection, [row(index) for index in range(RECORDS)])
        yield connection


def row(index: int) -> tuple[Any, ...]:
    """A row as `record_row` makes it."""
    return (
        index, "catalog", "public", f"e{index}", index, index, index + 1, "{}", b"{}",
        f"U{index % 40}", "log.rotate" if index % 4000 == 3 else ACTIONS[index % 3],
        ("accepted", "refused")[index % 50 == 0], f"p{index % 100}", f"n{index % 200}",
        f"d{index % 50}", f"c{index // 6}", "", ("MIT", "GPL-2.0-only", "")[index % 3],
    )  # fmt: skip


def plan_of(database: sqlite3.Connection, query: RecordQuery) -> list[str]:
    """The steps that SQLite takes."""
    statement, values = page_statement(database, query, RECORDS)
    return [step for *_, step in database.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"equal": (("actor", "U3"),)}, "records_actor (actor=?"),
        ({"equal": (("package", "p3"),)}, "records_package (package=?"),
        ({"equal": (("node", "n3"),)}, "records_node (node=?"),
        ({"equal": (("deployment", "d3"),)}, "records_deployment (deployment=?"),
        ({"equal": (("correlation", "c3"),)}, "records_correlation (correlation=?"),
        ({"equal": (("outcome", "refused"),)}, "records_trouble (outcome=?"),
        (
            {"equal": (("node", "n3"), ("outcome", "refused"))},
            "records_node_trouble (node=? AND audience=? AND outcome=?",
        ),
        (
            {"equal": (("actor", "U3"), ("outcome", "refused"))},
            "records_actor_trouble (actor=? AND audience=? AND outcome=?",
        ),
        ({"equal": (("event_id", "e7"),)}, "records_event (emitter=? AND event_id=?"),
        (
            {"equal": (("event_id", "e7"), ("node", "n7"))},
            "records_event (emitter=? AND event_id=?",
        ),
        ({"equal": (("actor", "U3"),), "action": "package.publish"}, "records_actor (actor=?"),
        ({"equal": (("actor", "U3"),), "action": "log.rotate"}, "records_action (action=?"),
        ({"equal": (("actor", "U3"), ("package", "p3"))}, "records_package (package=?"),
        ({"equal": (("node", "n3"), ("correlation", "c3"))}, "records_correlation (correlation=?"),
        ({"equal": (("package", "p3"),), "licence": "MIT"}, "records_package (package=?"),
        ({"action": "package.publish"}, "records_action (action=?"),
        ({"action": "*.publish"}, "records_action (action=?"),
        ({"action": "chain.*"}, "records_action (action=?"),
        ({"licence": "MIT"}, "records_licence (licence=?"),
        ({"licence": "*GPL*"}, "records_licence (licence=?"),
        ({"audiences": frozenset({"p_acme"})}, "records_space (audience=?"),
        ({"audiences": frozenset({"p_acme"}), "since_us": 100}, "records_space (audience=?"),
        ({"audiences": frozenset()}, "records_space (audience=?"),
        ({"since_us": 100, "until_us": 900}, "records_time (time_us>? AND time_us<?"),
        ({"since_us": 0}, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ({"equal": (("node", "n3"),), "since_us": 100}, "records_node (node=?"),
        ({"equal": (("node", "n3"),), "action": "chain.*"}, "records_node (node=?"),
        ({"equal": (("outcome", "accepted"),)}, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        ({}, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
@pytest.mark.parametrize("is_ascending", [False, True])
def test_every_filter_is_answered_by_its_index(
    database: sqlite3.Connection,
    asked: dict[str, Any],
    index: str,
    is_ascending: bool,
) -> None:
    """No question reads the log from end to end, and none sorts records instead of numbers."""
    plan = plan_of(database, replace(ALL, **asked, is_ascending=is_ascending))

    assert any(index in step for step in plan), plan
    assert not [step for step in plan if step.startswith("SCAN records")], plan
    # What is sorted is sorted inside, where only numbers are.
    assert plan.count("USE TEMP B-TREE FOR ORDER BY") <= ("time_us" in index), plan


@pytest.mark.parametrize(
    ("asked", "beside"),
    [
        ({"equal": (("actor", "U3"),), "action": "package.publish"}, "records_action (action=?"),
        ({"equal": (("package", "p3"),), "licence": "MIT"}, "records_licence (licence=?"),
        (
            {"equal": (("actor", "U3"), ("package", "p3"))},
            "records_actor (actor=? AND audience=?",
        ),
    ],
)
@pytest.mark.parametrize("audiences", [None, frozenset({"public", "p_acme"})])
def test_a_second_filter_is_checked_by_its_own_index(
    database: sqlite3.Connection,
    asked: dict[str, Any],
    beside: str,
    audiences: frozenset[str] | None,
) -> None:
    """Records that only one of two filters matches are never read, and those of both are found."""
    query = replace(ALL, **asked, audiences=audiences, limit=10)
    plan = plan_of(database, query)
    assert any(f"SEARCH other USING COVERING INDEX {beside}" in step for step in plan), plan

    statement, values = page_statement(database, query, RECORDS)
    wanted = {**dict(asked["equal"]), **{name: asked[name] for name in asked if name != "equal"}}
    places = {"actor": 9, "action": 10, "package": 12, "licence": 17}
    matching = [
        index
        for index in reversed(range(RECORDS))
        if all(row(index)[places[name]] == value for name, value in wanted.items())
    ]
    found = [index for index, *_ in database.execute(statement, values)]
    assert found == matching[: query.limit + 1]


def test_a_long_range_of_times_begins_where_it_can_be(database: sqlite3.Connection) -> None:
    """The block in which the times begin and end bounds what is read, not the whole log."""
    query = replace(ALL, since_us=3000, until_us=3000 + FEW + 1)
    statement, values = page_statement(database, query, RECORDS)

    assert "records_time" not in statement
    assert values[:2] == [2 * 1024 - 1, 8 * 1024]
    assert page_statement(database, replace(ALL, since_us=10**9), RECORDS)[1][:2] == [-1, 0]


@pytest.mark.parametrize("column", ["package", "deployment", "correlation", "node", "actor"])
@pytest.mark.parametrize("outcome", ["", "refused"])
@pytest.mark.parametrize("count", [1, 30, 150])
def test_a_name_that_only_hidden_records_have_costs_as_much_as_none(
    database: sqlite3.Connection, column: str, outcome: str, count: int
) -> None:
    """To the step of SQLite's machine, however many records hide it and audiences are seen."""
    place = {"actor": 9, "package": 12, "node": 13, "deployment": 14, "correlation": 15}[column]
    audiences = frozenset({"public", *(f"p_{number}" for number in range(count))})
    database.execute("SAVEPOINT hidden")
    hidden = []
    for index in range(RECORDS, RECORDS + 3000):
        values = list(row(index))
        values[2] = "r_0123456789abcdef"
        values[place] = "secret"
        hidden.append(tuple(values))
    insert_records(database, hidden)
    equal = (("outcome", outcome),) if outcome else ()
    asked = replace(ALL, audiences=audiences)

    def steps(name: str) -> int:
        query = replace(asked, equal=((column, name), *equal))
        statement, values = page_statement(database, query, RECORDS + 3000)
        taken = 0

        def count_one() -> int:
            nonlocal taken
            taken += 1
            return 0

        database.set_progress_handler(count_one, 1)
        try:
            assert database.execute(statement, values).fetchall() == []
        finally:
            database.set_progress_handler(None, 0)
        return taken

    try:
        assert steps("secret") == steps("secret and no such name")
    finally:
        database.execute("ROLLBACK TO hidden")
        database.execute("RELEASE hidden")
