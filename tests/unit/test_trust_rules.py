# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whose signatures of a package count: every refusal by its name, at both ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from shared.contracts.catalog import PublisherCertificate, SignedPackage
from shared.contracts.trust import TrustDocument
from shared.dsse import MANIFEST_TYPE, SignatureError, public_key_of, sign_envelope
from shared.errors import Reason
from shared.moments import render_time
from shared.trust.packages import CheckedPackage, Trust, check_package
from tests.package_builders import (
    NOW,
    PUBLISHER_SEED,
    STRANGER_SEED,
    TRUST_SEED,
    a_certificate,
    a_manifest,
    sign,
)
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

BEFORE = render_time(NOW - timedelta(days=1))
AFTER = render_time(NOW + timedelta(days=1))
LATER = NOW + timedelta(days=30)
MANIFEST = a_manifest()


def publishing(signed: SignedPackage, trust: Trust, audience: str = "public") -> CheckedPackage:
    """What the catalog asks, at NOW."""
    return check_package(signed, trust, now=NOW, audience=audience)


def loading(signed: SignedPackage, trust: Trust) -> CheckedPackage:
    """What a node asks, a month later."""
    return check_package(signed, trust, now=LATER)


def refused(check: Any, signed: SignedPackage, *documents: TrustDocument, **more: Any) -> list[str]:
    """The rules by which a package is refused."""
    with pytest.raises(SignatureError) as caught:
        check(signed, a_trust(*documents), **more)
    assert caught.value.refusal().code == "verification_failed"
    return [reason.rule for reason in caught.value.reasons]


BOTH = pytest.mark.parametrize("check", [publishing, loading])


@BOTH
def test_without_a_document_certificates_count_as_ever(check: Any) -> None:
    """An installation that has none behaves as before; a stranger's package is refused there."""
    checked = check(sign(MANIFEST), a_trust())

    assert (checked.manifest, checked.publisher) == (MANIFEST, "acme")
    assert (checked.note.document, checked.note.signers) == (0, ("acme",))
    stranger = sign(MANIFEST, seed=STRANGER_SEED)
    assert refused(check, stranger) == ["no signature is by a trusted key"]


@BOTH
def test_with_a_document_its_keys_count_and_no_certificate_does(check: Any) -> None:
    """A certificate of the trust root alone opens nothing any more: keys are listed or nobody's."""
    known = sign(MANIFEST, trust_seed=STRANGER_SEED)

    assert check(known, a_trust(a_trust_document(a_key()))).note.document == 1
    assert refused(check, sign(MANIFEST), a_trust_document()) == [
        "no signature is by a trusted key"
    ]


@BOTH
def test_other_bytes_under_a_trusted_signature_are_refused(check: Any) -> None:
    """The signature of one manifest does not stand for another."""
    other = sign(a_manifest(version="9.9.9"))
    forged = msgspec.structs.replace(
        sign(MANIFEST),
        manifest=msgspec.structs.replace(sign(MANIFEST).manifest, payload=other.manifest.payload),
    )

    assert refused(check, forged, a_trust_document(a_key())) == ["the signature does not verify"]


@BOTH
def test_an_expired_key_is_refused_by_name(check: Any) -> None:
    """What was not published before its end is not signed."""
    rules = refused(check, sign(MANIFEST), a_trust_document(a_key(not_after=BEFORE)))

    assert [rule.partition(";")[0] for rule in rules] == [f"acme's key expired at {BEFORE}"]


@BOTH
def test_a_key_that_is_not_valid_yet_is_refused_by_name(check: Any) -> None:
    """A key signs from its own day on; before that nothing that was published is its."""
    document = a_trust_document(a_key(not_before=AFTER))

    assert refused(check, with_receipt(sign(MANIFEST)), document) == [
        f"acme's key is valid from {AFTER} on"
    ]


@BOTH
@pytest.mark.parametrize("policy", ["keep", "reject"])
def test_a_revoked_key_signs_nothing_new(check: Any, policy: Any) -> None:
    """Whatever holds of older signatures, what is not known to be older is refused by name."""
    key = a_key(revoked_at=BEFORE, older_signatures=policy)
    rules = refused(check, sign(MANIFEST), a_trust_document(key))

    assert [rule.partition(";")[0] for rule in rules] == [f"acme's key was revoked at {BEFORE}"]


def test_an_older_signature_is_one_that_the_catalog_took_before() -> None:
    """By policy what was published before the revocation stays valid, or does not."""
    older = with_receipt(sign(MANIFEST))
    kept = a_trust_document(a_key(revoked_at=AFTER, older_signatures="keep"))
    rejected = a_trust_document(a_key(revoked_at=AFTER, older_signatures="reject"))

    assert loading(older, a_trust(kept)).note.signers == ("acme",)
    assert refused(loading, older, rejected) == [
        f"acme's key was revoked at {AFTER}, with all that it ever signed"
    ]


def test_what_nobody_vouches_for_is_not_older() -> None:
    """Without the catalog's receipt a signature counts as made now, and the refusal says so."""
    kept = a_trust_document(a_key(revoked_at=AFTER))

    (rule,) = refused(loading, sign(MANIFEST), kept)

    assert rule.startswith(f"acme's key was revoked at {AFTER}; nothing proves")


