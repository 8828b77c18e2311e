# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as lines of a file that anything may open: JSON and comma-separated values.

Pure.

Rules:
 * A record is one line, whatever its texts hold.
 * JSON keeps every text exactly, in ASCII, and means nothing where it is put into a page.
 * A cell of a CSV file is never a formula, and nothing in it acts on a terminal.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from shared.audit_formats.tables import cell, csv_row
from shared.contracts.audit import AuditRecord

COLUMNS: Final = (
    "record", "time", "received_at", "action", "outcome", "actor", "role", "attested", "node",
    "interface", "hook", "deployment", "package", "version", "correlation", "emitter", "sequence",
    "event", "reason", "reasons", "details", "problem",
)  # fmt: skip
_UNSAFE: Final = re.compile(r"[^\x20-\x7e]|[<>&]")
_UNSAFE_IN_ASCII: Final = (b"<", b">", b"&", b"\x7f", b"\n", b"\r", b"\t")
"""Of what JSON in ASCII may hold: other control characters it has as escapes alone."""


def json_line(record: bytes) -> bytes:
    """A record in JSON as one line, whose characters are those of ASCII without `<`, `>`, `&`."""
    return json_lines((record,))[0]


def json_lines(records: Sequence[bytes]) -> list[bytes]:
    """Each of some records in JSON as one such line."""
    text = b"".join(records)
    if text.isascii() and not any(one in text for one in _UNSAFE_IN_ASCII):
        return [b"%b\n" % record for record in records]
    return [_safe(bytes(record)) + b"\n" for record in records]


def _safe(record: bytes) -> bytes:
    minified = msgspec.json.format(record, indent=-1)
    return _UNSAFE.sub(_escaped, minified.decode()).encode()


def csv_heading() -> str:
    """The names of the columns."""
    return csv_row(COLUMNS)


def csv_line(record: AuditRecord) -> str:
    """The record as one line of cells, each between quotes."""
    event = record.event
    cells: dict[str, object] = {
        "record": record.index,
        "received_at": record.received_at,
        "problem": record.problem,
    }
    if event is not None:
        body, actor = event.data, event.data.actor
        names = ("action", "outcome", "node", "interface", "hook", "deployment", "package",
                 "version", "correlation", "reason")  # fmt: skip
        cells |= {name: getattr(body, name) for name in names}
        cells |= {
            "time": event.time,
            "actor": actor.key if actor else "",
            "role": actor.role if actor else "",
            "attested": ("yes" if actor.attested else "no") if actor else "",
            "emitter": event.emitter,
            "sequence": event.sequence,
            "event": event.id,
            "reasons": msgspec.json.encode(body.reasons).decode() if body.reasons else "",
            "details": msgspec.json.encode(body.details).decode() if body.details else "",
        }
    return csv_row(cell(str(cells.get(name, ""))) for name in COLUMNS)


def csv_record(line: str) -> int:
    """The number of the record that a line of CSV holds.

    Raises:
        ValueError: It holds none.
    """
    try:
        (row,) = csv.reader([line])
        return int(row[0])
    except (IndexError, csv.Error) as error:
        raise ValueError(line) from error


def json_record(line: str) -> int:
    """The number of the record that a line of JSON holds.

    Raises:
        ValueError: It holds none.
    """
    return msgspec.json.decode(line, type=AuditRecord).index


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
