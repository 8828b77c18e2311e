# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""OCI content: references, documents, our artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import pytest

from shared.errors import RefusedError, VerificationError
from shared.oci.documents import (
    INDEX,
    MANIFEST,
    Descriptor,
    ImageManifest,
    OciContent,
    OciError,
    check_blob,
    describe,
    parse_document,
)
from shared.oci.packages import (
    ARCHIVE_TYPE,
    SIGNATURES_TYPE,
    CarriedPackage,
    PackageSignatures,
    package_content,
    read_package,
)
from shared.oci.references import is_loopback, parse_reference
from shared.package_archive import write_archive
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, sign

ARCHIVE = write_archive(FILES)
SIGNED = sign(a_manifest())
ROOT = TRUST_ROOT.hex()


def content() -> OciContent:
    """The package `one` as an artifact."""
    return package_content(CarriedPackage(SIGNED, a_manifest(), ROOT, ARCHIVE))


def manifest_of(held: OciContent) -> ImageManifest:
    """The artifact's manifest."""
    media_type, data = held.documents[held.root.digest]
    document = parse_document(data, media_type, path="")
    assert isinstance(document, ImageManifest)
    return document


def fetch_from(blobs: Mapping[str, bytes]) -> Callable[[Descriptor], bytes]:
    """What a registry would send."""
    return lambda wanted: blobs[wanted.digest]


@pytest.mark.parametrize(
    ("text", "host", "repository", "manifest"),
    [
        ("oci://ghcr.io/a/b", "ghcr.io", "a/b", "latest"),
        ("oci://ghcr.io:5000/a:1.0", "ghcr.io:5000", "a", "1.0"),
        (f"oci://h/a:1@sha256:{'0' * 64}", "h", "a", f"sha256:{'0' * 64}"),
        ("oci://[::1]:5000/a/b_c", "[::1]:5000", "a/b_c", "latest"),
        ("oci://docker.io/alpine", "docker.io", "library/alpine", "latest"),
        ("oci://index.docker.io/me/a", "docker.io", "me/a", "latest"),
    ],
)
def test_references_are_read(text: str, host: str, repository: str, manifest: str) -> None:
    """As Docker and bpfman write them, with the scheme in front."""
    found = parse_reference(text)

    assert (found.host, found.repository, found.manifest) == (host, repository, manifest)


