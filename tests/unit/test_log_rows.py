# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a record can be found by that is not a field of its event."""

from __future__ import annotations

from typing import Any

import pytest

from services.auditor.adapters.log_rows import BLOCK_RECORDS, block_spans, licence_of
from shared.contracts.events import EventBody


@pytest.mark.parametrize(
    ("details", "licence"),
    [
        ({}, ""),
        ({"licence": "MIT OR GPL-2.0-only"}, "MIT OR GPL-2.0-only"),
        ({"licence": {"no": "text"}}, ""),
        ({"running": [{"licence": {"declared": "MIT"}}, {"licence": None}, 3]}, "MIT"),
        (
            {
                "running": [
                    {"licence": {"declared": name}} for name in ("MIT", "BSD-2-Clause", "MIT")
                ]
            },
            "BSD-2-Clause; MIT",
        ),
    ],
)
def test_a_record_has_the_licence_that_its_event_speaks_of(
    details: dict[str, Any], licence: str
) -> None:
    """One expression, or those of all the programs that run; whatever else stands there is none."""
    assert licence_of(EventBody(action="a.b", outcome="observed", details=details)) == licence


def test_each_block_knows_its_earliest_and_latest_time() -> None:
    """Also of emitters whose clocks are wrong."""
    times = [5, 3, *[4] * (BLOCK_RECORDS - 3), 9, -1]
    rows = [(index, "", "", "", time) for index, time in enumerate(times)]

    assert block_spans(rows) == [(0, 3, 9), (1, -1, -1)]
