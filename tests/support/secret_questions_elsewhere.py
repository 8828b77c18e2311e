# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a stranger may ask scheduler and auditor about a secret, and about what is not there."""

from __future__ import annotations

from typing import Any, Final

from services.auditor.compliance.cases import About
from shared.contracts.audit import (
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    FETCH_EVENTS,
    LIST_RECORDS,
    STREAM_RECORDS,
    CreateSubscription,
    DeleteSubscription,
    FetchEvents,
    ListRecords,
    StreamRecords,
)
from shared.contracts.base import EVENTS
from shared.contracts.cordons import (
    CORDON_NODE,
    DRAIN_NODE,
    UNCORDON_NODE,
    CordonNode,
    DrainNode,
    UncordonNode,
)
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.findings import (
    ANNOTATE_FINDING,
    GET_FINDING,
    LIST_FINDINGS,
    RESOLVE_FINDING,
    AnnotateFinding,
    GetFinding,
    ListFindings,
    ResolveFinding,
)
from shared.contracts.holds import (
    LIST_HOLDS,
    PLACE_HOLD,
    RELEASE_HOLD,
    HoldSelection,
    ListHolds,
    PlaceHold,
    ReleaseHold,
)
from shared.contracts.inventory import (
    FIND_RUNS,
    GET_INVENTORY,
    GET_RANGE,
    FindRuns,
    GetInventory,
    GetRange,
)
from shared.contracts.licence_reports import REPORT_LICENCES, ReportLicences
from shared.contracts.persons import ERASE_PERSON, ErasePerson
from shared.contracts.reports import (
    GET_REPORT,
    LIST_REPORTS,
    LIST_SCHEDULES,
    REMOVE_SCHEDULE,
    SET_SCHEDULE,
    BillOptions,
    GetReport,
    ListReports,
    ListSchedules,
    RemoveSchedule,
    ReportSchedule,
    SetSchedule,
)
from shared.contracts.retention import (
    GET_RETENTION,
    LIST_SEGMENTS,
    PRUNE_RECORDS,
    SET_RETENTION,
    GetRetention,
    ListSegments,
    PruneRecords,
    RetentionRule,
    RetentionRules,
    SetRetention,
)
from shared.contracts.rollout_commands import (
    ABORT_ROLLOUT,
    APPROVE_ROLLOUT,
    PAUSE_ROLLOUT,
    RESUME_ROLLOUT,
    AbortRollout,
    ApproveRollout,
    PauseRollout,
    ResumeRollout,
)
from shared.contracts.rollout_policy import (
    SET_ROLLOUT_POLICY,
    TRY_ROLLOUT_POLICY,
    DeploymentSelector,
    PolicyRule,
    RolloutPolicy,
    SetRolloutPolicy,
    TryRolloutPolicy,
)
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    FORGET_NODE,
    GET_DEPLOYMENT,
    LABEL_NODE,
    LIST_DEPLOYMENTS,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    ForgetNode,
    GetDeployment,
    LabelNode,
    ListDeployments,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.contracts.usage import FIND_IMPACT, FIND_USERS, FindImpact, FindUsers
from shared.contracts.watching import (
    GET_WATCH_RULES,
    SET_WATCH_RULES,
    GetWatchRules,
    SetWatchRules,
    WatchRule,
    WatchRules,
)
from shared.deployment_keys import deployment_key
from tests.fleets import a_spec
from tests.support.secret_questions import VERSION, Kind, Row

LATER: Final = "2036-01-01T00:00:00Z"


def _named(kind: Kind, **more: Any) -> dict[str, Any]:
    return {"name": kind.package, "space": kind.space, **more}


def _spec(kind: Kind, **more: Any) -> DeploymentSpec:
    return a_spec(kind.package, package=kind.package, version=VERSION, **more)


def _where(kind: Kind) -> StreamRecords:
    return StreamRecords(where=f'package == "{kind.quiet}" or space == "{kind.space}"')


def _watch(kind: Kind) -> WatchRules:
    rule = WatchRule(name="quiet", where=f'package == "{kind.quiet}" or audience == "{kind.space}"')
    return WatchRules(rules=(rule,))


def _schedule(kind: Kind) -> ReportSchedule:
    return ReportSchedule(
        name=kind.package,
        space=kind.space,
        report=BillOptions(node=kind.package),
        cron="0 6 1 * *",
    )


