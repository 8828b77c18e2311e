# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Up to when a report may lack records, because they were pruned.

Pure.  The log says itself what was pruned; only the auditor is believed about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.auditor.retention.remains import PRUNED
from shared.contracts.audit import AuditRecord, StreamRecords

AUDITOR: Final = "auditor"
PRUNINGS: Final = StreamRecords(action=PRUNED, order="oldest")
"""Asks for what says it."""


def pruned_through(prunings: Iterable[AuditRecord]) -> str:
    """Records up to this time, RFC 3339 UTC, may be missing; empty: none was pruned.

    Args:
        prunings: What PRUNINGS asks for.
    """
    said = (
        str(one.event.data.details.get("through", ""))
        for one in prunings
        if one.event is not None and not one.problem and one.event.emitter == AUDITOR
    )
    return max(said, default="")
