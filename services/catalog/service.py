# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's shell: gather, ask the decisions, perform, reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

import msgspec
import structlog

from services.catalog.adapters.own_archives import OwnArchives
from services.catalog.adapters.packages import Packages
from services.catalog.chunks import check_reader, chunk_number
from services.catalog.overlays import check_overlay
from services.catalog.package_content import PackageContent, read_content
from services.catalog.package_places import Held, VersionPlace
from services.catalog.publication import (
    check_has_name,
    check_manifest_size,
    decide_publication,
    draft_version,
    judged,
    kept_version,
    publication_event,
    publication_reply,
    use_events,
)
from services.catalog.release_gate import Demands, gated
from services.catalog.releasing import (
    ReleasePolicy,
    held_back,
    marked_unchanged,
    retired,
    version_before,
)
from services.catalog.resolution import (
    chosen_version,
    newest_first,
    newest_release,
    page_of,
    resolve,
    warnings_of,
)
from services.catalog.reviewing import Speaker, submission_events
from services.catalog.spacing import check_lifts_nothing, closed_space
from services.catalog.ticket import issue_ticket
from services.catalog.trusting import (
    check_caller,
    check_publication,
    handed_out,
    publication_warnings,
)
from services.catalog.verification_reports import awaited, replaced, with_gate
from shared.adapters.callers import Caller
from shared.adapters.kv import Entry
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.adapters.spaces import KnownSpaces
from shared.archive_files import ArchiveBytes
from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.base import Endpoint, Message
from shared.contracts.catalog import (
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARTIFACT,
    RESOLVE_PACKAGE,
    ArtifactChunk,
    GetPackage,
    ListPackages,
    PackageList,
    PackagePublished,
    PackageResolved,
    PackageShown,
    PackageVersion,
    PublishPackage,
    ReadArtifact,
    ResolvePackage,
    SignedPackage,
)
from shared.contracts.desired import DesiredNode
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.node import NodeRecord
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.contracts.package_records import VersionEntry
from shared.contracts.waivers import Waiver
from shared.errors import Reason, RefusedError
from shared.kernel_abilities import KernelAbilities, kernel_abilities
from shared.licensing.policies import LicencePolicy
from shared.outbox_records import Decision
from shared.package_origins import check_origins
from shared.trust.packages import Trust

_log = structlog.get_logger()


class UnknownArtifactError(RefusedError):
    """The archive, or this chunk of it, was never written."""

    code: ClassVar[ErrorCode] = "not_found"


class Artifacts(Protocol):
    """Whole archives by digest."""

    async def read(self, digest: str) -> ArchiveBytes | None:
        """The whole, its digest checked."""

    async def read_chunk(self, digest: str, number: int) -> ArtifactChunk | None:
        """One chunk."""


class DesiredNodes(Protocol):
    """The bucket of desired records."""

    async def get(self, key: str) -> Entry[DesiredNode] | None:
        """One node's."""


class WaiversInForce(Protocol):
    """What lets something through that the licence policy stops."""

    async def in_force(self) -> tuple[Waiver, ...]:
        """Now."""


class NodeRecords(Protocol):
    """The bucket of the nodes' inventories."""

    async def entries(self, prefix: str = "") -> list[Entry[NodeRecord]]:
        """All nodes."""


class Verification(Protocol):
    """Has versions verified."""

    def opened(self, place: VersionPlace) -> None:
        """The version is looked at from now on."""


class TrustNow(Protocol):
    """Whom to believe."""

    @property
    def clock_seed(self) -> bytes:
        """Of the catalog's receipts."""

    async def trust(self) -> Trust:
        """By the documents that are in force now."""


