# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records in the formats of other systems, read by their schema and by parsers of other people."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from services.auditor.query import StoredRecord, render_record
from services.auditor.records import read_message
from shared.audit_formats.cef import cef_line, cef_record, syslog_line
from shared.audit_formats.ocsf import OCSF_VERSION, ocsf_line, ocsf_record
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor
from shared.errors import Reason
from tests.support.hostile.texts import HOSTILE_TEXTS
from tests.support.records import altered, an_event, message_of
from tests.support.syslog_parser import parsed_cef, parsed_syslog

ANN = Actor(key="U" + "A" * 55, role="operator", attested=True, address="ab" * 16)
AT_HOOK: dict[str, Any] = {
    "emitter": "node/host-1",
    "node": "host-1",
    "interface": "eth0",
    "hook": "xdp",
}
CLASSES = {
    0: "base_event",
    1002: "kernel_extension_activity",
    2003: "compliance_finding",
    6003: "api_activity",
}


def record_of(*, is_believed: bool = True, **fields: Any) -> AuditRecord:
    """Record 6, of an event with these fields of its body."""
    message = message_of(an_event(7, **fields), 7)
    if not is_believed:
        message = altered(message, audience="p_other")
    draft = read_message(message)
    return render_record(StoredRecord(6, draft.leaf, message.data, 0, 7, draft.problem))


ATTACHED = record_of(action="chain.attach", actor=ANN, after="ab" * 32, **AT_HOOK)
DETACHED = record_of(action="chain.detach", outcome="failed", before="cd" * 32, **AT_HOOK)
REFUSED = record_of(
    emitter="scheduler",
    action="deployment.apply",
    outcome="refused",
    actor=ANN,
    deployment="edge",
    package="limit",
    version="1.2.0",
    correlation="0198c1d2",
    reason="ticket 7",
    reasons=(Reason(path="nodes", rule="no node is eligible"),),
)
BROKEN = record_of(
    emitter="scheduler",
    action="licence.violate",
    outcome="observed",
    deployment="edge",
    details={"rules": ["gpl-helper"]},
)
KEPT = record_of(
    emitter="scheduler", action="licence.comply", outcome="observed", deployment="edge"
)
DRIFTED = record_of(action="chain.drift", outcome="observed", **AT_HOOK)
UNBELIEVED = record_of(is_believed=False, deployment="claimed")
RESTRICTED = render_record(StoredRecord(6, b"", None, 0, 0, "", leaf_hash=b"\xab" * 32))
RECORDS = {
    "attached": (ATTACHED, 100201),
    "detached": (DETACHED, 100202),
    "refused": (REFUSED, 600301),
    "broken": (BROKEN, 200301),
    "kept": (KEPT, 200303),
    "drifted": (DRIFTED, 99),
    "unbelieved": (UNBELIEVED, 0),
    "restricted": (RESTRICTED, 0),
}


