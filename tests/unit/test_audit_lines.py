# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Lines of exports and of histories: one each, exact or harmless, whatever the texts hold."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from io import StringIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.audit_forms import FORMS
from cli.audit_history import render_line
from cli.audit_lines import (
    COLUMNS,
    csv_heading,
    csv_line,
    csv_record,
    json_line,
    json_lines,
    json_record,
)
from cli.audit_view import render_records
from services.auditor.checkpoint import parse_verifier_key
from services.auditor.exports import ExportChecker, Lines, read_export_proof
from services.auditor.query import StoredRecord, render_record, spell_record
from services.auditor.records import read_message
from shared.audit_formats.tables import cell
from shared.canonical import canonical_bytes
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor
from shared.errors import Reason, RefusedError
from tests.support.hostile.texts import HOSTILE_TEXTS
from tests.support.records import altered, an_event, message_of

ANN = Actor(key="U" + "A" * 55, role="operator", attested=False)
TEXTS = st.one_of(
    st.sampled_from(HOSTILE_TEXTS),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
)


def record_with(text: str, *, is_believed: bool = True) -> AuditRecord:
    """A record that has the text wherever an emitter may write one."""
    event = an_event(
        7,
        actor=ANN,
        reason=text[:9000],
        package=text[:9000],
        deployment=text[:200],
        reasons=(Reason(path=text[:50], rule=text[:50], got=text[:50]),),
        details={text[:50]: [text[:50]]},
    )
    message = message_of(event, 7)
    if not is_believed:
        message = altered(message, emitter="scheduler")
    draft = read_message(message)
    return render_record(StoredRecord(6, draft.leaf, message.data, 0, 7, draft.problem))


def test_a_restricted_record_is_its_number_and_its_hash() -> None:
    """In JSON both, in CSV and in a table the number; a table says why there is no more."""
    record = render_record(StoredRecord(6, b"", None, 0, 0, "", leaf_hash=b"\xab" * 32))

    assert json.loads(json_line(msgspec.json.encode(record))) == {
        "index": 6,
        "leaf": "",
        "received_at": "",
        "stream_sequence": 0,
        "leaf_hash": "ab" * 32,
    }
    (row,) = csv.reader(StringIO(csv_line(record), newline=""))
    assert row == ["6", *[""] * (len(COLUMNS) - 1)]
    console = Console(width=120, record=True, file=StringIO())
    console.print(render_records([record], {}, has_heading=False))
    assert console.export_text().split() == ["6", "restricted"]


@given(TEXTS)
def test_json_keeps_every_text_and_can_be_shown_anywhere(text: str) -> None:
    """One line of printable ASCII without `<`, `>` and `&`, that means the very record."""
    line = json_line(msgspec.json.encode(record_with(text))).decode("ascii")

    assert re.fullmatch(r"[\x20-\x7e]+\n", line)
    assert not set("<>&") & set(line)
    data = json.loads(line)["event"]["data"]
    assert data.get("reason", "") == text[:9000]
    assert data["details"] == {text[:50]: [text[:50]]}
    assert json_record(line) == 6


@given(TEXTS)
def test_a_line_of_csv_is_one_row_without_formulas_and_control_characters(text: str) -> None:
    """Whatever opens it sees as many cells as there are columns, and text in each."""
    line = csv_heading() + csv_line(record_with(text))

    heading, row = csv.reader(StringIO(line, newline=""))
    assert (tuple(heading), len(row)) == (COLUMNS, len(COLUMNS))
    assert line.count("\n") == 2
    for value in row:
        assert not value.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b"))
        assert all(unicodedata.category(letter) not in {"Cc", "Cf", "Zl", "Zp"} for letter in value)
    assert csv_record(csv_line(record_with(text))) == 6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("=1+1", "'=1+1"),
        ("\t=1+1", "'\\t=1+1"),
        ("\uff201", "'\uff201"),
        ("a\nb\x1b", "a\\nb\\x1b"),
        ("<b>", "<b>"),
    ],
)
def test_a_cell_says_what_it_was(text: str, shown: str) -> None:
    """An apostrophe before a formula, escapes for what acts on a terminal, nothing else."""
    assert cell(text) == shown


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize("is_believed", [True, False])
def test_hostile_text_is_shown_harmlessly(text: str, is_believed: bool) -> None:
    """Nothing that a terminal acts upon is printed, and one event is one line of a history."""
    record = record_with(text, is_believed=is_believed)
    console = Console(width=100_000, record=True, file=StringIO(), markup=False, emoji=False)

    console.print(render_line(record, {}))
    assert console.export_text(clear=False).count("\n") == 1
    console.print(render_records([record], {}, has_heading=True))

    shown = console.export_text()
    assert all(
        unicodedata.category(letter) not in {"Cc", "Cf", "Zl", "Zp"} or letter == "\n"
        for letter in shown
    )


@pytest.mark.parametrize("line", ["", "record", "{}", '"x"', '{"index": 3', "\x00"])
def test_a_line_of_something_else_is_no_record(line: str) -> None:
    """In none of the forms."""
    for form in FORMS.values():
        with pytest.raises(RefusedError):
            form.record_of(line)


def test_a_line_has_the_fields_of_a_later_release_and_is_checked_with_them() -> None:
    """The event is in it to the byte as it was recorded, so that its leaf follows from the line."""
    plain = msgspec.to_builtins(an_event(7, details={"text": "<ü>"}))
    plain |= {"later": 1, "data": plain["data"] | {"future": {"b": 1, "a": [2.5]}}}
    message = message_of(an_event(7), 7)._replace(data=canonical_bytes(plain))
    draft = read_message(message)
    assert not draft.problem
    stored = StoredRecord(6, draft.leaf, message.data, 0, 7, "")
    line = json_line(msgspec.json.encode(spell_record(stored)))

    assert canonical_bytes(json.loads(line)["event"]) == message.data
    assert render_record(stored).event == draft.event
    told = Lines()
    told.take(6, line)
    checker = ExportChecker(
        read_export_proof(told.proof(None, None)),
        key_of=lambda _: parse_verifier_key(""),
        spelled=lambda record: json_line(msgspec.json.encode(record)),
        limit=9,
    )
    checker.take(1, line)
    assert (checker.finish().records, checker.problems.kept) == (1, [])


def test_one_record_that_needs_escapes_changes_no_other() -> None:
    """Each of many is the line that it would be alone, as it came from the bus or as bytes."""
    records = [b'{"index":1}', b'{"index":2,"leaf":"<"}', '{"index":3,"leaf":"ü"}'.encode()]
    came = msgspec.json.decode(b"[%b]" % b",".join(records), type=tuple[msgspec.Raw, ...])

    assert json_lines(came) == [json_line(one) for one in records]


def test_white_space_between_tokens_ends_no_line() -> None:
    """Whatever wrote the JSON, and however."""
    assert json_line(b'{"index": 3,\n\t"leaf":\r"a<\xc3\xbc"}') == (
        b'{"index":3,"leaf":"a\\u003c\\u00fc"}\n'
    )
