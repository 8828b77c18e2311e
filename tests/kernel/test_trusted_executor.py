# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real executor and trust documents: what it loads, and what it refuses by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from shared.contracts.catalog import SignedPackage
from shared.contracts.node import NODES, OBSERVED, STAGE_CHAINS, ObservedChain, StageChains
from shared.contracts.trust import TRUST, TrustDocument, TrustRecord
from shared.dsse import sign_manifest
from shared.errors import FaultError, RefusedError
from shared.moments import render_time
from shared.trust.documents import sign_document
from tests.package_builders import PUBLISHER_SEED, STRANGER_SEED, TRUST_SEED, sign
from tests.support.executors import Wire, a_chain, a_program, published
from tests.support.node_fleets import NODE, Fleet, a_fleet
from tests.support.trusting import (
    BOB_SEED,
    CAROL_SEED,
    a_key,
    a_trust_document,
    signed_by,
    unsigned,
    with_receipt,
)

PACKAGE = published("1.0.0")
TODAY = datetime.now(UTC)
HOUR = timedelta(hours=1)
BEFORE, SINCE = render_time(TODAY - 2 * HOUR), render_time(TODAY - HOUR)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Everything is there; the executor is not started yet."""
    async with a_fleet(tmp_path, Fleet) as made:
        yield made


async def trust(fleet: Fleet, *documents: TrustDocument) -> None:
    """The catalog has these documents in force."""
    for document in documents:
        record = TrustRecord(document=sign_document(document, seed=TRUST_SEED))
        await fleet.catalog.bucket(TRUST).put(document.namespace, record)


def by(*seeds: bytes) -> SignedPackage:
    """The package with these signatures."""
    return signed_by(PACKAGE.manifest, *seeds, archive=PACKAGE.archive)


async def refused(fleet: Fleet, wire: Wire, signed: SignedPackage) -> list[str]:
    """The rules by which the node refuses to stage a program of this package."""
    request = StageChains(chains=(a_chain(wire.name, a_program(signed=signed)),))

    async def ask() -> RefusedError | None:
        try:
            await fleet.scheduler.request(STAGE_CHAINS.at(node=NODE), request, timeout_seconds=15)
        except RefusedError as error:
            return error
        except FaultError:
            return None  # it has only just been started
        raise AssertionError("it was staged")

    error = await fleet.until(ask)
    assert isinstance(error, RefusedError)
    assert error.refusal_code == "verification_failed"
    return [reason.rule.partition(";")[0] for reason in error.reasons]


async def seen(fleet: Fleet, wire: Wire, state: str) -> ObservedChain:
    """The wire's chain once it is attached, or once it is refused."""

    async def read() -> ObservedChain | None:
        entry = await fleet.scheduler.bucket(OBSERVED).get(NODE)
        for one in entry.value.chains if entry else ():
            has_come = one.refusal is not None if state == "refused" else one.state == state
            if one.interface == wire.name and has_come:
                return one
        return None

    found = await fleet.until(read)
    assert isinstance(found, ObservedChain)
    return found


async def test_every_untrusted_signature_is_refused_by_name(fleet: Fleet, wire: Wire) -> None:
    """Other bytes, expired, revoked, too few, another namespace's: each before anything loads."""
    ended = {
        "dan": (b"d" * 32, {"not_after": SINCE}),
        "eve": (b"e" * 32, {"revoked_at": SINCE, "older_signatures": "reject"}),
        "fay": (b"f" * 32, {"revoked_at": SINCE, "older_signatures": "keep"}),
    }
    keys = [a_key(name, seed=seed, **more) for name, (seed, more) in ended.items()]
    await trust(
        fleet,
        a_trust_document(a_key(), a_key("bob", seed=BOB_SEED), *keys, threshold=2),
        a_trust_document(a_key("carol", seed=CAROL_SEED), namespace="p_acme"),
    )
    await fleet.start_and_register()
    too_few = "too few signatures: {} of the 2 that namespace public demands"
    other = sign_manifest(published("2.0.0").manifest, seed=PUBLISHER_SEED)
    both = by(PUBLISHER_SEED, BOB_SEED)
    over_other_bytes = msgspec.structs.replace(
        both, manifest=msgspec.structs.replace(both.manifest, payload=other.payload)
    )

    assert await refused(fleet, wire, over_other_bytes) == ["the signature does not verify"]
    assert await refused(fleet, wire, by(PUBLISHER_SEED)) == [too_few.format(1)]
    for name, word in (("dan", "expired"), ("eve", "was revoked"), ("fay", "was revoked")):
        rules = await refused(fleet, wire, by(PUBLISHER_SEED, ended[name][0]))
        assert rules == [f"{name}'s key {word} at {SINCE}", too_few.format(1)]
    assert await refused(fleet, wire, by(CAROL_SEED)) == [
        "the key is trusted in another namespace, and not in public",
        too_few.format(0),
    ]
    assert await refused(fleet, wire, unsigned(by(PUBLISHER_SEED))) == [
        "the package is not signed",
        too_few.format(0),
    ]
    # What the catalog took before it ended stays valid; what was revoked with all it signed no.
    older = with_receipt(by(PUBLISHER_SEED, ended["eve"][0]), at=BEFORE)
    assert await refused(fleet, wire, older) == [
        f"eve's key was revoked at {SINCE}, with all that it ever signed",
        too_few.format(1),
    ]
    good = with_receipt(by(PUBLISHER_SEED, ended["dan"][0]), at=BEFORE)
    await fleet.desire(a_chain(wire.name, a_program(signed=good)))
    assert (await seen(fleet, wire, "attached")).warnings == ()


