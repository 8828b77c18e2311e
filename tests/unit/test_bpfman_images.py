# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""bpfman's images: what is read of them, and what is written for it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping

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
    parse_document,
)
from tests.package_builders import a_manifest, a_program
from tests.support.bpf_objects import bpf_object
from tests.support.hostile.tar_blocks import END, member

OBJECT = "kinds.bpf.o"


def manifest_of(held: OciContent, digest: str) -> ImageManifest:
    """One of the images."""
    media_type, data = held.documents[digest]
    document = parse_document(data, media_type, path="")
    assert isinstance(document, ImageManifest)
    return document


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
