# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler's and the nodes' part of the year: what was deployed, and what kernels then had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from shared.canonical import canonical_digest, sha256_hex
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import PUBLIC, Actor, Audience, EventBody, Outcome
from shared.contracts.inventory import SNAPSHOT, HookReading, RunningProgram
from shared.contracts.licences import ProgramLicence
from shared.licensing.waivers import waived_rules
from tests.support.year_of_history.emitters import Emitters

OLGA: Final = Actor(key=f"U{'O' * 55}", role="operator", attested=True)
INTERFACES: Final = ("eth0", "eth1")
HOOK: Final = "xdp"
GPL_STRINGS: Final = frozenset({"GPL", "Dual BSD/GPL", "Dual MIT/GPL"})

Place = tuple[str, str]
"""Node and interface."""


class Truth(NamedTuple):
    """From a moment on this ran at a place; `package@version`, first to run first."""

    since: datetime
    ran: tuple[str, ...]


@dataclass(slots=True)
class Deployment:
    """One of them, as it is now."""

    name: str
    space: Audience
    order: int
    nodes: tuple[str, ...]
    interface: str
    version: PackageVersion | None = None
    revision: int = 0
    broken: tuple[str, ...] = ()
    """Rules that were said to be broken."""


@dataclass(slots=True)
class FleetSide:
    """Every deployment and every hook point, and what is said of them."""

    emitters: Emitters
    deployments: dict[str, Deployment] = field(default_factory=dict)
    chains: dict[Place, list[str]] = field(default_factory=dict)
    """Names of deployments, first to run first."""
    truth: dict[Place, list[Truth]] = field(default_factory=dict)
    generations: dict[Place, int] = field(default_factory=dict)
    commands: int = 0

    def register(self, node: str, labels: dict[str, str], *, now: datetime) -> None:
        """The node is there for the first time."""
        body = EventBody(
            action="node.register",
            outcome="succeeded",
            node=node,
            details={"kernel": "6.18.0", "labels": labels, "interfaces": list(INTERFACES)},
        )
        self.emitters.say(f"node/{node}", body, at=now)

    def relabel(self, node: str, labels: dict[str, str], *, now: datetime) -> None:
        """An operator gives the node other labels."""
        body = EventBody(
            action="node.label",
            outcome="accepted",
            correlation=self._command(),
            actor=OLGA,
            node=node,
            details={"labels": labels},
        )
        self.emitters.say("scheduler", body, at=now)

    def apply(self, deployment: Deployment, version: PackageVersion, *, now: datetime) -> None:
        """From now on, and half a minute later on each node, it is this version."""
        command = self._command()
        self.deployments[deployment.name] = deployment
        deployment.version = version
        deployment.revision += 1
        self._accepted("deployment.apply", deployment, command, now)
        for waiver, rules in waivers_of(version).items():
            details = {"waiver": waiver, "rules": rules, "nodes": list(deployment.nodes)}
            count = len(deployment.nodes)
            self._scheduler(
                "waiver.use", "observed", deployment, command, now, node_count=count, **details
            )
        for number, node in enumerate(deployment.nodes):
            place = (node, deployment.interface)
            chain = self.chains.setdefault(place, [])
            if deployment.name not in chain:
                chain.append(deployment.name)
                chain.sort(key=lambda name: self.deployments[name].order)
            self._change("chain.attach", place, deployment, command, at=_reached(now, number))
        end = now + timedelta(seconds=90)
        self._scheduler("deployment.complete", "succeeded", deployment, command, end)

    def remove(self, deployment: Deployment, *, now: datetime) -> None:
        """It runs nowhere any more."""
        command = self._command()
        self._accepted("deployment.remove", deployment, command, now)
        for number, node in enumerate(deployment.nodes):
            place = (node, deployment.interface)
            if deployment.name in self.chains.get(place, []):
                self.chains[place].remove(deployment.name)
                action = "chain.attach" if self.chains[place] else "chain.detach"
                self._change(action, place, deployment, command, at=_reached(now, number))
        end = now + timedelta(seconds=90)
        self._scheduler("deployment.complete", "succeeded", deployment, command, end)
        del self.deployments[deployment.name]

    def snapshot(self, node: str, *, now: datetime) -> None:
        """The node says all that its kernel has; of each audience what is its own."""
        for audience in sorted({PUBLIC} | {self.audience(place) for place in self.places(node)}):
            readings = [
                self.reading(place)
                for place in self.places(node)
                if self.audience(place) == audience
            ]
            body = EventBody(
                action=SNAPSHOT,
                outcome="observed",
                node=node,
                details={"hook_points": [msgspec.to_builtins(one) for one in readings]},
            )
            self.emitters.say(f"node/{node}", body, at=now, audience=audience)

    def drift(self, place: Place, *, now: datetime) -> None:
        """Somebody took the chain off; it is found so, and put back within the minute."""
        if not self.chains.get(place):
            return
        kept, self.chains[place] = self.chains[place], []
        audience = self._audience_of(kept)
        self._node("chain.drift", "observed", place, now, audience, kind="chain-removed")
        self.chains[place] = kept
        later = now + timedelta(seconds=40)
        self._node("chain.attach", "succeeded", place, later, audience)

    def rebuild(self, node: str, *, now: datetime) -> None:
        """The node lost its memory, and finds what runs a minute later, in part."""
        body = EventBody(action="state.rebuild", outcome="observed", node=node)
        for audience in sorted({PUBLIC} | {self.audience(place) for place in self.places(node)}):
            self.emitters.say(f"node/{node}", body, at=now, audience=audience)
        for place in self.places(node):
            self._note(place, now, ())
        later = now + timedelta(seconds=60)
        for place in self.places(node):
            if self.chains[place]:
                self._node("chain.adopt", "observed", place, later, self.audience(place))

    def standing(
        self,
        deployment: Deployment,
        rules: tuple[str, ...],
        waivers: Sequence[str] = (),
        *,
        now: datetime,
    ) -> None:
        """The scheduler says that other rules are broken than it said before, or none."""
        if rules == deployment.broken:
            return
        self._scheduler(
            "licence.violate" if rules else "licence.comply",
            "observed",
            deployment,
            "",
            now,
            rules=list(rules),
            before=list(deployment.broken),
            nodes=list(deployment.nodes),
            node_count=len(deployment.nodes),
            waivers=sorted(waivers),
        )
        deployment.broken = rules

    def places(self, node: str) -> list[Place]:
        """Hook points of the node on which something ever ran."""
        return [place for place in sorted(self.chains) if place[0] == node]

    def audience(self, place: Place) -> Audience:
        """Who is told of the hook point."""
        return self._audience_of(self.chains[place])

    def reading(self, place: Place) -> HookReading:
        """What the kernel has there."""
        programs = tuple(self._program(name) for name in self.chains[place])
        known = canonical_digest([[one.archive_sha256, one.deployment] for one in programs])
        return HookReading(
            interface=place[1],
            hook=HOOK,
            generation=self.generations.get(place, 0),
            program_id=1000 + self.generations.get(place, 0) if programs else 0,
            program_tag=known[:16] if programs else "",
            gpl_compatible=all(
                bool(one.licence and one.licence.gpl_compatible) for one in programs
            ),
            plan_sha256=known if programs else "",
            running=programs,
        )

    def _program(self, name: str) -> RunningProgram:
        deployment = self.deployments[name]
        version = deployment.version
        assert version is not None
        return RunningProgram(
            deployment=name,
            revision=deployment.revision,
            package=version.manifest.name,
            version=version.version,
            program="one",
            archive_sha256=version.signed.archive_sha256,
            object_sha256=object_digest(version),
            licence=licence_of(version),
        )

    def _change(
        self,
        action: str,
        place: Place,
        deployment: Deployment,
        command: str,
        *,
        at: datetime,
    ) -> None:
        told = deployment.space if deployment.space != PUBLIC else self.audience(place)
        self._node(action, "succeeded", place, at, told, command=command, said=deployment)

    def _node(
        self,
        action: str,
        outcome: Outcome,
        place: Place,
        at: datetime,
        audience: Audience,
        *,
        command: str = "",
        said: Deployment | None = None,
        **details: object,
    ) -> None:
        self.generations[place] = self.generations.get(place, 0) + 1
        reading = self.reading(place)
        read = msgspec.to_builtins(reading)
        for name in ("interface", "netns", "hook"):
            read.pop(name, None)
        version = said.version if said else None
        body = EventBody(
            action=action,
            outcome=outcome,
            correlation=command,
            actor=msgspec.structs.replace(OLGA, through="scheduler") if command else None,
            node=place[0],
            interface=place[1],
            hook=HOOK,
            deployment=said.name if said else "",
            package=version.manifest.name if version else "",
            version=version.version if version else "",
            after=reading.plan_sha256,
            details={**read, **details},
        )
        self.emitters.say(f"node/{place[0]}", body, at=at, audience=audience)
        self._note(
            place, at, tuple(f"{one.package}@{one.version}" for one in reading.running or ())
        )

    def _note(self, place: Place, at: datetime, ran: tuple[str, ...]) -> None:
        self.truth.setdefault(place, []).append(Truth(at, ran))

    def _scheduler(
        self,
        action: str,
        outcome: Outcome,
        deployment: Deployment,
        command: str,
        at: datetime,
        **details: object,
    ) -> None:
        version = deployment.version
        body = EventBody(
            action=action,
            outcome=outcome,
            correlation=command,
            actor=OLGA if command else None,
            hook=HOOK,
            deployment=deployment.name,
            package=version.manifest.name if version else "",
            version=version.version if version else "",
            details={"revision": deployment.revision, **details},
        )
        self.emitters.say("scheduler", body, at=at, audience=deployment.space)

    def _accepted(self, action: str, deployment: Deployment, command: str, now: datetime) -> None:
        """As the scheduler says a command that it takes, with every place that it is for."""
        assert deployment.version is not None
        self._scheduler(
            action,
            "accepted",
            deployment,
            command,
            now,
            archive_sha256=deployment.version.signed.archive_sha256,
            place_count=len(deployment.nodes),
            places=[[node, deployment.interface] for node in deployment.nodes],
        )

    def _audience_of(self, chain: list[str]) -> Audience:
        spaces = {self.deployments[name].space for name in chain} - {PUBLIC}
        return min(spaces, default=PUBLIC)

    def _command(self) -> str:
        self.commands += 1
        return f"order-{self.commands:06}"


