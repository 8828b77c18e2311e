# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""OCI content: references, documents, our artifact, bpfman's images."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping

import msgspec
import pytest

from shared.bytecode.elf import read_elf_facts
from shared.errors import RefusedError, VerificationError
from shared.oci.bpfman import (
    MAX_OBJECT_BYTES,
    BytecodeImage,
    bytecode_content,
    check_labels,
    image_labels,
    platform_of,
    program_type,
    read_image,
    read_labels,
)
from shared.oci.documents import (
    INDEX,
    MANIFEST,
    Descriptor,
    ImageIndex,
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
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, a_program, sign
from tests.support.bpf_objects import bpf_object
from tests.support.hostile.tar_blocks import END, member

ARCHIVE = write_archive(FILES)
SIGNED = sign(a_manifest())
ROOT = TRUST_ROOT.hex()
OBJECT = "kinds.bpf.o"


def content() -> OciContent:
    """The package `one` as an artifact."""
    return package_content(CarriedPackage(SIGNED, a_manifest(), ROOT, ARCHIVE))


def manifest_of(held: OciContent, digest: str = "") -> ImageManifest:
    """The artifact's manifest."""
    media_type, data = held.documents[digest or held.root.digest]
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


def an_image(labels: Mapping[str, str], *files: tuple[str, bytes]) -> BytecodeImage:
    """An image with these labels and one layer, as `docker build` would make it."""
    layer = gzip.compress(b"".join((*(member(name.encode(), data) for name, data in files), END)))
    config = json.dumps({"config": {"Labels": labels}}).encode()
    return read_image(config, {"sha256:layer": layer})


def test_bpfmans_labels_are_read_in_both_forms() -> None:
    """JSON of several programs, and the earlier one of a single program."""
    now = read_labels(
        b'{"config":{"Labels":{"io.ebpf.programs":"{\\"a\\":\\"xdp\\"}",'
        b'"io.ebpf.maps":"{\\"m\\":\\"hash\\"}"}}}'
    )
    before = read_labels(
        b'{"config":{"Labels":{"io.ebpf.bpf_function_name":"pass","io.ebpf.program_type":"xdp",'
        b'"io.ebpf.filename":"pass.bpf.o"}}}'
    )

    assert (now.programs, now.maps) == ({"a": "xdp"}, {"m": "hash"})
    assert (before.programs, before.file_name) == ({"pass": "xdp"}, "pass.bpf.o")
    assert read_labels(b"{}").programs == {}
    with pytest.raises(OciError, match=r"is no JSON of names and types"):
        read_labels(b'{"config":{"Labels":{"io.ebpf.programs":"not-json"}}}')


def test_the_object_of_an_image_is_found() -> None:
    """The only one, or the one that the labels name; none or several are refused."""
    data = bpf_object("kinds")

    assert an_image({}, (OBJECT, data), ("README", b"x")).object == data
    named = an_image({"io.ebpf.filename": "b.o"}, ("a.o", data), ("b.o", data + b"b"))
    assert (named.file_name, named.object) == ("b.o", data + b"b")
    for files in ((("a.o", data), ("b.o", data)), (("a.txt", data),), (("a.o", b"text"),)):
        with pytest.raises(OciError, match="one object file"):
            an_image({}, *files)
    with pytest.raises(OciError, match="exactly one layer"):
        read_image(b"{}", {"one": b"", "two": b""})


@pytest.mark.parametrize(
    ("block", "rule"),
    [
        (member(b"../kinds.bpf.o", b"\x7fELF"), "leads out of its folder"),
        (member(b"kinds.bpf.o", b"", kind=b"2", link=b"/etc/shadow"), "is a symbolic link"),
        (member(b"zeros.o", bytes(3_000_000)), "times as large"),
    ],
)
def test_a_layer_is_read_like_any_foreign_archive(block: bytes, rule: str) -> None:
    """Escapes, links and bombs are refused by name."""
    with pytest.raises(VerificationError, match=rule):
        read_image(b"{}", {"sha256:layer": gzip.compress(block + END)})


def test_labels_that_name_other_programs_are_refused() -> None:
    """The image would be taken for something that it is not."""
    facts = read_elf_facts(bpf_object("kinds"), OBJECT)
    labels = read_labels(
        json.dumps({"config": {"Labels": {"io.ebpf.programs": '{"absent":"xdp"}'}}}).encode()
    )

    with pytest.raises(OciError, match="names programs that the object does not have"):
        check_labels(labels, facts)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("xdp", "xdp"),
        ("xdp_ratelimiting", "xdp"),
        ("xdp.frags", "xdp"),
        ("tc", "tc"),
        ("classifier/a", "tc"),
        ("tcx/ingress", "tcx"),
        ("kprobe/vfs_read", "kprobe"),
        ("kretprobe/vfs_read", "kretprobe"),
        ("tracepoint/syscalls/a", "tracepoint"),
        ("fentry/a", "fentry"),
        ("fexit/a", "fexit"),
        ("lsm/bpf", "lsm"),
    ],
)
def test_types_are_in_bpfmans_spelling(section: str, name: str) -> None:
    """As its command line takes them."""
    assert program_type(section) == name


