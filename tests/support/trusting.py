# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Trust documents and packages signed by several, so that a test shows what it is about."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.contracts.catalog import SignedPackage
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.trust import TrustDocument, TrustedKey
from shared.dsse import public_key_of, sign_manifest
from shared.moments import render_time
from shared.trust.packages import Trust
from shared.trust.receipts import derive_clock_seed, issue_receipt
from tests.package_builders import NOW, PUBLISHER_SEED, TRUST_ROOT, a_certificate, sign

BOB_SEED: Final = b"the second holder of some key..."
CAROL_SEED: Final = b"the third one, who signs seldom."
CLOCK_SEED: Final = derive_clock_seed(b"seed of a catalog's credentials.")
ISSUED: Final = "2026-01-01T00:00:00Z"


def a_key(name: str = "acme", *, seed: bytes = PUBLISHER_SEED, **changes: Any) -> TrustedKey:
    """The key of a seed, for everything and for ever."""
    return TrustedKey(key=public_key_of(seed).hex(), name=name, **changes)


def a_trust_document(*keys: TrustedKey, **changes: Any) -> TrustDocument:
    """For `public`, with one clock."""
    fields = {
        "namespace": "public",
        "version": 1,
        "issued_at": ISSUED,
        "clocks": (public_key_of(CLOCK_SEED).hex(),),
    }
    return TrustDocument(**{**fields, **changes, "keys": keys})


def a_trust(*documents: TrustDocument, **changes: Any) -> Trust:
    """The tests' trust root and these documents."""
    by_namespace = {document.namespace: document for document in documents}
    return Trust(**{"root": TRUST_ROOT, "documents": by_namespace, **changes})


def signed_by(manifest: PackageManifest, *seeds: bytes, archive: bytes = b"") -> SignedPackage:
    """One signature a seed, in their order; the certificate is the first one's, named `acme`."""
    first = seeds[0]
    package = sign(manifest, seed=first, certificate=a_certificate(first), archive=archive)
    envelopes = [sign_manifest(manifest, seed=seed) for seed in seeds]
    signatures = tuple(one.signatures[0] for one in envelopes)
    return msgspec.structs.replace(
        package, manifest=msgspec.structs.replace(package.manifest, signatures=signatures)
    )


def unsigned(package: SignedPackage) -> SignedPackage:
    """Without any signature."""
    bare = {
        name: msgspec.structs.replace(getattr(package, name), signatures=())
        for name in ("manifest", "certificate")
    }
    return msgspec.structs.replace(package, **bare)


def with_receipt(
    signed: SignedPackage, *, at: str = "", audience: str = "public", seed: bytes = CLOCK_SEED
) -> SignedPackage:
    """As the catalog hands it out; published at NOW, unless said otherwise."""
    receipt = issue_receipt(
        signed, audience=audience, published_at=at or render_time(NOW), seed=seed
    )
    return msgspec.structs.replace(signed, receipt=receipt)
