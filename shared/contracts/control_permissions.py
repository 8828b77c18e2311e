# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What nodes and services may do, by the one permission table (`shared.contracts.permissions`)."""

from __future__ import annotations

from shared.contracts import (
    catalog,
    gates,
    leadership,
    node,
    node_health,
    ratings,
    reports,
    retention,
    reviews,
    rollout_policy,
    spaces,
    trust,
    usage,
    verification,
    watching,
)
from shared.contracts.base import API, ARTIFACTS, EVENTS, INTERNAL, TELEMETRY
from shared.contracts.log_heads import CHECKPOINTS, COMPARE_HEAD
from shared.contracts.permissions import NAME, ControlRole, Permissions, inbox_prefix
from shared.contracts.policy_replay import LICENCE_POLICY
from shared.contracts.reviews import REVOKE
from shared.contracts.storage import (
    ARTIFACT_STREAM,
    AUDITOR_CONSUMER,
    EVENT_STREAM,
    FENCED_BUCKETS,
    kv_stream,
    kv_subject,
    outbox_bucket,
)


def _reads(bucket: str) -> tuple[str, ...]:
    return (f"$JS.API.DIRECT.GET.{kv_stream(bucket)}", f"$JS.API.DIRECT.GET.{kv_stream(bucket)}.>")


def _writes(bucket: str) -> tuple[str, ...]:
    return (kv_subject(bucket, ">"),)


def _service(
    service: str, role: ControlRole, *, publish: tuple[str, ...], subscribe: tuple[str, ...]
) -> Permissions:
    outbox = outbox_bucket(service).name
    return Permissions(
        publish=(f"{EVENTS}.*.{service}.>", *_reads(outbox), *_writes(outbox), *publish),
        subscribe=("$SRV.>", f"{inbox_prefix(role, service)}.>", *subscribe),
        may_respond=True,
    )


