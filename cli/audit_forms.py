# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The forms that records can be written into a file in, a line for each record.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from cli.audit_lines import csv_heading, csv_line, csv_record, json_lines, json_record
from cli.raw_records import read_record
from shared.audit_formats.cef import cef_line, cef_record, syslog_line
from shared.audit_formats.ocsf import ocsf_line, ocsf_record
from shared.contracts.audit import AuditRecord
from shared.errors import Reason, RefusedError

LineFormName = Literal["ndjson", "csv", "cef", "syslog", "ocsf"]
FormName = Literal["ndjson", "csv", "cef", "syslog", "ocsf", "parquet"]


@dataclass(frozen=True, slots=True)
class Form:
    """How records become lines, and what a line says of its record."""

    lines: Callable[[Sequence[bytes]], list[bytes]]
    """A line for each record in JSON, its end included."""
    number: Callable[[str], int]
    """Of a line's record; ValueError or DecodeError: it holds none."""
    heading: str = ""
    """The first line, its end included."""
    has_proof: bool = False
    """Whether lines hold enough to be verified."""

    def record_of(self, line: str) -> int:
        """The number of the record that a line holds.

        Raises:
            RefusedError: It holds none.
        """
        try:
            return self.number(line)
        except (ValueError, msgspec.MsgspecError) as error:
            message = f"its last line is no record of an export: {line[:60]!r}"
            raise RefusedError(message) from error


def _each(line: Callable[[AuditRecord], str]) -> Callable[[Sequence[bytes]], list[bytes]]:
    """Lines that are made of one record after another."""
    return lambda records: [line(read_record(record)).encode() for record in records]


FORMS: Final[Mapping[LineFormName, Form]] = {
    "ndjson": Form(json_lines, json_record, has_proof=True),
    "csv": Form(_each(csv_line), csv_record, heading=csv_heading()),
    "cef": Form(_each(cef_line), cef_record),
    "syslog": Form(_each(syslog_line), cef_record),
    "ocsf": Form(_each(ocsf_line), ocsf_record),
}
_ENDINGS: Final[Mapping[str, FormName]] = {
    ".csv": "csv",
    ".cef": "cef",
    ".log": "syslog",
    ".ocsf": "ocsf",
    ".parquet": "parquet",
}


def form_name(file: Path) -> FormName:
    """The form that the file's name ends with; else NDJSON."""
    return _ENDINGS.get(file.suffix, "ndjson")


def line_form_name(file: Path) -> LineFormName:
    """The same, of a file that grows by lines.

    Raises:
        RefusedError: It is of another kind.
    """
    name = form_name(file)
    if name == "parquet":
        rule = "is written as a whole, and does not grow: `l3af audit export` writes it"
        raise RefusedError(f"{file}: Parquet {rule}", [Reason(path=str(file), rule=rule)])
    return name
