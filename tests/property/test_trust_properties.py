# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of trust for every document and every set of signatures."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.trust import TrustDocument, TrustedKey
from shared.dsse import SignatureError
from shared.moments import render_time
from shared.trust.packages import CheckedPackage, Trust, check_package
from tests.package_builders import NOW, PUBLISHER_SEED, a_manifest
from tests.support.trusting import (
    BOB_SEED,
    CAROL_SEED,
    a_key,
    a_trust,
    a_trust_document,
    signed_by,
    with_receipt,
)

SEEDS = (PUBLISHER_SEED, BOB_SEED, CAROL_SEED)
MANIFEST = a_manifest()
DAYS = st.integers(-5, 5)


def day(number: int) -> str:
    """A moment that many days from NOW."""
    return render_time(NOW + timedelta(days=number))


moments = st.one_of(st.just(""), DAYS.map(day))


@st.composite
def keys(draw: st.DrawFn) -> tuple[TrustedKey, ...]:
    """Some of the three seeds' keys, the first one always, held by at most three."""
    chosen = [PUBLISHER_SEED, *draw(st.lists(st.sampled_from(SEEDS[1:]), unique=True))]
    return tuple(
        a_key(
            "acme" if seed == PUBLISHER_SEED else draw(st.sampled_from(["acme", "bob", "carol"])),
            seed=seed,
            not_before="" if draw(st.booleans()) else day(-6),
            not_after=draw(moments),
            revoked_at=draw(moments),
            older_signatures=draw(st.sampled_from(["keep", "reject"])),
        )
        for seed in chosen
    )


documents = st.builds(
    lambda found, threshold: a_trust_document(*found, threshold=threshold),
    keys(),
    st.integers(1, 3),
)
signatures = st.lists(st.sampled_from(SEEDS), min_size=1, max_size=3, unique=True)
published = st.one_of(st.none(), DAYS)


def verdict(
    seeds: list[bytes], at: int | None, trust: Trust, now: datetime
) -> CheckedPackage | SignatureError:
    """What a node says."""
    package = signed_by(MANIFEST, *seeds)
    try:
        return check_package(
            package if at is None else with_receipt(package, at=day(at)), trust, now=now
        )
    except SignatureError as error:
        return error


@given(documents, signatures, published, DAYS)
def test_enough_different_holders_signed_whatever_is_accepted(
    document: TrustDocument, seeds: list[bytes], at: int | None, now: int
) -> None:
    """What is accepted has as many names as the threshold, each of a key of the document."""
    found = verdict(seeds, at, a_trust(document), NOW + timedelta(days=now))

    if isinstance(found, CheckedPackage):
        assert len(set(found.note.signers)) >= document.threshold
        assert set(found.note.signers) <= {key.name for key in document.keys}
    else:
        assert found.reasons


@given(documents, signatures, published, DAYS, st.tuples(st.integers(0, 2), DAYS))
def test_revoking_a_key_never_makes_anything_acceptable(
    document: TrustDocument,
    seeds: list[bytes],
    at: int | None,
    now: int,
    revocation: tuple[int, int],
) -> None:
    """Who was refused before is refused after."""
    index, since = revocation
    place = index % len(document.keys)
    revoked = tuple(
        msgspec.structs.replace(key, revoked_at=day(since), older_signatures="reject")
        if number == place and (not key.revoked_at or key.revoked_at > day(since))
        else key
        for number, key in enumerate(document.keys)
    )
    after = msgspec.structs.replace(document, keys=revoked)
    moment = NOW + timedelta(days=now)

    if isinstance(verdict(seeds, at, a_trust(document), moment), SignatureError):
        assert isinstance(verdict(seeds, at, a_trust(after), moment), SignatureError)


@given(signatures, DAYS, DAYS, DAYS)
def test_rotating_keys_refuses_nothing_that_was_published_before(
    seeds: list[bytes], at: int, since: int, now: int
) -> None:
    """A key that ends at a moment keeps what the catalog took earlier, at every later time."""
    before = a_trust_document(*(a_key(f"holder-{n}", seed=s) for n, s in enumerate(SEEDS)))
    ended = [msgspec.structs.replace(key, not_after=day(since)) for key in before.keys]
    after = a_trust_document(*ended, version=2)
    # The holder in the builder's certificate is `acme`; every signer may stand behind it here.
    before, after = (
        msgspec.structs.replace(
            one, keys=tuple(msgspec.structs.replace(k, is_foreign=True) for k in one.keys)
        )
        for one in (before, after)
    )
    found = verdict(seeds, at, a_trust(after), NOW + timedelta(days=now))

    assert isinstance(found, CheckedPackage) == (day(at) < day(since))


@given(documents, signatures, published, DAYS)
def test_mode_normal_says_exactly_what_trusted_refuses(
    document: TrustDocument, seeds: list[bytes], at: int | None, now: int
) -> None:
    """The same reasons, and the same acceptance where there is none."""
    moment = NOW + timedelta(days=now)
    strict = verdict(seeds, at, a_trust(document), moment)
    lenient = verdict(seeds, at, a_trust(document, mode="normal"), moment)

    assert isinstance(lenient, CheckedPackage)
    if isinstance(strict, CheckedPackage):
        assert lenient.note.problems == ()
    else:
        assert lenient.note.problems == strict.reasons
