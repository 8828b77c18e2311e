# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's part of the year: versions, their licences, waivers and how they end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from services.catalog.handing_out import handing_event
from services.catalog.publication import (
    ManifestError,
    decide_publication,
    draft_version,
    judged,
    publication_event,
    use_events,
)
from services.catalog.reviewing import event_of
from services.catalog.waiver_notices import sayings, told
from services.catalog.waiving import (
    Asker,
    granted_waiver,
    requested_waiver,
    revoked_waiver,
    waiver_event,
)
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import Actor, Audience, EventBody
from shared.contracts.package_records import PackageRecord
from shared.contracts.reviews import REVOKE
from shared.contracts.waivers import (
    WARNING_DAYS,
    GrantWaiver,
    RequestWaiver,
    RevokeWaiver,
    Waiver,
    WaiverScope,
)
from shared.errors import Refusal
from shared.licensing.policies import LicencePolicy
from shared.licensing.waivers import Notice, due_notices, expiry_of, in_force
from shared.moments import render_time
from tests.package_builders import a_manifest, sign, some_facts
from tests.support.licensed_packages import COMPLETE, policy
from tests.support.year_of_history.emitters import Emitters

JUNE: Final = 6
ALICE: Final = Actor(key=f"U{'A' * 55}", role="publisher", attested=True)
BOB: Final = Actor(key=f"U{'B' * 55}", role="approver", attested=True)
WAIVABLE: Final = frozenset({"licence-drift", "policy-groups", "source-present"})
CHANNELS: Final = ("stable",)
LICENCES: Final = (
    ("GPL-2.0-only", "GPL"),
    ("GPL-2.0-only OR BSD-2-Clause", "Dual BSD/GPL"),
    ("GPL-2.0-or-later", "GPL"),
    ("MIT OR GPL-2.0-only", "Dual MIT/GPL"),
    ("Apache-2.0", "Apache-2.0"),
    ("BSD-2-Clause", "BSD-2-Clause"),
)
"""What is declared, and what the object tells the kernel."""
FALSE_WORDS: Final = ("Apache-2.0", "GPL")
"""No policy lets this pass, and nobody can waive it."""


def policy_at(moment: datetime) -> LicencePolicy:
    """The installation's pack: from June on another one."""
    return policy("gpl-ok" if moment.month < JUNE else "permissive-only")