def _finding(kind: Kind) -> str:
    """The id that a finding about the package would have."""
    found = About("version-rule", "texts-present", kind.package, VERSION, home=kind.space).id
    kind.names[found] = "<finding>"
    return found


def _policy(kind: Kind) -> RolloutPolicy:
    selector = DeploymentSelector(spaces=(kind.space,))
    return RolloutPolicy(rules=(PolicyRule(name="rule", deployments=selector, approvals=1),))


ROWS: Final[dict[str, Row]] = {
    "deployments": (
        LIST_DEPLOYMENTS,
        lambda kind: ListDeployments(removed=True, space=kind.space),
    ),
    "deployment": (GET_DEPLOYMENT, lambda kind: GetDeployment(name=kind.package)),
    "deployment in space": (GET_DEPLOYMENT, lambda kind: GetDeployment(**_named(kind))),
    "plan": (PLAN_DEPLOYMENT, lambda kind: PlanDeployment(spec=_spec(kind))),
    "plan in space": (
        PLAN_DEPLOYMENT,
        lambda kind: PlanDeployment(spec=_spec(kind, space=kind.space)),
    ),
    "apply": (APPLY_DEPLOYMENT, lambda kind: ApplyDeployment(spec=_spec(kind))),
    "apply in space": (
        APPLY_DEPLOYMENT,
        lambda kind: ApplyDeployment(spec=_spec(kind, space=kind.space)),
    ),
    "roll back": (ROLL_BACK_DEPLOYMENT, lambda kind: RollBackDeployment(**_named(kind))),
    "remove": (REMOVE_DEPLOYMENT, lambda kind: RemoveDeployment(**_named(kind))),
    "try policy": (
        TRY_ROLLOUT_POLICY,
        lambda kind: TryRolloutPolicy(policy=_policy(kind)),
    ),
    "try policy for one": (
        TRY_ROLLOUT_POLICY,
        lambda kind: TryRolloutPolicy(deployment=deployment_key(kind.space, kind.package)),
    ),
    "set policy": (SET_ROLLOUT_POLICY, lambda kind: SetRolloutPolicy(policy=_policy(kind))),
    "label": (LABEL_NODE, lambda kind: LabelNode(node=kind.package, set={"a": "b"})),
    "forget": (FORGET_NODE, lambda kind: ForgetNode(node=kind.package)),
    "pause rollout": (PAUSE_ROLLOUT, lambda kind: PauseRollout(**_named(kind))),
    "resume rollout": (RESUME_ROLLOUT, lambda kind: ResumeRollout(**_named(kind))),
    "abort rollout": (ABORT_ROLLOUT, lambda kind: AbortRollout(**_named(kind))),
    "approve rollout": (APPROVE_ROLLOUT, lambda kind: ApproveRollout(**_named(kind))),
    "cordon": (CORDON_NODE, lambda kind: CordonNode(node=kind.package)),
    "drain": (DRAIN_NODE, lambda kind: DrainNode(node=kind.package)),
    "uncordon": (UNCORDON_NODE, lambda kind: UncordonNode(node=kind.package)),
    "users": (FIND_USERS, lambda kind: FindUsers(name=kind.package)),
    "impact": (FIND_IMPACT, lambda kind: FindImpact(name=kind.package, version=VERSION)),
    "records": (LIST_RECORDS, lambda kind: ListRecords(package=kind.quiet)),
    "records of space": (LIST_RECORDS, lambda kind: ListRecords(space=kind.space)),
    "stream": (STREAM_RECORDS, lambda kind: StreamRecords(deployment=kind.quiet)),
    "stream where": (STREAM_RECORDS, _where),
    "findings": (LIST_FINDINGS, lambda kind: ListFindings(package=kind.quiet, at=LATER)),
    "findings of space": (LIST_FINDINGS, lambda kind: ListFindings(space=kind.space, at=LATER)),
    "finding": (GET_FINDING, lambda kind: GetFinding(finding=_finding(kind), at=LATER)),
    "resolve finding": (
        RESOLVE_FINDING,
        lambda kind: ResolveFinding(finding=_finding(kind), reason="why"),
    ),
    "annotate finding": (
        ANNOTATE_FINDING,
        lambda kind: AnnotateFinding(finding=_finding(kind), reason="why"),
    ),
    "set watch rules": (
        SET_WATCH_RULES,
        lambda kind: SetWatchRules(watch=_watch(kind), if_generation=99),
    ),
    "place hold": (
        PLACE_HOLD,
        lambda kind: PlaceHold(selection=HoldSelection(package=kind.quiet, space=kind.space)),
    ),
    "release hold": (RELEASE_HOLD, lambda kind: ReleaseHold(hold=kind.package)),
    "erase": (ERASE_PERSON, lambda kind: ErasePerson(names=(kind.package,), dry_run=True)),
    "holds": (LIST_HOLDS, lambda _: ListHolds(released=True)),
    "retention": (GET_RETENTION, lambda _: GetRetention()),
    "set retention": (
        SET_RETENTION,
        lambda kind: SetRetention(
            retention=RetentionRules(
                rules=(RetentionRule(name="quiet", where=f'package == "{kind.quiet}"'),)
            ),
            if_generation=99,
            reason="as asked",
        ),
    ),
    "segments": (LIST_SEGMENTS, lambda _: ListSegments()),
    "prune": (PRUNE_RECORDS, lambda _: PruneRecords(dry_run=True)),
    "watch rules": (GET_WATCH_RULES, lambda _: GetWatchRules()),
    "report schedules": (LIST_SCHEDULES, lambda _: ListSchedules()),
    "set report schedule": (SET_SCHEDULE, lambda kind: SetSchedule(schedule=_schedule(kind))),
    "remove report schedule": (REMOVE_SCHEDULE, lambda kind: RemoveSchedule(**_named(kind))),
    "reports": (LIST_REPORTS, lambda kind: ListReports(**_named(kind))),
    "report": (GET_REPORT, lambda kind: GetReport(**_named(kind))),
    "as of": (GET_INVENTORY, lambda kind: GetInventory(at=LATER, node=kind.package)),
    "range": (GET_RANGE, lambda kind: GetRange(node=kind.package, until=LATER)),
    "ran": (FIND_RUNS, lambda kind: FindRuns(digest=kind.archive)),
    "licences": (
        REPORT_LICENCES,
        lambda kind: ReportLicences(by="package", node=kind.package, space=kind.space),
    ),
    "subscribe": (
        CREATE_SUBSCRIPTION,
        lambda kind: CreateSubscription(name="mine", subjects=(f"{EVENTS}.{kind.space}.>",)),
    ),
    "fetch": (FETCH_EVENTS, lambda kind: FetchEvents(name=kind.package, wait_seconds=0)),
    "unsubscribe": (DELETE_SUBSCRIPTION, lambda kind: DeleteSubscription(name=kind.package)),
}

