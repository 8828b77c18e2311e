# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A claim of the demo that does not hold is not forgotten."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from demo.narration import Narrator


def test_a_claim_that_does_not_hold_is_shown_and_remembered() -> None:
    """The story goes on, and the demo can fail at its end."""
    output = StringIO()
    narrator = Narrator(Console(file=output), steps=1)

    narrator.claim("water is wet", True)
    narrator.claim("pigs fly", False, seen="0 of 3")

    assert narrator.claims_shown == 2
    assert narrator.failed_claims == ["pigs fly"]
    assert "✘ pigs fly" in output.getvalue()
