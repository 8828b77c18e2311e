# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Findings: what holds of their lives in every history, told in whatever order."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.auditor.compliance.cases import LAWFUL
from services.auditor.compliance.facts import ComplianceFact, in_said_order
from services.auditor.compliance.life_cycles import findings_at
from services.auditor.records import parse_time_us
from shared.contracts.findings import Finding, FindingState
from shared.versions import precedence
from tests.support.compliance import Story, us

RULES = ("policy-groups", "source-present")
PACKAGES = ("filter", "shaper")
VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
DEPLOYMENTS = ("edge", "core")
END = 200.0
LAST_OF_CATALOG = 5
STATES: tuple[FindingState, ...] = ("open", "waived", "resolved")

STEPS = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from(PACKAGES),
        st.sampled_from(VERSIONS),
        st.sampled_from(RULES),
        st.sampled_from(DEPLOYMENTS),
        st.floats(0.25, 9.0),
    ),
    max_size=30,
)


class Teller:
    """Anything that services might say, one step after another."""

    def __init__(self) -> None:
        self.story = Story()
        self.commands = [("edge", "none")]
        self.waivers = ["w-0"]

    def catalog(self, at: float, kind: int, package: str, version: str, rule: str) -> None:
        """A publication, a waiver's grant or end, a revocation."""
        story = self.story
        match kind:
            case 0:
                story.publish(at, package, version, [(rule, "refused", self.waivers[-1])])
            case 1:
                story.publish(at, package, version, [(rule, "review", "")])
            case 2:
                story.publish(at, package, version)
            case 3:
                self.waivers.append(f"w-{len(self.waivers)}")
                story.grant(at, self.waivers[-1], rule, package, until=at + 20)
            case 4:
                waiver = self.waivers[len(self.commands) % len(self.waivers)]
                story.withdraw(at, waiver, rule, package, until=END)
            case _:
                story.revoke(at, package, version)

    def scheduler(self, at: float, kind: int, of: tuple[str, str, str, str]) -> None:
        """A deployment, how a command ended, a removal, what is broken; or a person's word."""
        story, count = self.story, len(self.commands)
        package, version, rule, deployment = of
        match kind:
            case 6 | 7:
                uses = [(self.waivers[-1], rule)] if kind == 7 else []
                name = story.apply(at, deployment, package, version, revision=count, uses=uses)
                self.commands.append((deployment, name))
            case 8:
                outcome = "succeeded" if count % 3 else "failed"
                story.complete(at, *self.commands[-1], outcome=outcome)
            case 9:
                self.commands.append((deployment, story.remove(at, deployment)))
            case 10:
                broken, waivers = [rule] if count % 2 else [], self.waivers[-1:]
                story.standing(at, deployment, package, version, broken, waivers=waivers)
            case _:
                cases = findings_at(story.facts(), at_us=us(END))[0]
                found = {"finding": cases[0].id if cases else "f-0"}
                story.say(at, "auditor", "finding.resolve", details=found, reason="done")


def told(steps: list[Any], *, jump: Random | None = None) -> Story:
    """What the steps come to; with clocks that jump if asked for."""
    teller, hours = Teller(), 1.0
    for kind, package, version, rule, deployment, pause in steps:
        hours += pause
        at = hours if jump is None else max(0.0, hours + jump.uniform(-20, 20))
        if kind <= LAST_OF_CATALOG:
            teller.catalog(at, kind, package, version, rule)
        else:
            teller.scheduler(at, kind, (package, version, rule, deployment))
    return teller.story


def shown(story: Story, hours: float, order: list[int] | None = None) -> list[Finding]:
    """Every finding at an hour."""
    cases, _ = findings_at(story.facts(order), at_us=us(hours))
    return [one.shown(at_us=us(hours)) for one in cases]


