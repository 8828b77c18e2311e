# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from a registry or a layout: one of our packages, or objects of bpfman's images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from shared.bytecode.elf import read_elf_facts
from shared.errors import Reason, RefusedError
from shared.oci.bpfman import (
    BytecodeImage,
    check_labels,
    check_layer_type,
    platform_of,
    read_image,
)
from shared.oci.cosign import (
    MAX_SIGNATURES,
    SIGNATURE_ANNOTATION,
    CosignKey,
    FoundSignature,
    check_signed,
    may_hold_signatures,
    signature_tag,
    signed_layers,
)
from shared.oci.documents import (
    MAX_DOCUMENT_BYTES,
    Descriptor,
    ImageIndex,
    ImageManifest,
    parse_document,
    refused,
)
from shared.oci.packages import CarriedPackage, is_package, read_package

MAX_LAYER_BYTES: Final = 64 * 1024 * 1024
"""Of one of bpfman's layers, packed."""

Progress = Callable[[int], object]


class OciSource(Protocol):
    """A registry's repository, or a layout."""

    def document(self, name: str) -> tuple[Descriptor, bytes] | None:
        """The manifest or index with this tag or digest."""

    def blob(self, wanted: Descriptor, show_progress: Progress = ...) -> bytes:
        """The bytes of a descriptor."""

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """What refers to the digest."""


@dataclass(frozen=True, slots=True)
class ReadContent:
    """What was found; one of `package` and `images` is."""

    digest: str
    """Of what the name led to."""
    package: CarriedPackage | None = None
    images: Mapping[str, BytecodeImage] | None = None
    """Platform to image; `""` is every platform."""
    left_out: tuple[Reason, ...] = ()
    signed_at: str = ""
    """Where the cosign signature is; empty: none was demanded."""


def read_content(
    source: OciSource,
    name: str,
    *,
    key: CosignKey | None = None,
    trust_root: str = "",
    show_progress: Progress = lambda _: None,
) -> ReadContent:
    """What the name leads to.

    Args:
        source: Where it is.
        name: A tag or digest.
        key: What cosign must have signed it with; None: it need not be signed so.
        trust_root: The installation that a package of ours must be from; empty: any.
        show_progress: Told how much of the largest part is there.

    Raises:
        VerificationError: A digest or a signature is not what it should be.
        RefusedError: There is nothing, or nothing that is read here.
    """
    found = source.document(name)
    if found is None:
        reason = Reason(path=name or "index.json", rule="there is nothing of this name")
        raise RefusedError(f"{name}: {reason.rule}", [reason])
    descriptor, data = found
    digest = descriptor.digest
    place = "" if key is None else check_signed(_signatures(source, digest), digest=digest, key=key)
    document = parse_document(data, descriptor.media_type, path=digest)

    def fetch(layer: Descriptor) -> bytes:
        return source.blob(layer, show_progress)

    if isinstance(document, ImageManifest) and is_package(document):
        package = read_package(document, fetch, trust_root=trust_root)
        return ReadContent(digest, package=package, signed_at=place)
    left_out: list[Reason] = []
    images = dict(_images(source, document, left_out))
    if not images:
        raise RefusedError(
            f"{name}: no image is for a platform here",
            left_out or [Reason(path=digest, rule="holds no images")],
        )
    if len({(image.file_name, image.object) for image in images.values()}) == 1:
        images = {"": next(iter(images.values()))}
    return ReadContent(digest, images=images, left_out=tuple(left_out), signed_at=place)


def _images(
    source: OciSource, document: ImageManifest | ImageIndex, left_out: list[Reason]
) -> Iterator[tuple[str, BytecodeImage]]:
    if isinstance(document, ImageManifest):
        yield "", _image(source, document)
        return
    for child in document.manifests:
        platform = platform_of(child)
        if platform is None:
            told = child.platform
            rule = "left out: is for no platform here"
            got = f"{told.os}/{told.architecture}" if told else ""
            left_out.append(Reason(path=child.digest, rule=rule, got=got))
            continue
        manifest = _described(source, child)
        if not isinstance(manifest, ImageManifest):
            raise refused(child.digest, "is an index within an index")
        yield platform, _image(source, manifest)


def _image(source: OciSource, manifest: ImageManifest) -> BytecodeImage:
    for part, most_bytes in (
        (manifest.config, MAX_DOCUMENT_BYTES),
        *((layer, MAX_LAYER_BYTES) for layer in manifest.layers),
    ):
        if not 0 <= part.size <= most_bytes:
            raise refused(f"{part.digest}.size", "is too large", part.size, most_bytes)
    for layer in manifest.layers:
        check_layer_type(layer)
    layers = {layer.digest: source.blob(layer) for layer in manifest.layers}
    image = read_image(source.blob(manifest.config), layers)
    check_labels(image.labels, read_elf_facts(image.object, image.file_name))
    return image


def _signatures(source: OciSource, digest: str) -> Iterator[FoundSignature]:
    """At most MAX_SIGNATURES, of the tag first."""
    left = MAX_SIGNATURES
    for place, document in _signature_documents(source, digest):
        for layer in signed_layers(document):
            if not left:
                return
            left -= 1
            yield FoundSignature(
                place=f"{place} {layer.digest}",
                media_type=layer.media_type,
                payload=source.blob(layer),
                signature=layer.annotations.get(SIGNATURE_ANNOTATION, ""),
            )


def _signature_documents(source: OciSource, digest: str) -> Iterator[tuple[str, ImageManifest]]:
    tag = signature_tag(digest)
    if (found := source.document(tag)) is not None:
        document = parse_document(found[1], found[0].media_type, path=tag)
        if isinstance(document, ImageManifest):
            yield tag, document
    for referrer in filter(may_hold_signatures, source.referrers(digest)):
        document = _described(source, referrer)
        if isinstance(document, ImageManifest):
            yield referrer.digest, document


def _described(source: OciSource, descriptor: Descriptor) -> ImageManifest | ImageIndex:
    """What another document names; a layout lists it nowhere, a registry not among its blobs."""
    place, size = descriptor.digest, descriptor.size
    if not 0 <= size <= MAX_DOCUMENT_BYTES:
        raise refused(f"{place}.size", "is too large", size, MAX_DOCUMENT_BYTES)
    found = source.document(place)
    data = source.blob(descriptor) if found is None else found[1]
    return parse_document(data, descriptor.media_type, path=place)