def control_permissions(role: ControlRole) -> Permissions:
    """Permissions of a role in the control account."""
    match role:
        case "node":
            return Permissions(
                publish=(
                    f"{EVENTS}.*.node.{NAME}.>",
                    f"{TELEMETRY}.node.{NAME}.>",
                    kv_subject("observed", NAME),
                    kv_subject("nodes", NAME),
                    kv_subject(verification.VERIFICATIONS.name, f"{NAME}.*"),
                    f"$JS.API.DIRECT.GET.{kv_stream('desired')}.{kv_subject('desired', NAME)}",
                    f"$JS.API.DIRECT.GET.{kv_stream('observed')}.{kv_subject('observed', NAME)}",
                    f"$JS.API.DIRECT.GET.{kv_stream('nodes')}.{kv_subject('nodes', NAME)}",
                    f"$JS.API.DIRECT.GET.{EVENT_STREAM}.{EVENTS}.*.node.{NAME}.>",
                    catalog.READ_ARTIFACT.at(node=NAME).subject,
                    COMPARE_HEAD.at(node=NAME).subject,
                    *_reads(trust.TRUST.name),
                ),
                subscribe=(
                    kv_subject("desired", NAME),
                    kv_subject(trust.TRUST.name, ">"),
                    f"{API}.node.{NAME}.>",
                    f"{INTERNAL}.node.{NAME}.>",
                    "$SRV.>",
                    f"{inbox_prefix(role, NAME)}.>",
                ),
                may_respond=True,
            )
        case "service-catalog":
            return _service(
                "catalog",
                role,
                publish=(
                    *_reads("catalog"),
                    *_writes("catalog"),
                    *_reads("licence_waivers"),
                    *_writes("licence_waivers"),
                    *_reads(LICENCE_POLICY.name),
                    *_writes(LICENCE_POLICY.name),
                    *_reads(reviews.CODE_OWNERS.name),
                    *_writes(reviews.CODE_OWNERS.name),
                    *_reads(ratings.PACKAGE_RATINGS.name),
                    *_writes(ratings.PACKAGE_RATINGS.name),
                    *_reads(trust.TRUST.name),
                    *_writes(trust.TRUST.name),
                    *_reads(spaces.SPACES.name),
                    *_writes(spaces.SPACES.name),
                    *_reads("desired"),
                    *_reads("nodes"),
                    *_reads("node_labels"),
                    *_reads(verification.VERIFICATIONS.name),
                    verification.VERIFY_ON_NODE.at(node="*").subject,
                    usage.GET_USAGE.subject,
                    f"{ARTIFACTS}.>",
                    f"$JS.API.DIRECT.GET.{ARTIFACT_STREAM}.>",
                ),
                subscribe=(
                    f"{API}.catalog.>",
                    f"{INTERNAL}.catalog.>",
                    kv_subject("catalog", ">"),
                    kv_subject(ratings.PACKAGE_RATINGS.name, ">"),
                    kv_subject(verification.VERIFICATIONS.name, ">"),
                    kv_subject(spaces.SPACES.name, ">"),
                ),
            )
        case "service-scheduler":
            return _service(
                "scheduler",
                role,
                publish=(
                    *_reads("deployments"),
                    *_writes("deployments"),
                    *_reads("node_labels"),
                    *_writes("node_labels"),
                    *_reads(rollout_policy.ROLLOUT_POLICY.name),
                    *_writes(rollout_policy.ROLLOUT_POLICY.name),
                    *_reads("desired"),
                    *_writes("desired"),
                    *_reads(leadership.LEASES.name),
                    *_writes(leadership.LEASES.name),
                    *_reads(leadership.STANDBYS.name),
                    *_writes(leadership.STANDBYS.name),
                    *(leadership.fence_subject(bucket.name) for bucket in FENCED_BUCKETS),
                    f"$JS.API.DIRECT.GET.{EVENT_STREAM}.{leadership.take_subject('scheduler')}",
                    *_reads("nodes"),
                    *_reads("observed"),
                    *_reads("licence_waivers"),
                    *_reads(spaces.SPACES.name),
                    catalog.RESOLVE_PACKAGE.subject,
                    reviews.FIND_REVOKED.subject,
                    node.STAGE_CHAINS.at(node="*").subject,
                    node_health.READ_HEALTH.at(node="*").subject,
                    gates.ASK_GATE.at(name="*").subject,
                ),
                subscribe=(
                    f"{API}.scheduler.>",
                    f"{INTERNAL}.scheduler.>",
                    f"{TELEMETRY}.>",
                    kv_subject("nodes", ">"),
                    kv_subject("observed", ">"),
                    kv_subject("licence_waivers", ">"),
                    kv_subject(spaces.SPACES.name, ">"),
                    f"{EVENTS}.*.catalog.{REVOKE}",
                ),
            )
        case "service-auditor":
            return _service(
                "auditor",
                role,
                publish=(
                    f"$JS.API.STREAM.INFO.{EVENT_STREAM}",
                    *(
                        f"$JS.API.CONSUMER.{verb}.{EVENT_STREAM}.*"
                        for verb in ("CREATE", "INFO", "RESET", "DELETE", "MSG.NEXT")
                    ),
                    f"$JS.ACK.{EVENT_STREAM}.>",
                    *_reads(CHECKPOINTS.name),
                    *_writes(CHECKPOINTS.name),
                    *_reads(watching.WATCH_RULES.name),
                    *_writes(watching.WATCH_RULES.name),
                    *_reads(retention.RETENTION.name),
                    *_writes(retention.RETENTION.name),
                    *_reads(watching.WATCH_STATE.name),
                    *_writes(watching.WATCH_STATE.name),
                    *_reads(reports.REPORT_SCHEDULES.name),
                    *_writes(reports.REPORT_SCHEDULES.name),
                    *_reads(reports.REPORTS.name),
                    *_writes(reports.REPORTS.name),
                    *_reads(reports.REPORT_PARTS.name),
                    *_writes(reports.REPORT_PARTS.name),
                    *_reads(spaces.SPACES.name),
                ),
                subscribe=(
                    f"{API}.auditor.>",
                    f"{INTERNAL}.auditor.>",
                    f"{API}.events.>",
                    kv_subject(spaces.SPACES.name, ">"),
                ),
            )
        case "provisioner":
            return Permissions(
                publish=(
                    "$JS.API.INFO",
                    "$JS.API.STREAM.CREATE.>",
                    "$JS.API.STREAM.UPDATE.>",
                    "$JS.API.STREAM.INFO.>",
                    f"$JS.API.CONSUMER.CREATE.{EVENT_STREAM}.{AUDITOR_CONSUMER}",
                    f"$JS.API.CONSUMER.CREATE.{EVENT_STREAM}.{AUDITOR_CONSUMER}.>",
                    f"$JS.API.CONSUMER.DURABLE.CREATE.{EVENT_STREAM}.{AUDITOR_CONSUMER}",
                    f"$JS.API.CONSUMER.INFO.{EVENT_STREAM}.{AUDITOR_CONSUMER}",
                ),
                subscribe=(f"{inbox_prefix(role, 'provisioner')}.>",),
            )
        case "supervisor":
            return Permissions(
                publish=("$SRV.PING", "$SRV.PING.>", "$SRV.INFO.>", "$SRV.STATS.>"),
                subscribe=(f"{inbox_prefix(role, 'supervisor')}.>",),
            )
