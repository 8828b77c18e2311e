# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages go out of a catalog, through a real registry, and into another, byte for byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cli.oci_registry import Registry, RegistrySettings
from shared.contracts.catalog import GET_PACKAGE, GetPackage, PackageVersion
from shared.dsse import signed_manifest
from shared.oci.cosign import signature_tag
from shared.oci.references import parse_reference
from tests.package_builders import STRANGER_SEED
from tests.support.catalog_desks import PublishersDesk, publishers_desk
from tests.support.catalog_process import ROOT
from tests.support.cosigning import new_key, public_pem, signature_content
from tests.support.hostile.foreign_archives import packed
from tests.support.hostile.tar_blocks import member
from tests.support.l3afd_repositories import (
    artifact_files,
    tar_artifact,
    xdp_object,
    zip_artifact,
)
from tests.support.registries import RunningRegistry, running_registry

PACKAGE = ROOT / "packages" / "rate-limit"
ELSEWHERE_SEED = b"the trust root of somebody else."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """Open to everybody."""
    with running_registry(tmp_path_factory.mktemp("exchange") / "registry") as running:
        yield running


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[PublishersDesk]:
    """Where `rate-limit` 1.0.0 is published."""
    async with publishers_desk(tmp_path / "here") as here:
        published = await here.l3af("package", "publish", str(PACKAGE), "--json")
        assert published.status == 0, published.message
        yield here


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[PublishersDesk]:
    """Another installation, with another trust root and another publisher."""
    async with publishers_desk(
        tmp_path / "elsewhere", name="mirror", seed=STRANGER_SEED, trust_seed=ELSEWHERE_SEED
    ) as there:
        yield there


async def version_at(desk: PublishersDesk, name: str = "rate-limit") -> PackageVersion:
    """As the catalog shows it."""
    return (await desk.bus.request(GET_PACKAGE, GetPackage(name=name, version="1.0.0"))).package


async def test_a_round_trip_through_a_registry_changes_no_byte(
    desk: PublishersDesk, elsewhere: PublishersDesk, registry: RunningRegistry
) -> None:
    """Archive, manifest and the first publisher's signature arrive; the importer signs beside."""
    place = registry.reference("acme/rate-limit")

    out = await desk.l3af("package", "export", "rate-limit", "--oci", place, "--json")
    back = await elsewhere.l3af("package", "import", f"{place}:1.0.0", "--json")
    again = await elsewhere.l3af("package", "import", out.document["place"], "--json")

    assert (out.status, back.status, again.status) == (0, 0, 0), (out, back, again)
    before, after = await version_at(desk), await version_at(elsewhere)
    assert after.signed.archive_sha256 == before.signed.archive_sha256
    assert after.signed.manifest.payload == before.signed.manifest.payload
    assert signed_manifest(after.signed) == before.manifest
    (origin,) = after.signed.origins
    assert origin.signatures == before.signed.manifest.signatures
    assert origin.certificate == before.signed.certificate
    assert origin.trust_root == desk.trust_root
    assert before.signed.archive_sha256 in registry.blobs()
    (imported,) = back.document["packages"]
    assert imported["outcome"] == "published"
    assert imported["published_before"] == [f"acme ({desk.trust_root})"]
    assert out.document["digest"] in imported["origin"]
    assert again.document["packages"][0]["outcome"] == "already there"


async def test_a_layout_carries_packages_without_a_registry(
    desk: PublishersDesk, elsewhere: PublishersDesk
) -> None:
    """The digest is the registry's; what another trust root is demanded of is refused."""
    folder = str(desk.folder / "carried")
    words = ("package", "import", folder, "--json")

    out = await desk.l3af("package", "export", "rate-limit", "--layout", folder, "--json")
    wrong = await elsewhere.l3af(*words, "--trust-root", "ab" * 32)
    right = await elsewhere.l3af(*words, "--trust-root", desk.trust_root)

    assert out.status == 0, out.message
    assert wrong.status == 2
    assert "is from another installation" in wrong.message
    assert right.document["packages"][0]["outcome"] == "published"
    shown = await elsewhere.l3af("package", "show", "rate-limit", "--json")
    assert shown.document["package"]["signed"]["origins"][0]["trust_root"] == desk.trust_root


async def test_a_publisher_brings_its_own_package_back_as_it_was(
    desk: PublishersDesk, tmp_path: Path
) -> None:
    """After a loss: the same installation, the same publisher, the same signature."""
    folder = str(tmp_path / "carried")
    await desk.l3af("package", "export", "rate-limit", "--layout", folder)
    before = await version_at(desk)
    async with publishers_desk(tmp_path / "rebuilt") as rebuilt:
        back = await rebuilt.l3af("package", "import", folder, "--json")

        assert back.document["packages"][0]["outcome"] == "published", back.message
        assert (await version_at(rebuilt)).signed == before.signed