def _reached(now: datetime, number: int) -> datetime:
    """When the node of that number in a deployment has done what was asked for at `now`."""
    return now + timedelta(seconds=30, milliseconds=number)


def object_digest(version: PackageVersion) -> str:
    """Of the object that nodes load."""
    return sha256_hex(f"object of {version.signed.archive_sha256}".encode())


def waivers_of(version: PackageVersion) -> dict[str, list[str]]:
    """Waiver to the rules that it excuses the version from."""
    found: dict[str, list[str]] = {}
    for one in version.licences.findings if version.licences else ():
        if one.waiver:
            found.setdefault(one.waiver, []).append(one.rule)
    return {waiver: sorted(set(rules)) for waiver, rules in found.items()}


def licence_of(version: PackageVersion) -> ProgramLicence:
    """As the scheduler states it and the node reads it."""
    verdict = version.licences
    assert verdict is not None
    told = [one for one in verdict.findings if one.outcome != "passed"]
    string = version.elf[0].licence
    return ProgramLicence(
        declared=version.manifest.licence,
        elected=verdict.elections[0].elected if verdict.elections else "",
        policy=f"{verdict.policy} {verdict.policy_version}",
        findings=tuple(sorted({f"{one.rule}: {one.outcome}" for one in told})),
        waivers=tuple(sorted(waivers_of(version))),
        elf=string,
        gpl_compatible=string in GPL_STRINGS,
    )


def needed_rules(version: PackageVersion | None) -> tuple[str, ...]:
    """Rules from which the version was excused."""
    return waived_rules(version.licences) if version else ()
