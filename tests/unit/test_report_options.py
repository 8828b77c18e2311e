# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What reports from the log can be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.report_options import check_out, parse_range
from shared.errors import RefusedError

FILE = Path("march.html")


def test_a_file_is_asked_for_only_where_one_is_written() -> None:
    """A table is shown: with it a file would be missing, and nobody told."""
    with pytest.raises(RefusedError) as refused:
        check_out("table", FILE, json=False)
    assert [reason.path for reason in refused.value.reasons] == ["--out"]

    check_out("table", FILE, json=True)
    check_out("html", FILE, json=False)
    check_out("table", None, json=False)


def test_both_ends_of_a_range_are_in_its_zone() -> None:
    """Midnight in Berlin is an hour earlier in UTC in winter, and two in summer."""
    assert parse_range("2026-01-01", "2026-07-01", zone="Europe/Berlin") == (
        "2025-12-31T23:00:00.000000Z",
        "2026-06-30T22:00:00.000000Z",
    )


def test_what_cannot_be_read_is_named() -> None:
    """Each end by its own option."""
    for since, until, path in (("soon", "", "--since"), ("", "soon", "--until")):
        with pytest.raises(RefusedError) as refused:
            parse_range(since, until)
        assert [reason.path for reason in refused.value.reasons] == [path]
