# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""bpfman's bytecode images, both ways.

Pure.  bpfman, "eBPF Bytecode Image Specifications" (docs/developer-guide/shipping-bytecode.md): an
image of one layer with one object file at its root, and labels in the image's configuration:
`io.ebpf.programs` (function to type) and `io.ebpf.maps` (name to type), both JSON; earlier images
name one program in `io.ebpf.bpf_function_name`, `io.ebpf.program_type` and `io.ebpf.filename`.  For
several architectures there is an index with one image each.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, get_args

import msgspec

from shared.bytecode.program_kinds import section_kind
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest, PlatformKey, ProgramEntry
from shared.errors import Reason, RefusedError
from shared.foreign.archives import ForeignFile
from shared.foreign.tar_files import read_tar
from shared.oci.documents import (
    DOCKER_LAYER_GZIP,
    IMAGE_CONFIG,
    INDEX,
    LAYER,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    ImageIndex,
    ImageManifest,
    OciContent,
    Platform,
    describe,
    digest_of,
    encode,
    refused,
)
from shared.oci.packages import annotations_of
from shared.package_archive import write_archive

PROGRAMS: Final = "io.ebpf.programs"
MAPS: Final = "io.ebpf.maps"
FUNCTION: Final = "io.ebpf.bpf_function_name"
SECTION: Final = "io.ebpf.section_name"
PROGRAM_TYPE: Final = "io.ebpf.program_type"
FILE_NAME: Final = "io.ebpf.filename"
MAX_OBJECT_BYTES: Final = 16 * 1024 * 1024
"""bpfman reads no more of an object (platform/image/oci/extract.go)."""
LAYER_TYPES: Final = (LAYER, LAYER_GZIP, DOCKER_LAYER_GZIP)
ARCHITECTURES: Final[dict[str, PlatformKey]] = {
    "amd64": "linux-x86_64",
    "arm64": "linux-aarch64",
    "riscv64": "linux-riscv64",
    "ppc64le": "linux-ppc64le",
    "loong64": "linux-loongarch64",
}
"""As Go names them, which OCI follows."""

_ELF: Final = b"\x7fELF"
_EPOCH: Final = "1970-01-01T00:00:00Z"
_TYPES: Final = {"sched_cls": "tc", "sched_act": "tc", "tracing": "fentry", "kprobe": "kprobe"}


@dataclass(frozen=True, slots=True)
class Labels:
    """What an image says of its object."""

    programs: Mapping[str, str] = field(default_factory=dict)
    """Function to type, as `xdp` or `tc`; empty: the image does not say."""
    maps: Mapping[str, str] = field(default_factory=dict)
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class BytecodeImage:
    """One image, read."""

    file_name: str
    object: bytes
    labels: Labels


def platform_of(descriptor: Descriptor) -> PlatformKey | None:
    """For which of the platforms here a manifest of an index is; None: for none."""
    platform = descriptor.platform
    if platform is None or platform.os != "linux" or platform.variant not in ("", "v8"):
        return None
    return ARCHITECTURES.get(platform.architecture)


