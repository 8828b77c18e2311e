# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds a rollout, in words; and which rollout policies are taken and shown to whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.scheduler.acceptance import draft_application
from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.deployment import CommandFacts, GenerationConflictError
from services.scheduler.desired_state import Fleet
from services.scheduler.joint_plan import draft_together
from services.scheduler.placement import NodeView
from services.scheduler.rollout.policy import (
    Others,
    approvals_needed,
    hold,
    is_governed,
    override_problems,
    room,
    rules_of,
)
from services.scheduler.rollout.policy_effects import UnknownDeploymentError, try_policy
from services.scheduler.rollout.policy_setting import (
    PolicyError,
    check_policy,
    next_policy,
    policy_event,
    shown_policy,
)
from shared.contracts.events import Actor
from shared.contracts.rollout_policy import (
    MAX_RULES,
    NO_POLICY,
    DeploymentSelector,
    PolicyRule,
    RolloutPolicy,
)
from shared.contracts.rollouts import (
    ChangeWindow,
    RolloutApproval,
    RolloutOverride,
    RolloutSpec,
    RolloutState,
    RolloutWave,
)
from shared.contracts.selectors import LabelRule, NodeSelector
from shared.errors import RefusedError
from tests.fleets import a_command, a_fleet, a_node, a_package, a_spec, applied, rules
from tests.support.rollout_records import AUTHOR, a_rollout

NOW = datetime(2026, 12, 24, 12, tzinfo=UTC)
HOLIDAYS = ChangeWindow(cron="0 0 20 12 *", duration_seconds=18 * 86_400, time_zone="Europe/Berlin")
NIGHTS = ChangeWindow(cron="0 22 * * *", duration_seconds=4 * 3600, time_zone="Europe/Berlin")
SECRET = "p_acme"
ONE_WAVE = (RolloutWave(nodes=("n1",)),)
WAITING = RolloutState(revision=1, phase="waiting", waves=ONE_WAVE)
ON_ITS_WAY = RolloutState(revision=1, phase="rolling-out", waves=ONE_WAVE, released=1)
NODES = {"n1": NodeView("n1", labels={"zone": "a"}), "n2": NodeView("n2", labels={"zone": "b"})}


def _policy(**fields: Any) -> RolloutPolicy:
    return RolloutPolicy(rules=(PolicyRule(name="rule", **fields),))


def _approved(*keys: str) -> RolloutState:
    given = tuple(
        RolloutApproval(actor_key=key, actor_role="operator", at="", wave=0) for key in keys
    )
    return msgspec.structs.replace(WAITING, approvals=given)


def _why(state: RolloutState, policy: RolloutPolicy, others: Others | None = None) -> str:
    held = hold(a_rollout("edge", state), policy, others or Others(nodes=NODES), NOW)
    return held.why if held is not None else ""


def test_four_eyes_are_those_of_others_than_who_asked() -> None:
    """The author's own approval, and a second one of the same person, count for nothing."""
    policy = _policy(approvals=2)
    assert _why(WAITING, policy) == (
        "2 others than who asked must approve, says rule rule of the rollout policy"
    )
    assert "1 did" in _why(_approved(AUTHOR, "UOTHER", "UOTHER"), policy)
    assert _why(_approved("UOTHER", "UTHIRD"), policy) == ""
    assert _why(ON_ITS_WAY, policy) == ""


def test_the_higher_number_of_approvals_counts() -> None:
    """Neither the deployment nor a rule takes away what the other asks for."""
    spec = a_spec(rollout=RolloutSpec(approvals=2))
    assert approvals_needed(spec, _policy(approvals=1).rules) == 2
    assert approvals_needed(spec, _policy(approvals=3).rules) == 3
    own = a_rollout("edge", WAITING, rollout=RolloutSpec(approvals=1))
    held = hold(own, NO_POLICY, Others(nodes=NODES), NOW)
    assert held is not None
    assert held.why == "another than who asked must approve"


