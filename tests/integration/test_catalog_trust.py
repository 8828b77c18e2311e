# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents and a real catalog: what is published, handed out and refused by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.package_build import BuiltPackage
from cli.package_publish import write_built
from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NotPermittedError
from shared.contracts.catalog import GET_PACKAGE, GetPackage, SignedPackage
from shared.contracts.trust import (
    GET_TRUST,
    SET_TRUST,
    TRUST,
    GetTrust,
    SetTrust,
    TrustDocument,
    TrustedKey,
    TrustRecord,
    TrustSet,
)
from shared.dsse import sign_manifest
from shared.errors import RefusedError
from shared.installation_facts import FACTS_FILE, render_facts
from shared.moments import render_time
from shared.trust.documents import open_document, sign_document
from shared.trust.packages import check_package
from tests.integration.conftest import Buses
from tests.package_builders import PUBLISHER_SEED, STRANGER_SEED, TRUST_ROOT, TRUST_SEED, sign
from tests.support.catalog_process import a_built_package
from tests.support.catalog_stage import BUILT, Stage, a_stage
from tests.support.command_line import run_l3af
from tests.support.trusting import (
    BOB_SEED,
    CAROL_SEED,
    a_key,
    a_trust,
    a_trust_document,
    signed_by,
    unsigned,
    with_receipt,
)

HOUR = timedelta(hours=1)
SINCE = render_time(datetime.now(UTC) - HOUR)
SOON = render_time(datetime.now(UTC) + HOUR)
NEXT = a_built_package(version="1.1.0")


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """A catalog that answers."""
    async with a_stage(buses, tmp_path / "state") as stage:
        yield stage


async def push(
    stage: Stage, *keys: TrustedKey, seed: bytes = TRUST_SEED, **changes: Any
) -> TrustSet:
    """An administrator puts a document in force, with the catalog's own clock in it."""
    document = a_trust_document(*keys, **changes)
    admin = await stage.buses.open("administrator", "admin")
    command = SetTrust(document=sign_document(document, seed=seed), reason="a test")
    return await admin.request(SET_TRUST, command)


async def in_force(bus: Bus) -> tuple[TrustDocument, str]:
    """The document of `public`, and the key of the catalog's receipts."""
    shown = await bus.request(GET_TRUST, GetTrust())
    return open_document(shown.document, trust_root=TRUST_ROOT), shown.clock


def by(*seeds: bytes, built: BuiltPackage = BUILT) -> SignedPackage:
    """The package with these signatures."""
    return signed_by(built.manifest, *seeds, archive=built.archive)


async def rules(stage: Stage, signed: SignedPackage) -> list[str]:
    """The rules by which a publication is refused."""
    error = await stage.refused(signed=signed)
    assert error.refusal_code == "verification_failed"
    return [reason.rule for reason in error.reasons]


async def test_every_untrusted_signature_is_refused_by_name(stage: Stage) -> None:
    """Other bytes, expired, revoked, too few, another namespace's: nothing of it is published."""
    await push(
        stage,
        a_key(),
        a_key("bob", seed=BOB_SEED),
        a_key("dan", seed=b"d" * 32, not_after=SINCE),
        a_key("eve", seed=b"e" * 32, revoked_at=SINCE),
        threshold=2,
    )
    await push(stage, a_key("carol", seed=CAROL_SEED), namespace="p_acme")
    few = "too few signatures: {} of the 2 that namespace public demands"
    both = by(PUBLISHER_SEED, BOB_SEED)
    other = sign_manifest(NEXT.manifest, seed=PUBLISHER_SEED)
    other_bytes = msgspec.structs.replace(
        both, manifest=msgspec.structs.replace(both.manifest, payload=other.payload)
    )

    assert await rules(stage, other_bytes) == ["the signature does not verify"]
    assert await rules(stage, by(PUBLISHER_SEED)) == [few.format(1)]
    assert await rules(stage, by(PUBLISHER_SEED, b"d" * 32)) == [
        f"dan's key expired at {SINCE}",
        few.format(1),
    ]
    assert await rules(stage, by(PUBLISHER_SEED, b"e" * 32)) == [
        f"eve's key was revoked at {SINCE}",
        few.format(1),
    ]
    assert await rules(stage, by(CAROL_SEED)) == [
        "the key is trusted in another namespace, and not in public",
        few.format(0),
    ]
    assert await rules(stage, by(STRANGER_SEED)) == [
        "no signature is by a trusted key",
        few.format(0),
    ]
    assert await rules(stage, unsigned(both)) == ["the package is not signed", few.format(0)]

    published = await stage.publish(signed=both)
    shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name="rate-limit"))
    assert (published.version, published.warnings) == ("1.0.0", ())
    assert shown.package.trust is not None
    assert (shown.package.trust.signers, shown.package.trust.document) == (("acme", "bob"), 1)
    assert shown.package.signed.receipt is None


