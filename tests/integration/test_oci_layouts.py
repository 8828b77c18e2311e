# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Folders in OCI layout: what they hold, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.oci_layout import Layout, is_layout
from cli.oci_source import read_content
from shared.errors import RefusedError
from shared.oci.cosign import ImageSignatureError, parse_key, referrers_tag, signature_tag
from shared.oci.documents import OciContent, OciError
from shared.oci.packages import CarriedPackage, package_content
from shared.package_archive import write_archive
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, sign
from tests.support.cosigning import new_key, public_pem, referring_content, signature_content

ARCHIVE = write_archive(FILES)


def package(version: str) -> CarriedPackage:
    """One version of `one`."""
    manifest = a_manifest(version=version)
    return CarriedPackage(sign(manifest), manifest, TRUST_ROOT.hex(), ARCHIVE)


def content(version: str = "1.0.0") -> OciContent:
    """As an artifact."""
    return package_content(package(version))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With `one` 1.0.0 under the tag one-1.0.0."""
    Layout(tmp_path / "layout").push(content(), "one-1.0.0")
    return tmp_path / "layout"


def test_a_layout_holds_what_was_put_there(folder: Path) -> None:
    """The only one without a name, each of several by its tag or digest; a tag can move."""
    layout = Layout(folder)
    assert is_layout(folder)
    assert read_content(layout, "").package == package("1.0.0")

    layout.push(content("2.0.0"), "one-2.0.0")
    layout.push(content("3.0.0"), "one-1.0.0")

    assert read_content(layout, "one-2.0.0").package == package("2.0.0")
    assert read_content(layout, "one-1.0.0").package == package("3.0.0")
    assert read_content(layout, content("2.0.0").root.digest).package == package("2.0.0")
    with pytest.raises(RefusedError, match="name one with --tag") as caught:
        read_content(layout, "")
    assert caught.value.reasons[0].allowed == ["one-1.0.0", "one-2.0.0"]
    with pytest.raises(RefusedError, match="nothing of this name"):
        read_content(layout, "one-9.0.0")


def test_signatures_lie_in_the_layout_too(folder: Path) -> None:
    """Beside what they sign, which is still the only one without a name."""
    layout, key, referring = Layout(folder), new_key(), new_key()
    public = parse_key(public_pem(key), path="cosign.pub")
    root = content().root

    with pytest.raises(ImageSignatureError, match="not signed"):
        read_content(layout, "", key=public)
    layout.push(referring_content(root, referring), referrers_tag(root.digest))
    with pytest.raises(ImageSignatureError, match="not signed"):
        read_content(layout, "", key=public)
    layout.push(signature_content(root.digest, key), signature_tag(root.digest))

    assert signature_tag(root.digest) in read_content(layout, "", key=public).signed_at
    other = parse_key(public_pem(referring), path="other.pub")
    assert read_content(layout, "", key=other).signed_at.startswith("sha256:")


def test_what_was_changed_on_disk_is_refused(folder: Path) -> None:
    """A byte, a length, a blob that is not there, an index that is none."""
    blob = folder / "blobs" / "sha256" / package("1.0.0").signed.archive_sha256
    whole = blob.read_bytes()
    for data, rule in (
        (b"x" + whole[1:], "another digest"),
        (whole[:-1], "another size"),
        (whole + b"x", "larger than it may be"),
    ):
        blob.write_bytes(data)
        with pytest.raises(OciError, match=rule):
            read_content(Layout(folder), "")
    blob.unlink()
    with pytest.raises(RefusedError, match="cannot be read"):
        read_content(Layout(folder), "")
    (folder / "index.json").write_text("{}")
    with pytest.raises(OciError, match="is no OCI document"):
        read_content(Layout(folder), "")


def test_a_digest_that_is_a_path_is_refused(folder: Path) -> None:
    """What an index names never leads out of the folder."""
    index = json.loads((folder / "index.json").read_text())
    index["manifests"][0]["digest"] = "sha256:../../../../etc/passwd"
    (folder / "index.json").write_text(json.dumps(index))

    with pytest.raises(OciError, match="no SHA-256 digest"):
        read_content(Layout(folder), "")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written into it."""
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(RefusedError, match="holds something else"):
        Layout(tmp_path).push(content(), "one")

    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
