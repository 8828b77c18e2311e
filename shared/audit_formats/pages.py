# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports as one HTML file that is read and printed anywhere.

Pure.

Rules:
 * Every text of others is escaped; there is no script, no link, and nothing is fetched.
 * Printed, headings of tables come again on each page, and no row is torn apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from shared.audit_formats.tables import without_controls

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
body { font: 10pt/1.4 sans-serif; margin: 2em; color: #111; }
h1 { font-size: 16pt; } h2 { font-size: 12pt; margin-top: 1.6em; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #999; padding: 0.25em 0.5em; text-align: left; vertical-align: top; }
th { background: #eee; } td { overflow-wrap: anywhere; white-space: pre-wrap; }
thead { display: table-header-group; } tr { break-inside: avoid; }
@page { size: A4 landscape; margin: 1.5cm; }
@media print { body { margin: 0; } h2 { break-after: avoid; } }
"""


class PageTable(NamedTuple):
    """One table of a page."""

    heading: str
    columns: Sequence[str]
    rows: Iterable[Sequence[object]]


def html_page(title: str, *, remarks: Iterable[str], tables: Iterable[PageTable]) -> str:
    """The whole file.

    Args:
        title: Of the report.
        remarks: Paragraphs before the tables.
        tables: In their order.
    """
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n",
        f"<h1>{_text(title)}</h1>\n",
    ]
    parts += [f"<p>{_text(one)}</p>\n" for one in remarks]
    for table in tables:
        parts.append(f"<h2>{_text(table.heading)}</h2>\n<table>\n<thead>")
        parts.append(_row("th", table.columns) + "</thead>\n<tbody>\n")
        parts += [_row("td", row) + "\n" for row in table.rows]
        parts.append("</tbody>\n</table>\n")
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def _row(tag: str, cells: Iterable[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(str(one))}</{tag}>" for one in cells) + "</tr>"


def _text(text: str) -> str:
    return escape(without_controls(text))