@pytest.mark.parametrize(
    "text",
    [
        "ghcr.io/a/b",
        "oci://",
        "oci://host",
        "oci://host/",
        "oci://host/A",
        "oci://host/a/../b",
        "oci://user@host/a",
        "oci://host/a:..",
        "oci://host/a@sha256:12",
        "oci://host/a?b",
        "oci://host/a\n",
        f"oci://host/{'a' * 256}",
        "https://host/a",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    """Nothing of it ever becomes part of a URL."""
    with pytest.raises(RefusedError, match="must be oci://"):
        parse_reference(text)


def test_loopback_is_this_machine_alone() -> None:
    """Names that only look like it are not."""
    assert all(map(is_loopback, ("localhost", "localhost:5000", "127.8.0.1:1", "[::1]:5000")))
    assert not any(map(is_loopback, ("localhost.evil.org", "127.evil.org", "10.0.0.1", "[::2]")))


def test_blobs_are_what_their_descriptors_say() -> None:
    """Size, digest and algorithm, each by name."""
    good = describe("text/plain", b"good")

    assert check_blob(b"good", good) == b"good"
    for data, wanted, rule in (
        (b"evil", good, "another digest"),
        (b"longer", good, "another size"),
        (b"good", msgspec.structs.replace(good, digest=f"sha512:{'0' * 128}"), "no SHA-256"),
    ):
        with pytest.raises(OciError, match=rule):
            check_blob(data, wanted)


@pytest.mark.parametrize(
    ("data", "media_type", "rule"),
    [
        (b"{", MANIFEST, "is no OCI document"),
        (b"[]", MANIFEST, "is no OCI document"),
        (b"{}", "text/html", "is no image manifest or index"),
        (b'{"schemaVersion":1,"manifests":[]}', INDEX, "must be 2"),
        (
            b'{"schemaVersion":2,"mediaType":"%b","manifests":[]}' % MANIFEST.encode(),
            INDEX,
            "says another type than it was served as",
        ),
    ],
)
def test_documents_of_another_kind_are_refused(data: bytes, media_type: str, rule: str) -> None:
    """A document with two types would be two things to two readers."""
    with pytest.raises(OciError, match=rule):
        parse_document(data, media_type, path="x")


def test_a_package_is_its_artifact() -> None:
    """Out and back, byte for byte; the archive's layer has the archive's own digest."""
    held = content()
    layers = {layer.media_type: layer.digest for layer in manifest_of(held).layers}

    found = read_package(manifest_of(held), fetch_from(held.blobs), trust_root=ROOT)

    assert (found.archive, found.signed, found.manifest) == (ARCHIVE, SIGNED, a_manifest())
    assert layers[ARCHIVE_TYPE] == f"sha256:{SIGNED.archive_sha256}"
    assert content() == held


def changed(**changes: object) -> Callable[[ImageManifest, dict[str, bytes]], ImageManifest]:
    """An artifact whose signatures say something else, with right digests."""

    def change(manifest: ImageManifest, blobs: dict[str, bytes]) -> ImageManifest:
        place = next(
            index
            for index, layer in enumerate(manifest.layers)
            if layer.media_type == SIGNATURES_TYPE
        )
        told = msgspec.json.decode(blobs[manifest.layers[place].digest], type=PackageSignatures)
        data = msgspec.json.encode(msgspec.structs.replace(told, **changes))
        layer = describe(SIGNATURES_TYPE, data)
        blobs[layer.digest] = data
        layers = (*manifest.layers[:place], layer, *manifest.layers[place + 1 :])
        return msgspec.structs.replace(manifest, layers=layers)

    return change


def _without_archive(manifest: ImageManifest, _: dict[str, bytes]) -> ImageManifest:
    layers = tuple(one for one in manifest.layers if one.media_type != ARCHIVE_TYPE)
    return msgspec.structs.replace(manifest, layers=layers)


def _other_archive(manifest: ImageManifest, blobs: dict[str, bytes]) -> ImageManifest:
    other = write_archive({"README.md": b"other"})
    layer = describe(ARCHIVE_TYPE, other)
    blobs[layer.digest] = other
    kept = [one for one in manifest.layers if one.media_type != ARCHIVE_TYPE]
    return msgspec.structs.replace(manifest, layers=(layer, *kept))


def _huge_archive(manifest: ImageManifest, _: dict[str, bytes]) -> ImageManifest:
    layers = tuple(
        msgspec.structs.replace(one, size=1 << 40) if one.media_type == ARCHIVE_TYPE else one
        for one in manifest.layers
    )
    return msgspec.structs.replace(manifest, layers=layers)


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        (_without_archive, f"layers[{ARCHIVE_TYPE}]", "must be there once"),
        (_other_archive, "archive.digest", "is not the archive that was signed"),
        (_huge_archive, f"layers[{ARCHIVE_TYPE}].size", "is too large"),
        (
            changed(signed=sign(a_manifest(version="2.0.0"))),
            "manifest",
            "is not the one that was signed",
        ),
        (
            changed(signed=sign(a_manifest(), trust_seed=b"nobody's root. nobody's root. ..")),
            "signed.certificate.signatures",
            "no signature is by a trusted key",
        ),
        (changed(trust_root="ab" * 32), "signatures.trust_root", "is from another installation"),
    ],
)
def test_an_artifact_that_was_changed_is_refused(
    change: Callable[[ImageManifest, dict[str, bytes]], ImageManifest], path: str, rule: str
) -> None:
    """Although every digest is right: the signatures decide."""
    held = content()
    blobs = dict(held.blobs)
    manifest = change(manifest_of(held), blobs)

    with pytest.raises(VerificationError) as caught:
        read_package(manifest, fetch_from(blobs), trust_root=ROOT)

    assert (path, rule) in [(reason.path, reason.rule) for reason in caught.value.reasons]
