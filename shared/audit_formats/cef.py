# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
r"""Records in the Common Event Format (CEF:0), and as syslog messages (RFC 5424) that carry it.

Pure.

Rules:
 * A record is one line of characters that mean nothing to a terminal.
 * Of a message that is not believed none of its claims is told.
 * In a header `\\` and `|` are escaped, in an extension `\\`, `=` and line ends; nothing else.
 * A space stands before the first extension: liblognorm takes a character away there.
 * `externalId` is the record's number.
 * A syslog message has facility 13 (log audit), the emitter's host as HOSTNAME, `l3af` as APP-NAME,
   the action as MSGID and the record's number, modulo 2147483647 and from 1, as `sequenceId`
   (RFC 5424 section 7.3.1).
"""

from __future__ import annotations

import re
from typing import Final

from shared.audit_formats.meaning import Severity, hook_point_of, sentence_of, severity_of
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Event
from shared.moments import read_time, render_time
from shared.version import VERSION

FACILITY: Final = 13
MAX_VALUE_CHARACTERS: Final = 4000
"""Of one extension; SIEMs cut at some thousands."""
_SEVERITIES: Final[dict[Severity, int]] = {
    "informational": 3,
    "low": 4,
    "medium": 6,
    "high": 8,
    "critical": 10,
}
_LEVELS: Final[dict[Severity, int]] = {
    "informational": 6,
    "low": 5,
    "medium": 4,
    "high": 3,
    "critical": 2,
}
"""RFC 5424 section 6.2.1."""
_MAX_SEQUENCE_ID: Final = 2_147_483_647
_NO_NAME: Final = re.compile(r"[^\x21-\x7e]")
_NUMBER: Final = re.compile(r"\|\d{1,2}\| externalId=(\d+)( |$)")
"""Behind a severity: elsewhere `|` and `=` are escaped, so no text looks like it."""


def cef_line(record: AuditRecord) -> str:
    """The record as one line, its end included."""
    return _cef(record) + "\n"


def syslog_line(record: AuditRecord) -> str:
    """The record as one syslog message, a line; its end included."""
    event = _believed(record)
    priority = FACILITY * 8 + _LEVELS[severity_of(record)]
    host = _name(event.emitter.rpartition("/")[2] if event is not None else "", 255)
    message_id = _name(event.data.action if event is not None else "", 32)
    number = record.index % _MAX_SEQUENCE_ID + 1
    header = f"<{priority}>1 {_moment(record)} {host} l3af - {message_id}"
    return f'{header} [meta sequenceId="{number}"] {_cef(record)}\n'


def cef_record(line: str) -> int:
    """The number of the record that a line of either kind holds.

    Raises:
        ValueError: It holds none.
    """
    found = _NUMBER.search(line)
    if found is None:
        raise ValueError(line)
    return int(found[1])


def _cef(record: AuditRecord) -> str:
    event = _believed(record)
    action = event.data.action if event is not None else "record"
    outcome = event.data.outcome if event is not None else ""
    name = f"{action} {outcome}".strip()
    heads = ("CEF:0", "L3AF Bus", "l3af-bus", VERSION, action, name)
    header = "|".join(_header(one) for one in heads)
    extension = " ".join(
        f"{key}={_value(value)}" for key, value in _extension(record).items() if value != ""
    )
    return f"{header}|{_SEVERITIES[severity_of(record)]}| {extension}"


def _extension(record: AuditRecord) -> dict[str, str]:
    """Keys of the CEF dictionary; what it has none for is in labelled custom strings."""
    event = _believed(record)
    said = {"externalId": str(record.index), "rt": _epoch(record), "msg": sentence_of(record)}
    if event is None:
        return said
    body, actor = event.data, event.data.actor
    said |= {
        "act": body.action,
        "outcome": body.outcome,
        "reason": body.reason,
        "dvchost": body.node,
        "deviceInboundInterface": hook_point_of(event),
        "suid": actor.key if actor is not None else "",
        "spriv": actor.role if actor is not None else "",
        "deviceProcessName": event.emitter,
    }
    labelled = (
        ("cs1", "deployment", body.deployment),
        ("cs2", "package", f"{body.package} {body.version}".strip()),
        ("cs3", "correlation", body.correlation),
        ("cs4", "eventId", event.id),
        ("cs5", "stateBefore", body.before),
        ("cs6", "stateAfter", body.after),
    )
    for key, label, value in labelled:
        if value:
            said |= {f"{key}Label": label, key: value}
    return said


def _believed(record: AuditRecord) -> Event | None:
    return None if record.problem else record.event


def _header(text: str) -> str:
    return _shown(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    lines = text[:MAX_VALUE_CHARACTERS].replace("\\", "\\\\").replace("=", "\\=")
    return _shown(lines.replace("\r", "\\r").replace("\n", "\\n"))


def _shown(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else "?" for one in text)


def _name(text: str, longest: int) -> str:
    return _NO_NAME.sub("_", text)[:longest] or "-"


def _epoch(record: AuditRecord) -> str:
    moment = _moment(record)
    return "" if moment == "-" else str(int(read_time(moment).timestamp() * 1000))


def _moment(record: AuditRecord) -> str:
    """When it happened, in UTC, as RFC 5424 takes it."""
    event = _believed(record)
    text = event.time if event is not None else record.received_at
    try:
        return render_time(read_time(text))
    except ValueError:
        return "-"
