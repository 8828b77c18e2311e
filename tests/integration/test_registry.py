# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The registry's client against a real registry: digests, logins, TLS, signatures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.oci_registry import (
    NotInRegistryError,
    Registry,
    RegistryDeniedError,
    RegistrySettings,
)
from cli.oci_source import read_content
from shared.errors import FaultError, RefusedError
from shared.oci.cosign import (
    ImageSignatureError,
    parse_key,
    referrers_tag,
    signature_tag,
)
from shared.oci.documents import MANIFEST, ImageManifest, OciError, parse_document
from shared.oci.packages import CarriedPackage, package_content
from shared.oci.references import parse_reference
from shared.package_archive import write_archive
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, sign
from tests.support.cosigning import (
    SigningKey,
    new_key,
    public_pem,
    referring_content,
    signature_content,
)
from tests.support.registries import (
    PASSWORD,
    READ_ONLY,
    USER,
    Login,
    RunningRegistry,
    login_file,
    running_registry,
)

ARCHIVE = write_archive(FILES)
CONTENT = package_content(
    CarriedPackage(sign(a_manifest()), a_manifest(), TRUST_ROOT.hex(), ARCHIVE)
)
NAME = "acme/one"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """Open to everybody."""
    with running_registry(tmp_path_factory.mktemp("registry") / "open") as running:
        yield running


def client(
    running: RunningRegistry, name: str = NAME, settings: RegistrySettings | None = None
) -> Registry:
    """Of one repository."""
    reference = parse_reference(running.reference(name))
    return Registry(reference, settings or RegistrySettings(logins=Path(os.devnull)))


def read_manifest() -> ImageManifest:
    """Of the package."""
    document = parse_document(CONTENT.documents[CONTENT.root.digest][1], MANIFEST, path="")
    assert isinstance(document, ImageManifest)
    return document


@contextmanager
def pushed(running: RunningRegistry, name: str) -> Iterator[Registry]:
    """A repository with the package under the tag 1.0.0."""
    with client(running, name) as repository:
        repository.push(CONTENT, "1.0.0")
        yield repository


def test_what_was_pushed_comes_back_byte_for_byte(registry: RunningRegistry) -> None:
    """Under its tag and under its digest; and the archive is a blob of its own digest."""
    with pushed(registry, "acme/round") as repository:
        package = read_content(repository, "1.0.0", trust_root=TRUST_ROOT.hex()).package
        again = read_content(repository, CONTENT.root.digest).package

    assert package == again
    assert package is not None
    assert package.archive == ARCHIVE
    assert package.signed == sign(a_manifest())
    assert package.signed.archive_sha256 in registry.blobs()


def test_pushing_twice_changes_nothing(registry: RunningRegistry) -> None:
    """No blob is new, and the tag leads to the same digest."""
    with pushed(registry, "acme/twice") as repository:
        before = registry.blobs()
        repository.push(CONTENT, "1.0.0")
        found = repository.document("1.0.0")

    assert registry.blobs() == before
    assert found is not None
    assert found[0].digest == CONTENT.root.digest


def test_what_is_not_there_is_said(registry: RunningRegistry) -> None:
    """By the name of the registry; a tag that leads nowhere is no fault."""
    with client(registry, "acme/nothing") as repository:
        assert repository.document("1.0.0") is None
        with pytest.raises(NotInRegistryError, match="has no blob sha256:"):
            repository.blob(CONTENT.root)
        with pytest.raises(RefusedError, match="nothing of this name"):
            read_content(repository, "1.0.0")


def test_every_blob_is_compared_with_its_digest(
    tmp_path: Path,
) -> None:
    """A registry whose disk changed a byte is refused, whichever part it was."""
    read = [layer.digest for layer in read_manifest().layers]
    with running_registry(tmp_path / "registry") as running:
        for digest in (*read, CONTENT.root.digest):
            with pushed(running, f"acme/{digest[-8:]}") as repository:
                running.damage(digest)
                with pytest.raises(OciError) as caught:
                    read_content(repository, CONTENT.root.digest)
                running.damage(digest)
                assert read_content(repository, CONTENT.root.digest).package is not None
            assert "digest" in caught.value.reasons[0].rule