async def test_rotation_keeps_old_releases_valid(stage: Stage) -> None:
    """The old key ends, the new one begins: both releases are handed out, the next needs it."""
    await push(stage, a_key())
    await stage.publish()
    _, clock = await in_force(stage.publisher)
    now = render_time(datetime.now(UTC))
    keys = (a_key(not_after=now), a_key(seed=BOB_SEED, not_before=now))
    await push(stage, *keys, version=2, clocks=(clock,))

    old_key = sign(NEXT.manifest, archive=NEXT.archive)
    assert (await stage.refused(built=NEXT, signed=old_key)).reasons[0].rule == (
        f"acme's key expired at {now}"
    )
    await stage.publish(NEXT, signed=by(BOB_SEED, built=NEXT))
    document, _ = await in_force(stage.publisher)
    for version in ("1.0.0", "1.1.0"):
        handed = (await stage.resolve(version)).package.signed
        later = datetime.now(UTC) + timedelta(days=365)
        assert check_package(handed, a_trust(document), now=later).note.signers == ("acme",)


async def test_a_revocation_takes_older_releases_along_only_if_it_says_so(stage: Stage) -> None:
    """With `keep` what was published before is handed out; with `reject` it is refused by name."""
    await push(stage, a_key())
    await stage.publish()
    _, clock = await in_force(stage.publisher)
    now = render_time(datetime.now(UTC))

    await push(stage, a_key(revoked_at=now), version=2, clocks=(clock,))
    kept = await stage.resolve()
    await push(stage, a_key(revoked_at=now, older_signatures="reject"), version=3, clocks=(clock,))
    with pytest.raises(RefusedError) as caught:
        await stage.resolve()

    assert kept.package.version == "1.0.0"
    assert caught.value.reasons[0].rule == (
        f"acme's key was revoked at {now}, with all that it ever signed"
    )


async def test_documents_only_go_forward_and_only_by_the_trust_root(stage: Stage) -> None:
    """Older, another of the same version, somebody else's: refused; what was in force stays."""
    await push(stage, a_key(), version=2)

    older: tuple[dict[str, Any], ...] = ({"version": 1}, {"version": 2, "threshold": 2})
    for changes in older:
        with pytest.raises(RefusedError) as caught:
            await push(stage, a_key(), **changes)
        assert caught.value.refusal_code == "conflict"
    with pytest.raises(RefusedError, match="no signature is by a trusted key"):
        await push(stage, a_key(), version=3, seed=PUBLISHER_SEED)

    document, _ = await in_force(stage.publisher)
    assert (document.version, document.threshold) == (2, 1)
    with pytest.raises(RefusedError) as denied:
        await stage.publisher.request(
            SET_TRUST, SetTrust(document=sign_document(document, seed=TRUST_SEED))
        )
    assert denied.value.refusal_code == "not_permitted"


async def test_a_document_in_force_is_an_event(stage: Stage) -> None:
    """The audit log learns which keys count from when on."""
    pushed = await push(stage, a_key(), version=4)
    await stage.until(lambda: len(stage.events) == 1)

    (event,) = stage.events
    assert (event.data.action, event.data.outcome) == ("trust.set", "accepted")
    assert event.data.after == pushed.sha256
    assert event.data.details["added"] == [a_key().key]


