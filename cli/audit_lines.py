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

import codecs
import csv
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
_ESCAPED: Final = {one: b"\\u%04x" % ord(one) for one in (b"<", b">", b"&", b"\x7f")}
_SPACES: Final = (b"\n", b"\r", b"\t")
"""White space between tokens; in texts JSON has escapes for all control characters but 0x7f."""
_ESCAPES: Final = "l3af.json"
"""Of what is not ASCII, by the codecs' name for it."""


def json_line(record: bytes) -> bytes:
    """A record in JSON as one line, whose characters are those of ASCII without `<`, `>`, `&`."""
    return json_lines((record,))[0]


def json_lines(records: Sequence[bytes]) -> list[bytes]:
    """Each of some records in JSON as one such line."""
    if _is_safe(b"".join(records)):
        return [b"%b\n" % record for record in records]
    # What msgspec gives for bytes as they came lacks their methods.
    texts = [bytes(record) for record in records]
    return [b"%b\n" % (text if _is_safe(text) else _safe(text)) for text in texts]


def _is_safe(text: bytes) -> bool:
    return text.isascii() and not any(one in text for one in (*_ESCAPED, *_SPACES))


def _safe(record: bytes) -> bytes:
    if any(one in record for one in _SPACES):
        record = msgspec.json.format(record, indent=-1)
    line = record.decode().encode("ascii", _ESCAPES)
    for letter, escape in _ESCAPED.items():
        line = line.replace(letter, escape)
    return line


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


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """The letters that cannot be encoded as JSON writes them, and where to go on."""
    assert isinstance(error, UnicodeEncodeError)
    units = error.object[error.start : error.end].encode("utf-16-be")
    escapes = [f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)]
    return "".join(escapes), error.end


codecs.register_error(_ESCAPES, _escaped)
