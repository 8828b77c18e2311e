# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds a rollout: change windows, freezes, approvals, and what else goes on in the fleet.

Pure.

Rules:
 * What the deployment says and what every rule of the policy says that concerns it holds all.
 * A rule concerns a deployment by its package, space and hook, and by the nodes that it reaches.
 * Windows and freezes hold whenever a wave is to begin, approvals the first wave.
 * A rollout that began has its place among those that go on until it is over, paused or not, so
   that two of them never wait for each other.  In a failure domain it has one while it changes
   nodes there.
 * An override lets a rollout begin in spite of windows and freezes alone: those of a rule only if
   the rule names the role, those of the deployment always.
 * What the scheduler itself asks for, a replacement of a revoked version, waits for limits alone.
 * What a rollout waits for is said to all who see its deployment: others are counted, and those
   named that are public or of the same space.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from services.scheduler.rollout.assignment import OVER
from services.scheduler.rollout.waves import share_of
from services.scheduler.selection import matches_any
from shared.change_windows import Hold, hold_by_time
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.events import PUBLIC
from shared.contracts.permissions import ControlRole
from shared.contracts.rollout_policy import DeploymentSelector, PolicyRule, RolloutPolicy
from shared.contracts.rollouts import ChangeWindow, RolloutState
from shared.contracts.selectors import NodeSelector
from shared.deployment_keys import space_of
from shared.errors import Reason
from shared.node_labels import label_mismatch

CHANGING: Final = frozenset({"rolling-out", "baking"})
"""Phases in which nodes of a wave have the new revision and the wave is not through."""
SCHEDULER: Final[ControlRole] = "service-scheduler"
NAMED: Final = 5
"""Other deployments in one sentence."""
_ROUNDS: Final = 50
"""Of looking for a moment at which everything lets a wave begin."""
_EVERY_NODE: Final = NodeSelector()


class LabelledNode(Protocol):
    """A node by what rules look at."""

    @property
    def name(self) -> str:
        """Of the node."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Effective."""

    @property
    def is_forgotten(self) -> bool:
        """Whether it was given up."""