@dataclass(slots=True)
class CatalogSide:
    """Every package and every waiver, and what is said of them."""

    emitters: Emitters
    records: dict[tuple[Audience, str], PackageRecord] = field(default_factory=dict)
    newest: dict[tuple[Audience, str], PackageVersion] = field(default_factory=dict)
    waivers: dict[str, Waiver] = field(default_factory=dict)
    commands: int = 0

    def in_force(self, now: datetime) -> tuple[Waiver, ...]:
        """Those that let something through."""
        return in_force(self.waivers.values(), now=now)

    def draft(
        self,
        name: str,
        version: str,
        licence: tuple[str, str],
        *,
        space: Audience,
        now: datetime,
    ) -> PackageVersion:
        """The version as it would be published now, judged."""
        declared, string = licence
        files = {**COMPLETE, "one.bpf.o": f"object of {name} {version} {space}".encode()}
        manifest = a_manifest(files, name=name, version=version, licence=declared)
        drafted = draft_version(
            sign(manifest, archive=f"{name} {version} {space}".encode()),
            manifest=manifest,
            elf=[some_facts(licence=string)],
            channels=CHANNELS,
            publisher_key=ALICE.key,
            command_id=self.command(),
            now=now,
            space=space,
        )
        return judged(
            drafted,
            policy_at(now),
            source_licences={},
            kernels=(),
            released=self.newest.get((space, name)),
            waivers=self.in_force(now),
        )

    def publish(self, version: PackageVersion, *, now: datetime) -> bool:
        """Say what becomes of it; whether it is published."""
        name, space = version.manifest.name, version.space
        try:
            record = decide_publication(self.records.get((space, name)), name=name, version=version)
        except ManifestError as error:
            refusal = Refusal(code=error.code, message=error.message, reasons=tuple(error.reasons))
            self._say(
                publication_event(version.signed, version=version, refusal=refusal), now, version
            )
            return False
        self.records[space, name] = record
        self.newest[space, name] = version
        self._say(publication_event(version.signed, version=version), now, version)
        for body in use_events(version):
            self._say(body, now, version)
        return True

    def revoke_version(self, version: PackageVersion, *, now: datetime) -> None:
        """It is forbidden, for ever."""
        body = msgspec.structs.replace(
            event_of(REVOKE, version, version), reason="it drops what it should not"
        )
        self._say(body, now, version)

    def promote(self, version: PackageVersion, *, now: datetime) -> None:
        """Somebody says again that it is released."""
        self._say(event_of("package.promote", version, version, channel=CHANNELS[0]), now, version)

    def hand_out(
        self, version: PackageVersion, actor: Actor, *, destination: str, now: datetime
    ) -> None:
        """Somebody is given the archive."""
        body = handing_event(version, size_bytes=400, destination=destination, actor=actor)
        self.emitters.say("catalog", body, at=now, audience=version.space)

    def request(self, rule: str, version: PackageVersion, *, days: int, now: datetime) -> Waiver:
        """Somebody asks for a waiver of a rule for exactly this version."""
        asked = RequestWaiver(
            command_id=self.command(),
            reason="relicensing is under way",
            scope=msgspec.convert(
                {
                    "rule": rule,
                    "package": version.manifest.name,
                    "versions": f"={version.version}",
                    "space": version.space,
                },
                WaiverScope,
            ),
            expires_at=render_time(now + timedelta(days=days)),
        )
        waiver = requested_waiver(
            asked, Asker(ALICE, "alice"), command_id=asked.command_id, now=now
        )
        return self._kept("waiver.request", None, waiver, ALICE, now)

    def grant(self, waiver: Waiver, *, now: datetime) -> Waiver:
        """Somebody else lets it be."""
        asked = GrantWaiver(command_id=self.command(), reason="until the summer", waiver=waiver.id)
        granted = granted_waiver(
            waiver, asked, Asker(BOB, "bob"), command_id=asked.command_id, now=now
        )
        return self._kept("waiver.grant", waiver, granted, BOB, now)

    def revoke_waiver(self, waiver: str, *, now: datetime) -> None:
        """It is over before its time."""
        asked = RevokeWaiver(command_id=self.command(), reason="no longer needed", waiver=waiver)
        before = self.waivers[waiver]
        after = revoked_waiver(
            before, asked, Asker(BOB, "bob"), command_id=asked.command_id, now=now
        )
        self._kept("waiver.revoke", before, after, BOB, now)

    def notice_moments(self, waiver: Waiver) -> Iterator[datetime]:
        """When there is something to say of its end."""
        for days in WARNING_DAYS:
            yield expiry_of(waiver) - timedelta(days=days)
        yield expiry_of(waiver)

    def say_due(self, *, now: datetime) -> list[Notice]:
        """Everything that is due is said; what was."""
        due = list(due_notices(self.waivers.values(), now=now))
        for notice in due:
            waiver = self.waivers[notice.waiver]
            found = [
                record
                for (_, name), record in sorted(self.records.items())
                if name == waiver.scope.package
            ]
            for one in sayings(notice, waiver, records=found, in_force=self.in_force(now), now=now):
                self.emitters.say("catalog", one.body, at=now, audience=one.space)
            self.waivers[notice.waiver] = told(waiver, notice)
        return due

    def command(self) -> str:
        """An id that nobody had."""
        self.commands += 1
        return f"command-{self.commands:06}"

    def _kept(
        self, action: str, before: Waiver | None, waiver: Waiver, actor: Actor, now: datetime
    ) -> Waiver:
        self.waivers[waiver.id] = waiver
        body = with_cause(waiver_event(action, waiver, before), actor, waiver.command_id)
        self.emitters.say("catalog", body, at=now, audience=waiver.scope.space)
        return waiver

    def _say(self, body: EventBody, now: datetime, version: PackageVersion) -> None:
        caused = with_cause(body, ALICE, version.command_id)
        self.emitters.say("catalog", caused, at=now, audience=version.space)


def with_cause(body: EventBody, actor: Actor, command_id: str) -> EventBody:
    """As the outbox completes it."""
    return msgspec.structs.replace(body, actor=actor, correlation=command_id)


def broken_rules(version: PackageVersion) -> Sequence[str]:
    """What refuses the version."""
    assert version.licences is not None
    return tuple(
        dict.fromkeys(
            one.rule
            for one in version.licences.findings
            if one.outcome == "refused" and not one.waiver
        )
    )