ELSEWHERE: Final[dict[str, str]] = {
    "l3af.v1.api.scheduler.node.list": "tests/integration/test_scheduler_spaces.py",
    "l3af.v1.api.scheduler.node.get": "tests/integration/test_scheduler_spaces.py",
    "l3af.v1.api.scheduler.chain.why": "tests/unit/test_chain_reasons.py",
    "l3af.v1.api.scheduler.node.explain": "tests/unit/test_node_explanation.py",
    "l3af.v1.api.scheduler.policy.get": "tests/unit/test_rollout_policy.py",
    "l3af.v1.api.scheduler.leader.get": "tests/integration/test_scheduler_leaders.py",
    "l3af.v1.api.auditor.record.prove": "tests/integration/test_auditor_spaces.py",
    "l3af.v1.api.auditor.health.get": "tests/integration/test_auditor_spaces.py",
    "l3af.v1.api.auditor.checkpoint.get": "tests/integration/test_auditor_spaces.py",
    "l3af.v1.api.node.{node}.chain.get": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.chain.explain": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.chain.test": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.ebpf.list": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.map.read": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.reconcile": "tests/kernel/test_restricted_chains.py",
    "l3af.v1.api.node.{node}.companion.list": "tests/unit/test_companion_desk.py",
    "l3af.v1.api.node.{node}.companion.log": "tests/unit/test_companion_desk.py",
    "l3af.v1.api.node.{node}.companion.restart": "tests/unit/test_companion_desk.py",
    "l3af.v1.api.node.{node}.head.get": "tests/kernel/test_restricted_chains.py",
}
"""What names nothing that could be secret, or needs a kernel: where it is looked at instead."""
