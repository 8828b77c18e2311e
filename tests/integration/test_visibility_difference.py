# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nobody who may not see it can tell an embargoed package from one that does not exist.

Every endpoint of the catalog that a principal may ask is asked about both, by an administrator who
is no member.  The replies' bytes and the events that follow are compared with every name, digest
and id of one kind replaced by what it stands for; beside that, of a reply nothing is left out, and
of an event its own id, time, sequence and salt.  `make soak` asks a thousand times and compares how
long the answers take.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from cli.package_publish import upload
from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NotPermittedError
from shared.canonical import sha256_hex
from shared.contracts.base import ARTIFACTS, EVENTS, Command, Endpoint, Request
from shared.contracts.catalog import (
    CHUNK_BYTES,
    FIND_MISSING,
    GET_PACKAGE,
    LIST_PACKAGES,
    PUBLISH_PACKAGE,
    READ_ARCHIVE,
    WRITE_ARTIFACT,
    FindMissing,
    GetPackage,
    ListPackages,
    PublishPackage,
    ReadArchive,
    SignedPackage,
    WriteArtifact,
)
from shared.contracts.notices import GET_NOTICE, GetNotice
from shared.contracts.overlays import GET_OVERLAY, GetOverlay
from shared.contracts.permissions import ALLOWED_ENDPOINTS
from shared.contracts.ratings import (
    LIST_RATINGS,
    RATE_PACKAGE,
    REMOVE_RATING,
    ListRatings,
    RatePackage,
    RemoveRating,
)
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    DEPRECATE_PACKAGE,
    GET_REVIEW,
    LIST_OWNERS,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    REVOKE_PACKAGE,
    SET_OWNERS,
    SUBMIT_PACKAGE,
    YANK_PACKAGE,
    ApprovePackage,
    DeprecatePackage,
    GetReview,
    ListOwners,
    PromotePackage,
    ReviewPackage,
    RevokePackage,
    SetOwners,
    SubmitPackage,
    YankPackage,
)
from shared.contracts.sbom import GET_BILL, GetBill
from shared.contracts.search import SEARCH_PACKAGES, SearchPackages
from shared.contracts.spaces import (
    CREATE_SPACE,
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    UPDATE_SPACE,
    CreateSpace,
    GetSpace,
    LiftSpace,
    ListSpaces,
    UpdateSpace,
)
from shared.contracts.storage import EVENT_STREAM, kv_stream, kv_subject
from shared.contracts.trust import GET_TRUST, SET_TRUST, GetTrust, SetTrust
from shared.contracts.verification import GET_MATRIX, VERIFY_PACKAGE, GetMatrix, VerifyPackage
from shared.contracts.waivers import (
    GRANT_WAIVER,
    LIST_WAIVERS,
    REQUEST_WAIVER,
    REVOKE_WAIVER,
    GrantWaiver,
    ListWaivers,
    RequestWaiver,
    RevokeWaiver,
    WaiverScope,
)
from shared.dsse import manifest_digest
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.package_builders import a_certificate, sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, Stage, a_stage
from tests.support.differences import kolmogorov_smirnov, told, without

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
PAIRS: Final = 1000 if IS_SOAK else 2
SEED: Final = int(os.environ.get("L3AF_SEED", "7"))
SIGNIFICANCE: Final = 0.01
SECONDS: Final = 30.0
VERSION: Final = "1.0.0"


@dataclass(frozen=True)
class Kind:
    """What a request is about: something that is there, or something like it that is not."""

    package: str
    space: str
    archive: str
    """Its digest."""
    manifest: str
    """Its digest."""
    waiver: str
    namespace: str
    size_bytes: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("package", "space", "archive", "manifest", "waiver", "namespace"):
            self.names[getattr(self, name)] = f"<{name}>"


Make = Callable[[Kind], Request]
Row = tuple[Endpoint[Any, Any], Make]


def _version(kind: Kind, **more: Any) -> dict[str, Any]:
    return {"name": kind.package, "version": VERSION, "reason": "why", **more}


