# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which rollout policy is taken, and what is shown of it.

Pure.

Rules:
 * A policy is taken if every rule of it can mean something; else all that is wrong is said.
 * A rule that names spaces is for the eyes of those who see one of them.  Who sees none of them
   does not change it either: it stays, behind those that are set.
 * A rule may name only spaces that whoever sets it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.deployment import CommandFacts, GenerationConflictError
from services.scheduler.revocation import constraint_problems
from services.scheduler.rollout.consequences import way_of
from shared.canonical import canonical_digest
from shared.change_windows import window_problems
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.rollout_policy import (
    MAX_RULES,
    NO_POLICY,
    PolicyRule,
    RolloutPolicy,
    RolloutPolicyRecord,
    RolloutPolicyShown,
)
from shared.errors import Reason, RefusedError
from shared.node_labels import rule_problems

ACTION: Final = "policy.set"
RULES_IN_EVENT: Final = MAX_RULES


class PolicyError(RefusedError):
    """A rule can mean nothing, or names what its author does not see."""

    code: ClassVar[ErrorCode] = "invalid_request"


def check_policy(policy: RolloutPolicy, sight: Sight) -> None:
    """Nothing, if every rule can mean something.

    Args:
        policy: As it is offered.
        sight: What whoever offers it sees.

    Raises:
        PolicyError: With every problem and its path.
    """
    problems = [
        problem
        for index, one in enumerate(policy.rules)
        for problem in _problems(one, f"policy.rules[{index}]", sight)
    ]
    names = [one.name for one in policy.rules]
    problems += [
        Reason(path=f"policy.rules[{index}].name", rule="is the name of another rule", got=name)
        for index, name in enumerate(names)
        if name in names[:index]
    ]
    if problems:
        raise PolicyError("the rollout policy cannot be taken", problems)


def next_policy(
    before: RolloutPolicyRecord | None,
    policy: RolloutPolicy,
    facts: CommandFacts,
    sight: Sight,
    *,
    if_generation: int | None = None,
) -> RolloutPolicyRecord:
    """What is stored.

    Args:
        before: What was; None: nothing.
        policy: As it is offered.
        facts: Of the command.
        sight: What whoever gives it sees.
        if_generation: What the generation must be; None: whatever it is.

    Raises:
        PolicyError: It cannot be taken.
        GenerationConflictError: The policy is of another generation.
    """
    check_policy(policy, sight)
    generation = before.generation if before is not None else 0
    if if_generation is not None and generation != if_generation:
        rule = "somebody else set the policy meanwhile; look at it and give the new generation"
        reason = Reason(path="if_generation", rule=rule, got=if_generation, allowed=generation)
        raise GenerationConflictError(
            f"the rollout policy is of generation {generation}, not {if_generation}", [reason]
        )
    old = before.policy if before is not None else NO_POLICY
    unseen = tuple(one for one in old.rules if not _sees(one, sight))
    rules = (*policy.rules, *unseen)
    if len(rules) > MAX_RULES:
        rule = f"there is room for {MAX_RULES - len(unseen)} rules"
        raise PolicyError(
            "the rollout policy has too many rules",
            [Reason(path="policy.rules", rule=rule, got=len(policy.rules))],
        )
    return RolloutPolicyRecord(
        policy=RolloutPolicy(rules=rules),
        generation=generation + 1,
        command_id=facts.command_id,
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        at=facts.at,
        reason=facts.reason,
    )


def shown_policy(record: RolloutPolicyRecord | None, sight: Sight) -> RolloutPolicyShown:
    """The policy as far as it is seen, and who set it."""
    if record is None:
        return RolloutPolicyShown(policy=NO_POLICY)
    return RolloutPolicyShown(
        policy=seen_policy(record.policy, sight),
        generation=record.generation,
        actor_key=record.actor_key,
        actor_role=record.actor_role,
        at=record.at,
        reason=record.reason,
    )


def seen_policy(policy: RolloutPolicy, sight: Sight) -> RolloutPolicy:
    """The rules that are for these eyes."""
    return RolloutPolicy(rules=tuple(one for one in policy.rules if _sees(one, sight)))


def policy_event(
    record: RolloutPolicyRecord, before: RolloutPolicyRecord | None, facts: CommandFacts
) -> EventBody:
    """What the audit log says to everybody of a policy that was set.

    `details`: generation, rules (their names), and those that came, went or changed; of rules that
    name spaces nothing.
    """
    everybody = Sight()
    old = _by_name(before.policy if before is not None else NO_POLICY, everybody)
    new = _by_name(record.policy, everybody)
    return EventBody(
        action=ACTION,
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        before=_digest(before),
        after=_digest(record),
        details={
            "generation": record.generation,
            "rules": list(new),
            "added": [name for name in new if name not in old],
            "removed": [name for name in old if name not in new],
            "changed": [name for name in new if name in old and new[name] != old[name]],
        },
    )


def _by_name(policy: RolloutPolicy, sight: Sight) -> dict[str, PolicyRule]:
    return {one.name: one for one in seen_policy(policy, sight).rules}


def _digest(record: RolloutPolicyRecord | None) -> str:
    if record is None:
        return ""
    said: Any = msgspec.to_builtins(record.policy)
    return canonical_digest({"generation": record.generation, "policy": said})


def _sees(rule: PolicyRule, sight: Sight) -> bool:
    named = rule.deployments.spaces
    return not named or any(map(sight.sees, named))


def _problems(rule: PolicyRule, path: str, sight: Sight) -> Iterator[Reason]:
    yield from window_problems(rule.windows, path=f"{path}.windows")
    yield from window_problems(rule.freezes, path=f"{path}.freezes")
    yield from rule_problems(rule.deployments.nodes, path=f"{path}.deployments.nodes")
    for index, space in enumerate(rule.deployments.spaces):
        if not sight.sees(space):
            at = f"{path}.deployments.spaces[{index}]"
            yield Reason(path=at, rule="there is no such space")
    if (rule.failure_domain is None) != (rule.max_rollouts_per_domain is None):
        lacks = "failure_domain" if rule.failure_domain is None else "max_rollouts_per_domain"
        other = {"failure_domain", "max_rollouts_per_domain"} - {lacks}
        yield Reason(path=f"{path}.{lacks}", rule=f"goes together with {other.pop()}")
    way, constraint = way_of(rule.on_revoked or "alarm")
    if way == "replace":
        yield from constraint_problems(constraint, f"{path}.on_revoked")
    if not _demands(rule):
        yield Reason(path=path, rule="asks for nothing")


def _demands(rule: PolicyRule) -> bool:
    """Whether the rule says more than whom it concerns."""
    said = msgspec.structs.asdict(rule)
    idle = msgspec.structs.asdict(PolicyRule(name=rule.name))
    about = {"name", "deployments", "override", "reason"}
    return any(said[field] != idle[field] for field in said if field not in about)
