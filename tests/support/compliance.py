# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Events about versions, waivers and deployments as the services make them, and their facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.auditor.compliance.facts import ComplianceFact, read_fact
from services.auditor.query import StoredRecord
from services.auditor.records import time_us_of
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Actor, Event
from shared.moments import render_time
from tests.support.records import an_event

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ANN = Actor(key="U" + "A" * 55, role="approver", attested=True)


def moment(hours: float) -> datetime:
    """So many hours into the story."""
    return EPOCH + timedelta(hours=hours)


def us(hours: float) -> int:
    """The same in microseconds since 1970."""
    return time_us_of(moment(hours))


def archive_of(package: str, version: str) -> str:
    """The digest of a version's archive."""
    return hashlib.sha256(f"{package} {version}".encode()).hexdigest()


class Story:
    """What the services say, one event after another."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._sequences: dict[tuple[str, str], int] = {}

    def say(
        self, hours: float, emitter: str, action: str, *, audience: str = PUBLIC, **fields: Any
    ) -> int:
        """One event; its number in the story."""
        sequence = self._sequences[emitter, audience] = (
            self._sequences.get((emitter, audience), 0) + 1
        )
        fields = {"outcome": "accepted", **fields}
        event = an_event(
            sequence,
            emitter=emitter,
            action=action,
            audience=audience,
            time=render_time(moment(hours)),
            **fields,
        )
        self.events.append(event)
        return len(self.events) - 1

    def publish(
        self,
        hours: float,
        package: str,
        version: str,
        broken: Iterable[tuple[str, str, str]] = (),
        **more: Any,
    ) -> int:
        """A publication; of each broken rule name, outcome and waiver."""
        findings = [
            {"rule": rule, "outcome": outcome, "path": "manifest.licence", "waiver": waiver}
            for rule, outcome, waiver in broken
        ]
        return self.say(
            hours,
            "catalog",
            "package.publish",
            package=package,
            version=version,
            details={
                "archive_sha256": archive_of(package, version),
                "licences": {"policy": "ours", "policy_version": "1.0.0", "findings": findings},
            },
            **more,
        )

    def revoke(self, hours: float, package: str, version: str, **more: Any) -> int:
        """A revocation."""
        details = {"archive_sha256": archive_of(package, version)}
        return self.say(
            hours, "catalog", "package.revoke", package=package, version=version, details=details,
            **more,
        )  # fmt: skip

    def grant(
        self, hours: float, waiver: str, rule: str, package: str, *, until: float, **scope: Any
    ) -> int:
        """A waiver for all versions, or as the scope says."""
        return self._waiver(hours, "grant", waiver, (rule, package, until), **scope)

    def end(self, hours: float, waiver: str, rule: str, package: str, *, until: float) -> int:
        """What the catalog says once it ended."""
        return self._waiver(hours, "end", waiver, (rule, package, until))

    def withdraw(self, hours: float, waiver: str, rule: str, package: str, *, until: float) -> int:
        """Somebody revoked it."""
        return self._waiver(hours, "revoke", waiver, (rule, package, until))

    def _waiver(
        self, hours: float, verb: str, waiver: str, what: tuple[str, str, float], **more: Any
    ) -> int:
        rule, package, until = what
        scope = {"rule": rule, "package": package, "versions": "*", **more}
        details = {"waiver": waiver, "scope": scope, "expires_at": render_time(moment(until))}
        return self.say(
            hours,
            "catalog",
            f"waiver.{verb}",
            package=package,
            details=details,
            actor=ANN,
            reason="agreed",
        )

    def apply(
        self,
        hours: float,
        deployment: str,
        package: str,
        version: str,
        *,
        revision: int = 1,
        nodes: Sequence[str] = ("h1",),
        uses: Iterable[tuple[str, str]] = (),
        **more: Any,
    ) -> str:
        """An accepted deployment, by the grace of waivers (with rules); its command."""
        command = f"{deployment}-{revision}-{len(self.events)}"
        self.say(
            hours,
            "scheduler",
            "deployment.apply",
            deployment=deployment,
            package=package,
            version=version,
            correlation=command,
            details={
                "revision": revision,
                "archive_sha256": archive_of(package, version),
                "places": [[node, "eth0"] for node in nodes],
            },
            **more,
        )
        for waiver, rule in uses:
            self.say(
                hours,
                "scheduler",
                "waiver.use",
                outcome="observed",
                deployment=deployment,
                package=package,
                version=version,
                correlation=command,
                details={"waiver": waiver, "rules": [rule], "nodes": list(nodes)},
                **more,
            )
        return command

    def complete(
        self,
        hours: float,
        deployment: str,
        command: str,
        *,
        outcome: str = "succeeded",
        **details: Any,
    ) -> int:
        """How a command ended."""
        return self.say(
            hours,
            "scheduler",
            "deployment.complete",
            deployment=deployment,
            correlation=command,
            outcome=outcome,
            details=details,
        )

    def remove(self, hours: float, deployment: str) -> str:
        """A removal that is accepted; its command."""
        command = f"{deployment}-remove-{len(self.events)}"
        self.say(
            hours, "scheduler", "deployment.remove", deployment=deployment, correlation=command
        )
        return command

    def standing(
        self,
        hours: float,
        deployment: str,
        package: str,
        version: str,
        rules: Sequence[str],
        **details: Any,
    ) -> int:
        """Which rules a deployment breaks without a waiver; none: it complies."""
        return self.say(
            hours,
            "scheduler",
            "licence.violate" if rules else "licence.comply",
            outcome="observed",
            deployment=deployment,
            package=package,
            version=version,
            details={"rules": list(rules), "nodes": ["h1"], "node_count": 1, **details},
        )

    def facts(self, order: Sequence[int] | None = None) -> list[ComplianceFact]:
        """What records of these events say, which arrived in this order."""
        numbers = range(len(self.events)) if order is None else order
        found = (fact_of(self.events[number], number) for number in numbers)
        return [one for one in found if one is not None]


def fact_of(event: Event, index: int) -> ComplianceFact | None:
    """What the record of an event says."""
    leaf = canonical_bytes(event.envelope())
    return read_fact(StoredRecord(index, leaf, canonical_bytes(event), 0, index + 1, ""))
