# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages go out of a catalog, through a real registry, and into another, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cli.oci_registry import Registry, RegistrySettings
from shared.adapters.bus import connect
from shared.canonical import sha256_hex
from shared.contracts.catalog import (
    CHUNK_BYTES,
    READ_ARCHIVE,
    ReadArchive,
)
from shared.dsse import signed_manifest
from shared.errors import RefusedError
from shared.oci.cosign import signature_tag
from shared.oci.references import parse_reference
from tests.package_builders import STRANGER_SEED
from tests.support.catalog_desks import PublishersDesk, publishers_desk
from tests.support.catalog_process import ROOT, a_built_package
from tests.support.cosigning import new_key, public_pem, signature_content
from tests.support.registries import RunningRegistry, running_registry

PACKAGE = ROOT / "packages" / "rate-limit"
ELSEWHERE_SEED = b"the trust root of somebody else."


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """Open to everybody."""
    with running_registry(tmp_path_factory.mktemp("exchange") / "registry") as running:
        yield running


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublishersDesk]:
    """Where `rate-limit` 1.0.0 is published, and nothing else ever is."""
    with publishers_desk(tmp_path_factory.mktemp("exchange") / "here") as here:
        asyncio.run(here.publish(a_built_package(), "stable"))
        yield here


@pytest.fixture
def rebuilt(tmp_path: Path) -> Iterator[PublishersDesk]:
    """The same installation, which lost everything but its keys."""
    with publishers_desk(tmp_path / "rebuilt") as again:
        yield again


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[PublishersDesk]:
    """Another installation, with another trust root and another publisher."""
    with publishers_desk(
        tmp_path / "elsewhere", name="mirror", seed=STRANGER_SEED, trust_seed=ELSEWHERE_SEED
    ) as there:
        yield there


async def test_a_round_trip_through_a_registry_changes_no_byte(
    desk: PublishersDesk, elsewhere: PublishersDesk, registry: RunningRegistry
) -> None:
    """Archive, manifest and the first publisher's signature arrive; the importer signs beside."""
    place = registry.reference("acme/rate-limit")

    out = await desk.l3af("package", "export", "rate-limit", "--oci", place, "--json")
    back = await elsewhere.l3af("package", "import", f"{place}:1.0.0", "--json")
    again = await elsewhere.l3af("package", "import", out.document["place"], "--json")

    assert (out.status, back.status, again.status) == (0, 0, 0), (out, back, again)
    before, after = await desk.version(), await elsewhere.version()
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
    """Of another trust root it is refused; others may sign before it is published."""
    folder = str(desk.folder / "carried")
    words = ("package", "import", folder, "--json")

    out = await desk.l3af("package", "export", "rate-limit", "--layout", folder, "--json")
    wrong = await elsewhere.l3af(*words, "--trust-root", "ab" * 32)
    right = await elsewhere.l3af(*words, "--trust-root", desk.trust_root, "--out-dir", "taken")
    archive = "taken/rate-limit-1.0.0.l3afpkg"
    published = await elsewhere.l3af("package", "publish", archive)

    assert out.status == 0, out.message
    assert wrong.status == 2
    assert "is from another installation" in wrong.message
    assert right.document["packages"][0]["outcome"] == "written"
    assert published.status == 0, published.message
    shown = await elsewhere.l3af("package", "show", "rate-limit")
    assert f"by acme in the installation {desk.trust_root}" in shown.output


async def test_archives_are_read_by_whoever_sees_the_version(desk: PublishersDesk) -> None:
    """In chunks; a chunk that is not there, and a version that is not, are refused."""
    version = await desk.version()

    wanted = ReadArchive(name="rate-limit", version="1.0.0")
    async with connect(desk.credentials) as bus:
        first = await bus.request(READ_ARCHIVE, wanted)
        for changes, code in (
            ({"version": "9.0.0"}, "not_found"),
            ({"name": "nobody"}, "not_found"),
            ({"offset_bytes": 1}, "invalid_request"),
            ({"offset_bytes": CHUNK_BYTES}, "invalid_request"),
        ):
            with pytest.raises(RefusedError) as caught:
                await bus.request(READ_ARCHIVE, msgspec.structs.replace(wanted, **changes))
            assert caught.value.refusal().code == code
    assert sha256_hex(first.data) == version.signed.archive_sha256
    assert first.size_bytes == len(first.data)


async def test_a_publisher_brings_its_own_package_back_as_it_was(
    desk: PublishersDesk, rebuilt: PublishersDesk, tmp_path: Path
) -> None:
    """After a loss: the same installation, the same publisher, the same signature."""
    folder = str(tmp_path / "carried")

    await desk.l3af("package", "export", "rate-limit", "--layout", folder)
    back = await rebuilt.l3af("package", "import", folder, "--json")

    assert back.document["packages"][0]["outcome"] == "published", back.message
    assert (await rebuilt.version()).signed == (await desk.version()).signed


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
    before, after = await desk.version(), await elsewhere.version()
    objects = {one.sha256 for one in before.manifest.files if one.path.endswith(".o")}
    assert objects == {one.sha256 for one in after.manifest.files if one.path.endswith(".o")}
    assert after.manifest.programs[0].hooks == ("xdp",)
    assert set(after.manifest.maps) >= {"rl_limits"}
    assert not after.signed.origins
    assert [one["path"] for one in imported["remarks"]] == ["licence"]
