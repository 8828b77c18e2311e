# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Has nodes verify versions, records what they report and releases what may be released.

Rules:
 * Nothing about an order is kept here alone.  What waits is in the packages' records and what was
   found out is in the nodes' reports, so a catalog that was killed goes on by reading both.
 * Nodes are asked again in each round until they have reported; asking twice does nothing.
 * A report and what follows from it are one command of the catalog's outbox.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from services.catalog.adapters.packages import Packages
from services.catalog.adapters.waivers import Waivers
from services.catalog.package_places import Held, Meant, VersionPlace
from services.catalog.release_gate import (
    Asked,
    Standing,
    Verifier,
    choose_verifiers,
    is_for,
    judge,
    ordered_anew,
    settled,
)
from services.catalog.releasing import ReleasePolicy, entered, retired
from services.catalog.ticket import issue_ticket
from services.catalog.trusting import with_receipt
from services.catalog.verification_reports import (
    check_verifiers,
    matrix,
    order_event,
    replaced,
    settlement_events,
    version_of,
)
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import Audience
from shared.contracts.node import NODES
from shared.contracts.package_records import PackageRecord
from shared.contracts.scheduler import NODE_LABELS
from shared.contracts.storage import kv_subject
from shared.contracts.verification import (
    GET_MATRIX,
    SETTLE_VERIFICATION,
    VERIFICATIONS,
    VERIFY_ON_NODE,
    VERIFY_PACKAGE,
    GetMatrix,
    SettleVerification,
    VerificationMatrix,
    VerificationOrdered,
    VerificationReport,
    VerificationSettled,
    VerifyOnNode,
    VerifyPackage,
    verification_key,
)
from shared.dsse import manifest_digest
from shared.errors import FaultError, RefusedError
from shared.licensing.waivers import lapsed, subject_of, waived_rules
from shared.outbox_records import Decision