def _signed(kind: Kind) -> SignedPackage:
    """Eve's word for a package with the archive of that kind."""
    manifest = msgspec.structs.replace(BUILT.manifest, name="of-eve")
    signed = sign(manifest, certificate=a_certificate(publisher="eve"))
    return msgspec.structs.replace(signed, archive_sha256=kind.archive)


def _waiver(kind: Kind) -> RequestWaiver:
    scope = WaiverScope(rule="policy-groups", package="one", versions="*", space=kind.space)
    return RequestWaiver(scope=scope, expires_at="2026-12-31T00:00:00Z", reason="why")


ROWS: Final[dict[str, Row]] = {
    "list": (LIST_PACKAGES, lambda kind: ListPackages(name=kind.package)),
    "list after": (LIST_PACKAGES, lambda kind: ListPackages(name="*", after=kind.package)),
    "get": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package, version=VERSION)),
    "get newest": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package)),
    "get in space": (GET_PACKAGE, lambda kind: GetPackage(name=kind.package, space=kind.space)),
    "search": (SEARCH_PACKAGES, lambda kind: SearchPackages(words=kind.package)),
    "search all": (
        SEARCH_PACKAGES,
        lambda kind: SearchPackages(every_version=True, withdrawn=True, space=kind.space),
    ),
    "overlay": (GET_OVERLAY, lambda kind: GetOverlay(space=kind.namespace)),
    "ratings": (LIST_RATINGS, lambda kind: ListRatings(name=kind.package)),
    "read archive": (READ_ARCHIVE, lambda kind: ReadArchive(name=kind.package, version=VERSION)),
    "matrix": (GET_MATRIX, lambda kind: GetMatrix(name=kind.package)),
    "notice": (GET_NOTICE, lambda kind: GetNotice(name=kind.package)),
    "bill": (GET_BILL, lambda kind: GetBill(name=kind.package)),
    "standing": (GET_REVIEW, lambda kind: GetReview(name=kind.package)),
    "owners": (LIST_OWNERS, lambda kind: ListOwners(package=kind.package)),
    "waivers": (LIST_WAIVERS, lambda kind: ListWaivers(package=kind.package, ended=True)),
    "trust": (GET_TRUST, lambda kind: GetTrust(namespace=kind.namespace)),
    "spaces": (LIST_SPACES, lambda _: ListSpaces(lifted=True)),
    "space": (GET_SPACE, lambda kind: GetSpace(space=kind.space)),
    "namespace": (GET_SPACE, lambda kind: GetSpace(space=kind.namespace)),
    "missing chunks": (
        FIND_MISSING,
        lambda kind: FindMissing(sha256=kind.archive, size_bytes=kind.size_bytes),
    ),
    "write chunk": (
        WRITE_ARTIFACT,
        lambda kind: WriteArtifact(
            sha256=kind.archive,
            size_bytes=CHUNK_BYTES + 1,
            offset_bytes=CHUNK_BYTES,
            data=b"x",
        ),
    ),
    "publish into space": (
        PUBLISH_PACKAGE,
        lambda kind: PublishPackage(signed=_signed(kind), space=kind.space),
    ),
    "publish archive": (PUBLISH_PACKAGE, lambda kind: PublishPackage(signed=_signed(kind))),
    "verify": (VERIFY_PACKAGE, lambda kind: VerifyPackage(**_version(kind))),
    "request waiver": (REQUEST_WAIVER, _waiver),
    "grant waiver": (GRANT_WAIVER, lambda kind: GrantWaiver(waiver=kind.waiver)),
    "revoke waiver": (REVOKE_WAIVER, lambda kind: RevokeWaiver(waiver=kind.waiver)),
    "submit": (SUBMIT_PACKAGE, lambda kind: SubmitPackage(**_version(kind, channel="stable"))),
    "promote": (PROMOTE_PACKAGE, lambda kind: PromotePackage(**_version(kind, to="stable"))),
    "promote in space": (
        PROMOTE_PACKAGE,
        lambda kind: PromotePackage(**_version(kind, to="stable", space=kind.space)),
    ),
    "deprecate": (DEPRECATE_PACKAGE, lambda kind: DeprecatePackage(**_version(kind))),
    "yank": (YANK_PACKAGE, lambda kind: YankPackage(**_version(kind))),
    "review": (REVIEW_PACKAGE, lambda kind: ReviewPackage(**_version(kind))),
    "approve": (
        APPROVE_PACKAGE,
        lambda kind: ApprovePackage(**_version(kind, manifest_sha256=kind.manifest)),
    ),
    "revoke": (REVOKE_PACKAGE, lambda kind: RevokePackage(**_version(kind))),
    "rate": (RATE_PACKAGE, lambda kind: RatePackage(**_version(kind, stars=5))),
    "unrate": (REMOVE_RATING, lambda kind: RemoveRating(**_version(kind, author="acme"))),
    "set owners": (
        SET_OWNERS,
        lambda kind: SetOwners(packages="*", owners=("eve",), space=kind.space),
    ),
    "remove owners": (SET_OWNERS, lambda kind: SetOwners(packages=kind.package)),
    "set trust": (SET_TRUST, lambda kind: SetTrust(document=_signed(kind).manifest)),
    "make namespace": (
        CREATE_SPACE,
        lambda kind: CreateSpace(kind="embargo", namespace="of-eve", members=(kind.package,)),
    ),
    "update space": (UPDATE_SPACE, lambda kind: UpdateSpace(space=kind.space, add=("eve",))),
    "lift space": (LIFT_SPACE, lambda kind: LiftSpace(space=kind.space)),
}
"""Asked by somebody who sees neither.  None of these changes anything, whichever kind it is about.

A private namespace's own name is no secret from who may make one: `CREATE_SPACE` of a name that is
taken is a conflict.
"""