@pytest.mark.parametrize("forger", [PUBLISHER_SEED, STRANGER_SEED, TRUST_SEED])
def test_a_publisher_cannot_make_a_signature_older(forger: bytes) -> None:
    """A receipt by any key but the catalog's proves nothing, and the refusal names it."""
    backdated = with_receipt(sign(MANIFEST), at=BEFORE, seed=forger)
    rules = refused(loading, backdated, a_trust_document(a_key(revoked_at=AFTER)))

    assert rules[0].startswith(f"acme's key was revoked at {AFTER}; nothing proves")
    assert rules[1] == "no signature is by a trusted key"


def test_another_packages_receipt_proves_nothing() -> None:
    """A receipt binds the manifest, the archive and the namespace."""
    other = with_receipt(sign(a_manifest(version="0.9.0")))
    borrowed = msgspec.structs.replace(sign(MANIFEST), receipt=other.receipt)
    rules = refused(loading, borrowed, a_trust_document(a_key(revoked_at=AFTER)))

    assert rules[1] == "is another package's receipt"


def test_rotation_keeps_old_releases_valid() -> None:
    """The old key ends, the new one begins: what was published stays, new things need the new."""
    rotated = a_trust_document(
        a_key(not_after=AFTER), a_key(seed=BOB_SEED, not_before=AFTER), version=2
    )
    old = with_receipt(sign(MANIFEST))
    new = with_receipt(signed_by(MANIFEST, BOB_SEED), at=render_time(LATER))

    assert loading(old, a_trust(rotated)).note.signers == ("acme",)
    assert loading(new, a_trust(rotated)).note.signers == ("acme",)
    late = with_receipt(sign(MANIFEST), at=render_time(LATER))
    assert refused(loading, late, rotated) == [f"acme's key expired at {AFTER}"]


@BOTH
def test_too_few_of_a_threshold_are_refused_by_name(check: Any) -> None:
    """Two of three holders sign; one does not do, and neither do two keys of one holder."""
    holders = (a_key(), a_key("bob", seed=BOB_SEED), a_key("carol", seed=CAROL_SEED))
    document = a_trust_document(*holders, threshold=2)

    both = check(signed_by(MANIFEST, PUBLISHER_SEED, CAROL_SEED), a_trust(document))
    assert both.note.signers == ("acme", "carol")
    assert refused(check, signed_by(MANIFEST, PUBLISHER_SEED), document) == [
        "too few signatures: 1 of the 2 that namespace public demands"
    ]
    twin = a_trust_document(a_key(), a_key(seed=BOB_SEED), threshold=2)
    assert refused(check, signed_by(MANIFEST, PUBLISHER_SEED, BOB_SEED), twin) == [
        "too few signatures: 1 of the 2 that namespace public demands"
    ]


@BOTH
def test_of_a_threshold_every_signature_that_does_not_count_is_named(check: Any) -> None:
    """A revoked and an expired one beside a good one: all three facts are said."""
    document = a_trust_document(
        a_key(),
        a_key("bob", seed=BOB_SEED, revoked_at=BEFORE),
        a_key("carol", seed=CAROL_SEED, not_after=BEFORE),
        threshold=2,
    )
    rules = refused(check, signed_by(MANIFEST, PUBLISHER_SEED, BOB_SEED, CAROL_SEED), document)

    assert [rule.partition(";")[0] for rule in rules] == [
        f"bob's key was revoked at {BEFORE}",
        f"carol's key expired at {BEFORE}",
        "too few signatures: 1 of the 2 that namespace public demands",
    ]


def test_a_key_of_another_namespace_is_refused_by_name() -> None:
    """At both ends: a key of `p_acme` signs nothing public, nor a public one anything there."""
    public = a_trust_document(a_key("bob", seed=BOB_SEED))
    private = a_trust_document(a_key(), namespace="p_acme")
    rule = "the key is trusted in another namespace, and not in {}"

    assert refused(publishing, sign(MANIFEST), public, private) == [rule.format("public")]
    assert refused(loading, with_receipt(sign(MANIFEST)), public, private) == [
        rule.format("public")
    ]
    bobs = signed_by(MANIFEST, BOB_SEED)
    assert refused(publishing, bobs, public, private, audience="p_acme") == [rule.format("p_acme")]
    assert refused(loading, with_receipt(bobs, audience="p_acme"), public, private) == [
        rule.format("p_acme")
    ]


def test_a_key_of_another_namespace_is_named_to_whoever_holds_it_alone() -> None:
    """A key id without a signature by it says nothing about other namespaces."""
    private = a_trust_document(a_key(), namespace="p_acme")
    forged = sign(MANIFEST, seed=STRANGER_SEED)
    (signature,) = forged.manifest.signatures
    (stolen,) = sign(MANIFEST).manifest.signatures
    claimed = msgspec.structs.replace(signature, keyid=stolen.keyid)
    envelope = msgspec.structs.replace(forged.manifest, signatures=(claimed,))
    package = msgspec.structs.replace(forged, manifest=envelope)

    assert refused(publishing, package, a_trust_document(), private) == [
        "no signature is by a trusted key"
    ]