class CatalogService:
    """One method for each endpoint; the rules are in the decision modules."""

    def __init__(
        self,
        *,
        packages: Packages,
        desired: DesiredNodes,
        nodes: NodeRecords,
        artifacts: Artifacts,
        own_archives: OwnArchives,
        spaces: KnownSpaces,
        outbox: Outbox,
        trust: TrustNow,
        ticket_key: bytes,
        licence_policy: LicencePolicy,
        waivers: WaiversInForce,
        demands: Demands,
        release_policy: ReleasePolicy,
        verification: Verification,
        now: Callable[[], datetime],
    ) -> None:
        self._packages: Final = packages
        self._desired: Final = desired
        self._nodes: Final = nodes
        self._artifacts: Final = artifacts
        self._own_archives: Final = own_archives
        self._spaces: Final = spaces
        self._publish: Final = outbox.command(
            PUBLISH_PACKAGE, self.publish_package, concerned=self._told_of
        )
        self._trust: Final = trust
        self._ticket_key: Final = ticket_key
        self._licence_policy: Final = licence_policy
        self._waivers: Final = waivers
        self._demands: Final = demands
        self._release_policy: Final = release_policy
        self._verification: Final = verification
        self._now: Final = now

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            PUBLISH_PACKAGE: self.publish_own_package,
            LIST_PACKAGES: self.list_packages,
            GET_PACKAGE: self.get_package,
            RESOLVE_PACKAGE: self.resolve_package,
            READ_ARTIFACT: self.read_artifact,
        }

    async def publish_own_package(self, request: PublishPackage, caller: Caller) -> Message:
        """As `publish_package` decides, for somebody whose name the server vouches for."""
        check_has_name(caller.name)
        published = await self._publish(request, caller)
        if isinstance(published, PackagePublished) and published.awaits:
            place = VersionPlace(published.space, published.name, published.version)
            self._verification.opened(place)
        return published

    async def publish_package(
        self, request: PublishPackage, caller: Caller, command_id: str, now: datetime
    ) -> Decision[PackagePublished]:
        """The version exists if signature, archive, manifest and licence all agree."""
        version: PackageVersion | None = None
        space = request.space
        await self._spaces.sees(caller.name, space)
        audience = self._spaces.concerned(space, caller.name)
        try:
            self._check_space(request, caller, now)
            version, content, archive_bytes = await self._verified(request, caller, command_id, now)
            name = version.manifest.name
            held = await self._packages.read(name, self._packages.beside(space), first=space)
            part = held.part(space)
            check_overlay(version.version, space, held.part(PUBLIC).record)
            version = judged(
                version,
                self._licence_policy,
                source_licences=content.source_licences,
                kernels=await self._kernels(version),
                released=await self._whole(held, newest_release(held.record)),
                waivers=await self._waivers.in_force(),
            )
            record = decide_publication(
                part.record,
                name=name,
                version=version,
                tests=content.tests,
                unread=content.reasons,
                archive_bytes=archive_bytes,
            )
            before = await self._whole(held, version_before(version, held.record))
            version = marked_unchanged(kept_version(version), before)
            submitter = Speaker(caller.actor(), caller.name, request.reason, now).statement
            version = held_back(version, self._release_policy, submitter=submitter)
            version = gated(version, self._demands, now=now)
            record = replaced(record, version, command_id=command_id)
            record = retired(record, version.channels, self._release_policy)
            change = await self._packages.change(part, record, version)
        except RefusedError as error:
            refusal = error.refusal()
            _log.info("package_refused", command_id=command_id, code=refusal.code)
            event = publication_event(request.signed, version=version, refusal=refusal)
            return Decision(refusal=refusal, events=(event,), audience=audience)
        _log.info("package_accepted", command_id=command_id, package=name, version=version.version)
        return Decision(
            reply=msgspec.structs.replace(
                publication_reply(name, version),
                awaits=awaited(version),
                warnings=publication_warnings(version),
            ),
            change=change,
            events=(
                with_gate(publication_event(request.signed, version=version), version),
                *submission_events(version),
                *use_events(version),
            ),
            audience=audience,
        )

    async def list_packages(self, request: ListPackages, caller: Caller) -> PackageList:
        """One line a package, a page of them."""
        summaries = self._packages.summaries(self._packages.seen_by(caller))
        return page_of(summaries, glob=request.name, after=request.after)

    async def get_package(self, request: GetPackage, caller: Caller) -> PackageShown:
        """One version, in full."""
        held = self._packages.find(request.name, self._packages.seen_by(caller, request.space))
        entry = chosen_version(held.record, name=request.name, version=request.version)
        package = await self._packages.whole(held, entry)
        return PackageShown(package=package, versions=newest_first(held.record))

    async def resolve_package(self, request: ResolvePackage, _caller: Caller) -> PackageResolved:
        """The newest version that meets the constraint, and a ticket for its archive.

        The scheduler asks for somebody of whom it knows that they see the space.
        """
        space = request.space
        held = self._packages.find(request.name, self._packages.beside(space), first=space)
        entry = resolve(
            held.record,
            name=request.name,
            constraint=request.constraint,
            channel=request.channel,
            without=request.without,
        )
        package = await self._packages.whole(held, entry)
        ticket = issue_ticket(entry.archive_sha256, key=self._ticket_key, now=self._now())
        handed, remarks = handed_out(
            package, await self._trust.trust(), clock=self._trust.clock_seed, now=self._now()
        )
        warnings = (*warnings_of(package, channel=request.channel), *remarks)
        return PackageResolved(package=handed, ticket=ticket, warnings=warnings)

    async def read_artifact(self, request: ReadArtifact, caller: Caller) -> ArtifactChunk:
        """One chunk, for a node that shall run the archive or was told that it soon will."""
        node = caller.tokens["node"]
        desired = await self._desired.get(node)
        check_reader(
            request,
            node=node,
            desired=desired.value if desired else None,
            ticket_key=self._ticket_key,
            now=self._now(),
        )
        number = chunk_number(request.offset_bytes, size_bytes=MAX_ARTIFACT_BYTES)
        chunk = await self._artifacts.read_chunk(request.sha256, number)
        if chunk is None:
            raise _unknown_artifact(request.sha256, "no such archive, or no chunk at this offset")
        return chunk

    async def _verified(
        self, request: PublishPackage, caller: Caller, command_id: str, now: datetime
    ) -> tuple[PackageVersion, PackageContent, int]:
        """The version, what its archive holds and how large that is, once signatures fit."""
        signed: SignedPackage = request.signed
        check_manifest_size(signed)
        trust = await self._trust.trust()
        checked = check_publication(request, trust, now=now)
        check_origins(signed)
        # The outbox decides a recorded command again without a name; it was compared before that.
        if caller.name:
            check_caller(checked, caller.name)
        digest = signed.archive_sha256
        # Nobody is told by a digest alone that there is an archive of it.
        is_theirs = await self._own_archives.has(caller.key, digest)
        is_known = is_theirs or self._packages.shows_archive(digest, caller)
        archive = await self._artifacts.read(digest) if is_known else None
        if archive is None:
            raise _unknown_artifact(signed.archive_sha256, "write the archive before publishing it")
        # In a thread, because a large archive takes long enough to make other callers wait.
        content = await asyncio.to_thread(read_content, archive, checked.manifest)
        version = draft_version(
            signed,
            manifest=checked.manifest,
            elf=content.elf,
            channels=request.channels,
            publisher_key=caller.key,
            command_id=command_id,
            now=now,
            analysis=content.analysis,
            space=request.space,
            trust=checked.note,
            provenance=request.provenance,
        )
        return version, content, len(archive)

    async def _told_of(self, request: PublishPackage, caller: Caller) -> Audience:
        return self._spaces.concerned(request.space, caller.name)

    def _check_space(self, request: PublishPackage, caller: Caller, now: datetime) -> None:
        """The caller may publish where it wants to.

        Raises:
            UnknownSpaceError: It sees no such space.
            SpaceStateError: The space is lifted, or this publication would lift it.
        """
        if request.space != PUBLIC:
            spaces = self._spaces.current
            space = closed_space(spaces, request.space, caller.name, now=now)
            check_lifts_nothing(space, request.channels)

    async def _kernels(self, version: PackageVersion) -> list[KernelAbilities]:
        """Those of the nodes that were asked, if it matters for this version."""
        if all(is_gpl_compatible(facts.licence) for facts in version.elf):
            return []
        try:
            nodes = await self._nodes.entries()
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("node_tables_not_read", why=error.message)
            return []
        found = (entry.value.capabilities for entry in nodes)
        return list(dict.fromkeys(kernel_abilities(one) for one in found if one is not None))

    async def _whole(self, held: Held, entry: VersionEntry | None) -> PackageVersion | None:
        return None if entry is None else await self._packages.whole(held, entry)


def _unknown_artifact(digest: str, rule: str) -> UnknownArtifactError:
    reason = Reason(path="sha256", rule=rule, got=digest)
    return UnknownArtifactError(f"archive {digest} is not stored", [reason])