async def test_a_revoked_key_loads_nothing_after_a_restart_without_the_bus(
    fleet: Fleet, wire: Wire
) -> None:
    """The newest document is on the node; an older one that comes back is refused and said."""
    await trust(fleet, a_trust_document(a_key()))
    await fleet.start_and_register()
    assert await _stages(fleet, wire)
    revoked = a_key(revoked_at=SINCE, older_signatures="reject")
    await trust(fleet, a_trust_document(revoked, version=2))
    await fleet.until(lambda: _has_learnt(fleet, 2))
    fleet.stop()

    await trust(fleet, a_trust_document(a_key()))
    fleet.start()
    await fleet.until(lambda: _has_said(fleet, "trust.refuse"))

    assert await refused(fleet, wire, PACKAGE.signed) == [f"acme's key was revoked at {SINCE}"]


async def test_what_nobody_signed_runs_in_mode_normal_alone_and_everything_says_so(
    fleet: Fleet, wire: Wire
) -> None:
    """Trusted refuses it; normal loads it, with a warning at the start, in the chain and events."""
    await fleet.start_and_register()
    bare = with_receipt(unsigned(PACKAGE.signed))
    chain = a_chain(wire.name, a_program(signed=bare))
    await fleet.desire(chain)
    first = await seen(fleet, wire, "refused")
    assert first.refusal is not None
    assert first.refusal.reasons[0].rule == "no signature is by a trusted key"
    assert "trust_mode_normal" not in fleet.log()
    fleet.stop()

    fleet.settings = {"NODE_EXECUTOR_TRUST_MODE": "normal"}
    fleet.start()
    attached = await seen(fleet, wire, "attached")
    await fleet.until(lambda: _has_said(fleet, "chain.attach"))
    node = await fleet.scheduler.bucket(NODES).get(NODE)

    assert "trust_mode_normal" in fleet.log()
    assert attached.warnings[0].startswith("one: NOT VERIFIED (trust mode normal)")
    (event,) = [one.data for one in fleet.events if one.data.action == "chain.attach"]
    assert event.details.get("unverified") == {"one": attached.programs[0].unverified}, event
    assert node is not None
    assert node.value.trust_mode == "normal"
    await fleet.desire()
    await fleet.until(lambda: _has_said(fleet, "chain.detach"))
    (event,) = [one.data for one in fleet.events if one.data.action == "chain.detach"]
    assert event.details.get("unverified") == {"one": attached.programs[0].unverified}, event


async def test_without_a_document_a_stranger_is_refused_as_ever(fleet: Fleet, wire: Wire) -> None:
    """Certificates of the trust root count, and nothing else."""
    await fleet.start_and_register()

    assert await _stages(fleet, wire)
    stranger = sign(PACKAGE.manifest, archive=PACKAGE.archive, seed=STRANGER_SEED)
    assert await refused(fleet, wire, stranger) == ["no signature is by a trusted key"]


async def _stages(fleet: Fleet, wire: Wire) -> bool:
    request = StageChains(chains=(a_chain(wire.name, a_program()),))

    async def ask() -> bool:
        try:
            staged = await fleet.scheduler.request(
                STAGE_CHAINS.at(node=NODE), request, timeout_seconds=15
            )
        except FaultError:
            return False  # it has only just been started
        return len(staged.chains) == 1

    return bool(await fleet.until(ask))


async def _has_learnt(fleet: Fleet, version: int) -> bool:
    return any(
        one.data.action == "trust.learn" and one.data.details["version"] == version
        for one in fleet.events
    )


async def _has_said(fleet: Fleet, action: str) -> bool:
    return any(one.data.action == action for one in fleet.events)