def test_windows_and_freezes_of_rule_and_deployment_hold_all() -> None:
    """Until is the first moment at which all of them let a wave begin."""
    record = a_rollout("edge", WAITING, rollout=RolloutSpec(windows=(NIGHTS,)))
    policy = _policy(freezes=(HOLIDAYS,), reason="holidays")
    held = hold(record, policy, Others(nodes=NODES), NOW)
    assert held is not None
    assert "outside the change windows" in held.why
    assert "frozen" in held.why
    assert "rule rule of the rollout policy: holidays" in held.why
    assert held.until == datetime(2027, 1, 6, 23, tzinfo=UTC)


def test_an_override_is_of_the_roles_that_the_rule_names() -> None:
    """It lifts windows and freezes, of a rule only if its role may; approvals it never lifts."""
    override = RolloutOverride(actor_key="UADMIN", actor_role="administrator", at="", reason="fix")
    state = msgspec.structs.replace(WAITING, override=override)
    others = Others(nodes=NODES)
    assert _why(state, _policy(freezes=(HOLIDAYS,))) == ""
    nobody = _policy(freezes=(HOLIDAYS,), override=())
    assert "frozen" in _why(state, nobody)
    assert "must approve" in _why(state, _policy(freezes=(HOLIDAYS,), approvals=1))
    own = a_rollout("edge", state, rollout=RolloutSpec(windows=(NIGHTS,)))
    assert hold(own, NO_POLICY, others, NOW) is None
    record = a_rollout("edge", WAITING)
    assert override_problems(record, nobody, others, role="administrator")
    assert not override_problems(record, _policy(approvals=1), others, role="operator")
    (problem,) = override_problems(record, _policy(windows=(NIGHTS,)), others, role="operator")
    assert (problem.got, problem.allowed) == ("operator", ["administrator"])


def test_limits_name_what_goes_on_and_nothing_that_is_restricted() -> None:
    """Deployments of another closed space are counted and not named."""
    policy = _policy(max_rollouts=2)
    rolling = {
        one.key: one
        for one in (a_rollout("seen", ON_ITS_WAY), a_rollout("quiet", ON_ITS_WAY, space=SECRET))
    }
    others = Others(nodes=NODES, rolling=rolling)
    why = _why(WAITING, policy, others)
    assert why.startswith("2 rollouts go on, and no more than 2 may (seen, 1 more)")
    assert "quiet" not in why
    assert _why(ON_ITS_WAY, policy, others) == ""


def test_a_failure_domain_has_room_for_so_many() -> None:
    """Rollouts that change nodes of another domain, or change none now, hold nobody."""
    policy = _policy(failure_domain="zone", max_rollouts_per_domain=1)
    elsewhere = msgspec.structs.replace(ON_ITS_WAY, waves=(RolloutWave(nodes=("n2",)),))
    paused = msgspec.structs.replace(ON_ITS_WAY, phase="paused")

    def beside(state: RolloutState) -> str:
        other = a_rollout("other", state)
        return _why(WAITING, policy, Others(nodes=NODES, rolling={other.key: other}))

    assert "zone = a" in beside(ON_ITS_WAY)
    assert beside(elsewhere) == ""
    assert beside(paused) == ""


def test_unavailable_nodes_leave_room_for_the_rest() -> None:
    """Counted among the nodes that the rule selects, whatever deployment is to blame."""
    policy = _policy(
        max_unavailable=1,
        deployments=DeploymentSelector(nodes=NodeSelector(labels={"zone": "a"})),
    )
    record = a_rollout("edge", WAITING)
    assert room(record, policy, Others(nodes=NODES)) == 1
    assert room(record, policy, Others(nodes=NODES, unavailable=("n2",))) == 1
    down = Others(nodes=NODES, unavailable=("n1",))
    assert room(record, policy, down) == 0
    assert "no more than 1 may be" in _why(WAITING, policy, down)
    assert room(record, NO_POLICY, down) is None


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        (DeploymentSelector(), True),
        (DeploymentSelector(packages=("rate-*",)), True),
        (DeploymentSelector(packages=("other",)), False),
        (DeploymentSelector(spaces=("public",)), True),
        (DeploymentSelector(spaces=(SECRET,)), False),
        (DeploymentSelector(hooks=("tc-ingress",)), False),
        (DeploymentSelector(nodes=NodeSelector(labels={"zone": "a"})), True),
        (DeploymentSelector(nodes=NodeSelector(labels={"zone": "b"})), False),
        (DeploymentSelector(nodes=NodeSelector(names=("n2",))), False),
    ],
)
def test_a_rule_concerns_what_its_selector_means(
    selector: DeploymentSelector, *, is_meant: bool
) -> None:
    """By package, space, hook, and the nodes that the deployment reaches."""
    policy = _policy(deployments=selector, approvals=1)
    found = rules_of(a_rollout("edge", WAITING), policy, Others(nodes=NODES))
    assert is_governed(found) is is_meant