def test_what_lies_in_a_namespace_is_loaded_with_its_keys() -> None:
    """The receipt says where a package lies, so that a node looks into the right document."""
    public = a_trust_document(a_key("bob", seed=BOB_SEED))
    private = a_trust_document(a_key(), namespace="p_acme")
    package = sign(MANIFEST)

    assert publishing(package, a_trust(public, private), "p_acme").note.namespace == "p_acme"
    loaded = loading(with_receipt(package, audience="p_acme"), a_trust(public, private))
    assert (loaded.note.namespace, loaded.note.signers) == ("p_acme", ("acme",))


def test_once_public_has_a_document_a_namespace_without_one_trusts_nobody() -> None:
    """None by default."""
    rules = refused(publishing, sign(MANIFEST), a_trust_document(a_key()), audience="p_acme")

    assert rules == ["namespace p_acme trusts no key: it has no trust document"]


@BOTH
def test_a_key_signs_only_for_its_names_and_in_its_role(check: Any) -> None:
    """Globs and roles of the document hold."""
    names = a_trust_document(a_key(packages=("edge-*",)))
    role = a_trust_document(a_key(roles=("provenance",)))

    assert refused(check, sign(MANIFEST), names) == [
        "acme's key may not sign for this package name"
    ]
    assert refused(check, sign(MANIFEST), role) == ["acme's key may not sign a package"]


@BOTH
def test_a_foreign_key_counts_where_the_operator_named_it(check: Any) -> None:
    """A package of another installation, certificate and all, is taken where its key is listed."""
    foreign = sign(
        MANIFEST,
        seed=STRANGER_SEED,
        certificate=a_certificate(STRANGER_SEED, publisher="upstream"),
        trust_seed=STRANGER_SEED,
    )
    listed = a_trust_document(a_key("up", seed=STRANGER_SEED, is_foreign=True))

    assert check(foreign, a_trust(listed)).is_foreign
    assert not check(sign(MANIFEST), a_trust(a_trust_document(a_key()))).is_foreign


@BOTH
def test_a_certificate_of_somebody_else_is_refused(check: Any) -> None:
    """Who counts as publisher is one of those who signed."""
    claimed = sign(MANIFEST, certificate=a_certificate(publisher="bob"))
    others = sign(MANIFEST, certificate=a_certificate(STRANGER_SEED))
    rule = "the certificate belongs to none of those whose signatures count"

    assert refused(check, claimed, a_trust_document(a_key())) == [rule]
    assert refused(check, others, a_trust_document(a_key())) == [rule]


def test_a_clock_that_is_behind_brings_no_key_back() -> None:
    """The present is never before the document was issued."""
    document = a_trust_document(
        a_key(revoked_at=render_time(NOW), older_signatures="reject"), issued_at=AFTER
    )
    older = with_receipt(sign(MANIFEST), at=BEFORE)

    with pytest.raises(SignatureError, match="with all that it ever signed"):
        check_package(older, a_trust(document), now=NOW - timedelta(days=3650))


@BOTH
@pytest.mark.parametrize("documents", [(), (a_trust_document(a_key()),)])
def test_an_unsigned_package_passes_in_mode_normal_alone(
    check: Any, documents: tuple[TrustDocument, ...]
) -> None:
    """Trusted refuses it; normal takes it and keeps why it should not have."""
    with pytest.raises(SignatureError):
        check(unsigned(sign(MANIFEST)), a_trust(*documents))

    checked = check(unsigned(sign(MANIFEST)), a_trust(*documents, mode="normal"))

    assert (checked.manifest, checked.publisher) == (MANIFEST, "acme")
    assert checked.note.problems
    assert isinstance(checked.note.problems[0], Reason)
    assert checked.note.warning.startswith("NOT VERIFIED (trust mode normal): signed.")


@BOTH
def test_what_is_signed_well_is_so_in_mode_normal_too(check: Any) -> None:
    """The mode adds no problem where there is none."""
    checked = check(sign(MANIFEST), a_trust(mode="normal"))

    assert (checked.note.problems, checked.note.warning) == ((), "")


@pytest.mark.parametrize("payload", [b"not json", b"{}"])
def test_what_has_no_manifest_passes_in_no_mode(payload: bytes) -> None:
    """Normal bypasses signatures, not sense."""
    nonsense = sign_envelope(MANIFEST_TYPE, payload, seed=STRANGER_SEED)
    package = msgspec.structs.replace(sign(MANIFEST), manifest=nonsense)

    with pytest.raises(SignatureError):
        publishing(package, a_trust(mode="normal"))


def test_an_unsigned_certificate_needs_no_key() -> None:
    """It says only who asks to publish."""
    certificate = PublisherCertificate(key="", publisher="acme", issued_at="")
    package = sign(MANIFEST, certificate=certificate)

    assert publishing(package, a_trust(mode="normal")).publisher == "acme"
    assert public_key_of(PUBLISHER_SEED)
