# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages that come from another installation: signed anew, and nothing of before is lost."""

from __future__ import annotations

import msgspec
import pytest

from shared.contracts.catalog import DsseEnvelope, PackageOrigin, SignedPackage
from shared.dsse import (
    SignatureError,
    manifest_digest,
    public_key_of,
    sign_certificate,
    verify_signed_package,
)
from shared.package_origins import check_origins, signed_anew
from shared.provenance.statement import (
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    BuildDefinition,
    Builder,
    ResourceDescriptor,
    RunDetails,
    SlsaProvenance,
    Statement,
    sign_statement,
)
from shared.trust.packages import check_package
from tests.package_builders import (
    NOW,
    PUBLISHER_SEED,
    TRUST_ROOT,
    a_certificate,
    a_manifest,
    sign,
)
from tests.support.trusting import a_key, a_trust, a_trust_document

ELSEWHERE_SEED = b"the trust root of somebody else."
ELSEWHERE = public_key_of(ELSEWHERE_SEED)
THEIR_SEED = b"the publisher of somebody else.."
THIRD_SEED = b"the trust root of a third place."


def there() -> SignedPackage:
    """As another installation published it."""
    return sign(
        a_manifest(),
        seed=THEIR_SEED,
        certificate=a_certificate(THEIR_SEED, publisher="upstream"),
        trust_seed=ELSEWHERE_SEED,
    )


def here(
    signed: SignedPackage,
    trust_root: bytes = ELSEWHERE,
    *,
    provenance: DsseEnvelope | None = None,
) -> SignedPackage:
    """Signed anew by the publisher of these tests."""
    return signed_anew(
        signed,
        trust_root=trust_root.hex(),
        seed=PUBLISHER_SEED,
        certificate=sign(a_manifest()).certificate,
        provenance=provenance,
    )


def reasons(signed: SignedPackage) -> list[tuple[str, str]]:
    """Why its origins are refused."""
    with pytest.raises(SignatureError) as caught:
        check_origins(signed)
    return [(reason.path, reason.rule) for reason in caught.value.reasons]


def test_digests_stay_and_both_signatures_hold() -> None:
    """The new publisher is believed here, and the earlier one is named with its trust root."""
    before, after = there(), here(there())

    _, certificate = verify_signed_package(after, trust_root=TRUST_ROOT)
    assert certificate.publisher == "acme"
    assert [one.publisher for one in check_origins(after)] == ["upstream"]
    assert after.origins[0].trust_root == ELSEWHERE.hex()
    assert manifest_digest(after) == manifest_digest(before)
    assert after.archive_sha256 == before.archive_sha256


def test_foreign_keys_of_a_trust_document_count_beside_the_new_signature() -> None:
    """Where the operator trusts the upstream's key, its signature is one of those demanded."""
    upstream = a_key("upstream", seed=THEIR_SEED, is_foreign=True)
    both = a_trust(a_trust_document(a_key("acme"), upstream, threshold=2))
    alone = a_trust(a_trust_document(a_key("acme"), a_key("bob", seed=THIRD_SEED), threshold=2))

    checked = check_package(here(there()), both, now=NOW, audience="public")

    assert set(checked.note.signers) == {"acme", "upstream"}
    with pytest.raises(SignatureError, match="too few signatures"):
        check_package(here(there()), alone, now=NOW, audience="public")


def test_origins_open_nothing() -> None:
    """A package whose own signature is not of this installation is refused, whatever it lists."""
    stranger = msgspec.structs.replace(there(), origins=here(there()).origins)

    with pytest.raises(SignatureError):
        verify_signed_package(stranger, trust_root=TRUST_ROOT)


def test_a_package_that_goes_on_keeps_every_origin() -> None:
    """In the order in which it was published; coming back, none is there twice."""
    second = here(there())
    certificate = sign_certificate(a_certificate(THEIR_SEED), seed=THIRD_SEED)
    third = signed_anew(
        second, trust_root=TRUST_ROOT.hex(), seed=THEIR_SEED, certificate=certificate
    )
    back = here(third, public_key_of(THIRD_SEED))
    again = signed_anew(back, trust_root=TRUST_ROOT.hex(), seed=THEIR_SEED, certificate=certificate)

    roots = [ELSEWHERE.hex(), TRUST_ROOT.hex(), public_key_of(THIRD_SEED).hex()]
    assert [one.trust_root for one in third.origins] == roots[:2]
    assert [one.trust_root for one in back.origins] == roots
    assert [one.trust_root for one in again.origins] == [roots[0], roots[2], roots[1]]


def test_what_the_same_key_says_of_the_build_is_kept() -> None:
    """Of another key, or about another archive, it is no word of that publisher."""
    good, other = statement(there().archive_sha256), statement("ab" * 32)
    signed = here(there(), provenance=sign_statement(good, seed=THEIR_SEED))
    (origin,) = signed.origins

    assert origin.provenance == sign_statement(good, seed=THEIR_SEED)
    for told, seed in ((good, PUBLISHER_SEED), (other, THEIR_SEED)):
        envelope = sign_statement(told, seed=seed)
        assert here(there(), provenance=envelope).origins[0].provenance is None
        forged = msgspec.structs.replace(origin, provenance=envelope)
        ((path, _),) = reasons(msgspec.structs.replace(signed, origins=(forged,)))
        assert path.startswith("signed.origins[0].provenance")


def statement(archive_sha256: str) -> Statement:
    """How something of this digest was built."""
    return Statement(
        type=STATEMENT_TYPE,
        subject=(ResourceDescriptor(digest={"sha256": archive_sha256}),),
        predicateType=PREDICATE_TYPE,
        predicate=SlsaProvenance(
            buildDefinition=BuildDefinition(buildType="https://example.org/build"),
            runDetails=RunDetails(builder=Builder(id="https://example.org/builder")),
        ),
    )


def test_what_was_not_signed_there_is_not_taken_over() -> None:
    """Neither under another trust root, nor with an origin that is none."""
    with pytest.raises(SignatureError):
        here(there(), TRUST_ROOT)
    forged = msgspec.structs.replace(there(), origins=here(there()).origins * 2)
    with pytest.raises(SignatureError):
        here(forged)


def test_origins_that_are_none_are_refused_by_name() -> None:
    """A signature over another manifest, a certificate of another root, one that is there twice."""
    good = here(there())
    (origin,) = good.origins
    other = sign(a_manifest(version="2.0.0"), seed=THEIR_SEED).manifest.signatures
    wrong: list[tuple[PackageOrigin, str, str]] = [
        (
            msgspec.structs.replace(origin, signatures=other),
            "signed.origins[0].manifest.signatures[0]",
            "the signature does not verify",
        ),
        (
            msgspec.structs.replace(origin, trust_root=TRUST_ROOT.hex()),
            "signed.origins[0].certificate.signatures",
            "no signature is by a trusted key",
        ),
    ]

    for one, path, rule in wrong:
        assert reasons(msgspec.structs.replace(good, origins=(one,))) == [(path, rule)]
    assert reasons(msgspec.structs.replace(good, origins=(origin, origin))) == [
        ("signed.origins[1]", "is origins[0] once more")
    ]