ROUND_SECONDS: Final = 2.0
REFUSED_SECONDS: Final = 60.0
FORGOTTEN_AFTER: Final = timedelta(days=7)
"""Before the start: what was ordered earlier, and holds nothing back, is not looked at again."""
ASKING_SECONDS: Final = 3.0
"""How long a node may take to say that it is at it."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Found:
    """All that a judgement is made of, and what it says."""

    standing: Standing
    verifiers: Mapping[str, Verifier]
    reports: Mapping[str, VerificationReport]
    asked: Mapping[str, Asked]


class Verification:
    """The gate of all versions."""

    def __init__(
        self,
        bus: Bus,
        packages: Packages,
        outbox: Outbox,
        *,
        ticket_key: bytes,
        clock_seed: bytes,
        trial_seconds: int,
        release_policy: ReleasePolicy,
        waivers: Waivers,
        now: Callable[[], datetime],
    ) -> None:
        """Nobody is asked yet.

        Args:
            bus: The catalog's.
            packages: The catalog's.
            outbox: The catalog's.
            ticket_key: From `derive_ticket_key`.
            clock_seed: From `derive_clock_seed`.
            trial_seconds: What a node may take for one candidate.
            release_policy: The installation's.
            waivers: The installation's.
            now: The catalog's clock.
        """
        self._bus: Final = bus
        self._packages: Final = packages
        self._reports: Final = bus.bucket(VERIFICATIONS)
        self._clock_seed: Final = clock_seed
        self._ticket_key: Final = ticket_key
        self._trial_seconds: Final = trial_seconds
        self._release_policy: Final = release_policy
        self._waivers: Final = waivers
        self._now: Final = now
        self._order: Final = outbox.command(
            VERIFY_PACKAGE, self._decide_order, concerned=self._told_of_order
        )
        self._settle: Final = outbox.command(
            SETTLE_VERIFICATION, self._decide_settlement, concerned=self._told_of_settlement
        )
        self._open: set[VersionPlace] = set()
        self._asked: dict[str, dict[str, Asked]] = {}
        """By order, then by node."""
        self._wake: Final = asyncio.Event()

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {VERIFY_PACKAGE: self.verify_package, GET_MATRIX: self.get_matrix}

    def opened(self, place: VersionPlace) -> None:
        """The version is looked at from now on, as long as it can change."""
        self._open.add(place)
        self._wake.set()

    async def verify_package(self, request: VerifyPackage, caller: Caller) -> VerificationOrdered:
        """Every verifier is asked about the version, whatever was said before."""
        ordered = await self._order(request, caller)
        assert isinstance(ordered, VerificationOrdered)
        self.opened(VersionPlace(ordered.space, ordered.name, ordered.version))
        return ordered

    async def get_matrix(self, request: GetMatrix, caller: Caller) -> VerificationMatrix:
        """What the kernels said of one version."""
        seen = self._packages.seen_by(caller, request.space)
        version = await self._meant(self._packages.find(request.name, seen), request.version)
        found = await self._judge(version)
        return matrix(
            version,
            found.standing,
            verifiers=found.verifiers,
            reports=found.reports,
            asked=found.asked,
        )

    async def run(self) -> None:
        """What waits is looked at, again and again; never ends by itself."""
        await self._begin()
        while True:
            self._wake.clear()
            for place in sorted(self._open):
                said = _named(place)
                try:
                    await self._look(place)
                except FaultError as fault:
                    _log.warning("verification_delayed", **said, why=fault.message)
                except RefusedError as error:
                    # It would be refused again, and each refusal of a command is an event.
                    _log.error("verification_given_up", **said, why=error.message)
                    self._open.discard(place)
            try:
                async with asyncio.timeout(ROUND_SECONDS if self._open else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _begin(self) -> None:
        """What was ordered before is known, and reports are heard."""
        while True:
            try:
                await self._bus.subscribe(kv_subject(VERIFICATIONS.name, ">"), self._on_report)
                await self._load()
            except RefusedError as error:
                # Credentials of an earlier release have no right to this.
                _log.warning("verification_not_permitted", why=error.message)
                await asyncio.sleep(REFUSED_SECONDS)
            except FaultError as fault:
                _log.warning("verification_not_begun", why=fault.message)
                await asyncio.sleep(ROUND_SECONDS)
            else:
                return

    async def _on_report(self, _subject: str, _data: bytes) -> None:
        self._wake.set()

    async def _load(self) -> None:
        """Every version that waits, or was ordered to be verified lately, is looked at once."""
        self._open.update(self._packages.at_gates(since=self._now() - FORGOTTEN_AFTER))

    async def _look(self, place: VersionPlace) -> None:
        """Nodes are asked, and what they reported is recorded."""
        held = self._packages.find(place.name, frozenset({place.space}))
        version = await self._meant(held, place.version)
        if version.gate is None:
            self._open.discard(place)
            return
        found = await self._judge(version)
        if found.standing.to_ask:
            await self._ask(version, found)
            found = await self._judge(version)
        if found.standing.has_news:
            command = SettleVerification(
                name=place.name,
                version=place.version,
                space=place.space,
                command_id=secrets.token_hex(16),
            )
            own = Caller(self._bus.key, self._bus.role, "", attested=False, address="")
            done = await self._settle(command, own)
            assert isinstance(done, VerificationSettled)
            _log.info("verification_settled", **_named(place), awaits=done.awaits)
            self._wake.set()
        elif not found.standing.is_open:
            self._open.discard(place)
            self._asked.pop(version.gate.order, None)

    async def _ask(self, version: PackageVersion, found: _Found) -> None:
        """Each node whose report is wanted is at it, or it is known why not."""
        gate = version.gate
        assert gate is not None
        digest = version.signed.archive_sha256
        request = VerifyOnNode(
            order=gate.order,
            signed=with_receipt(version, clock=self._clock_seed),
            ticket=issue_ticket(digest, key=self._ticket_key, now=self._now()),
            seconds=self._trial_seconds,
        )
        asked = self._asked.setdefault(gate.order, {})
        async with plain_task_group() as tasks:
            for node in found.standing.to_ask:
                tasks.create_task(self._ask_one(node, request, asked))

    async def _ask_one(self, node: str, request: VerifyOnNode, asked: dict[str, Asked]) -> None:
        now, before = self._now(), asked.get(node)
        try:
            taken = await self._bus.request(
                VERIFY_ON_NODE.at(node=node), request, timeout_seconds=ASKING_SECONDS
            )
        except (RefusedError, FaultError) as error:
            asked[node] = Asked("silent", now, error.message)
            return
        if taken.state == "waiting":
            asked[node] = Asked("waiting", now, taken.problem)
            return
        since = before.since if before is not None and before.state == "running" else now
        asked[node] = Asked("running", since, taken.problem)

    async def _decide_order(
        self, request: VerifyPackage, caller: Caller, command_id: str, now: datetime
    ) -> Decision[VerificationOrdered]:
        meant = await self._found(request, caller)
        version = await self._meant(meant.held, request.version, record=meant.record)
        part = meant.held.part(version.space)
        labelled = await self._verifiers()
        verifiers = {node: one for node, one in labelled.items() if is_for(version, one)}
        check_verifiers(verifiers)
        anew = ordered_anew(version, order=command_id, now=now)
        return Decision(
            reply=VerificationOrdered(
                command_id=command_id,
                name=request.name,
                version=version.version,
                space=version.space,
                verifiers=tuple(verifiers),
                awaits=anew.gate.awaits if anew.gate else (),
            ),
            change=await self._packages.change(
                part, replaced(part.record, anew, command_id=command_id), anew
            ),
            events=(order_event(version, verifiers),),
            audience=self._packages.audience_now(version.space),
        )

    async def _decide_settlement(
        self, request: SettleVerification, _caller: Caller, command_id: str, now: datetime
    ) -> Decision[VerificationSettled]:
        space = request.space
        held = await self._packages.read(request.name, frozenset({space}), first=space)
        version = await self._meant(held, request.version)
        standing = (await self._judge(version)).standing
        after = entered(settled(version, standing), standing.releases, now=now)
        reply = VerificationSettled(
            command_id=command_id,
            channels=after.channels,
            awaits=after.gate.awaits if after.gate else (),
        )
        if not standing.has_news:
            return Decision(reply=reply)
        part = held.part(space)
        record = replaced(part.record, after, command_id=command_id)
        record = retired(record, standing.releases, self._release_policy)
        return Decision(
            reply=reply,
            change=await self._packages.change(part, record, after),
            events=tuple(settlement_events(version, standing)),
            audience=self._packages.audience_now(space),
        )

    async def _told_of_order(self, request: VerifyPackage, caller: Caller) -> Audience:
        return (await self._found(request, caller)).audience

    async def _found(self, request: VerifyPackage, caller: Caller) -> Meant:
        name, version = request.name, request.version
        return await self._packages.meant(name, version, caller, request.space)

    async def _told_of_settlement(self, request: SettleVerification, _caller: Caller) -> Audience:
        return self._packages.audience_now(request.space)

    async def _judge(self, version: PackageVersion) -> _Found:
        verifiers = await self._verifiers()
        digest = manifest_digest(version.signed)
        known = {one.node for one in version.gate.verdicts} if version.gate else set()
        reports = {}
        for node in sorted({*verifiers, *known}):
            entry = await self._reports.get(verification_key(node, digest))
            # The key says whose it is: the server lets nobody else write there.
            if entry is not None and entry.value.node == node:
                reports[node] = entry.value
        asked = self._asked.get(version.gate.order, {}) if version.gate else {}
        standing = judge(
            version,
            manifest_sha256=digest,
            verifiers=verifiers,
            reports=reports.values(),
            asked=asked,
            now=self._now(),
            trial_seconds=self._trial_seconds,
            lapsed=await self._lapsed(version),
        )
        return _Found(standing, verifiers, reports, asked)

    async def _lapsed(self, version: PackageVersion) -> tuple[str, ...]:
        if version.gate is None or not version.gate.awaits or not waived_rules(version.licences):
            return ()
        waivers = await self._waivers.in_force()
        return lapsed(version.licences, subject_of(version), waivers)

    async def _verifiers(self) -> dict[str, Verifier]:
        records = await self._bus.bucket(NODES).entries()
        labels = await self._bus.bucket(NODE_LABELS).entries()
        return choose_verifiers(
            (entry.value for entry in records), {entry.key: entry.value for entry in labels}
        )

    async def _meant(
        self, held: Held, version: str, *, record: PackageRecord | None = None
    ) -> PackageVersion:
        entry = version_of(record or held.record, name=held.record.name, version=version)
        return await self._packages.whole(held, entry)


def _named(place: VersionPlace) -> dict[str, str]:
    """As the process's own log has it."""
    return {"package": place.name, "version": place.version, "space": place.space}
