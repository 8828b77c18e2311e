# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes from a registry: it is the package that was signed, or it is refused."""

from __future__ import annotations

import re
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RefusedError
from shared.foreign.objects import label_of, semver_of
from shared.identifiers import parse_token
from shared.oci.bpfman import read_labels
from shared.oci.cosign import FoundSignature, ImageSignatureError, check_signed, parse_key
from shared.oci.documents import (
    MANIFEST,
    ImageManifest,
    OciContent,
    OciError,
    check_blob,
    describe,
    parse_document,
)
from shared.oci.packages import CarriedPackage, package_content, read_package
from shared.oci.references import OciReference, parse_reference
from shared.package_archive import write_archive
from shared.versions import parse_version
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, sign
from tests.support.cosigning import BUNDLE_TYPE, bundle, new_key, public_pem

PACKAGE = CarriedPackage(sign(a_manifest()), a_manifest(), TRUST_ROOT.hex(), write_archive(FILES))
CONTENT: OciContent = package_content(PACKAGE)
KEY = new_key()
BUNDLE = bundle(CONTENT.root.digest, KEY)
WORDS = st.text(st.characters(codec="utf-8"), max_size=40)
PARTS = st.from_regex(r"[a-z0-9]{1,6}([._-][a-z0-9]{1,6}){0,2}", fullmatch=True)


def damaged(data: bytes, place: int, value: int) -> bytes:
    """The bytes with another one at a place."""
    changed = bytearray(data)
    changed[place % len(changed)] ^= value
    return bytes(changed)


@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_no_changed_byte_of_an_artifact_passes(place: int, value: int) -> None:
    """Of the manifest or of any layer, even where all digests around it are made right again."""
    digest = CONTENT.root.digest
    changed = damaged(CONTENT.documents[digest][1], place, value)
    try:
        document = parse_document(changed, MANIFEST, path="x")
        assert isinstance(document, ImageManifest)
        found = read_package(
            document, lambda wanted: check_blob(CONTENT.blobs.get(wanted.digest, b""), wanted)
        )
    except RefusedError:
        pass
    else:
        assert found == PACKAGE  # an annotation changed, which nobody believes
    for layer, data in CONTENT.blobs.items():
        if data != b"{}":
            blobs = {**CONTENT.blobs, layer: damaged(data, place, value)}
            manifest = parse_document(CONTENT.documents[digest][1], MANIFEST, path="x")
            assert isinstance(manifest, ImageManifest)
            with suppress(OciError):
                read_package(manifest, lambda wanted, held=blobs: held[wanted.digest])  # type: ignore[misc]
                raise AssertionError(layer)


@given(st.binary(max_size=300))
def test_no_document_is_read_by_accident(data: bytes) -> None:
    """Documents, labels and bundles of any bytes are read or refused, and nothing else happens."""
    with suppress(OciError):
        parse_document(data, MANIFEST, path="x")
    with suppress(OciError):
        read_labels(data)
    with suppress(ImageSignatureError):
        check_signed(
            [FoundSignature("x", BUNDLE_TYPE, data)],
            digest=CONTENT.root.digest,
            key=parse_key(public_pem(KEY), path="x"),
        )


@given(st.integers(0, 1 << 12), st.integers(1, 255))
def test_no_changed_bundle_signs_another_image(place: int, value: int) -> None:
    """Whatever byte changes: it signs the same image, or nothing."""
    found = FoundSignature("x", BUNDLE_TYPE, damaged(BUNDLE, place, value))
    key = parse_key(public_pem(KEY), path="x")

    other = describe(MANIFEST, b"another").digest
    with suppress(ImageSignatureError):
        check_signed([found], digest=other, key=key)
        raise AssertionError(found)


@given(PARTS, st.lists(PARTS, min_size=1, max_size=3), st.booleans())
def test_references_are_written_as_they_are_read(
    host: str,
    repository: list[str],
    has_digest: bool,
) -> None:
    """With any tag, with and without digest."""
    digest = CONTENT.root.digest if has_digest else ""
    wanted = OciReference(f"{host.replace('_', '-')}:5000", "/".join(repository), "v1", digest)

    assert parse_reference(str(wanted)) == wanted


@given(WORDS)
def test_any_text_is_no_reference_or_a_safe_one(text: str) -> None:
    """Host, repository, tag and digest hold nothing that means something in a URL."""
    with suppress(RefusedError):
        found = parse_reference(f"oci://{text}")
        assert re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", found.host)
        assert re.fullmatch(r"[a-z0-9._/-]+", found.repository)
        assert ".." not in found.repository
        assert re.fullmatch(r"[A-Za-z0-9._:-]+", found.manifest)


@given(WORDS)
def test_names_and_versions_of_others_become_ours_or_nothing(text: str) -> None:
    """A label is a token, a version is SemVer."""
    with suppress(RefusedError):
        assert parse_token(label_of(text, path="name"), path="name")
    if version := semver_of(text):
        assert str(parse_version(version, path="version")) == version
