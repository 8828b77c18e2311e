# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's records on a real bus: light, followed, and those that an earlier release wrote."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import pytest

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.package_index import PackageIndex
from services.catalog.adapters.packages import Packages
from services.catalog.code_ownership import lifecycle_of
from services.catalog.version_entries import content_of, storable
from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NotPermittedError
from shared.adapters.spaces import KnownSpaces
from shared.adapters.stored_publish import publish_stored
from shared.adapters.watched_bus import WatchedBus
from shared.contracts.catalog import (
    GET_PACKAGE,
    LIST_PACKAGES,
    RESOLVE_PACKAGE,
    GetPackage,
    ListPackages,
    PackageVersion,
    ResolvePackage,
)
from shared.contracts.events import PUBLIC
from shared.contracts.package_records import CATALOG, PackageRecord, StoredPackage
from shared.contracts.reviews import GET_REVIEW, YANK_PACKAGE, GetReview, YankPackage
from shared.contracts.storage import kv_subject
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.package_builders import NOW, a_record, a_version
from tests.support.catalog_stage import a_stage
from tests.support.earlier_records import EARLIER, earlier_package

SEEN: Final = frozenset({PUBLIC})
DEADLINE_SECONDS: Final = 30.0


async def _put_raw(bus: Bus, key: str, data: bytes) -> None:
    await publish_stored(bus.connection, kv_subject(CATALOG.name, key), data, message_id=key)


async def _unheard(_subject: str, _data: bytes) -> None:
    raise AssertionError("nobody may hear this")


def _packages(bus: Bus, folder: Path) -> tuple[PackageIndex, Packages]:
    index = PackageIndex(bus)
    artifacts, spaces = Artifacts(bus.connection, folder=folder), KnownSpaces(bus, now=lambda: NOW)
    return index, Packages(bus, index, artifacts, spaces=spaces)


async def test_records_of_an_earlier_release_are_served_and_become_light(
    buses: Buses, tmp_path: Path
) -> None:
    """Listed, shown and resolved as they are; rewritten by the next command, and still the same."""
    catalog = await buses.open("service-catalog")
    await _put_raw(catalog, "one", EARLIER)
    before = {one.version: one for one in earlier_package().versions}
    async with a_stage(buses, tmp_path / "state") as stage:
        root = await buses.open("administrator", "root")
        scheduler = await buses.open("service-scheduler")

        async def shown(version: str) -> PackageVersion:
            found = await root.request(GET_PACKAGE, GetPackage(name="one", version=version))
            return found.package

        listed = await root.request(LIST_PACKAGES, ListPackages())
        assert [one.versions for one in listed.packages] == [("2.0.0-rc.1", "1.1.0", "1.0.0")]
        assert {version: await shown(version) for version in before} == before
        question = ResolvePackage(name="one", constraint="^1", channel="stable")
        resolved = (await scheduler.request(RESOLVE_PACKAGE, question)).package
        assert (resolved.version, resolved.elf) == ("1.0.0", before["1.0.0"].elf)
        review = await root.request(GET_REVIEW, GetReview(name="one", version="1.1.0"))
        assert review.lifecycle == before["1.1.0"].lifecycle

        yank = YankPackage(name="one", version="1.0.0", reason="a test")
        await root.request(YANK_PACKAGE, yank)
        stored = await catalog.bucket(CATALOG).get("one")
        assert stored is not None
        assert (stored.value.versions, bool(stored.value.entries)) == ((), True)
        stage.catalog.kill()
        await stage.catalog.start(stage.publisher)

        after = await shown("1.0.0")
        assert lifecycle_of(after).yanked is not None
        assert content_of(after) == content_of(before["1.0.0"])
        assert await shown("1.1.0") == before["1.1.0"]
        assert await shown("2.0.0-rc.1") == before["2.0.0-rc.1"]


async def test_what_another_process_writes_is_followed(buses: Buses, tmp_path: Path) -> None:
    """A package that is new, changed or gone is known soon, and to a command at once."""
    other = (await buses.open("service-catalog")).bucket(CATALOG)
    await other.put("one", storable(a_record("1.0.0")))
    index, packages = _packages(await buses.open("service-catalog"), tmp_path)
    await index.open()
    assert [one.versions for one in index.summaries(SEEN)] == [("1.0.0",)]

    await other.put("one", storable(a_record("1.0.0", "1.1.0")))
    assert len((await packages.read("one", SEEN)).record.versions) == 2
    await other.put("two", storable(msgspec.structs.replace(a_record("2.0.0"), name="two")))
    await _until(index, {"one": ("1.1.0", "1.0.0"), "two": ("2.0.0",)})
    await other.delete("one")
    await _until(index, {"two": ("2.0.0",)})

    assert packages.find("one", SEEN).record.versions == ()
    assert (await packages.read("one", SEEN)).parts == ()


