# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which requests for a page begin a reading: all pages of one answer are one, recorded once.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from services.auditor.query import FOLLOW_LAPSE


@dataclass(slots=True)
class PageReadings:
    """Who is going through the pages of which answer.

    Kept in memory: after a restart the next page is recorded once more.
    """

    _begun: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def begins(self, question: str, *, is_first: bool, caller: str, now: datetime) -> bool:
        """Whether a request begins a reading; no means that it goes on with one.

        Args:
            question: What stays the same from page to page.
            is_first: Whether it asks for the first page.
            caller: Who asks.
            now: By the auditor's clock.
        """
        self._begun = {key: last for key, last in self._begun.items() if now - last <= FOLLOW_LAPSE}
        is_continued = not is_first and (caller, question) in self._begun
        self._begun[caller, question] = now
        return not is_continued
