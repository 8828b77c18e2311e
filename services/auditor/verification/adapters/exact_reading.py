# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Values that a store keeps as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from services.auditor.adapters.log_rows import json_text
from services.auditor.verification.problems import Part, Problem, shown

ValueT = TypeVar("ValueT")


class ExactReader:
    """Reads what was written as JSON, and says if it is not written as it would be."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems: Final = problems

    def __call__(
        self, part: Part, at: str, field: str, text: str, read: Callable[[str], ValueT]
    ) -> ValueT | None:
        """The value; None, and a problem, if it is not written as it would be."""
        try:
            value = read(text)
            if json_text(value) == text:
                return value
        except (msgspec.MsgspecError, ValueError):
            pass
        self._problems.append(Problem(part, at, field, f"it cannot be read: {shown(text)}"))
        return None
