# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from the log that come page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from cli.console import progress
from shared.adapters.bus import Bus
from shared.contracts.base import Endpoint
from shared.contracts.inventory import (
    FindRuns,
    GetInventory,
    GetRange,
    InventoryShown,
    RangeShown,
    RunsFound,
)
from shared.contracts.licence_reports import LicenceReport, ReportLicences

PATIENCE_SECONDS: Final = 60.0
QuestionT = TypeVar("QuestionT", GetInventory, FindRuns, GetRange, ReportLicences)
PageT = TypeVar("PageT", InventoryShown, RunsFound, RangeShown, LicenceReport)


async def every_page(
    bus: Bus,
    endpoint: Endpoint[QuestionT, PageT],
    question: QuestionT,
    count: Callable[[PageT], int],
) -> list[PageT]:
    """All pages, the last one last; how far it is is shown.

    Args:
        bus: Where.
        endpoint: Who answers.
        question: For the first page.
        count: How much is on a page.

    Raises:
        RefusedError: It cannot be asked so.
        FaultError: The auditor does not answer.
    """
    pages: list[PageT] = []
    with progress("looking through the log") as advance:
        while not pages or pages[-1].next:
            if pages:
                question = msgspec.structs.replace(question, after=pages[-1].next)
            pages.append(await bus.request(endpoint, question, timeout_seconds=PATIENCE_SECONDS))
            advance(sum(map(count, pages)))
    return pages
