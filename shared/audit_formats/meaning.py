# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How grave a record is, and what it says in a sentence, the same in every format.

Pure.

Rules:
 * What says that the log itself cannot be trusted is critical; that some of it is missing, high.
 * A broken licence rule, and what was changed behind our back, is high; what failed or was refused,
   medium.  All else informs.
 * A message that is not believed is high, whatever it says.
 * A record that is not shown, or whose body is gone, is low.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.contracts.audit import AuditRecord
from shared.contracts.events import Event

Severity = Literal["informational", "low", "medium", "high", "critical"]

_BY_ACTION: Final[dict[str, Severity]] = {
    "log.conflict": "critical",
    "log.gap": "high",
    "licence.violate": "high",
    "chain.drift": "high",
    "node.drift": "high",
    "companion.give-up": "high",
    "deployment.alarm": "high",
}
_BY_OUTCOME: Final[dict[str, Severity]] = {"failed": "medium", "refused": "medium"}


def severity_of(record: AuditRecord) -> Severity:
    """How grave it is."""
    if record.problem:
        return "high"
    if record.event is None:
        return "low"
    body = record.event.data
    return _BY_ACTION.get(body.action) or _BY_OUTCOME.get(body.outcome, "informational")


def sentence_of(record: AuditRecord) -> str:
    """What happened, where, and why, in one sentence."""
    event = record.event
    if record.problem:
        return f"a message that is not believed: {record.problem}"
    if event is None:
        return "a record that is not shown" if record.leaf_hash else "a record whose body is gone"
    body = event.data
    about = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("deployment", body.deployment),
            ("package", f"{body.package} {body.version}".strip()),
            ("node", body.node),
            ("hook point", hook_point_of(event)),
        )
        if value
    )
    said = f"{body.action} {body.outcome}" + (f": {about}" if about else "")
    why = "; ".join(filter(None, (body.reason, *(reason.rule for reason in body.reasons))))
    return f"{said} ({why})" if why else said


def hook_point_of(event: Event) -> str:
    """As `eth0/xdp`; empty: the event is about none."""
    body = event.data
    place = "/".join(filter(None, (body.netns, body.interface)))
    return "/".join(filter(None, (place, body.hook))) if body.interface else ""
