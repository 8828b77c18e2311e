# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Events that say that an archive was handed out, as the catalog says them."""

from __future__ import annotations

from typing import Any

from services.auditor.query import StoredRecord, render_record
from services.auditor.records import read_message
from shared.contracts.audit import AuditRecord
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.events import Actor
from tests.support.records import an_event, message_of

ANN = Actor(key="U" + "A" * 55, role="viewer", attested=True)


def handed_out(
    number: int,
    *,
    destination: str = "",
    actor: Actor = ANN,
    digest: str = "a" * 64,
    through: str = "",
    **fields: Any,
) -> AuditRecord:
    """Record `number` of a log, as readers get it; fields of the event."""
    details = {
        "archive_sha256": digest,
        "manifest_sha256": "b" * 64,
        "size_bytes": 400,
        "licence": "GPL-2.0-only",
        **({"destination": destination} if destination else {}),
        **({"through": through} if through else {}),
    }
    body = {"package": "rate-limit", "version": "1.0.0", **fields}
    event = an_event(
        number + 1, action=body.pop("action", DISTRIBUTE), actor=actor, details=details, **body
    )
    draft = read_message(message_of(event, number + 1))
    stored = StoredRecord(number, draft.leaf, draft.message.data, 0, number + 1, draft.problem)
    return render_record(stored)