def _facts() -> CommandFacts:
    actor = Actor(key="UADMIN", role="administrator", attested=True)
    return CommandFacts("command-1", actor, "2026-12-24T12:00:00.000000Z", "holidays")


def test_all_that_is_wrong_with_a_policy_is_said_with_its_path() -> None:
    """Times, selectors, spaces that are not seen, halves of limits, names, and idle rules."""
    wrong = PolicyRule(
        name="rule",
        deployments=DeploymentSelector(
            spaces=(SECRET,),
            nodes=NodeSelector(rules=(LabelRule(label="zone", operator="in"),)),
        ),
        windows=(ChangeWindow(cron="0 25 * * *", duration_seconds=60),),
        freezes=(ChangeWindow(cron="0 0 * * *", time_zone="Mars", duration_seconds=60),),
        failure_domain="zone",
    )
    with pytest.raises(PolicyError) as caught:
        check_policy(RolloutPolicy(rules=(wrong, PolicyRule(name="rule"))), EVERYBODYS)
    assert {one.path for one in caught.value.reasons} == {
        "policy.rules[0].windows[0].cron",
        "policy.rules[0].freezes[0].time_zone",
        "policy.rules[0].deployments.nodes.rules[0].values",
        "policy.rules[0].deployments.spaces[0]",
        "policy.rules[0].max_rollouts_per_domain",
        "policy.rules[1]",
        "policy.rules[1].name",
    }


def test_a_rule_about_spaces_is_for_those_who_see_one_of_them() -> None:
    """Others are not shown it, and what they set leaves it as it is; the event is silent of it."""
    member = Sight(frozenset({"public", SECRET}))
    secret = PolicyRule(name="quiet", deployments=DeploymentSelector(spaces=(SECRET,)), approvals=1)
    first = next_policy(None, RolloutPolicy(rules=(secret,)), _facts(), member)
    assert shown_policy(first, member).policy.rules == (secret,)
    assert shown_policy(first, EVERYBODYS).policy.rules == ()
    plain = PolicyRule(name="freeze", freezes=(HOLIDAYS,))
    second = next_policy(first, RolloutPolicy(rules=(plain,)), _facts(), EVERYBODYS)
    assert second.policy.rules == (plain, secret)
    assert second.generation == 2
    assert "quiet" not in str(policy_event(second, first, _facts()).details)
    assert policy_event(second, first, _facts()).details["added"] == ["freeze"]
    third = next_policy(second, NO_POLICY, _facts(), member)
    assert third.policy.rules == ()


def test_nobodys_policy_is_overwritten_unseen() -> None:
    """Another generation than the one given is refused; 0 is one that was never set."""
    policy = _policy(approvals=1)
    first = next_policy(None, policy, _facts(), EVERYBODYS, if_generation=0)
    with pytest.raises(GenerationConflictError):
        next_policy(first, policy, _facts(), EVERYBODYS, if_generation=0)
    assert next_policy(first, policy, _facts(), EVERYBODYS, if_generation=1).generation == 2


def test_there_is_room_for_so_many_rules_those_that_are_not_seen_among_them() -> None:
    """More are refused."""
    member = Sight(frozenset({"public", SECRET}))
    secret = PolicyRule(name="quiet", deployments=DeploymentSelector(spaces=(SECRET,)), approvals=1)
    first = next_policy(None, RolloutPolicy(rules=(secret,)), _facts(), member)
    many = RolloutPolicy(
        rules=tuple(PolicyRule(name=f"rule-{one}", approvals=1) for one in range(MAX_RULES))
    )
    with pytest.raises(PolicyError, match="too many"):
        next_policy(first, many, _facts(), EVERYBODYS)