async def _until(index: PackageIndex, wanted: dict[str, tuple[str, ...]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while {one.name: one.versions for one in index.summaries(SEEN)} != wanted:
            await asyncio.sleep(0.01)


async def test_what_lies_elsewhere_is_as_if_it_were_not(buses: Buses, tmp_path: Path) -> None:
    """A package of another space is found by those who see the space alone."""
    bus = await buses.open("service-catalog")
    await bus.bucket(CATALOG).put("p_acme.one", storable(a_record("1.0.0")))
    index, packages = _packages(bus, tmp_path)
    await index.open()

    hidden, missing = packages.find("one", SEEN), packages.find("none", SEEN)

    assert (hidden.record.versions, missing.record.versions) == ((), ())
    assert hidden.parts == missing.parts == ()
    assert list(index.summaries(SEEN)) == []
    (part,) = packages.find("one", SEEN | {"p_acme"}).parts
    assert (part.space, part.key, len(part.record.versions)) == ("p_acme", "p_acme.one", 1)
    assert [one.name for one in index.summaries(SEEN | {"p_acme"})] == ["one"]


async def test_a_record_that_cannot_be_read_hides_no_other(buses: Buses, tmp_path: Path) -> None:
    """Neither one that is no JSON nor one whose entries are no entries."""
    bus = await buses.open("service-catalog")
    await _put_raw(bus, "broken", b"{")
    await bus.bucket(CATALOG).put("torn", StoredPackage(name="torn", entries=b"no zlib stream"))
    await bus.bucket(CATALOG).put("one", storable(a_record("1.0.0")))
    index, _ = _packages(bus, tmp_path)

    await index.open()

    assert [one.name for one in index.summaries(SEEN)] == ["one"]


async def test_a_content_that_is_not_stored_is_a_fault(buses: Buses, tmp_path: Path) -> None:
    """The entry alone is no version."""
    bus = await buses.open("service-catalog")
    entry = msgspec.structs.replace(a_record("1.0.0").versions[0], content="0" * 64)
    await bus.bucket(CATALOG).put("one", storable(PackageRecord(name="one", versions=(entry,))))
    index, packages = _packages(bus, tmp_path)
    await index.open()
    held = packages.find("one", SEEN)

    with pytest.raises(FaultError, match="is not stored"):
        await packages.whole(held, held.record.versions[0])


async def test_a_verdict_that_was_given_anew_is_kept_beside_the_first(
    buses: Buses, tmp_path: Path
) -> None:
    """The content stays what it was; the version is shown with the verdict of now."""
    bus = await buses.open("service-catalog")
    index, packages = _packages(bus, tmp_path)
    await index.open()
    version = a_version()
    assert version.licences is not None
    held = packages.find("one", SEEN)
    first = await packages.change(held.part(PUBLIC), a_record("1.0.0"), version)
    await bus.bucket(CATALOG).put("one", first.value)  # type: ignore[arg-type]
    held = await packages.read("one", SEEN)
    again = msgspec.structs.replace(
        version, licences=msgspec.structs.replace(version.licences, policy="another")
    )

    second = await packages.change(held.part(PUBLIC), held.record, again)
    await bus.bucket(CATALOG).put("one", second.value)  # type: ignore[arg-type]
    now = await packages.read("one", SEEN)

    assert (second.revision, now.record.versions[0].content) == (
        held.part(PUBLIC).revision,
        held.record.versions[0].content,
    )
    assert await packages.whole(held, held.record.versions[0]) == version
    assert await packages.whole(now, now.record.versions[0]) == again


async def test_without_the_right_to_follow_what_is_there_is_known(
    buses: Buses, tmp_path: Path
) -> None:
    """Accounts of an earlier release have none; a write of this process is known all the same."""
    bus = await buses.open_lesser("service-catalog", hears_no=kv_subject(CATALOG.name, ">"))
    await bus.bucket(CATALOG).put("one", storable(a_record("1.0.0")))
    with pytest.raises(NotPermittedError):
        await bus.subscribe(kv_subject(CATALOG.name, ">"), _unheard)
    index, packages = _packages(bus, tmp_path)
    await index.open()
    assert [one.versions for one in index.summaries(SEEN)] == [("1.0.0",)]

    outbox = WatchedBus(bus, (CATALOG,), stored=index.note)
    part = packages.find("one", SEEN).part(PUBLIC)
    two = storable(a_record("1.0.0", "1.1.0"))
    await outbox.bucket(CATALOG).update("one", two, revision=part.revision)

    assert [one.versions for one in index.summaries(SEEN)] == [("1.1.0", "1.0.0")]
