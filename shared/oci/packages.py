# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package as an OCI artifact, byte for byte what the catalog holds.

Pure.  An image manifest with an artifact type and the empty config (image-spec 1.1, manifest.md,
"Guidelines for Artifact Usage") and three layers: the archive, the manifest, and who signed it.
The archive's layer has the archive's digest, the manifest's layer the manifest's; nothing is
compressed or packed anew.  Equal packages make equal artifacts, so pushing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.canonical import canonical_bytes
from shared.contracts.base import Document
from shared.contracts.catalog import DsseEnvelope, SignedPackage
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES, PackageManifest
from shared.dsse import MANIFEST_TYPE, verify_signed_package
from shared.identifiers import DigestText
from shared.oci.documents import (
    EMPTY_CONFIG,
    EMPTY_JSON,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    TITLE,
    VERSION,
    Descriptor,
    ImageManifest,
    OciContent,
    check_blob,
    describe,
    encode,
    refused,
)
from shared.package_origins import check_origins
from shared.validation import decode_document

ARTIFACT_TYPE: Final = "application/vnd.l3af.package.v1"
ARCHIVE_TYPE: Final = "application/vnd.l3af.package.archive.v1.tar"
SIGNATURES_TYPE: Final = "application/vnd.l3af.package.signatures.v1+json"

_LARGEST: Final = {ARCHIVE_TYPE: MAX_ARTIFACT_BYTES}


class PackageSignatures(Document, frozen=True, kw_only=True):
    """Who stands behind a package, and by whose word: all that another installation can check."""

    trust_root: DigestText
    """Ed25519 public key of the installation that it is from."""
    signed: SignedPackage
    provenance: DsseEnvelope | None = None
    """How it was built; payload: an in-toto statement."""


@dataclass(frozen=True, slots=True)
class CarriedPackage:
    """A package on its way between installations."""

    signed: SignedPackage
    manifest: PackageManifest
    trust_root: str
    """Of the installation that it is from, 64 hexadecimal digits."""
    archive: bytes
    provenance: DsseEnvelope | None = None
    """What was said there of how it was built."""


def package_content(package: CarriedPackage) -> OciContent:
    """The artifact of a package that was verified before."""
    signed, archive, manifest = package.signed, package.archive, package.manifest
    told = PackageSignatures(
        trust_root=package.trust_root, signed=signed, provenance=package.provenance
    )
    name = f"{manifest.name}-{manifest.version}"
    parts = (
        (ARCHIVE_TYPE, archive, f"{name}.l3afpkg"),
        (MANIFEST_TYPE, canonical_bytes(manifest), f"{name}.manifest.json"),
        (
            SIGNATURES_TYPE,
            canonical_bytes(told),
            f"{name}.signatures.json",
        ),
    )
    layers = tuple(
        describe(media_type, data, annotations={TITLE: title}) for media_type, data, title in parts
    )
    document = encode(
        ImageManifest(
            schema_version=2,
            media_type=MANIFEST,
            artifact_type=ARTIFACT_TYPE,
            config=describe(EMPTY_CONFIG, EMPTY_JSON),
            layers=layers,
            annotations=annotations_of(manifest),
        )
    )
    root = describe(MANIFEST, document, artifact_type=ARTIFACT_TYPE)
    blobs = {layer.digest: data for layer, (_, data, _) in zip(layers, parts, strict=True)}
    return OciContent(
        root=root,
        documents={root.digest: (MANIFEST, document)},
        blobs={describe(EMPTY_CONFIG, EMPTY_JSON).digest: EMPTY_JSON, **blobs},
    )


def annotations_of(manifest: PackageManifest) -> dict[str, str]:
    """What registries show of a package (image-spec, annotations.md)."""
    source = manifest.source
    stated = {
        TITLE: manifest.name,
        VERSION: manifest.version,
        "org.opencontainers.image.description": manifest.summary,
        "org.opencontainers.image.licenses": manifest.licence,
        "org.opencontainers.image.authors": ", ".join(manifest.owners),
        "org.opencontainers.image.source": source.repository if source else "",
        "org.opencontainers.image.revision": source.revision if source else "",
    }
    return {key: value for key, value in stated.items() if value}


def is_package(manifest: ImageManifest) -> bool:
    """Whether it is an artifact of this format."""
    return manifest.kind == ARTIFACT_TYPE


def read_package(
    manifest: ImageManifest, fetch: Callable[[Descriptor], bytes], *, trust_root: str = ""
) -> CarriedPackage:
    """The package, once digests and signatures are what the artifact says.

    Args:
        manifest: Of the artifact; its digest was checked before.
        fetch: Gives the bytes of a descriptor; they are checked here.
        trust_root: The only one that is believed, 64 hexadecimal digits; empty: the one that the
            artifact names, whose word then says no more than that it was not changed since.

    Raises:
        OciError: Layers are missing, too many, or not what their descriptors say, or another trust
            root is named.
        SignatureError: The signatures do not hold.
    """
    statement = decode_document(
        _layer(manifest, SIGNATURES_TYPE, fetch), PackageSignatures, what="signatures"
    )
    if trust_root and statement.trust_root != trust_root:
        rule = "is from another installation"
        raise refused("signatures.trust_root", rule, statement.trust_root, trust_root)
    signed = statement.signed
    described, _ = verify_signed_package(signed, trust_root=bytes.fromhex(statement.trust_root))
    check_origins(signed)
    if _layer(manifest, MANIFEST_TYPE, fetch) != canonical_bytes(described):
        raise refused("manifest", "is not the one that was signed")
    layer = _described(manifest, ARCHIVE_TYPE)
    if layer.digest != f"sha256:{signed.archive_sha256}":
        rule = "is not the archive that was signed"
        raise refused("archive.digest", rule, layer.digest, f"sha256:{signed.archive_sha256}")
    return CarriedPackage(
        signed=signed,
        manifest=described,
        trust_root=statement.trust_root,
        archive=_layer(manifest, ARCHIVE_TYPE, fetch),
        provenance=statement.provenance,
    )


def _layer(manifest: ImageManifest, media_type: str, fetch: Callable[[Descriptor], bytes]) -> bytes:
    layer = _described(manifest, media_type)
    largest = _LARGEST.get(media_type, MAX_DOCUMENT_BYTES)
    if not 0 <= layer.size <= largest:
        raise refused(f"layers[{media_type}].size", "is too large", layer.size, largest)
    return check_blob(fetch(layer), layer, path=f"layers[{media_type}]")


def _described(manifest: ImageManifest, media_type: str) -> Descriptor:
    found = [layer for layer in manifest.layers if layer.media_type == media_type]
    if len(found) != 1:
        rule = "must be there once"
        raise refused(f"layers[{media_type}]", rule, len(found), 1)
    return found[0]