def test_what_a_policy_would_say_is_said_of_what_is_seen() -> None:
    """By deployment: the rules, the approvals, what it waits for and until when."""
    fleet = applied(a_fleet(a_node("n1")), a_spec("edge", order=1))
    policy = _policy(freezes=(HOLIDAYS,), approvals=1)
    tried = try_policy(fleet, policy, EVERYBODYS, at=NOW)
    (said,) = tried.effects
    assert (said.deployment, said.rules, said.approvals) == ("edge", ("rule",), 1)
    assert "frozen" in said.why
    assert said.until == ""
    frozen = try_policy(fleet, _policy(freezes=(HOLIDAYS,)), EVERYBODYS, at=NOW).effects[0]
    assert frozen.until == "2027-01-06T23:00:00.000000Z"
    later = try_policy(fleet, _policy(freezes=(HOLIDAYS,)), EVERYBODYS, at=NOW + timedelta(40))
    assert later.effects[0].why == ""
    with pytest.raises(UnknownDeploymentError):
        try_policy(fleet, policy, Sight(frozenset()), at=NOW, deployment="edge")


def _governed(policy: RolloutPolicy) -> Fleet:
    return replace(a_fleet(a_node("n1")), policy=policy)


def test_a_rule_makes_a_rollout_of_what_would_be_everywhere_at_once() -> None:
    """It begins when the rule lets it; a rule about others, or none, changes nothing."""
    for policy, phase in (
        (_policy(approvals=1), "waiting"),
        (_policy(approvals=1, deployments=DeploymentSelector(packages=("other",))), None),
        (NO_POLICY, None),
    ):
        fleet = applied(_governed(policy), a_spec("edge", order=1))
        state = fleet.deployments["edge"].rollout
        assert (state.phase if state is not None else None) == phase


def test_a_plan_says_what_would_hold_the_deployment_and_until_when() -> None:
    """By the policy and by its own words; of one that nothing concerns, nothing."""
    facts = a_command(at="2026-12-24T12:00:00.000000Z")
    freeze = _governed(_policy(freezes=(HOLIDAYS,)))
    (said,) = draft_application(freeze, a_spec(), a_package(), facts).plan.policy
    assert (said.rules, said.until) == (("rule",), "2027-01-06T23:00:00.000000Z")
    own = a_spec(rollout=RolloutSpec(windows=(NIGHTS,)))
    (said,) = draft_application(_governed(NO_POLICY), own, a_package(), facts).plan.policy
    assert (said.rules, said.until) == ((), "2026-12-24T21:00:00.000000Z")
    plain = draft_application(_governed(NO_POLICY), a_spec(), a_package(), facts)
    assert plain.plan.policy == ()
    together = draft_together(freeze, [(a_spec("a", order=1), a_package())], facts)
    assert [one.deployment for one in together.plan.policy] == ["a"]


def test_windows_of_a_deployment_are_refused_with_their_path() -> None:
    """As those of a rule are."""
    wrong = ChangeWindow(cron="every day", duration_seconds=60)
    spec = a_spec(rollout=RolloutSpec(windows=(wrong,), freezes=(wrong,)))
    with pytest.raises(RefusedError) as caught:
        draft_application(a_fleet(a_node("n1")), spec, a_package(), a_command())
    assert rules(caught.value.reasons).keys() == {
        "rollout.windows[0].cron",
        "rollout.freezes[0].cron",
    }


def test_what_the_scheduler_asks_for_itself_waits_for_limits_alone() -> None:
    """A replacement of a revoked version is not held by windows and approvals."""
    record = a_rollout("edge", WAITING)
    own = msgspec.structs.replace(record.revisions[-1], actor_role="service-scheduler")
    record = msgspec.structs.replace(record, revisions=(own,))
    held = _policy(freezes=(HOLIDAYS,), approvals=1)
    assert hold(record, held, Others(nodes=NODES), NOW) is None
    down = Others(nodes=NODES, unavailable=("n1", "n2"))
    assert hold(record, _policy(max_unavailable=1), down, NOW) is not None
