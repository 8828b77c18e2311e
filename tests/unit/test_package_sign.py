# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages that several sign: signatures gathered in a file beside the archive."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cli.package_build import BuiltPackage
from cli.package_provenance import stored_statement, write_statement
from cli.package_publish import Publisher, file_beside, write_built
from cli.package_sign import (
    OtherPackageError,
    stored_publication,
    unsigned,
    with_signature,
    with_statement,
    write_publication,
)
from cli.package_source import PUBLICATION_SUFFIX
from services.catalog.trusting import check_caller
from shared.canonical import sha256_hex
from shared.dsse import sign_certificate
from shared.package_archive import write_archive
from shared.provenance.building import build_statement
from shared.trust.packages import check_package
from tests.package_builders import (
    FILES,
    NOW,
    PUBLISHER_SEED,
    STRANGER_SEED,
    TRUST_SEED,
    a_certificate,
    a_manifest,
)
from tests.support.trusting import BOB_SEED, CAROL_SEED, a_key, a_trust, a_trust_document

BUILT = BuiltPackage(manifest=a_manifest(), archive=write_archive(FILES), elf=())
HOLDERS = {"acme": PUBLISHER_SEED, "bob": BOB_SEED, "carol": CAROL_SEED}


def publisher(name: str) -> Publisher:
    """One of three."""
    seed = HOLDERS[name]
    return Publisher(seed, sign_certificate(a_certificate(seed, publisher=name), seed=TRUST_SEED))


def test_two_of_three_sign_one_after_the_other(tmp_path: Path) -> None:
    """Handed on as a file, the signatures reach the threshold; one does not."""
    keys = [a_key(name, seed=seed) for name, seed in HOLDERS.items()]
    trust = a_trust(a_trust_document(*keys, threshold=2))
    archive = tmp_path / "one-1.0.0.l3afpkg"
    write_built(BUILT, archive)
    file = file_beside(archive, PUBLICATION_SUFFIX)

    for name in ("bob", "carol"):
        earlier = stored_publication(archive, BUILT)
        write_publication(with_signature(earlier, BUILT, publisher(name)), file)

    prepared = stored_publication(archive, BUILT)
    assert prepared is not None
    checked = check_package(prepared.signed, trust, now=NOW, audience="public")
    assert (checked.note.signers, checked.publisher) == (("bob", "carol"), "bob")


def test_who_signed_already_signs_no_second_time() -> None:
    """A second signature of one key would be refused by everybody."""
    once = with_signature(None, BUILT, publisher("bob"))

    assert with_signature(once, BUILT, publisher("bob")) == once


def test_signatures_of_another_package_are_refused(tmp_path: Path) -> None:
    """A file that was left from an earlier build is not published with this one."""
    archive = tmp_path / "one-1.0.0.l3afpkg"
    write_publication(
        with_signature(None, BUILT, publisher("bob")), file_beside(archive, PUBLICATION_SUFFIX)
    )
    other = BuiltPackage(manifest=a_manifest(version="1.0.1"), archive=BUILT.archive, elf=())

    with pytest.raises(OtherPackageError, match="have it signed anew"):
        stored_publication(archive, other)


def test_the_statement_of_the_build_is_signed_once_by_the_first(tmp_path: Path) -> None:
    """It lies beside the archive; whoever signs first says it, the others add nothing."""
    archive = tmp_path / "one-1.0.0.l3afpkg"
    statement = build_statement(
        BUILT.manifest,
        sha256_hex(BUILT.archive),
        version="1",
        invocation="run",
        started_at="",
        finished_at="",
    )
    write_statement(statement, archive)
    first = with_statement(
        with_signature(None, BUILT, publisher("bob")), stored_statement(archive), publisher("bob")
    )
    second = with_statement(
        with_signature(first, BUILT, publisher("carol")), statement, publisher("carol")
    )

    assert first.provenance is not None
    assert second.provenance == first.provenance
    assert len(second.signed.manifest.signatures) == 2


def test_what_somebody_elsewhere_signed_is_published_with_their_signature(tmp_path: Path) -> None:
    """Its file is taken as it is; the operator listed the key, and the own signature hurts not."""
    archive = tmp_path / "one-1.0.0.l3afpkg"
    foreign = Publisher(
        STRANGER_SEED,
        sign_certificate(a_certificate(STRANGER_SEED, publisher="up"), seed=STRANGER_SEED),
    )
    write_publication(
        with_signature(None, BUILT, foreign), file_beside(archive, PUBLICATION_SUFFIX)
    )
    trust = a_trust(a_trust_document(a_key("upstream", seed=STRANGER_SEED, is_foreign=True)))

    prepared = with_signature(stored_publication(archive, BUILT), BUILT, publisher("bob"))

    checked = check_package(prepared.signed, trust, now=NOW, audience="public")
    check_caller(checked, "bob")
    assert checked.note.signers == ("upstream",)


def test_an_unsigned_package_says_who_publishes_it_and_nothing_else() -> None:
    """Without a signature, and so refused wherever the mode is not `normal`."""
    prepared = unsigned(BUILT, "paula")
    normal = check_package(prepared.signed, a_trust(mode="normal"), now=NOW, audience="public")

    assert normal.publisher == "paula"
    assert prepared.signed.manifest.signatures == prepared.signed.certificate.signatures == ()
    assert msgspec.json.decode(msgspec.json.encode(prepared), type=type(prepared)) == prepared