@pytest.mark.parametrize("login", ["basic", "token"])
def test_logins_are_taken_from_dockers_file(tmp_path: Path, login: Login) -> None:
    """With them one pushes and pulls; without, or with others, the refusal says what to do."""
    with running_registry(tmp_path / "registry", login=login) as running:
        settings = RegistrySettings(logins=login_file(tmp_path / "config.json", running.address))
        with client(running, settings=settings) as repository:
            repository.push(CONTENT, "1.0.0")
        with client(running, settings=settings) as repository:
            assert read_content(repository, "1.0.0").package is not None
        wrong = login_file(tmp_path / "wrong.json", running.address, password="no")
        for logins in (Path(os.devnull), wrong):
            with (
                client(running, settings=RegistrySettings(logins=logins)) as repository,
                pytest.raises(RefusedError) as caught,
            ):
                repository.document("1.0.0")
            assert running.address in caught.value.message
        if login == "token":
            assert running.granted == [
                f"repository:{NAME}:pull,push",
                f"repository:{NAME}:pull",
            ]


def test_credential_helpers_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's protocol: the host on standard input, name and secret in JSON."""
    with running_registry(tmp_path / "registry", login="basic") as running:
        answer = json.dumps({"ServerURL": running.address, "Username": USER, "Secret": PASSWORD})
        helper = tmp_path / "docker-credential-test"
        helper.write_text(
            f"#!/bin/sh\nread host\n[ $host = {running.address} ] && echo '{answer}'\n"
        )
        helper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        stored = tmp_path / "config.json"
        stored.write_text(json.dumps({"credHelpers": {running.address: "test"}}))
        with client(running, settings=RegistrySettings(logins=stored)) as repository:
            repository.push(CONTENT, "1.0.0")
            assert repository.document("1.0.0") is not None


def test_tls_is_checked(tmp_path: Path) -> None:
    """With the authority that is named it works; without, nothing is sent."""
    with running_registry(tmp_path / "registry", has_tls=True) as running:
        trusting = RegistrySettings(ca=running.authority, logins=Path(os.devnull))
        with client(running, settings=trusting) as repository:
            repository.push(CONTENT, "1.0.0")
            assert read_content(repository, "1.0.0").package is not None
        other = tmp_path / "other.pem"
        with running_registry(tmp_path / "other", has_tls=True) as another:
            assert another.authority is not None
            other.write_bytes(another.authority.read_bytes())
        with (
            client(running, settings=RegistrySettings(ca=other)) as repository,
            pytest.raises(FaultError, match="does not prove who it is"),
        ):
            repository.document("1.0.0")


def test_a_registry_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    """Later it may answer."""
    with running_registry(tmp_path / "registry") as running:
        repository = client(running)
    with repository, pytest.raises(FaultError, match="cannot be reached"):
        repository.document("1.0.0")


def signed_in(repository: Registry, key: SigningKey) -> str:
    """Where the signature is that counts."""
    public = parse_key(public_pem(key), path="cosign.pub")
    return read_content(repository, "1.0.0", key=public).signed_at


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_an_image_signed_by_cosign_is_taken(registry: RunningRegistry, kind: str) -> None:
    """By the tag, by referrers, and by a bundle; each with the key that is demanded alone."""
    key = new_key("ecdsa" if kind == "ecdsa" else "ed25519")
    other = parse_key(public_pem(new_key()), path="other.pub")
    root = CONTENT.root
    ways = {
        "tag": (signature_content(root.digest, key), signature_tag(root.digest)),
        "referrers": (referring_content(root, key), referrers_tag(root.digest)),
        "bundle": (referring_content(root, key, is_bundle=True), referrers_tag(root.digest)),
    }
    for way, (content, tag) in ways.items():
        with pushed(registry, f"acme/{kind}-{way}") as repository:
            with pytest.raises(ImageSignatureError, match="not signed"):
                signed_in(repository, key)
            repository.push(content, tag)
            assert signed_in(repository, key)
            with pytest.raises(ImageSignatureError) as caught:
                read_content(repository, "1.0.0", key=other)
            assert caught.value.reasons[0].rule == "is not by this key, or over other bytes"


def test_what_one_may_not_is_said(tmp_path: Path) -> None:
    """Whoever is known but may only pull is refused as not permitted, when pushing."""
    with running_registry(tmp_path / "registry", login="token") as running:
        settings = RegistrySettings(logins=login_file(tmp_path / "config.json", running.address))
        with client(running, f"{READ_ONLY}/one", settings) as repository:
            assert repository.document("1.0.0") is None
            with pytest.raises(RegistryDeniedError, match="does not permit"):
                repository.push(CONTENT, "1.0.0")
