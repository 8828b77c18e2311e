# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The one permission table: which role may do what.

The installation turns it into scoped signing keys, so that the server enforces it; services check
the attested role against the same table, so that neither alone is trusted.  `{name}` stands for
the principal's or node's own name (NATS template `{{name()}}`), and `{space}` for each space whose
events the principal may hear (`{{tag(space)}}`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from shared.contracts import (
    audit,
    catalog,
    chain_reasons,
    cordons,
    ebpf,
    findings,
    gates,
    holds,
    inspection,
    inventory,
    leadership,
    licence_reports,
    log_health,
    map_reading,
    node,
    node_companions,
    node_reasons,
    notices,
    overlays,
    persons,
    ratings,
    reconciliation,
    reports,
    retention,
    reviews,
    rollout_commands,
    rollout_policy,
    sbom,
    scheduler,
    search,
    spaces,
    trust,
    usage,
    verification,
    waivers,
    watching,
)
from shared.contracts.base import EVENTS, Endpoint
from shared.contracts.events import PUBLIC
from shared.contracts.log_heads import GET_KNOWN_HEAD

UserRole = Literal[
    "viewer", "operator", "publisher", "code-owner", "approver", "auditor", "administrator"
]
ControlRole = Literal[
    "node", "service-catalog", "service-scheduler", "service-auditor", "provisioner", "supervisor"
]
Role = UserRole | ControlRole
USER_ROLES: Final[tuple[UserRole, ...]] = get_args(UserRole)
CONTROL_ROLES: Final[tuple[ControlRole, ...]] = get_args(ControlRole)

NAME: Final = "{name}"
SPACE: Final = "{space}"
RESPONSE_SECONDS: Final = 120
"""How long a responder may answer a request it received."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects a role may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    may_respond: bool = False
    """Whether it may answer requests that reach it, wherever the reply subject is."""


_READ: Final[tuple[Endpoint[Any, Any], ...]] = (
    catalog.LIST_PACKAGES,
    catalog.GET_PACKAGE,
    catalog.READ_ARCHIVE,
    verification.GET_MATRIX,
    notices.GET_NOTICE,
    sbom.GET_BILL,
    search.SEARCH_PACKAGES,
    search.FIND_SHARING,
    reviews.GET_REVIEW,
    reviews.LIST_OWNERS,
    ratings.LIST_RATINGS,
    waivers.LIST_WAIVERS,
    trust.GET_TRUST,
    spaces.LIST_SPACES,
    spaces.GET_SPACE,
    overlays.GET_OVERLAY,
    scheduler.LIST_DEPLOYMENTS,
    scheduler.GET_DEPLOYMENT,
    scheduler.LIST_NODES,
    scheduler.GET_NODE,
    chain_reasons.WHY_CHAINS,
    node_reasons.EXPLAIN_NODE,
    leadership.GET_LEADER,
    rollout_policy.GET_ROLLOUT_POLICY,
    usage.FIND_USERS,
    usage.FIND_IMPACT,
    node.GET_CHAINS,
    GET_KNOWN_HEAD,
    inspection.EXPLAIN_CHAIN,
    ebpf.LIST_EBPF,
    node_companions.LIST_COMPANIONS,
    audit.GET_CHECKPOINT,
    audit.CREATE_SUBSCRIPTION,
    audit.FETCH_EVENTS,
    audit.DELETE_SUBSCRIPTION,
)
_OPERATE: Final = (
    scheduler.PLAN_DEPLOYMENT,
    rollout_policy.TRY_ROLLOUT_POLICY,
    scheduler.APPLY_DEPLOYMENT,
    scheduler.ROLL_BACK_DEPLOYMENT,
    scheduler.REMOVE_DEPLOYMENT,
    *rollout_commands.ROLLOUT_COMMANDS,
    scheduler.LABEL_NODE,
    cordons.CORDON_NODE,
    cordons.DRAIN_NODE,
    cordons.UNCORDON_NODE,
    inspection.TEST_CHAIN,
    map_reading.READ_MAP,
    node_companions.READ_COMPANION_LOG,
    node_companions.RESTART_COMPANION,
    reconciliation.RECONCILE_NODE,
)
_PUBLISH: Final = (
    catalog.WRITE_ARTIFACT,
    catalog.FIND_MISSING,
    catalog.PUBLISH_PACKAGE,
    verification.VERIFY_PACKAGE,
)
_RELEASE: Final = (
    reviews.SUBMIT_PACKAGE,
    reviews.PROMOTE_PACKAGE,
    reviews.DEPRECATE_PACKAGE,
    reviews.YANK_PACKAGE,
)
"""A publisher may do so with its own versions alone (`services.catalog.reviewing`)."""
_RATE: Final = (ratings.RATE_PACKAGE, ratings.REMOVE_RATING)
"""One's own; an administrator removes anybody's (`services.catalog.rating`)."""
_REVIEW: Final = (reviews.REVIEW_PACKAGE, reviews.APPROVE_PACKAGE)
_ASK_WAIVERS: Final = (waivers.REQUEST_WAIVER,)
_DECIDE_WAIVERS: Final = (waivers.GRANT_WAIVER, waivers.REVOKE_WAIVER)
_SPACES: Final = (spaces.CREATE_SPACE, spaces.UPDATE_SPACE, spaces.LIFT_SPACE)
"""All but the first by members of the space alone (`services.catalog.spacing`)."""
_AUDIT: Final = (
    audit.LIST_RECORDS,
    audit.STREAM_RECORDS,
    audit.PROVE_RECORD,
    inventory.GET_INVENTORY,
    inventory.FIND_RUNS,
    inventory.GET_RANGE,
    licence_reports.REPORT_LICENCES,
    watching.GET_WATCH_RULES,
    holds.PLACE_HOLD,
    holds.RELEASE_HOLD,
    holds.LIST_HOLDS,
    reports.LIST_SCHEDULES,
    reports.LIST_REPORTS,
    reports.GET_REPORT,
    findings.LIST_FINDINGS,
    findings.GET_FINDING,
    findings.RESOLVE_FINDING,
    findings.ANNOTATE_FINDING,
    retention.GET_RETENTION,
    retention.LIST_SEGMENTS,
)

ALLOWED_ENDPOINTS: Final[dict[UserRole, tuple[Endpoint[Any, Any], ...]]] = {
    "viewer": _READ,
    "operator": (*_READ, *_OPERATE, *_RATE, *_ASK_WAIVERS, log_health.GET_HEALTH),
    "publisher": (*_READ, *_PUBLISH, *_RELEASE, *_RATE, *_ASK_WAIVERS),
    "code-owner": (*_READ, *_REVIEW, *_RATE, *_ASK_WAIVERS),
    "approver": (
        *_READ,
        *_RELEASE,
        *_RATE,
        reviews.REVOKE_PACKAGE,
        rollout_commands.RESUME_ROLLOUT,
        rollout_commands.APPROVE_ROLLOUT,
        *_DECIDE_WAIVERS,
        *_SPACES,
    ),
    "auditor": (*_READ, *_AUDIT, log_health.GET_HEALTH),
    "administrator": (
        *_READ,
        *_OPERATE,
        *_PUBLISH,
        *_AUDIT,
        *_ASK_WAIVERS,
        *_DECIDE_WAIVERS,
        *_RELEASE,
        *_REVIEW,
        *_RATE,
        reviews.REVOKE_PACKAGE,
        reviews.SET_OWNERS,
        trust.SET_TRUST,
        *_SPACES,
        scheduler.FORGET_NODE,
        rollout_policy.SET_ROLLOUT_POLICY,
        watching.SET_WATCH_RULES,
        reports.SET_SCHEDULE,
        reports.REMOVE_SCHEDULE,
        retention.SET_RETENTION,
        retention.PRUNE_RECORDS,
        persons.ERASE_PERSON,
        log_health.GET_HEALTH,
    ),
}
"""What each role of a person or system may ask.  An endpoint not named here is refused."""


def may_call(role: str, endpoint: Endpoint[Any, Any]) -> bool:
    """Whether the table lets `role` ask `endpoint`."""
    return any(endpoint == allowed for allowed in ALLOWED_ENDPOINTS.get(role, ()))  # type: ignore[call-overload]


def inbox_prefix(role: str, name: str) -> str:
    """Where replies to a connection arrive; no role can listen to another's."""
    return f"_INBOX.{role}.{name}"


def user_permissions(role: UserRole) -> Permissions:
    """Permissions of a role in the users' account."""
    return Permissions(
        publish=tuple(endpoint.at(node="*").subject for endpoint in ALLOWED_ENDPOINTS[role]),
        subscribe=(
            f"{inbox_prefix(role, NAME)}.>",
            f"{EVENTS}.{PUBLIC}.>",
            f"{EVENTS}.{SPACE}.>",
            gates.ASK_GATE.at(name=NAME).subject,
        ),
        may_respond=True,
    )
