# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records as events of the Open Cybersecurity Schema Framework, version OCSF_VERSION.

Pure.

Rules:
 * A program that was put on a hook, or taken off it, is Kernel Extension Activity (1002).
 * What somebody asked for, granted or not, is API Activity (6003).
 * A broken licence rule, and its end, is a Compliance Finding (2003): one finding for a deployment.
 * Everything else is a Base Event (0).  What no field of the class is for is in `unmapped`.
 * Of a message that is not believed none of its claims is told.
 * `metadata.sequence` is the record's number, and `metadata.uid` the event's id.

Source: schema.ocsf.io, of that version; `type_uid = class_uid * 100 + activity_id`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from shared.audit_formats.meaning import Severity, hook_point_of, sentence_of, severity_of
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor, Event
from shared.moments import read_time
from shared.version import VERSION

OCSF_VERSION: Final = "1.8.0"
KERNEL_EXTENSION: Final = 1002
API_ACTIVITY: Final = 6003
COMPLIANCE_FINDING: Final = 2003
BASE_EVENT: Final = 0

_OTHER: Final = 99
_SEVERITIES: Final[dict[Severity, int]] = {
    "informational": 1,
    "low": 2,
    "medium": 3,
    "high": 4,
    "critical": 5,
}
_LOADED: Final[dict[str, int]] = {"chain.attach": 1, "chain.adopt": 1, "chain.detach": 2}
_API_ACTIVITIES: Final[dict[str, int]] = {
    **dict.fromkeys(("create", "apply", "publish", "submit", "request", "grant"), 1),
    **dict.fromkeys(("read", "get", "list"), 2),
    **dict.fromkeys(("update", "set", "label", "promote", "approve", "rollback", "review"), 3),
    **dict.fromkeys(("delete", "remove", "revoke", "yank", "forget"), 4),
}
"""By the verb of an action; others are `Other`."""
_STATUSES: Final[dict[str, int]] = {"accepted": 1, "succeeded": 1, "refused": 2, "failed": 2}
_SHA256: Final = 3
_LINUX: Final = {"type_id": 200, "name": "Linux"}
_UNKNOWN_DEVICE: Final = 0
_REGULAR_FILE: Final = 1


def ocsf_event(record: AuditRecord) -> dict[str, Any]:
    """The record as one event, of plain types."""
    event = None if record.problem else record.event
    class_uid = BASE_EVENT if event is None else _class_of(event)
    said: dict[str, Any] = {
        "metadata": _metadata(record, event),
        "time": _milliseconds(event.time if event is not None else record.received_at),
        "severity_id": _SEVERITIES[severity_of(record)],
        "message": sentence_of(record),
        "class_uid": class_uid,
        "category_uid": class_uid // 1000,
    }
    if event is None:
        rest = {"problem": record.problem, "leaf_hash": record.leaf_hash}
        unmapped = {name: value for name, value in rest.items() if value}
        activity: dict[str, Any] = {"activity_id": 0}
        activity |= {"unmapped": unmapped} if unmapped else {}
    else:
        said |= _status(event)
        activity = _ABOUT[class_uid](event)
    activity_id = activity["activity_id"]
    return said | activity | {"type_uid": class_uid * 100 + activity_id}


def ocsf_line(record: AuditRecord) -> str:
    """The event as one line of JSON."""
    return msgspec.json.encode(ocsf_event(record)).decode() + "\n"


def ocsf_record(line: str) -> int:
    """The number of the record that a line holds.

    Raises:
        ValueError: It holds none.
    """
    return int(msgspec.json.decode(line, type=_Line).metadata.sequence)


class _Metadata(msgspec.Struct):
    sequence: int


class _Line(msgspec.Struct):
    metadata: _Metadata


def _class_of(event: Event) -> int:
    body = event.data
    if body.action in _LOADED and body.outcome != "refused":
        return KERNEL_EXTENSION
    if body.action in ("licence.violate", "licence.comply"):
        return COMPLIANCE_FINDING
    asked = body.actor is not None and body.outcome in ("accepted", "refused")
    return API_ACTIVITY if asked else BASE_EVENT


