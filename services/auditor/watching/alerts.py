# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an alert says, to whom, and under which id.

Pure.

Rules:
 * The id follows from the rule and the record: whoever looks at a record again says nothing new.
 * It is told to those who see the record.  Of a message whose subject names nobody, everybody is
   told its number and nothing that it claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from services.auditor.watching.evaluation import Alert
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.watching import ALERT


def alert_event(
    alert: Alert, audience_now: Callable[[Audience], Audience]
) -> tuple[EventBody, str, Audience]:
    """The event's body, its id, and who is told.

    `details`: `rule`, `severity`, `summary`, `record` (its number); of a rule with a threshold
    also `count`, `within_seconds`, and `value` of the field `by`.

    Args:
        alert: What was found.
        audience_now: To whom that is told now which was told to an audience before.
    """
    rule = alert.rule
    details: dict[str, Any] = {
        "rule": rule.name,
        "severity": rule.severity,
        "summary": rule.summary,
        "record": alert.index,
    }
    if rule.threshold is not None:
        details |= {"count": alert.count, "within_seconds": rule.threshold.within_seconds}
        if rule.threshold.by:
            details |= {"by": rule.threshold.by, "value": alert.value}
    identity = f"{rule.name}|{alert.digest}|{alert.index}"
    event_id = f"watch-alert-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    body = EventBody(action=ALERT, outcome="observed", details=details)
    body = msgspec.structs.replace(body, **alert.about)
    return body, event_id, audience_now(alert.audience) if alert.audience else PUBLIC