@dataclass
class World:
    """A catalog with a secret in it, its members, and somebody who is none."""

    stage: Stage
    ada: Bus
    eve: Bus
    hidden: Kind
    missing: Kind

    async def answer(self, row: Row, kind: Kind) -> tuple[str, str, float]:
        """What Eve is told, without the names of the kind; the command's id; and seconds."""
        endpoint, make = row
        request = make(kind)
        command_id = ""
        if isinstance(request, Command):
            command_id = secrets.token_hex(16)
            request = msgspec.structs.replace(request, command_id=command_id)
        data = msgspec.json.encode(request)
        started = time.perf_counter()
        reply = await self.eve.connection.ask(endpoint.subject, data, timeout_seconds=SECONDS)
        seconds = time.perf_counter() - started
        text = f"{sorted((reply.headers or {}).items())}\n{reply.data.decode()}"
        return (
            without(text, {**kind.names, command_id: "<id>"} if command_id else kind.names),
            (command_id),
            seconds,
        )

    async def said(self, command_id: str, kind: Kind) -> list[str]:
        """The public events that a command of Eve led to, without what is their own."""
        await self.stage.until(lambda: any(self._of(command_id)))
        return [told(one, {**kind.names, command_id: "<id>"}) for one in self._of(command_id)]

    def _of(self, command_id: str) -> Iterator[Any]:
        return (one for one in self.stage.events if one.data.correlation == command_id)