@dataclass(frozen=True, slots=True)
class Others:
    """What else goes on in the fleet."""

    nodes: Mapping[str, LabelledNode] = field(default_factory=dict)
    """All, by name."""
    rolling: Mapping[str, DeploymentRecord] = field(default_factory=dict)
    """By key: deployments whose rollout is not over; the one that is asked about may be there."""
    unavailable: Collection[str] = ()
    """Nodes that were changed and did not confirm, failed or are silent, whatever the reason."""
    memo: dict[tuple[object, ...], Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out of these nodes and one policy: it saves work and decides nothing."""


def concerns(
    selector: DeploymentSelector, spec: DeploymentSpec, nodes: Iterable[LabelledNode]
) -> bool:
    """Whether a deployment that reaches these nodes is meant."""
    if selector.packages and not matches_any(spec.package, selector.packages):
        return False
    if selector.spaces and spec.space not in selector.spaces:
        return False
    if selector.hooks and spec.hook not in selector.hooks:
        return False
    return selector.nodes == _EVERY_NODE or any(_is_in(selector.nodes, one) for one in nodes)


def is_governed(rules: Iterable[PolicyRule]) -> bool:
    """Whether a rule may hold a rollout, so that even one that reaches all nodes at once is one."""
    return any(
        one.windows
        or one.freezes
        or one.approvals
        or one.max_rollouts is not None
        or one.max_rollouts_per_domain is not None
        or one.max_unavailable is not None
        for one in rules
    )


def approvals_needed(spec: DeploymentSpec, rules: Iterable[PolicyRule]) -> int:
    """How many others than who asked must approve."""
    return max([spec.rollout.approvals, *(one.approvals for one in rules)])


def hold(
    record: DeploymentRecord, policy: RolloutPolicy, others: Others, now: datetime
) -> Hold | None:
    """What the next wave of the newest revision waits for; None: it may begin.

    Args:
        record: With the state of its rollout; without one, as if it were to begin.
        policy: In force.
        others: What else goes on.
        now: Aware.
    """
    rules = rules_of(record, policy, others)
    found = list(_limit_holds(record, rules, others))
    if record.revisions[-1].actor_role != SCHEDULER:
        found = [*_approval_holds(record, rules), *_time_holds(record, rules, now), *found]
    if not found:
        return None
    known = [one.until for one in found if one.until is not None]
    until = max(known) if len(known) == len(found) else None
    return Hold("; ".join(one.why for one in found), until)


def rules_of(
    record: DeploymentRecord, policy: RolloutPolicy, others: Others
) -> tuple[PolicyRule, ...]:
    """The rules that concern the newest revision of a deployment, in their order."""
    return tuple(one for one in policy.rules if _is_meant(one, record, others))


def room(record: DeploymentRecord, policy: RolloutPolicy, others: Others) -> int | None:
    """How many further nodes may be changed now; None: the policy has no limit."""
    left = [_room(one, others) for one in rules_of(record, policy, others)]
    return min((one for one in left if one is not None), default=None)


def override_problems(
    record: DeploymentRecord, policy: RolloutPolicy, others: Others, *, role: str
) -> list[Reason]:
    """Why this role may not let the rollout begin in spite of windows and freezes; none: it may."""
    return [
        Reason(
            path="override",
            rule=f"rule {one.name} of the rollout policy does not let this role override it",
            got=role,
            allowed=list(one.override),
        )
        for one in rules_of(record, policy, others)
        if (one.windows or one.freezes) and role not in one.override
    ]


def has_begun(state: RolloutState) -> bool:
    """Whether a node has the new revision for it, and it is not over."""
    if state.phase in OVER:
        return False
    return state.phase in CHANGING or state.wave > 0 or state.released > 0


def _approval_holds(record: DeploymentRecord, rules: Sequence[PolicyRule]) -> Iterator[Hold]:
    revision, state = record.revisions[-1], record.rollout
    if state is not None and has_begun(state):
        return
    needed = approvals_needed(revision.spec, rules)
    approvals = state.approvals if state is not None else ()
    others = {one.actor_key for one in approvals if one.actor_key != revision.actor_key}
    if len(others) < needed:
        who = "another than who asked" if needed == 1 else f"{needed} others than who asked"
        has = f"; {len(others)} did" if others else ""
        asked = [one.name for one in rules if one.approvals > revision.spec.rollout.approvals]
        yield Hold(f"{who} must approve{has}{_said_by(asked)}")


def _time_holds(
    record: DeploymentRecord, rules: Sequence[PolicyRule], now: datetime
) -> Iterator[Hold]:
    """What holds now, all of it until the first moment at which nothing of it does."""
    own = record.revisions[-1].spec.rollout
    override = record.rollout.override if record.rollout is not None else None
    sets: list[tuple[str, Sequence[ChangeWindow], Sequence[ChangeWindow], str]] = []
    if override is None:
        sets.append(("", own.windows, own.freezes, ""))
    sets += [
        (one.name, one.windows, one.freezes, one.reason)
        for one in rules
        if override is None or override.actor_role not in one.override
    ]
    held = [
        (name, reason, hold)
        for name, windows, freezes, reason in sets
        if (hold := hold_by_time(windows, freezes, now)) is not None
    ]
    if not held:
        return
    until: datetime | None = now
    for _ in range(_ROUNDS):
        if until is None:
            break
        moment = until
        later = [
            one
            for _, windows, freezes, _ in sets
            if (one := hold_by_time(windows, freezes, moment)) is not None
        ]
        if not later:
            break
        ends = [one.until for one in later if one.until is not None]
        until = max(ends) if len(ends) == len(later) else None
    else:
        until = None
    for name, reason, one in held:
        said = f"{one.why}{_said_by([name] if name else [])}"
        yield Hold(f"{said}: {reason}" if reason else said, until)


def _limit_holds(
    record: DeploymentRecord, rules: Sequence[PolicyRule], others: Others
) -> Iterator[Hold]:
    ahead = {
        key: one
        for key, one in others.rolling.items()
        if key != record.key and one.rollout is not None and has_begun(one.rollout)
    }
    is_on_its_way = record.rollout is not None and has_begun(record.rollout)
    for rule in rules:
        same = {key: one for key, one in ahead.items() if _is_meant(rule, one, others)}
        limit = rule.max_rollouts
        if limit is not None and not is_on_its_way and len(same) >= limit:
            what = "1 rollout goes on" if len(same) == 1 else f"{len(same)} rollouts go on"
            which = f"no more than {limit} may ({_named(same, record)})"
            yield Hold(f"{what}, and {which}{_said_by([rule.name])}")
        yield from _domain_holds(record, rule, same, others)
        if _room(rule, others) == 0:
            yield Hold(
                f"{_unavailable(rule, others)} nodes are changed and not confirmed, failed or "
                f"silent, and no more than {rule.max_unavailable} may be{_said_by([rule.name])}"
            )


def _domain_holds(
    record: DeploymentRecord,
    rule: PolicyRule,
    same: Mapping[str, DeploymentRecord],
    others: Others,
) -> Iterator[Hold]:
    label, limit, state = rule.failure_domain, rule.max_rollouts_per_domain, record.rollout
    if label is None or limit is None or (state is not None and state.phase in CHANGING):
        return
    wanted = _domains(record, label, others)
    busy: dict[str, dict[str, DeploymentRecord]] = {}
    for key, one in same.items():
        if one.rollout is not None and one.rollout.phase in CHANGING:
            for domain in _domains(one, label, others) & wanted:
                busy.setdefault(domain, {})[key] = one
    for domain, there in sorted(busy.items()):
        if len(there) >= limit:
            where = f"{label} = {domain}" if domain else f"nodes without a label {label}"
            which = f"no more than {limit} at once may ({_named(there, record)})"
            what = f"nodes of {where} are changed by other rollouts"
            yield Hold(f"{what}, and {which}{_said_by([rule.name])}")


def _domains(record: DeploymentRecord, label: str, others: Others) -> frozenset[str]:
    """Failure domains of the nodes of the wave that goes on, or is the next to begin."""
    revision, state = record.revisions[-1], record.rollout
    key = (label, record.key, revision.revision, state.wave if state is not None else None)
    known: frozenset[str] | None = others.memo.get(key)
    if known is None:
        if state is not None and state.wave < len(state.waves):
            names: Iterable[str] = state.waves[state.wave].names
        else:
            names = (one.node for one in revision.accepted_for)
        found = (others.nodes[one].labels.get(label, "") for one in names if one in others.nodes)
        known = others.memo[key] = frozenset(found)
    return known


def _is_meant(rule: PolicyRule, record: DeploymentRecord, others: Others) -> bool:
    """Whether the rule concerns the newest revision of the deployment."""
    revision, selector = record.revisions[-1], rule.deployments
    key = (id(selector), record.key, revision.revision)
    known: bool | None = others.memo.get(key)
    if known is None:
        reached = dict.fromkeys(one.node for one in revision.accepted_for)
        nodes = (others.nodes[name] for name in reached if name in others.nodes)
        known = others.memo[key] = concerns(selector, revision.spec, nodes)
    return known


def _room(rule: PolicyRule, others: Others) -> int | None:
    if rule.max_unavailable is None:
        return None
    allowed = share_of(rule.max_unavailable, len(_scope(rule, others)))
    return max(0, allowed - _unavailable(rule, others))


def _unavailable(rule: PolicyRule, others: Others) -> int:
    return len(_scope(rule, others).intersection(others.unavailable))


def _scope(rule: PolicyRule, others: Others) -> frozenset[str]:
    """The nodes that the rule selects."""
    selector = rule.deployments.nodes
    known: frozenset[str] | None = others.memo.get((id(selector),))
    if known is None:
        known = frozenset(one.name for one in others.nodes.values() if _is_in(selector, one))
        others.memo[(id(selector),)] = known
    return known


def _is_in(selector: NodeSelector, node: LabelledNode) -> bool:
    if node.is_forgotten:
        return False
    if selector.names != _EVERY_NODE.names and not matches_any(node.name, selector.names):
        return False
    return label_mismatch(selector, node.labels) is None


def _named(there: Mapping[str, DeploymentRecord], record: DeploymentRecord) -> str:
    seen = sorted(key for key in there if space_of(key) in (PUBLIC, record.space))
    named = seen[:NAMED]
    rest = len(there) - len(named)
    return ", ".join((*named, *([f"{rest} more"] if rest and named else []))) or "restricted ones"


def _said_by(rules: Sequence[str]) -> str:
    if not rules:
        return ""
    which = "rule" if len(rules) == 1 else "rules"
    return f", says {which} {', '.join(rules)} of the rollout policy"
