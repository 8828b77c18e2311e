# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps a library that catches everything from hiding a bug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.errors import FaultError


class BugsNoted:
    """Notes each exception that leaves its block and is no fault; all of them go on."""

    def __init__(self, note: Callable[[Exception], None]) -> None:
        self._note: Final = note

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FaultError):
            self._note(error)
