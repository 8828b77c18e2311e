# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m services.catalog`: configuration, adapters, service."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime

from services.catalog.adapters.archive_reading import ArchiveReading
from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.bills import Bills
from services.catalog.adapters.intake import Intake
from services.catalog.adapters.notices import Notices
from services.catalog.adapters.overlays import Overlays
from services.catalog.adapters.own_archives import OwnArchives
from services.catalog.adapters.own_key import read_clock_seed, read_ticket_key
from services.catalog.adapters.owners import Owners
from services.catalog.adapters.package_index import PackageIndex
from services.catalog.adapters.packages import Packages
from services.catalog.adapters.policy_replays import PolicyReplays
from services.catalog.adapters.ratings import Ratings
from services.catalog.adapters.reviews import Reviews
from services.catalog.adapters.searching import Searching
from services.catalog.adapters.spaces import Spaces
from services.catalog.adapters.trust_documents import TrustDocuments
from services.catalog.adapters.uploads import Uploads
from services.catalog.adapters.verification import Verification
from services.catalog.adapters.waivers import Waivers
from services.catalog.config import CatalogConfig, kernels_by_channel, release_policy
from services.catalog.release_gate import Demands
from services.catalog.service import CatalogService
from shared.adapters import lifecycle
from shared.adapters.bus import connect
from shared.adapters.licence_policies import load_policy
from shared.adapters.logs import configure_logs
from shared.adapters.outbox import Outbox
from shared.adapters.spaces import KnownSpaces
from shared.adapters.watched_bus import StoredChange, WatchedBus
from shared.config import load_config
from shared.contracts.desired import DESIRED
from shared.contracts.node import NODES
from shared.contracts.package_records import CATALOG
from shared.version import VERSION


def _now() -> datetime:
    return datetime.now(UTC)


async def main(stop: asyncio.Event) -> None:
    """Serve until `stop` is set."""
    config = load_config(CatalogConfig, os.environ, prefix="CATALOG_")
    configure_logs(service="catalog", level=config.log_level)
    policy = load_policy(config.licence_policy)
    demands = Demands(config.verification_kernels, kernels_by_channel(config.verification_channels))
    releases = release_policy(config)
    async with connect(config.credentials_dir) as bus:
        index = PackageIndex(bus)
        known = KnownSpaces(bus, now=_now)

        def stored(change: StoredChange) -> None:
            index.note(change)
            spaces.concern()

        outbox = Outbox(WatchedBus(bus, (CATALOG,), stored=stored), "catalog")
        artifacts = Artifacts(bus.connection, folder=config.state_dir / "spool")
        packages = Packages(bus, index, artifacts, spaces=known)
        spaces = Spaces(bus, outbox, known=known, contents=packages, now=_now)
        waivers = Waivers(bus, packages, outbox, spaces=known, now=_now)
        own = OwnArchives(config.state_dir / "own-archives")
        uploads = Uploads(config.state_dir / "uploads", kept_bytes=config.uploads_bytes)
        intake = Intake(
            artifacts=artifacts, uploads=uploads, own=own, limit_bytes=config.max_artifact_bytes
        )
        clock_seed = read_clock_seed(config.credentials_dir)
        trust = TrustDocuments(
            bus,
            outbox,
            trust_root=bytes.fromhex(bus.facts.trust_root),
            clock_seed=clock_seed,
            mode=config.trust_mode,
            spaces=known,
        )
        replays = PolicyReplays(bus, packages, outbox, waivers=waivers, policy=policy, now=_now)
        notices = Notices(packages, artifacts, policy)
        ticket_key = read_ticket_key(config.credentials_dir)
        verification = Verification(
            bus,
            packages,
            outbox,
            ticket_key=ticket_key,
            clock_seed=clock_seed,
            trial_seconds=config.verification_seconds,
            release_policy=releases,
            waivers=waivers,
            now=_now,
        )
        owners = Owners(bus, outbox, spaces=known)
        reviews = Reviews(
            packages,
            outbox,
            owners=owners,
            policy=releases,
            demands=demands,
            licence_policy=policy,
            waivers=waivers,
            verification=verification,
            now=_now,
        )
        service = CatalogService(
            packages=packages,
            desired=bus.bucket(DESIRED),
            nodes=bus.bucket(NODES),
            artifacts=artifacts,
            own_archives=own,
            spaces=known,
            outbox=outbox,
            trust=trust,
            ticket_key=ticket_key,
            licence_policy=policy,
            waivers=waivers,
            demands=demands,
            release_policy=releases,
            verification=verification,
            now=_now,
        )
        ratings = Ratings(bus, packages, outbox)
        searching = Searching(bus, packages, index, ratings=ratings)
        overlays = Overlays(packages=packages, spaces=known, outbox=outbox, now=_now)
        index.on_change(overlays.heard)
        endpoints = (
            intake.endpoints()
            | verification.endpoints()
            | waivers.endpoints()
            | notices.endpoints()
            | Bills(packages, artifacts, policy).endpoints()
            | ArchiveReading(packages, artifacts, outbox, now=_now).endpoints()
            | owners.endpoints()
            | trust.endpoints()
            | spaces.endpoints()
            | overlays.endpoints()
            | searching.endpoints()
            | ratings.endpoints()
            | reviews.endpoints()
            | service.endpoints()
        )
        await known.open()
        await index.open()
        await ratings.open()
        await outbox.open()
        bus.spawn(verification.run())
        bus.spawn(waivers.keep_saying())
        bus.spawn(replays.keep_saying())
        bus.spawn(spaces.keep_lifting())
        bus.spawn(overlays.keep_telling())
        bus.spawn(searching.keep_up())
        bus.spawn(searching.keep_counting())
        on_refused = known.discreetly(outbox.note_refusal)
        async with bus.serve("catalog", endpoints, version=VERSION, on_refused=on_refused):
            await stop.wait()


if __name__ == "__main__":
    lifecycle.run(main)
