# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that somebody else wrote, in lines and cells that anything may open.

Pure.

Rules:
 * A row of a CSV file (RFC 4180) is one line, whatever its texts hold.
 * A cell is never a formula, and nothing in it acts on a terminal.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

_FORMULA: Final = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet take a cell for a formula (OWASP, CSV injection)."""


def without_controls(text: str) -> str:
    """`text` without anything a terminal would act upon: control and format characters escaped.

    Line ends and tabs stay, because a verifier's log has lines.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter in "\n\t" or unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def cell(text: str) -> str:
    """The text as a cell may hold it: in one line, and no formula."""
    shown = without_controls(text).replace("\n", "\\n").replace("\t", "\\t")
    return f"'{shown}" if text.startswith(_FORMULA) else shown


def csv_row(cells: Iterable[str]) -> str:
    """One line, each cell between quotes; cells are written as they are."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A heading and a line for each row, whose cells are made safe."""
    lines = [csv_row(columns)]
    lines += [csv_row(cell(str(value)) for value in row) for row in rows]
    return "".join(lines)