def read_labels(config: bytes) -> Labels:
    """What the image's configuration says.

    Raises:
        OciError: It is no configuration, or a label is not what it should be.
    """
    try:
        document = msgspec.json.decode(config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refused("config", f"is no image configuration: {error}") from error
    inner = document.get("config") if isinstance(document, dict) else None
    labels = inner.get("Labels") if isinstance(inner, dict) else None
    if not isinstance(labels, dict):
        return Labels()
    programs = _label(labels, PROGRAMS)
    function = labels.get(FUNCTION)
    if not programs and isinstance(function, str):
        programs = {function: str(labels.get(PROGRAM_TYPE, ""))}
    return Labels(programs, _label(labels, MAPS), str(labels.get(FILE_NAME, "")))


def read_image(config: bytes, layers: Mapping[str, bytes]) -> BytecodeImage:
    """The object file of an image.

    Args:
        config: The image's configuration.
        layers: Digest to bytes, in the image's order.

    Raises:
        OciError: It holds no object, or more than one and does not say which.
        ForeignArchiveError: The layer holds what is not unpacked.
    """
    labels = read_labels(config)
    if len(layers) != 1:
        rule = "an image of bytecode has exactly one layer"
        raise refused("layers", rule, len(layers), 1)
    files = read_tar(next(iter(layers.values())))
    found = {path: file for path, file in files.items() if _is_object(path, file)}
    if labels.file_name in found:
        found = {labels.file_name: found[labels.file_name]}
    if len(found) != 1:
        rule = "must hold one object file (.o, ELF)"
        raise refused("layers[0]", rule, sorted(found) or sorted(files)[:20])
    ((path, file),) = found.items()
    return BytecodeImage(path.rpartition("/")[2], file.data, labels)


def check_layer_type(layer: Descriptor) -> None:
    """The layer can be read here.

    Raises:
        OciError: It is packed in another way.
    """
    if layer.media_type not in LAYER_TYPES:
        rule = "is packed in a way that is not read"
        raise refused("layers[0].mediaType", rule, layer.media_type, list(LAYER_TYPES))


def check_labels(labels: Labels, facts: ElfFacts) -> None:
    """The object has the programs that the image names.

    Raises:
        OciError: With those that it has not.
    """
    held = {program.function for program in facts.programs}
    if missing := sorted(set(labels.programs) - held):
        rule = "names programs that the object does not have"
        raise refused(PROGRAMS, rule, missing, sorted(held))


def bytecode_content(
    manifest: PackageManifest,
    files: Mapping[str, bytes],
    facts: Mapping[str, ElfFacts],
    *,
    program: str = "",
) -> OciContent:
    """A package's object as bpfman pulls it: an index with one image for each architecture.

    Args:
        manifest: Of the package.
        files: Of its archive.
        facts: Of its objects, by path.
        program: Whose object it is; empty: the package's, if all programs are in one.

    Raises:
        RefusedError: The package has several objects and no program is named, nodes compile it, or
            the object is larger than bpfman reads.
    """
    chosen = _chosen(manifest, program)
    blobs: dict[str, bytes] = {}
    documents: dict[str, tuple[str, bytes]] = {}
    children = []
    for architecture, key in ARCHITECTURES.items():
        path = chosen.object_on(key)
        if path:
            child = _image(architecture, files[path], facts[path], blobs)
            platform = Platform(architecture=architecture, os="linux")
            documents[child.digest] = (MANIFEST, blobs.pop(child.digest))
            children.append(msgspec.structs.replace(child, platform=platform))
    index = encode(
        ImageIndex(
            schema_version=2,
            media_type=INDEX,
            manifests=tuple(children),
            annotations=annotations_of(manifest),
        )
    )
    root = describe(INDEX, index)
    return OciContent(root, {**documents, root.digest: (INDEX, index)}, blobs)


def _chosen(manifest: PackageManifest, program: str) -> ProgramEntry:
    named = [one for one in manifest.programs if program in ("", one.name)]
    reason = None
    if not named:
        rule, got = "the package has no such program", program
        reason = Reason(path="program", rule=rule, got=got, allowed=_names(manifest))
    elif named[0].compiler:
        reason = Reason(path="program", rule="is C source that nodes compile", got=named[0].name)
    elif len({(one.object, tuple(one.objects.items())) for one in named}) > 1:
        rule = "an image holds one object and the package has several: name a program"
        reason = Reason(path="program", rule=rule, allowed=_names(manifest))
    if reason is not None:
        raise RefusedError(f"{reason.path}: {reason.rule}", [reason])
    return named[0]


def _names(manifest: PackageManifest) -> list[str]:
    return [one.name for one in manifest.programs]


def _image(architecture: str, data: bytes, facts: ElfFacts, blobs: dict[str, bytes]) -> Descriptor:
    """The descriptor of one image, whose parts are put to `blobs`, its manifest too."""
    if len(data) > MAX_OBJECT_BYTES:
        rule, allowed = "is larger than bpfman reads", MAX_OBJECT_BYTES
        reason = Reason(path=facts.path, rule=rule, got=len(data), allowed=allowed)
        raise RefusedError(f"{facts.path}: {rule}", [reason])
    plain = write_archive({facts.path.rpartition("/")[2].removesuffix(".o") + ".o": data})
    packed = gzip.compress(plain, mtime=0)
    config = encode(
        _Config(
            architecture=architecture,
            created=_EPOCH,
            config={"Labels": image_labels(facts)},
            rootfs={"type": "layers", "diff_ids": [digest_of(plain)]},
        )
    )
    document = encode(
        ImageManifest(
            schema_version=2,
            media_type=MANIFEST,
            config=describe(IMAGE_CONFIG, config),
            layers=(describe(LAYER_GZIP, packed),),
        )
    )
    made = describe(MANIFEST, document)
    blobs |= {digest_of(packed): packed, digest_of(config): config, made.digest: document}
    return made


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    """An image configuration (image-spec, config.md), as far as bytecode has one."""

    architecture: str
    os: str = "linux"
    created: str
    config: dict[str, Any]
    rootfs: dict[str, Any]


def image_labels(facts: ElfFacts) -> dict[str, str]:
    """The labels of an image of this object, in bpfman's spelling."""
    programs = {one.function: program_type(one.section) for one in facts.programs}
    maps = {
        one.name: one.type.replace("percpu", "per_cpu")
        for one in facts.maps
        if not one.name.startswith(".")
    }
    order = msgspec.json.Encoder(order="sorted")
    return {PROGRAMS: order.encode(programs).decode(), MAPS: order.encode(maps).decode()}


def program_type(section: str) -> str:
    """What bpfman calls a program of that section.

    >>> program_type("tcx/ingress"), program_type("classifier/a"), program_type("kretprobe/a")
    ('tcx', 'tc', 'kretprobe')
    """
    kind = section_kind(section)
    if kind.attach == "tcx":
        return "tcx"
    for name in ("kretprobe", "uprobe", "uretprobe", "fexit"):
        if section.removeprefix("?").startswith(name):
            return name
    return _TYPES.get(kind.type, kind.type or section)


def _label(labels: dict[str, Any], name: str) -> dict[str, str]:
    text = labels.get(name)
    if not isinstance(text, str) or not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError) as error:
        raise refused(f"config.Labels.{name}", f"is no JSON of names and types: {error}") from error


def _is_object(path: str, file: ForeignFile) -> bool:
    return path.endswith(".o") and file.data.startswith(_ELF)


assert set(ARCHITECTURES.values()) <= set(get_args(PlatformKey))