def test_an_exported_image_is_what_bpfman_pulls() -> None:
    """An index with an image for each architecture: one layer with the object, and its labels."""
    data = bpf_object("kinds")
    facts = read_elf_facts(data, OBJECT)
    manifest = a_manifest(
        programs=(
            a_program(object=OBJECT, function=facts.programs[0].function),
            a_program(name="two", object=OBJECT, function=facts.programs[0].function),
        )
    )

    made = bytecode_content(manifest, {OBJECT: data}, {OBJECT: facts})

    index = parse_document(made.documents[made.root.digest][1], INDEX, path="")
    assert isinstance(index, ImageIndex)
    assert [one.platform.architecture for one in index.manifests if one.platform] == [
        *("amd64", "arm64", "riscv64", "ppc64le", "loong64")
    ]
    for child in index.manifests:
        image = manifest_of(made, child.digest)
        config = json.loads(made.blobs[image.config.digest])
        assert config["architecture"] == (child.platform and child.platform.architecture)
        assert config["config"]["Labels"] == image_labels(facts)
        found = read_image(
            made.blobs[image.config.digest],
            {layer.digest: made.blobs[layer.digest] for layer in image.layers},
        )
        assert (found.file_name, found.object) == (OBJECT, data)
        assert platform_of(child) is not None
    maps = json.loads(image_labels(facts)["io.ebpf.maps"])
    assert {one.name: one.type.replace("percpu", "per_cpu") for one in facts.maps} == maps


def test_an_image_is_for_the_platforms_that_have_an_object() -> None:
    """Each gets its own; what is larger than bpfman reads is refused."""
    data = bpf_object("kinds")
    program = a_program(object="", objects={"linux-aarch64": "arm.o", "windows-x86_64": "win.o"})
    facts = {"arm.o": read_elf_facts(data, "arm.o")}

    made = bytecode_content(a_manifest(programs=(program,)), {"arm.o": data}, facts)

    index = parse_document(made.documents[made.root.digest][1], INDEX, path="")
    assert isinstance(index, ImageIndex)
    assert [one.platform.architecture for one in index.manifests if one.platform] == ["arm64"]
    with pytest.raises(RefusedError, match="larger than bpfman reads"):
        bytecode_content(
            a_manifest(programs=(program,)), {"arm.o": bytes(MAX_OBJECT_BYTES + 1)}, facts
        )


def test_what_bpfman_cannot_hold_is_refused() -> None:
    """Several objects without a choice, a program that is not there, source that nodes compile."""
    data = bpf_object("kinds")
    files = {"a.o": data, "b.o": data}
    facts = {path: read_elf_facts(data, path) for path in files}
    programs = (a_program(name="a", object="a.o"), a_program(name="b", object="b.o"))
    several = a_manifest(programs=programs)

    assert bytecode_content(several, files, facts, program="b").root.media_type == INDEX
    for manifest, program, rule in (
        (several, "", "name a program"),
        (several, "c", "has no such program"),
        (a_manifest(programs=(a_program(object="a.c", compiler="bcc"),)), "", "nodes compile"),
    ):
        with pytest.raises(RefusedError, match=rule):
            bytecode_content(manifest, files, facts, program=program)


def test_platforms_of_others_are_known_or_left_out() -> None:
    """Go's names for what `uname -m` says; big-endian and unknown ones are none."""

    def of(os: str, architecture: str) -> str | None:
        platform = {"os": os, "architecture": architecture}
        told = {"mediaType": MANIFEST, "digest": "", "size": 0, "platform": platform}
        return platform_of(msgspec.convert(told, Descriptor))

    assert of("linux", "arm64") == "linux-aarch64"
    assert of("linux", "amd64") == "linux-x86_64"
    assert of("linux", "s390x") is None
    assert of("unknown", "unknown") is None
    assert of("windows", "amd64") is None
