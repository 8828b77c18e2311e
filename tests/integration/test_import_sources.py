# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is imported from files and folders: packed packages, objects, l3afd's repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.import_sources import NotPrepared, Prepared, Wishes, packages_of
from cli.package_build import build_package
from shared.errors import RefusedError
from shared.oci.cosign import parse_key
from tests.support.catalog_process import ROOT
from tests.support.cosigning import new_key, public_pem
from tests.support.hostile.foreign_archives import packed
from tests.support.hostile.tar_blocks import member
from tests.support.l3afd_repositories import (
    artifact_files,
    tar_artifact,
    tc_object,
    write_repository,
    xdp_object,
    zip_artifact,
)

PACKAGE = ROOT / "packages" / "rate-limit"


def prepared(source: Path, wishes: Wishes | None = None) -> Prepared:
    """The only package of a source."""
    (found,) = packages_of(str(source), wishes or Wishes())
    assert isinstance(found, Prepared), found
    return found


def test_a_packed_folder_makes_what_the_folder_makes(tmp_path: Path) -> None:
    """Byte for byte; and what its `package.toml` says is not said differently."""
    files = {
        path.relative_to(PACKAGE).as_posix(): (path.read_bytes(), 0o644)
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file()
    }
    for name, data in (
        ("one.tar.gz", tar_artifact("rate-limit", files)),
        ("one.zip", zip_artifact("rate-limit", files)),
    ):
        (tmp_path / name).write_bytes(data)

        assert prepared(tmp_path / name).archive == build_package(PACKAGE).archive
    with pytest.raises(RefusedError, match="the package says so itself"):
        prepared(tmp_path / "one.zip", Wishes(version="9.0.0"))


def test_objects_in_an_archive_make_a_package(tmp_path: Path) -> None:
    """With the archive's texts of licences; its version has to be stated."""
    files = {**artifact_files(), "LICENSES/MIT.txt": (b"mit\n", 0o644)}
    archive = tmp_path / "l3af_port_block.zip"
    archive.write_bytes(zip_artifact("objects", files))

    found = prepared(archive, Wishes(version="2.0.0", licence="GPL-2.0-only OR MIT"))

    assert (found.manifest.name, found.manifest.version) == ("l3af-port-block", "2.0.0")
    assert found.manifest.licence == "GPL-2.0-only OR MIT"
    assert {one.path for one in found.manifest.files} >= {"LICENSES/MIT.txt", "IMPORTED.txt"}
    with pytest.raises(RefusedError, match="state it"):
        prepared(archive)


def test_an_archive_that_escapes_is_refused(tmp_path: Path) -> None:
    """By the name of what it tried."""
    archive = tmp_path / "escape.tar.gz"
    archive.write_bytes(packed(member(b"../../escaped.o", xdp_object())))

    with pytest.raises(RefusedError, match="leads out of its folder"):
        prepared(archive, Wishes(version="1.0.0"))


def test_a_repository_is_imported_version_by_version(tmp_path: Path) -> None:
    """Equal artifacts are one; a version that is none needs a number, and keeps no other back."""
    repository = write_repository(tmp_path)
    other = {"tc_flow.bpf.o": (tc_object(), 0o644)}
    different = tmp_path / "port_block" / "1.2" / "bookworm"
    different.mkdir()

    numbered, latest = packages_of(str(repository), Wishes())
    stated = list(packages_of(str(repository), Wishes(version="3.0.0", name="blocker")))
    (different / "l3af_port_block.tar.gz").write_bytes(tar_artifact("l3af_port_block", other))
    ambiguous, _ = packages_of(str(repository), Wishes())
    chosen, _ = packages_of(str(repository), Wishes(platform="bookworm"))

    assert isinstance(numbered, Prepared)
    assert isinstance(latest, NotPrepared)
    assert "none by SemVer" in latest.refusal.message
    assert [
        (one.manifest.name, one.manifest.version) for one in stated if isinstance(one, Prepared)
    ] == [("blocker", "1.2.0"), ("blocker", "3.0.0")]
    assert isinstance(ambiguous, NotPrepared)
    assert "name a --platform" in ambiguous.refusal.message
    assert ambiguous.refusal.reasons[0].allowed == ["bookworm", "focal", "jammy"]
    assert isinstance(chosen, Prepared)
    assert [one.name for one in chosen.manifest.programs] == ["tc-ingress"]


def test_what_does_not_concern_the_source_is_refused(tmp_path: Path) -> None:
    """Nobody believes that a key was compared which was not looked at."""
    archive = tmp_path / "one.tar.gz"
    archive.write_bytes(b"")
    key = parse_key(public_pem(new_key()), path="cosign.pub")

    for wishes, name in (
        (Wishes(key=key), "--cosign-key"),
        (Wishes(trust_root="ab" * 32), "--trust-root"),
        (Wishes(platform="jammy"), "--platform"),
        (Wishes(packages="a*"), "--package"),
        (Wishes(tag="one"), "--tag"),
    ):
        with pytest.raises(RefusedError, match=f"{name} says nothing about this kind of source"):
            prepared(archive, wishes)
    with pytest.raises(RefusedError, match="nothing that packages are imported from"):
        prepared(tmp_path / "nowhere")
    with pytest.raises(RefusedError, match="holds no <name>"):
        prepared(tmp_path)
