# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The year itself: what happens when, and the stream that comes of it.

Packages get versions whose licences change; from June on the policy is another one, so that
versions need waivers, which are requested, granted or not, used, revoked, or expire.  Deployments
follow the versions; nodes drift, lose their memory, are cut off for days and say what happened
when they are back; some clocks run ahead and are set right.  Two spaces have packages of their own.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from random import Random
from typing import Final, NamedTuple

from services.auditor.records import StreamMessage
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import PUBLIC, Actor, Audience, EventBody
from shared.deployment_keys import deployment_key
from shared.licensing.waivers import covers, subject_of
from tests.support.records import altered, message_of
from tests.support.year_of_history.catalog_side import (
    FALSE_WORDS,
    LICENCES,
    WAIVABLE,
    CatalogSide,
    broken_rules,
)
from tests.support.year_of_history.emitters import (
    END,
    START,
    Emitters,
    Habits,
    Outage,
    WrongClock,
)
from tests.support.year_of_history.fleet_side import (
    INTERFACES,
    Deployment,
    FleetSide,
    Truth,
    needed_rules,
)

EMBARGO: Final = "r_0123456789abcdef"
PRIVATE: Final = "p_acme"
AUDIENCES: Final = frozenset({PUBLIC, EMBARGO, PRIVATE})
AGAIN: Final = 0.5
"""How often what runs without a waiver gets another one."""


class Scale(NamedTuple):
    """How large the year is."""

    packages: int
    nodes: int
    nodes_each: int
    """Of one deployment, at most."""
    snapshot_days: int


SMALL: Final = Scale(packages=20, nodes=40, nodes_each=8, snapshot_days=14)
FULL: Final = Scale(packages=100, nodes=1000, nodes_each=60, snapshot_days=30)


class Arrived(NamedTuple):
    """One message of the stream, and when it was there."""

    at: datetime
    message: StreamMessage


@dataclass(frozen=True, slots=True)
class History:
    """The year as the auditor gets it, and what really ran."""

    stream: list[Arrived]
    truth: dict[tuple[str, str], list[Truth]]
    honest: frozenset[str]
    """Nodes whose clocks were right all year."""
    archives: list[str]
    """Digests of all that was ever published."""

    def ran_at(self, moment: str) -> dict[tuple[str, str], tuple[str, ...]]:
        """What ran on honest nodes, by node and interface."""
        then = datetime.fromisoformat(moment)
        found = {}
        for place, changes in self.truth.items():
            ran = [one.ran for one in sorted(changes) if one.since <= then]
            if place[0] in self.honest and ran and ran[-1]:
                found[place] = ran[-1]
        return found


