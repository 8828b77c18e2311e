# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""OCI documents: descriptors, manifests, indexes, and what they name by digest.

Pure.  OCI image specification 1.1 (opencontainers/image-spec: descriptor.md, manifest.md,
image-index.md); Docker's image manifest version 2 schema 2 has the same fields.  Readers ignore
fields that they do not know, as the specification demands.

Rule: bytes are looked at only after size and digest were seen to be those that were asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shared.canonical import sha256_hex
from shared.errors import Reason, VerificationError

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
EMPTY_CONFIG: Final = "application/vnd.oci.empty.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP: Final = f"{LAYER}+gzip"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPES: Final = (MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES: Final = (INDEX, DOCKER_INDEX)

EMPTY_JSON: Final = b"{}"
REF_NAME: Final = "org.opencontainers.image.ref.name"
TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "org.opencontainers.image.version"

MAX_DOCUMENT_BYTES: Final = 4 * 1024 * 1024
"""Of a manifest, index or config; what registries take as well (distribution-spec)."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class OciError(VerificationError):
    """What was given is not what its digest says, or is no OCI document."""


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a manifest of an index is for."""

    architecture: str = ""
    os: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What is meant, by type, digest and size."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    platform: Platform | None = None


class ImageManifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One image or artifact."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    annotations: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """What kind of artifact it is: its own word, or its config's type (manifest.md)."""
        return self.artifact_type or self.config.media_type


class ImageIndex(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Several manifests."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    manifests: tuple[Descriptor, ...] = ()
    annotations: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class OciContent:
    """Something to put into a registry or a layout: all that a root descriptor leads to."""

    root: Descriptor
    documents: Mapping[str, tuple[str, bytes]]
    """Digest to type and bytes of each manifest and index, what others name before them."""
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    """Digest to bytes of configs and layers."""


def digest_of(data: bytes) -> str:
    """`sha256:` and the SHA-256 of the bytes."""
    return f"sha256:{sha256_hex(data)}"


def describe(media_type: str, data: bytes, **changes: object) -> Descriptor:
    """The descriptor of the bytes."""
    plain = Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))
    return msgspec.structs.replace(plain, **changes)


def encode(document: msgspec.Struct) -> bytes:
    """The document's one written form, so that equal content has equal digests."""
    return _ENCODER.encode(document)


def check_digest(text: str, *, path: str) -> str:
    """`text` if it is a digest that can be checked here.

    Raises:
        OciError: It is none, or of another algorithm than SHA-256.
    """
    if not _DIGEST.fullmatch(text):
        raise refused(path, "is no SHA-256 digest", got=text, allowed="sha256:<64 digits>")
    return text


def check_blob(data: bytes, wanted: Descriptor, *, path: str = "") -> bytes:
    """`data`, once it is what the descriptor says.

    Raises:
        OciError: It has another size or digest.
    """
    place = path or wanted.digest
    check_digest(wanted.digest, path=f"{place}.digest")
    if len(data) != wanted.size:
        rule = "has another size than its descriptor says"
        raise refused(f"{place}.size", rule, got=len(data), allowed=wanted.size)
    if (found := digest_of(data)) != wanted.digest:
        rule = "has another digest than its descriptor says"
        raise refused(f"{place}.digest", rule, got=found, allowed=wanted.digest)
    return data


def parse_document(data: bytes, media_type: str, *, path: str) -> ImageManifest | ImageIndex:
    """The manifest or index.

    Args:
        data: Its bytes, checked before.
        media_type: As it was served or described; a document that says another is refused.
        path: How refusals call it.

    Raises:
        OciError: It is neither, or says that it is of another type.
    """
    kinds = (*MANIFEST_TYPES, *INDEX_TYPES)
    if media_type not in kinds:
        raise refused(f"{path}.mediaType", "is no image manifest or index", media_type, list(kinds))
    document: ImageManifest | ImageIndex
    try:
        if media_type in MANIFEST_TYPES:
            document = msgspec.json.decode(data, type=ImageManifest)
        else:
            document = msgspec.json.decode(data, type=ImageIndex)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused(path, f"is no OCI document: {error}") from error
    if document.media_type not in ("", media_type):
        # Of two types, one reader may follow the one and another the other (CVE-2021-41190).
        rule = "says another type than it was served as"
        raise refused(f"{path}.mediaType", rule, document.media_type, media_type)
    if document.schema_version != 2:  # noqa: PLR2004 because the specification says 2
        raise refused(f"{path}.schemaVersion", "must be 2", document.schema_version, 2)
    return document


def refused(path: str, rule: str, got: object = None, allowed: object = None) -> OciError:
    """The error for one reason."""
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return OciError(f"{path}: {rule}", [reason])
