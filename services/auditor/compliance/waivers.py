# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The waivers that the log speaks of, and which of them are in force at a moment.

Pure but for what is known, which grows.

Rules:
 * A waiver is in force from when it was granted until it expires, by what its grant says, or until
   a record says that it ended or was revoked: whichever is first.  Whoever was to say so may have
   been late.
 * One whose grant is not seen is in force until a record says that it ended.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from services.auditor.compliance.facts import ComplianceFact
from services.auditor.records import UnbelievableError, parse_time_us
from shared.contracts.waivers import Waiver
from shared.licensing.waivers import Subject, covers

NEVER: Final = 2**63
"""No moment that is told."""


@dataclass(slots=True)
class KnownWaiver:
    """One that was granted."""

    waiver: Waiver
    record: int
    actor_key: str
    actor_role: str
    reason: str
    granted_us: int
    until_us: int


@dataclass(slots=True)
class KnownWaivers:
    """Every waiver that was granted until now."""

    _known: dict[str, KnownWaiver] = field(default_factory=dict)
    _of_package: dict[str, list[str]] = field(default_factory=dict)
    _over: set[str] = field(default_factory=set)
    """Also of those whose grant nobody saw."""
    _expiries: list[tuple[int, str]] = field(default_factory=list)

    def grant(self, fact: ComplianceFact, at_us: int) -> KnownWaiver | None:
        """A waiver is in force from now on; None: the record does not say which."""
        details = fact.details
        if details.scope is None or not details.waiver:
            return None
        waiver = Waiver(
            id=details.waiver,
            scope=details.scope,
            reason="",
            expires_at=details.expires_at,
            requested_by="",
            requested_name="",
            requested_role="",
            requested_at="",
        )
        try:
            until_us = parse_time_us(details.expires_at)
        except UnbelievableError:
            until_us = NEVER
        known = KnownWaiver(
            waiver,
            fact.index,
            fact.actor_key,
            fact.actor_role,
            fact.reason,
            at_us,
            until_us,
        )
        self._known[waiver.id] = known
        self._of_package.setdefault(waiver.scope.package, []).append(waiver.id)
        heapq.heappush(self._expiries, (until_us, waiver.id))
        return known

    def end(self, waiver: str) -> bool:
        """It is in force no more; whether it was, or nobody knows."""
        was_over = waiver in self._over
        self._over.add(waiver)
        return not was_over

    def expired(self, at_us: int) -> Iterator[tuple[int, KnownWaiver]]:
        """Those that expire up to now, and when, once each; they are over then."""
        while self._expiries and self._expiries[0][0] <= at_us:
            until_us, name = heapq.heappop(self._expiries)
            if name not in self._over:
                self._over.add(name)
                yield until_us, self._known[name]

    @property
    def next_expiry_us(self) -> int:
        """When the next one expires; NEVER: none does."""
        return self._expiries[0][0] if self._expiries else NEVER

    def of(self, waiver: str) -> KnownWaiver | None:
        """What is known of it."""
        return self._known.get(waiver)

    def standing(self, waivers: Iterable[str], at_us: int) -> tuple[str, ...]:
        """Those of the waivers that are in force, or of which nobody knows better."""
        return tuple(sorted(one for one in set(waivers) if self._stands(one, at_us)))

    def covering(self, rule: str, subject: Subject, at_us: int) -> tuple[str, ...]:
        """Those in force that are for this rule of this version, wherever it runs."""
        candidates = self._of_package.get(subject.package, ())
        return tuple(
            sorted(
                one
                for one in candidates
                if self._stands(one, at_us) and covers(self._known[one].waiver, rule, subject)
            )
        )

    def _stands(self, waiver: str, at_us: int) -> bool:
        known = self._known.get(waiver)
        return waiver not in self._over and (known is None or at_us < known.until_us)

    def is_for(self, waiver: str, rule: str) -> bool:
        """Whether the waiver is known to be for that rule."""
        known = self._known.get(waiver)
        return known is not None and known.waiver.scope.rule == rule

    def latest_end(self, waivers: Iterable[str]) -> str:
        """When the last of them expires, RFC 3339; empty: nobody knows of one."""
        known = [self._known.get(one) for one in waivers]
        if not known or any(one is None for one in known):
            return ""
        return max((one.until_us, one.waiver.expires_at) for one in known if one is not None)[1]