def _metadata(record: AuditRecord, event: Event | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "version": OCSF_VERSION,
        "product": {"name": "L3AF Bus", "vendor_name": "L3AF Bus", "version": VERSION},
        "sequence": record.index,
        "log_name": "audit",
    }
    if record.received_at:
        said["logged_time"] = _milliseconds(record.received_at)
    if event is not None:
        said |= {"uid": event.id, "event_code": event.data.action, "log_provider": event.emitter}
        said["original_time"] = event.time
        if event.data.correlation:
            said["correlation_uid"] = event.data.correlation
    return said


def _status(event: Event) -> dict[str, Any]:
    outcome = event.data.outcome
    said: dict[str, Any] = {"status_id": _STATUSES.get(outcome, _OTHER), "status": outcome}
    if event.data.reasons:
        said["status_detail"] = "; ".join(
            f"{one.path}: {one.rule}" if one.path else one.rule for one in event.data.reasons
        )
    return said


def _loaded(event: Event) -> dict[str, Any]:
    body = event.data
    plan = body.after if body.action != "chain.detach" else body.before
    file: dict[str, Any] = {"name": hook_point_of(event) or body.action, "type_id": _REGULAR_FILE}
    if plan:
        file["hashes"] = [{"algorithm_id": _SHA256, "value": plan}]
    return {
        "activity_id": _LOADED[body.action],
        "actor": _actor(body.actor) or {"app_name": event.emitter},
        "device": {
            "type_id": _UNKNOWN_DEVICE,
            "name": body.node or event.emitter.rpartition("/")[2],
            "os": _LINUX,
        },
        "driver": {"file": file},
        **_unmapped(event),
    }


def _asked(event: Event) -> dict[str, Any]:
    body, actor = event.data, event.data.actor
    key = actor.key if actor is not None else event.emitter
    said: dict[str, Any] = {
        "activity_id": _API_ACTIVITIES.get(body.action.rpartition(".")[2], _OTHER),
        "actor": _actor(actor) or {"app_name": event.emitter},
        "api": {"operation": body.action, "service": {"name": event.emitter}},
        "src_endpoint": {"uid": (actor.address if actor is not None else "") or key},
        **_unmapped(event),
    }
    if body.correlation:
        said["api"]["request"] = {"uid": body.correlation}
    resources = [
        {"type": kind, "name": name}
        for kind, name in (
            ("deployment", body.deployment),
            ("package", f"{body.package}@{body.version}" if body.version else body.package),
            ("node", body.node),
        )
        if name
    ]
    return said | ({"resources": resources} if resources else {})


def _found(event: Event) -> dict[str, Any]:
    body = event.data
    is_broken = body.action == "licence.violate"
    rules = body.details.get("rules") or ()
    named = [str(rule) for rule in rules] if isinstance(rules, list | tuple) else []
    compliance: dict[str, Any] = {
        "status_id": 3 if is_broken else 1,
        "standards": ["L3AF Bus licence policy"],
    }
    if named:
        compliance["requirements"] = named
    return {
        "activity_id": 1 if is_broken else 3,
        "status_id": 1 if is_broken else 4,
        "status": "New" if is_broken else "Resolved",
        "compliance": compliance,
        "finding_info": {
            "uid": f"licence.{body.deployment}",
            "title": f"licence rules of {body.deployment}",
        },
        "resources": [{"type": "deployment", "name": body.deployment}],
        **_unmapped(event),
    }


def _observed(event: Event) -> dict[str, Any]:
    return {"activity_id": _OTHER, "activity_name": event.data.action, **_unmapped(event)}


_ABOUT: Final[dict[int, Callable[[Event], dict[str, Any]]]] = {
    KERNEL_EXTENSION: _loaded,
    API_ACTIVITY: _asked,
    COMPLIANCE_FINDING: _found,
    BASE_EVENT: _observed,
}


def _actor(actor: Actor | None) -> dict[str, Any]:
    if actor is None:
        return {}
    user = {"uid": actor.key, "type_id": _OTHER, "type": actor.role}
    return {"user": user} | ({"app_name": actor.through} if actor.through else {})


def _unmapped(event: Event) -> dict[str, Any]:
    """What happened in the words of the event, whatever of it has fields of its own."""
    body: dict[str, Any] = msgspec.to_builtins(event.data)
    return {"unmapped": {**body, "audience": event.audience, "emitter_sequence": event.sequence}}


def _milliseconds(text: str) -> int:
    try:
        return int(read_time(text).timestamp() * 1000)
    except ValueError:
        return 0