async def _make_secret(stage: Stage, ada: Bus) -> Kind:
    """An embargo with everything that one can hold, and a private namespace."""
    embargo = CreateSpace(kind="embargo", title="cve", members=("acme",))
    space = (await ada.request(CREATE_SPACE, embargo)).space
    private = CreateSpace(kind="private", namespace="secret-a", members=("acme",))
    namespace = (await ada.request(CREATE_SPACE, private)).space
    manifest = msgspec.structs.replace(BUILT.manifest, name="hidden-a", version=VERSION)
    archive = BUILT.archive
    signed = sign(manifest, archive=archive)
    await upload(stage.publisher, archive)
    for where in (space, namespace):
        await stage.publisher.request(
            PUBLISH_PACKAGE,
            PublishPackage(signed=signed, channels=("candidate",), space=where),
        )
    await ada.request(SET_OWNERS, SetOwners(packages="hidden-*", owners=("bob",), space=space))
    scope = WaiverScope(rule="policy-groups", package="hidden-a", versions="*", space=space)
    asked = RequestWaiver(scope=scope, expires_at="2026-12-31T00:00:00Z", reason="why")
    waiver = (await stage.publisher.request(REQUEST_WAIVER, asked)).waiver
    await ada.request(GRANT_WAIVER, GrantWaiver(waiver=waiver))
    place: dict[str, Any] = {"name": "hidden-a", "version": VERSION, "space": space}
    await ada.request(RATE_PACKAGE, RatePackage(**place, stars=1, text="secret"))
    await stage.publisher.request(SUBMIT_PACKAGE, SubmitPackage(**place, channel="stable"))
    # What members get wrong is told to members too.
    wrong: list[tuple[Endpoint[Any, Any], Request]] = [
        (PROMOTE_PACKAGE, PromotePackage(name="hidden-a", version="9.9.9", to="stable")),
        (PROMOTE_PACKAGE, PromotePackage(**place, to="candidate")),
        (VERIFY_PACKAGE, VerifyPackage(**place)),
        (VERIFY_PACKAGE, VerifyPackage(name="hidden-a", version="9.9.9")),
        (RATE_PACKAGE, RatePackage(name="hidden-a", version="9.9.9", stars=1)),
        (REMOVE_RATING, RemoveRating(**place, author="nobody")),
        (PUBLISH_PACKAGE, PublishPackage(signed=signed, space=space)),
        (GRANT_WAIVER, GrantWaiver(waiver=waiver)),
        (SET_OWNERS, SetOwners(packages="hidden-b", space=space)),
        (UPDATE_SPACE, UpdateSpace(space=space, remove=("nobody",))),
    ]
    for endpoint, request in wrong:
        with pytest.raises(RefusedError):
            await ada.request(endpoint, request)
    digests = sha256_hex(archive), manifest_digest(signed)
    return Kind("hidden-a", space, *digests, waiver, namespace, len(archive))


@pytest.fixture
async def world(buses: Buses, tmp_path: Path) -> AsyncIterator[World]:
    """Eve looks before the secret is made and after, and hears what is told meanwhile."""
    async with a_stage(buses, tmp_path / "state") as stage:
        ada = await buses.open("administrator", "ada")
        eve = await buses.open("administrator", "eve")
        hidden = await _make_secret(stage, ada)
        missing = Kind(
            "absent-a",
            "r_" + "0" * 16,
            "0" * 64,
            "1" * 64,
            "w-000000000000",
            "p_absent-a",
            hidden.size_bytes,
        )
        yield World(stage, ada, eve, hidden, missing)


def test_every_endpoint_that_anybody_may_ask_is_in_the_table() -> None:
    """One that is added has to be compared too."""
    asked = {
        endpoint.subject
        for allowed in ALLOWED_ENDPOINTS.values()
        for endpoint in allowed
        if endpoint.subject.startswith("l3af.v1.api.catalog.")
    }

    assert {endpoint.subject for endpoint, _ in ROWS.values()} == asked


async def test_a_secret_answers_as_what_does_not_exist(world: World) -> None:
    """Byte for byte, at every endpoint, and in the events that everybody hears."""
    order = random.Random(SEED)
    for name, row in ROWS.items():
        for _ in range(PAIRS if not IS_SOAK else 2):
            kinds = [world.hidden, world.missing]
            order.shuffle(kinds)
            answers = {kind.package: await world.answer(row, kind) for kind in kinds}
            hidden, missing = answers["hidden-a"], answers["absent-a"]
            assert hidden[0] == missing[0], name
            if hidden[1]:
                events = await world.said(hidden[1], world.hidden)
                assert events == await world.said(missing[1], world.missing), name


