# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The forms that records can be written into a file in, a line for each record.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from cli.audit_lines import csv_heading, csv_line, csv_record, json_line, json_record
from shared.audit_formats.cef import cef_line, cef_record, syslog_line
from shared.audit_formats.ocsf import ocsf_line, ocsf_record
from shared.contracts.audit import AuditRecord
from shared.errors import RefusedError

FormName = Literal["ndjson", "csv", "cef", "syslog", "ocsf"]


@dataclass(frozen=True, slots=True)
class Form:
    """How a record becomes a line, and what a line says of its record."""

    line: Callable[[AuditRecord], str]
    """Its end included."""
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


FORMS: Final[Mapping[FormName, Form]] = {
    "ndjson": Form(json_line, json_record, has_proof=True),
    "csv": Form(csv_line, csv_record, heading=csv_heading()),
    "cef": Form(cef_line, cef_record),
    "syslog": Form(syslog_line, cef_record),
    "ocsf": Form(ocsf_line, ocsf_record),
}
_ENDINGS: Final[Mapping[str, FormName]] = {
    ".csv": "csv",
    ".cef": "cef",
    ".log": "syslog",
    ".ocsf": "ocsf",
}


def form_name(file: Path) -> FormName:
    """The form that the file's name ends with; else NDJSON."""
    return _ENDINGS.get(file.suffix, "ndjson")