@cache
def schema_of(class_uid: int) -> Draft202012Validator:
    """The published schema of a class, in the version that is pinned."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    return Draft202012Validator(schema.get_class_schema(CLASSES[class_uid], []))


def as_ocsf(record: AuditRecord) -> dict[str, Any]:
    """The event, once the schema took it."""
    event: dict[str, Any] = json.loads(ocsf_line(record))
    problems = schema_of(event["class_uid"]).iter_errors(event)
    assert [(list(one.path), one.message) for one in problems] == []
    return event


@pytest.mark.parametrize("name", RECORDS)
def test_every_kind_of_record_is_an_event_of_its_class(name: str) -> None:
    """The schema has no field that it does not know, and lacks none that it asks for."""
    record, type_uid = RECORDS[name]

    event = as_ocsf(record)

    assert event["type_uid"] == type_uid
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["metadata"]["sequence"] == ocsf_record(ocsf_line(record)) == 6


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_texts_make_no_other_event(text: str) -> None:
    """Whatever emitters write: the schema takes it, and each line is one record, number 6."""
    fields: dict[str, Any] = {
        "deployment": text[:200],
        "package": text[:500],
        "reason": text[:9000],
    }
    record = record_of(actor=ANN, reasons=(Reason(path=text[:50], rule=text[:50]),), **fields)

    assert as_ocsf(record)["unmapped"].get("reason", "") == text[:9000]
    for line in (cef_line(record), syslog_line(record)):
        assert line.count("\n") == 1
        assert line[:-1].isprintable()
        assert cef_record(line) == 6


def test_the_schema_refuses_what_it_does_not_know() -> None:
    """The check of the tests above can fail: a field too many, one too few, a word for a number."""
    event = as_ocsf(ATTACHED)
    for damaged in (
        {**event, "driver_name": "x"},
        {name: value for name, value in event.items() if name != "driver"},
        {**event, "severity_id": "grave"},
    ):
        assert list(schema_of(1002).iter_errors(damaged))


def test_a_finding_closes_the_one_that_was_opened() -> None:
    """The same `finding_info.uid`: first it is new and fails, then it is resolved and passes."""
    opened, closed = as_ocsf(BROKEN), as_ocsf(KEPT)

    assert opened["finding_info"]["uid"] == closed["finding_info"]["uid"] == "licence.edge"
    assert [one["compliance"]["status_id"] for one in (opened, closed)] == [3, 1]
    assert [one["status"] for one in (opened, closed)] == ["New", "Resolved"]
    assert opened["compliance"]["requirements"] == ["gpl-helper"]


def test_what_was_asked_is_told_with_who_asked_and_why_not() -> None:
    """A refusal is a failure with its reasons, the caller's key and the command's id."""
    event = as_ocsf(REFUSED)

    assert (event["status_id"], event["status_detail"]) == (2, "nodes: no node is eligible")
    assert event["actor"]["user"]["uid"] == ANN.key
    assert event["src_endpoint"] == {"uid": ANN.address}
    assert event["api"]["request"]["uid"] == "0198c1d2"
    assert {one["name"] for one in event["resources"]} == {"edge", "limit@1.2.0"}


def test_rsyslogs_parser_of_cef_finds_what_was_said(tmp_path: Path) -> None:
    """Header and extensions of every kind of record, escaped texts included."""
    told = record_of(
        action="deployment.apply", outcome="accepted", actor=ANN, reason="a|b=c\\d\ne f=g"
    )
    kinds = [record for record, _ in RECORDS.values()]

    found = parsed_cef([cef_line(one) for one in [told, *kinds]], tmp_path)

    assert found[0]["Extensions"]["reason"] == "a|b=c\\d\ne f=g"
    assert found[0]["Extensions"]["suid"] == ANN.key
    assert [one["Extensions"]["externalId"] for one in found] == ["6"] * (len(kinds) + 1)
    assert [one["Severity"] for one in found] == ["3", "3", "6", "6", "8", "3", "8", "8", "4"]
    assert found[-2]["SignatureID"] == "record"


def test_gos_parser_of_syslog_finds_what_was_said() -> None:
    """Facility, level, time, host, message id and the number of every kind of record."""
    kinds = [record for record, _ in RECORDS.values()]

    found = parsed_syslog([syslog_line(one) for one in kinds])

    assert not [one for one in found if "error" in one]
    assert {(one["facility"], one["version"], one["app_name"]) for one in found} == {
        (13, 1, "l3af")
    }
    assert [one["severity"] for one in found] == [6, 4, 4, 3, 6, 3, 3, 5]
    assert {one["structured_data"]["meta"]["sequenceId"] for one in found} == {"7"}
    assert (found[0]["hostname"], found[0]["message_id"]) == ("host-1", "chain.attach")
    assert found[0]["timestamp"] == "2026-01-02T03:04:05.000006Z"
    assert found[-2]["hostname"] is None


def test_nothing_that_is_not_believed_is_claimed() -> None:
    """Neither format repeats what such a message says of itself."""
    lines = (ocsf_line(UNBELIEVED), cef_line(UNBELIEVED), syslog_line(UNBELIEVED))
    assert not [line for line in lines if "claimed" in line or "package.publish" in line]