async def test_a_namespace_that_is_not_seen_has_no_document(stage: Stage) -> None:
    """The same answer as for one that nobody ever made."""
    await push(stage, a_key())
    await push(stage, a_key(), namespace="p_acme")
    answers = []
    for namespace in ("p_acme", "p_none"):
        with pytest.raises(RefusedError) as caught:
            await stage.publisher.request(GET_TRUST, GetTrust(namespace=namespace))
        refusal = msgspec.json.encode(caught.value.refusal()).decode()
        answers.append(refusal.replace(namespace, "NAMESPACE"))

    assert answers[0] == answers[1]
    assert '"not_found"' in answers[0]


async def test_nodes_read_documents_and_nobody_but_the_catalog_writes_them(stage: Stage) -> None:
    """A node follows them with no right to change one; the scheduler has no business there."""
    await push(stage, a_key())
    node = await stage.buses.open("node", "n1")
    (entry,) = await node.bucket(TRUST).entries()
    followed: list[str] = []

    async def note(key: str, _record: TrustRecord | None, _revision: int) -> None:
        followed.append(key)

    await node.bucket(TRUST).follow(">", note)
    await stage.until(lambda: followed == ["public"])
    for bus in (node, await stage.buses.open("service-scheduler")):
        with pytest.raises(NotPermittedError):
            await bus.bucket(TRUST).put("public", entry.value)
    assert (await node.bucket(TRUST).entries()) == [entry]


async def test_nobody_brings_the_catalogs_word_along(stage: Stage) -> None:
    """A receipt in a publication is refused by name."""
    error = await stage.refused(signed=with_receipt(by(PUBLISHER_SEED), at=SOON))

    assert [reason.path for reason in error.reasons] == ["signed.receipt"]


async def test_what_nobody_signed_is_published_in_mode_normal_alone(
    buses: Buses, tmp_path: Path
) -> None:
    """And says so at the start, in answers, record and events; trusted never hands it out."""
    bare = unsigned(by(PUBLISHER_SEED))
    async with a_stage(
        buses, tmp_path / "state", settings={"CATALOG_TRUST_MODE": "normal"}
    ) as stage:
        published = await stage.publish(signed=bare)
        shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name="rate-limit"))
        resolved = await stage.resolve()
        await stage.until(lambda: len(stage.events) == 1)
        assert "trust_mode_normal" in stage.catalog.log()

    (warning,) = published.warnings
    assert warning.startswith("NOT VERIFIED (trust mode normal): signed.")
    assert shown.package.trust is not None
    assert shown.package.trust.warning == warning
    assert resolved.warnings == (warning,)
    assert stage.events[0].data.details["unverified"] == warning

    async with a_stage(buses, tmp_path / "state") as strict:
        with pytest.raises(RefusedError) as caught:
            await strict.resolve()
    assert caught.value.refusal_code == "verification_failed"


async def test_the_command_line_says_what_nobody_signed(buses: Buses, tmp_path: Path) -> None:
    """In the answer to `publish`, in `package show`, and in `trust show`."""
    archive = tmp_path / "rate-limit-1.0.0.l3afpkg"
    write_built(BUILT, archive)
    async with a_stage(
        buses, tmp_path / "state", settings={"CATALOG_TRUST_MODE": "normal"}
    ) as stage:
        await push(stage, a_key())
        me = buses.server.credentials("publisher", "acme")
        facts = msgspec.structs.replace(buses.server.facts, trust_root=TRUST_ROOT.hex())
        (me / FACTS_FILE).write_bytes(render_facts(facts))
        published = await run_l3af("package", "publish", str(archive), "--unsigned", credentials=me)
        shown = await run_l3af("package", "show", "rate-limit", credentials=me)
        trusted = await run_l3af("trust", "show", credentials=me)
        missing = await run_l3af("package", "provenance", "rate-limit", credentials=me)

    assert published.status == 0, published.message
    for answer in (published, shown):
        assert "NOT VERIFIED (trust mode normal): signed.manifest" in answer.output
    assert "THE CATALOG RUNS IN TRUST MODE normal" in trusted.output
    assert "which is not named here" in trusted.output
    assert (missing.status, "has no provenance" in missing.message) == (2, True)