async def test_nothing_that_is_told_to_everybody_changes(buses: Buses, tmp_path: Path) -> None:
    """While the secret is made, worked on and got wrong: lists stay the same, and nobody hears."""
    views: list[tuple[Endpoint[Any, Any], Request]] = [
        (LIST_PACKAGES, ListPackages()),
        (LIST_PACKAGES, ListPackages(after="a")),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, withdrawn=True)),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, limit=1, sort="newest")),
        (SEARCH_PACKAGES, SearchPackages(every_version=True, limit=1)),
        (GET_PACKAGE, GetPackage(name="rate-limit")),
        (LIST_RATINGS, ListRatings(name="rate-limit")),
        (LIST_OWNERS, ListOwners()),
        (LIST_WAIVERS, ListWaivers(ended=True)),
        (LIST_SPACES, ListSpaces(lifted=True)),
        (GET_TRUST, GetTrust()),
    ]
    async with a_stage(buses, tmp_path / "state") as stage:
        eve = await buses.open("administrator", "eve")
        for version in ("1.0.0", "1.1.0"):
            await stage.publish(a_built_package(version=version))
        await stage.until(lambda: len(stage.events) >= 2)

        async def seen() -> list[bytes]:
            return [
                (
                    await eve.connection.ask(
                        endpoint.subject, msgspec.json.encode(request), timeout_seconds=SECONDS
                    )
                ).data
                for endpoint, request in views
            ]

        before = await seen()
        await _make_secret(stage, await buses.open("administrator", "ada"))
        after = await seen()
        marker = SetOwners(packages="mine", owners=("eve",))
        await eve.request(SET_OWNERS, marker)
        await stage.until(lambda: len(stage.events) >= 3)

        assert after == before
        assert [(one.data.action, one.sequence) for one in stage.events] == [
            ("package.publish", 1),
            ("package.publish", 2),
            ("owners.set", 3),
        ]


async def test_what_is_secret_can_be_published_by_anybody(world: World) -> None:
    """The same name and version in `public` are accepted as any others, with the same words."""
    replies = []
    for kind in (world.hidden, world.missing):
        manifest = msgspec.structs.replace(BUILT.manifest, name=kind.package, version=VERSION)
        signed = sign(manifest, archive=BUILT.archive, certificate=a_certificate(publisher="eve"))
        await upload(world.eve, BUILT.archive)
        published = await world.eve.request(PUBLISH_PACKAGE, PublishPackage(signed=signed))
        names = {
            kind.package: "<package>",
            published.command_id: "<id>",
            published.manifest_sha256: "<manifest>",
        }
        replies.append(without(msgspec.json.encode(published).decode(), names))

    assert replies[0] == replies[1]
    mine = await world.eve.request(GET_PACKAGE, GetPackage(name="hidden-a"))
    theirs = await world.ada.request(
        GET_PACKAGE, GetPackage(name="hidden-a", space=world.hidden.space)
    )
    assert (mine.package.space, mine.versions) == ("public", (VERSION,))
    assert theirs.package.published_by != mine.package.published_by


async def test_what_a_member_mistypes_is_heard_by_nobody(world: World) -> None:
    """A command that cannot be read is told with its place and rule, and not with what stood there.

    So is a command id that was used before, to the space of the command that used it.
    """
    mistyped = b'{"name": "Hidden-A", "version": "1.0.0", "to": "Hidden"}'
    answer = await world.ada.connection.ask(
        PROMOTE_PACKAGE.subject, mistyped, timeout_seconds=SECONDS
    )
    again = ReviewPackage(
        name="hidden-a", version=VERSION, space=world.hidden.space, command_id="hidden-command"
    )
    with pytest.raises(RefusedError):
        await world.ada.request(REVIEW_PACKAGE, again)
    with pytest.raises(RefusedError) as reused:
        await world.ada.request(
            REVIEW_PACKAGE, msgspec.structs.replace(again, reason="another one")
        )
    marker = SetOwners(packages="mine", owners=("eve",))
    await world.eve.request(SET_OWNERS, marker)
    await world.stage.until(lambda: len(world.stage.events) >= 2)

    assert b"Hidden-A" in answer.data
    assert "was used for another request" in reused.value.message
    told = [msgspec.json.encode(one).decode().lower() for one in world.stage.events]
    assert [one.data.action for one in world.stage.events] == ["package.promote", "owners.set"]
    assert [one.path for one in world.stage.events[0].data.reasons] == ["name", "to"]
    assert "hidden" not in told[0]


