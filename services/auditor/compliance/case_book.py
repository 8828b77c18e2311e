# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""All findings and the waivers in force, and how a finding opens, is waived and is resolved.

Pure but for what is known, which grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.auditor.compliance.cases import About, Case
from services.auditor.compliance.facts import ComplianceFact
from services.auditor.compliance.waivers import KnownWaiver, KnownWaivers
from shared.contracts.events import Audience
from shared.contracts.findings import FindingCause
from shared.licensing.waivers import Subject


@dataclass(slots=True)
class CaseBook:
    """Every finding that opened until now."""

    waivers: KnownWaivers = field(default_factory=KnownWaivers)
    cases: dict[str, Case] = field(default_factory=dict)
    """By id."""
    _waived: dict[str, dict[str, Case]] = field(default_factory=dict)
    """By waiver."""

    def pass_to(self, now_us: int) -> None:
        """Waivers that expire up to now are over."""
        for until_us, known in self.waivers.expired(now_us):
            self.reopen_waived(until_us, known.waiver.id, (known.record,))

    def reopen_waived(
        self,
        at_us: int,
        waiver: str,
        records: tuple[int, ...],
        fact: ComplianceFact | None = None,
    ) -> None:
        """The waiver lets nothing through any more."""
        for case in self._waived.pop(waiver, {}).values():
            if waiver not in case.waivers:
                continue
            others = (one for one in case.waivers if one != waiver)
            left = {*self.waivers.standing(others, at_us), *self.covering(case, at_us)}
            if left:
                self.waive(case, at_us, left, fact, records)
            else:
                more = _said_by(fact) | {"waivers": (waiver,)}
                case.move("open", "waiver-end", at_us, records, **more)

    def covering(self, case: Case, at_us: int) -> tuple[str, ...]:
        """The waivers in force that are for the finding, wherever it runs."""
        subject = Subject(case.package, case.version, case.archive_sha256, case.about.home)
        return self.waivers.covering(case.about.rule, subject, at_us)

    def open(
        self, case: Case, at_us: int, cause: FindingCause, fact: ComplianceFact, *records: int
    ) -> None:
        """The finding is open, because of what the record says."""
        case.move("open", cause, at_us, (*records, fact.index), **_said_by(fact))

    def resolve(
        self,
        case: Case,
        at_us: int,
        cause: FindingCause,
        proof: Iterable[int],
        fact: ComplianceFact,
        **more: Any,
    ) -> None:
        """The finding is resolved, as these records prove."""
        if case.state != "resolved":
            case.move("resolved", cause, at_us, proof, **_said_by(fact), **more)

    def waive(
        self,
        case: Case,
        at_us: int,
        waivers: Iterable[str],
        fact: ComplianceFact | None,
        records: tuple[int, ...] = (),
    ) -> None:
        """The finding is open by the grace of these waivers."""
        names = tuple(sorted({one for one in waivers if one}))
        known = [found for one in names if (found := self.waivers.of(one)) is not None]
        proof = [*(one.record for one in known), *records, *((fact.index,) if fact else ())]
        until = self.waivers.latest_end(names)
        case.move(
            "waived", "waiver", at_us, proof, waivers=names, until=until, **_granted_by(known)
        )
        for one in names:
            self._waived.setdefault(one, {})[case.id] = case

    def case(self, about: About, audience: Audience, beside: dict[str, Case]) -> Case:
        """The finding that is about this; among those `beside` it from now on."""
        name = about.id
        if name not in self.cases:
            self.cases[name] = Case(name, about, audience)
        return beside.setdefault(name, self.cases[name])


def _said_by(fact: ComplianceFact | None) -> dict[str, str]:
    if fact is None:
        return {}
    return {"actor_key": fact.actor_key, "actor_role": fact.actor_role, "reason": fact.reason}


def _granted_by(known: Sequence[KnownWaiver]) -> dict[str, str]:
    """Of the waiver that was granted last."""
    if not known:
        return {}
    last = max(known, key=lambda one: (one.granted_us, one.record))
    return {"actor_key": last.actor_key, "actor_role": last.actor_role, "reason": last.reason}