@settings(max_examples=60)
@given(STEPS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_arrival_changes_nothing(
    steps: list[Any], random: Random, jumps: bool
) -> None:
    """Whatever clocks did."""
    story = told(steps, jump=random if jumps else None)
    order = list(range(len(story.events)))
    random.shuffle(order)
    assert shown(story, END, order) == shown(story, END)


@settings(max_examples=60)
@given(STEPS, st.randoms(use_true_random=False), st.booleans())
def test_states_follow_one_another_lawfully_and_fill_the_time(
    steps: list[Any], random: Random, jumps: bool
) -> None:
    """It opens first; times never go back; each moment since is in exactly one state."""
    story = told(steps, jump=random if jumps else None)
    cases, _ = findings_at(story.facts(), at_us=us(END))
    for case in cases:
        states = [None, *(one.state for one in case.history)]
        assert all(pair in LAWFUL for pair in pairwise(states))
        assert case.times_us == sorted(case.times_us)
        assert all(one.records for one in case.history)
        total = sum(case.seconds_in(one, until_us=us(END)) for one in STATES)
        assert round(total * 1_000_000) == us(END) - case.times_us[0]


@settings(max_examples=60)
@given(STEPS, st.floats(0, 100))
def test_as_of_a_moment_is_the_history_until_then(steps: list[Any], hours: float) -> None:
    """Clocks that never went back leave the past as it was."""
    story = told(steps)
    whole = {one.id: one for one in shown(story, END)}
    then = {one.id: one for one in shown(story, hours)}
    for name, finding in whole.items():
        until = [one for one in finding.history if us_of(one.at) <= us(hours)]
        assert bool(until) == (name in then)
        if until:
            past = [(one.state, one.cause, one.at) for one in then[name].history]
            assert past == [(one.state, one.cause, one.at) for one in until]


def us_of(text: str) -> int:
    """Microseconds since 1970."""
    return parse_time_us(text)


@settings(max_examples=60)
@given(STEPS, st.floats(0, 150))
def test_findings_of_versions_are_what_the_rules_say_of_the_moment(
    steps: list[Any], hours: float
) -> None:
    """Without people and violations a state follows from the moment alone, reckoned another way."""
    story = told([one for one in steps if one[0] in {1, 2, 3, 4, 5, 6, 8, 9}])
    found = {
        (one.package, one.version, one.rule): one.state
        for one in shown(story, hours)
        if one.kind == "version-rule"
    }
    assert found == expected(story, hours)


class Plainly:
    """What plain events say up to a moment, without any state of findings."""

    def __init__(self, story: Story, until: int) -> None:
        self.until = until
        self.broken: dict[tuple[str, str], set[str]] = {}
        self.revoked: set[tuple[str, str]] = set()
        self.granted: dict[str, tuple[str, str, int]] = {}
        self.ended: set[str] = set()
        self.in_use: dict[str, set[tuple[str, str]]] = {}
        self.newest: dict[str, str] = {}
        self.commands: dict[str, tuple[str, str]] = {}
        for at, fact in in_said_order(story.facts()):
            if at <= until:
                self._take_catalog(fact)
                self._take_scheduler(fact)

    def _take_catalog(self, fact: ComplianceFact) -> None:
        version, details = (fact.package, fact.version), fact.details
        match fact.action:
            case "package.publish":
                judged = details.licences.findings if details.licences else ()
                self.broken.setdefault(version, set()).update(one.rule for one in judged)
            case "package.revoke":
                self.revoked.add(version)
            case "waiver.grant" if details.scope:
                end = us_of(details.expires_at)
                self.granted[details.waiver] = fact.package, details.scope.rule, end
            case "waiver.revoke":
                self.ended.add(details.waiver)

    def _take_scheduler(self, fact: ComplianceFact) -> None:
        version = fact.package, fact.version
        match fact.action:
            case "deployment.apply":
                self.in_use.setdefault(fact.deployment, set()).add(version)
                self.newest[fact.deployment] = fact.correlation
                self.commands[fact.correlation] = version
            case "deployment.remove":
                self.newest[fact.deployment] = fact.correlation
            case "deployment.complete" if fact.outcome == "succeeded":
                newest = self.newest.get(fact.deployment, "")
                if fact.correlation in self.commands:
                    self.in_use[fact.deployment] = {self.commands[fact.correlation]}
                elif fact.correlation == newest:
                    self.in_use[fact.deployment] = set()

    def state(self, version: tuple[str, str], rule: str) -> str:
        """Of a rule that the version broke."""
        package, number = version
        newer = any(
            other[0] == package
            and precedence(other[1]) > precedence(number)
            and rule not in rules
            and other not in self.revoked
            for other, rules in self.broken.items()
        )
        used = any(version in some for some in self.in_use.values())
        if version in self.revoked or (newer and not used):
            return "resolved"
        waived = any(
            (of, which) == (package, rule) and end > self.until and name not in self.ended
            for name, (of, which, end) in self.granted.items()
        )
        return "waived" if waived else "open"


def expected(story: Story, hours: float) -> dict[tuple[str, str, str], str]:
    """The states of version findings, each moment by itself."""
    said = Plainly(story, us(hours))
    return {
        (*version, rule): said.state(version, rule)
        for version, rules in said.broken.items()
        for rule in rules
    }