async def test_no_subject_tells_what_is_stored(world: World) -> None:
    """Keys, objects and events of the secret are refused as any others, whatever is behind them."""
    kinds = (world.hidden, world.missing)
    refused = []
    for kind in kinds:
        key = kv_subject("catalog", f"{kind.space}.{kind.package}")
        asked = (
            key,
            f"$JS.API.DIRECT.GET.{kv_stream('catalog')}.{key}",
            f"$JS.API.DIRECT.GET.{kv_stream('spaces')}.{kv_subject('spaces', kind.space)}",
            f"$JS.API.DIRECT.GET.{EVENT_STREAM}.{EVENTS}.{kind.space}.catalog.package.publish",
            f"$JS.API.STREAM.INFO.{EVENT_STREAM}",
            f"{ARTIFACTS}.{kind.archive}.0",
            f"{EVENTS}.{kind.space}.catalog.package.publish",
        )
        messages = []
        for subject in asked:
            with pytest.raises(NotPermittedError) as caught:
                await world.eve.connection.ask(subject, b"", timeout_seconds=SECONDS)
            messages.append(without(caught.value.message, kind.names))
        for subject in (key, asked[-1], f"{EVENTS}.{kind.space}.>"):
            with pytest.raises(NotPermittedError) as heard:
                await _listen(world.eve, subject)
            messages.append(without(heard.value.message, kind.names))
        refused.append(messages)

    assert refused[0] == refused[1]


async def test_once_it_is_lifted_everybody_sees_it_with_its_history(world: World) -> None:
    """The version, its standing, its owners and its waiver, and from now on its events."""
    await world.ada.request(LIFT_SPACE, LiftSpace(space=world.hidden.space, reason="today"))

    shown = await world.eve.request(GET_PACKAGE, GetPackage(name="hidden-a"))
    standing = await world.eve.request(GET_REVIEW, GetReview(name="hidden-a"))
    owners = await world.eve.request(LIST_OWNERS, ListOwners(package="hidden-a"))
    waivers = await world.eve.request(LIST_WAIVERS, ListWaivers(package="hidden-a"))
    space = await world.eve.request(GET_SPACE, GetSpace(space=world.hidden.space))
    await world.stage.publisher.request(
        PROMOTE_PACKAGE, PromotePackage(name="hidden-a", version=VERSION, to="stable")
    )
    await world.stage.until(
        lambda: any(one.data.action == "package.promote" for one in world.stage.events)
    )

    assert shown.package.space == world.hidden.space
    assert [one.name for one in standing.lifecycle.submitted] == ["acme"]
    assert [one.owners for one in owners.rules] == [("bob",)]
    assert [one.state for one in waivers.waivers] == ["granted"]
    assert [(one.name, one.version) for one in space.packages] == [("hidden-a", VERSION)]
    assert space.view.is_open
    actions = [one.data.action for one in world.stage.events]
    assert actions[0] == "space.lift"
    listed = await world.eve.request(LIST_PACKAGES, ListPackages())
    assert [(one.versions, one.restricted) for one in listed.packages] == [((VERSION,), {})]


@pytest.mark.soak
async def test_how_long_an_answer_takes_tells_nothing(world: World) -> None:
    """A thousand answers of each kind, in turns at random, are of one distribution.

    A row that falls below is measured once more, as one of a hundred does by chance.
    """
    if not IS_SOAK:
        pytest.skip("make soak")
    order = random.Random(SEED)
    lines, told_apart = [], []
    for name, row in ROWS.items():
        p_value = 0.0
        for _ in range(2):
            p_value = max(p_value, await _p_value(world, row, order))
            if p_value > SIGNIFICANCE:
                break
        lines.append(f"{name:20} p={p_value:.3f}")
        if p_value <= SIGNIFICANCE:
            told_apart.append(lines[-1])
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

    assert told_apart == []


async def _p_value(world: World, row: Row, order: random.Random) -> float:
    seconds: dict[str, list[float]] = {"hidden-a": [], "absent-a": []}
    for _ in range(PAIRS):
        kinds = [world.hidden, world.missing]
        order.shuffle(kinds)
        texts = set()
        for kind in kinds:
            text, _command_id, took = await world.answer(row, kind)
            texts.add(text)
            seconds[kind.package].append(took)
        assert len(texts) == 1
    return kolmogorov_smirnov(seconds["hidden-a"], seconds["absent-a"])


async def _listen(bus: Bus, subject: str) -> None:
    async def ignored(_subject: str, _data: bytes) -> None:
        await asyncio.sleep(0)

    await bus.subscribe(subject, ignored)