async def test_what_cosign_did_not_sign_is_not_taken_when_it_must_be(
    desk: PublishersDesk, elsewhere: PublishersDesk, registry: RunningRegistry
) -> None:
    """Unsigned and signed by others: refused by name, nothing is published; then it is signed."""
    place = registry.reference("acme/signed")
    key = elsewhere.folder / "cosign.pub"
    signer = new_key()
    key.write_bytes(public_pem(signer))
    words = ("package", "import", f"{place}:1.0.0", "--cosign-key", str(key), "--json")
    digest = (
        await desk.l3af("package", "export", "rate-limit", "--oci", place, "--json")
    ).document["digest"]

    unsigned = await elsewhere.l3af(*words)
    with Registry(parse_reference(place), RegistrySettings()) as repository:
        repository.push(signature_content(digest, new_key()), signature_tag(digest))
        foreign = await elsewhere.l3af(*words)
        listed = await elsewhere.l3af("package", "list", "--json")
        repository.push(signature_content(digest, signer), signature_tag(digest))
    signed = await elsewhere.l3af(*words)

    assert (unsigned.status, foreign.status, signed.status) == (2, 2, 0), signed.message
    assert json.loads(unsigned.message)["code"] == "verification_failed"
    assert "holds no cosign signature" in unsigned.message
    assert "is not by this key" in foreign.message
    assert listed.document["packages"] == []
    assert signature_tag(digest) in signed.document["packages"][0]["cosign"]


async def test_bpfmans_images_go_both_ways(
    desk: PublishersDesk, elsewhere: PublishersDesk, registry: RunningRegistry
) -> None:
    """A package becomes an image with bpfman's labels, and such an image a package."""
    place = f"{registry.reference('bpfman/rate-limit')}:v1.0"

    out = await desk.l3af(
        "package", "export", "rate-limit", "--oci", place, "--format", "bpfman", "--json"
    )
    back = await elsewhere.l3af("package", "import", place, "--json")

    assert (out.status, back.status) == (0, 0), (out.message, back.message)
    (imported,) = back.document["packages"]
    assert (imported["name"], imported["version"]) == ("rate-limit", "1.0.0")
    before, after = await version_at(desk), await version_at(elsewhere)
    objects = {one.sha256 for one in before.manifest.files if one.path.endswith(".o")}
    assert objects == {one.sha256 for one in after.manifest.files if one.path.endswith(".o")}
    assert after.manifest.programs[0].hooks == ("xdp",)
    assert set(after.manifest.maps) >= {"rl_limits"}
    assert not after.signed.origins
    assert [one["path"] for one in imported["remarks"]] == ["licence"]


async def test_archives_are_sources(elsewhere: PublishersDesk) -> None:
    """A packed folder makes what the folder makes; objects make a package; an escape is refused."""
    folder = elsewhere.folder
    files = {
        path.relative_to(PACKAGE).as_posix(): (path.read_bytes(), 0o644)
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file()
    }
    (folder / "rate-limit.tar.gz").write_bytes(tar_artifact("rate-limit", files))
    (folder / "l3af_port_block.zip").write_bytes(zip_artifact("objects", artifact_files()))
    (folder / "escape.tar.gz").write_bytes(packed(member(b"../../escaped.o", xdp_object())))

    built = await elsewhere.l3af("package", "build", str(PACKAGE), "--json")
    source = await elsewhere.l3af("package", "import", "rate-limit.tar.gz", "--json")
    objects = await elsewhere.l3af(
        *("package", "import", "l3af_port_block.zip", "--version", "2.0.0", "--out-dir", "made"),
        "--json",
    )
    unnamed = await elsewhere.l3af("package", "import", "l3af_port_block.zip")
    escape = await elsewhere.l3af("package", "import", "escape.tar.gz", "--version", "1.0.0")

    assert source.document["packages"][0]["archive_sha256"] == built.document["archive_sha256"]
    (made,) = objects.document["packages"]
    assert (made["name"], made["outcome"]) == ("l3af-port-block", "written")
    assert (folder / "made" / "l3af-port-block-2.0.0.l3afpkg").is_file()
    assert (unnamed.status, escape.status) == (2, 2)
    assert "state it" in unnamed.message
    assert "leads out of its folder" in escape.message


async def test_what_does_not_concern_the_source_is_refused(desk: PublishersDesk) -> None:
    """Nobody believes that a key was compared which was not looked at."""
    archive = desk.folder / "one.tar.gz"
    archive.write_bytes(b"")
    (desk.folder / "cosign.pub").write_bytes(public_pem(new_key()))

    for words in (
        ("--cosign-key", "cosign.pub"),
        ("--trust-root", "ab" * 32),
        ("--platform", "jammy"),
        ("--tag", "one"),
    ):
        answer = await desk.l3af("package", "import", str(archive), *words)
        assert answer.status == 2
        assert f"{words[0]} says nothing about this kind of source" in answer.message
    nowhere = await desk.l3af("package", "export", "rate-limit")
    assert nowhere.status == 2
    assert "name one place" in nowhere.message