@dataclass(slots=True)
class Year:
    """Everything that goes on, with an agenda."""

    scale: Scale
    rng: Random
    emitters: Emitters = field(init=False)
    catalog: CatalogSide = field(init=False)
    fleet: FleetSide = field(init=False)
    agenda: list[tuple[datetime, int, Callable[[], object]]] = field(default_factory=list)
    planned: int = 0
    archives: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emitters = Emitters(self.rng)
        self.catalog = CatalogSide(self.emitters)
        self.fleet = FleetSide(self.emitters)

    def run(self) -> None:
        """To the end of the year."""
        self._nodes()
        for number in range(self.scale.packages):
            self._package(f"p{number:03}", number)
        for week in range(52):
            self.plan(START + timedelta(days=7 * week, hours=9), self._reads)
        while self.agenda:
            now, _, happens = heapq.heappop(self.agenda)
            if now < END:
                happens()

    def plan(self, at: datetime, happens: Callable[..., object], *given: object) -> None:
        """It happens then, with what is given and `now`."""
        self.planned += 1
        then: Callable[[], object] = partial(happens, *given, now=at)
        heapq.heappush(self.agenda, (at, self.planned, then))

    def some_time(self, first_day: float = 0, last_day: float = 364) -> datetime:
        """Between these days of the year, to the microsecond."""
        days = self.rng.uniform(first_day, last_day)
        return START + timedelta(microseconds=round(days * 86_400_000_000))

    def node(self, number: int) -> str:
        """Its name."""
        return f"host-{number % self.scale.nodes:04}"

    def _nodes(self) -> None:
        for number in range(self.scale.nodes):
            name = self.node(number)
            habits = Habits()
            if number % 5 == 1:
                since = self.some_time(20, 330)
                until = since + timedelta(days=self.rng.uniform(0.5, 12))
                habits.outages = (Outage(since, until, is_shuffled=number % 2 == 0),)
            if number % 7 == 2:
                since = self.some_time(10, 300)
                until = since + timedelta(days=self.rng.uniform(1, 25))
                ahead = timedelta(hours=self.rng.choice([-30, 3, 50]))
                habits.clock = (WrongClock(since, until, ahead),)
            self.emitters.habits[f"node/{name}"] = habits
            labels = {"site": f"s{number % 4}", "tier": "edge" if number % 3 else "core"}
            self.plan(
                START + timedelta(minutes=number),
                self.fleet.register,
                name,
                labels,
            )
            if number % 9 == 4:
                moved = {**labels, "site": "moved"}
                self.plan(
                    self.some_time(),
                    self.fleet.relabel,
                    name,
                    moved,
                )
            for day in range(number % self.scale.snapshot_days, 365, self.scale.snapshot_days):
                at = START + timedelta(days=day, hours=3, seconds=number)
                self.plan(at, self.fleet.snapshot, name)
            for interface in INTERFACES:
                if number % 3 == 0:
                    place = (name, interface)
                    self.plan(
                        self.some_time(60),
                        self.fleet.drift,
                        place,
                    )
            if number % 8 == 3:
                self.plan(
                    self.some_time(90),
                    self.fleet.rebuild,
                    name,
                )

    def _package(self, name: str, number: int) -> None:
        space = {6: EMBARGO, 11: PRIVATE}.get(number % 13, PUBLIC)
        first = self.rng.randrange(self.scale.nodes)
        count = self.rng.randint(1, self.scale.nodes_each)
        nodes = tuple(sorted({self.node(first + step) for step in range(count)}))
        key = deployment_key(space, f"d-{name}")
        deployment = Deployment(key, space, number, nodes, INTERFACES[number % 2])
        licence = self.rng.choice(LICENCES)
        moments = sorted([self.some_time(1, 120), *(self.some_time(30, 350) for _ in range(3))])
        for release, at in enumerate(moments):
            if release and self.rng.random() < 0.4:
                licence = self.rng.choice(LICENCES)
            version = f"1.{release}.0"
            self.plan(
                at,
                self._release,
                deployment,
                name,
                version,
                licence,
            )
        for _ in range(self.rng.randrange(6)):
            self.plan(self.some_time(20), self._handed_out, space, name)
        if number % 5 == 3:
            self.plan(self.some_time(), self._release, deployment, name, "9.0.0", FALSE_WORDS)
        if number % 6 == 5:
            self.plan(self.some_time(250), self._removed, deployment)
        if number % 9 == 7:
            self.plan(self.some_time(200), self._revoked, deployment)

    def _release(
        self,
        deployment: Deployment,
        name: str,
        version: str,
        licence: tuple[str, str],
        *,
        now: datetime,
    ) -> None:
        """The version is published, with a waiver if it needs one and somebody grants it."""
        drafted = self.catalog.draft(name, version, licence, space=deployment.space, now=now)
        if not self.catalog.publish(drafted, now=now):
            rules = broken_rules(drafted)
            if not WAIVABLE.issuperset(rules):
                return
            is_granted = self.rng.random() < 0.75
            for rule in rules:
                waiver = self.catalog.request(
                    rule, drafted, days=self.rng.randint(20, 120), now=now + timedelta(hours=1)
                )
                if is_granted:
                    granted = self.catalog.grant(waiver, now=now + timedelta(hours=2))
                    for at in self.catalog.notice_moments(granted):
                        self.plan(at, self._due)
                    if self.rng.random() < 0.25:
                        self.plan(
                            now + timedelta(days=15),
                            self._waiver_revoked,
                            waiver.id,
                        )
            if is_granted:
                self.plan(
                    now + timedelta(hours=3),
                    self._release,
                    deployment,
                    name,
                    version,
                    licence,
                )
            return
        self.archives.append(drafted.signed.archive_sha256)
        if self.rng.random() < 0.2:
            at = now + timedelta(days=self.rng.uniform(1, 90))
            self.plan(at, self.catalog.promote, drafted)
        if self.rng.random() < 0.9:
            self.plan(
                now + timedelta(days=self.rng.uniform(0.1, 4)),
                self._deploy,
                deployment,
            )

    def _deploy(self, deployment: Deployment, *, now: datetime) -> None:
        _, _, name = deployment.name.rpartition("d-")
        newest = self.catalog.newest[deployment.space, name]
        if self._broken(now, newest):
            return  # nothing new is put where no waiver is in force
        self.fleet.apply(deployment, newest, now=now)
        waivers = self._covering(now, newest)
        self.fleet.standing(deployment, (), waivers, now=now + timedelta(seconds=95))

    def _removed(self, deployment: Deployment, *, now: datetime) -> None:
        if deployment.name in self.fleet.deployments:
            self.fleet.remove(deployment, now=now)

    def _handed_out(self, space: Audience, name: str, *, now: datetime) -> None:
        newest = self.catalog.newest.get((space, name))
        if newest is not None:
            reader = Actor(key=f"U{self.rng.choice('XYZ') * 55}", role="viewer", attested=True)
            destination = self.rng.choice(["", "", "oci://registry.example/filters"])
            self.catalog.hand_out(newest, reader, destination=destination, now=now)

    def _revoked(self, deployment: Deployment, *, now: datetime) -> None:
        if deployment.version is not None:
            self.catalog.revoke_version(deployment.version, now=now)

    def _waiver_revoked(self, waiver: str, *, now: datetime) -> None:
        scope = self.catalog.waivers[waiver].scope
        self.catalog.revoke_waiver(waiver, now=now)
        newest = self.catalog.newest.get((scope.space, scope.package))
        if newest is not None:
            self.catalog.promote(newest, now=now + timedelta(hours=1))
        self._due(now=now + timedelta(seconds=1))

    def _due(self, *, now: datetime) -> None:
        if self.catalog.say_due(now=now):
            self._stand(now=now)

    def _broken(self, now: datetime, version: PackageVersion | None) -> tuple[str, ...]:
        """Rules that the version breaks where nothing excuses it then."""
        if version is None:
            return ()
        standing = self.catalog.in_force(now)
        subject = subject_of(version)
        return tuple(
            rule
            for rule in needed_rules(version)
            if not any(covers(one, rule, subject) for one in standing)
        )

    def _covering(self, now: datetime, version: PackageVersion | None) -> list[str]:
        """Waivers in force for rules that the version breaks."""
        rules = needed_rules(version)
        return [
            one.id
            for one in self.catalog.in_force(now)
            if version is not None and any(covers(one, rule, subject_of(version)) for rule in rules)
        ]

    def _again(self, deployment: Deployment, rule: str, *, now: datetime) -> None:
        """What runs without a waiver gets another one."""
        version = deployment.version
        if version is None or rule not in self._broken(now, version):
            return
        waiver = self.catalog.request(rule, version, days=self.rng.randint(10, 60), now=now)
        granted = self.catalog.grant(waiver, now=now + timedelta(hours=1))
        for at in self.catalog.notice_moments(granted):
            self.plan(at, self._due)
        self.plan(now + timedelta(hours=1, seconds=30), self._stand)

    def _stand(self, *, now: datetime) -> None:
        """The scheduler looks again at everything."""
        for deployment in list(self.fleet.deployments.values()):
            rules = self._broken(now, deployment.version)
            waivers = self._covering(now, deployment.version)
            if rules and rules != deployment.broken and self.rng.random() < AGAIN:
                later = now + timedelta(days=self.rng.uniform(1, 20))
                self.plan(later, self._again, deployment, rules[0])
            self.fleet.standing(deployment, rules, waivers, now=now + timedelta(seconds=20))

    def _reads(self, *, now: datetime) -> None:
        reader = Actor(key=f"U{'R' * 55}", role="auditor", attested=True)
        details = {"limit": 50}
        body = EventBody(action="log.read", outcome="accepted", actor=reader, details=details)
        self.emitters.say("auditor", body, at=now)
        body = EventBody(action="log.checkpoint", outcome="observed", details={"tree_size": 1})
        self.emitters.say("auditor", body, at=now + timedelta(seconds=1))


@cache
def year_of_history(scale: Scale = SMALL, *, seed: int = 0) -> History:
    """The year of this seed, always the same."""
    year = Year(scale, Random(seed))
    year.run()
    stream: list[Arrived] = []
    for number, one in enumerate(year.emitters.said()):
        message = message_of(one.event, len(stream) + 1)
        stream.append(Arrived(one.arrives, message))
        if number % 97 == 50:  # a message comes twice
            stream.append(Arrived(one.arrives, message._replace(sequence=len(stream) + 1)))
        if number % 211 == 100:  # somebody says it in another's name
            forged = altered(message, emitter="catalog", time="2026-01-01T00:00:00.000000Z")
            stream.append(Arrived(one.arrives, forged._replace(sequence=len(stream) + 1)))
    honest = frozenset(
        emitter.removeprefix("node/")
        for emitter, habits in year.emitters.habits.items()
        if emitter.startswith("node/") and habits.is_plain
    )
    return History(stream, year.fleet.truth, honest, year.archives)
