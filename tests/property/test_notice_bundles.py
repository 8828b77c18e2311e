# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of notices: all that licences ask for, each text once, and no byte can be changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.bundle_files import check_new, read_bundle, write_bundle
from shared.canonical import sha256_hex
from shared.contracts.package_manifest import SourceLocation
from shared.errors import RefusedError
from shared.foreign.archives import ForeignArchiveError
from shared.licensing.bundle_checks import BundleError, checked_bundle
from shared.licensing.notice_bundle import (
    MANIFEST,
    NOTICE,
    OFFER,
    BundledFile,
    HandedOn,
    LackingPackage,
    NoticeBundle,
    manifest_bytes,
    notice_bundle,
    text_path,
)
from shared.licensing.notices import package_notice
from shared.licensing.verdict import check_licences
from tests.support.licensed_packages import an_object, licensed

GPL, MIT = b"GPL,\nword by word\n", b"MIT\n"
SINCE, UNTIL = "2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"
LINE = b"// SPDX-FileCopyright" + b"Text: 2026 "
FILES = {
    "LICENSES/GPL-2.0-only.txt": GPL,
    "LICENSES/MIT.txt": MIT,
    "NOTICE": b"This product has a part of somebody.\n",
    "common.h": LINE + b"Zed\n",
    "one.bpf.c": LINE + b"Acme\n",
    "one.bpf.o": b"\x7fELF one",
    "package.toml": b"[package]\n",
}
PLACE = SourceLocation(repository="https://example.org/one.git", revision="v1")


def handed_on(
    name: str = "one",
    *,
    spdx: str = "GPL-2.0-only",
    kernel: str = "GPL",
    lacks: Sequence[str] = (),
    source: SourceLocation | None = None,
) -> HandedOn:
    """A package that was handed out, without the files that it lacks."""
    files = {path: data for path, data in FILES.items() if path not in lacks}
    package = licensed(spdx, an_object(kernel), files=files, source=source, name=name)
    notice = package_notice(package, files, check_licences(package).elections)
    digest = sha256_hex(f"{name} {sorted(files)}".encode())
    return HandedOn(digest, "c" * 64, package.manifest, notice, files)


def bundled(*handed: HandedOn, contact: str = "opensource@example.org") -> dict[str, bytes]:
    """The bundle of these."""
    return notice_bundle(handed, since=SINCE, until=UNTIL, contact=contact)


WHOLE = bundled(handed_on(), handed_on("two", lacks=("one.bpf.c",), source=PLACE))


def test_each_text_is_there_once_under_its_digest() -> None:
    """Whichever packages it is of; the notices name them, and have every copyright line."""
    notice = WHOLE[NOTICE].decode()

    texts = sorted(path for path in WHOLE if path.startswith("texts/"))
    assert texts == sorted(
        text_path(sha256_hex(FILES[path]))
        for path in ("LICENSES/GPL-2.0-only.txt", "LICENSES/MIT.txt", "NOTICE")
    )
    assert WHOLE[text_path(sha256_hex(GPL))] == GPL
    assert notice.count("word by word") == 1
    assert "of one 1.0.0, two 1.0.0" in notice
    assert notice.count("2026 Zed") == 2


def test_sources_of_gpl_objects_are_all_files_that_were_not_built() -> None:
    """Of a package whose objects nobody takes under the GPL there are none."""
    (one, two) = checked_bundle(WHOLE).packages
    folder = f"sources/{one.folder}"

    assert set(one.sources) == {
        f"{folder}/{path}" for path in ("NOTICE", "common.h", "one.bpf.c", "package.toml")
    }
    assert WHOLE[f"{folder}/one.bpf.c"] == FILES["one.bpf.c"]
    assert one.offered == ()
    assert two.offered == ("one.bpf.o",)
    permissive = bundled(handed_on(spdx="MIT", kernel="MIT"), contact="")
    assert not [path for path in permissive if path.startswith("sources/")]
    assert OFFER not in permissive


def test_what_is_not_in_the_archive_is_offered_by_somebody() -> None:
    """With the place that the publisher named; without a contact the bundle is refused."""
    offer = WHOLE[OFFER].decode()

    assert "Ask: opensource@example.org" in offer
    assert "3 years" in offer
    assert "kept at https://example.org/one.git, v1" in offer
    assert "one.bpf.o (GPL-2.0-only): by this offer" in offer
    with pytest.raises(RefusedError) as caught:
        bundled(handed_on("two", lacks=("one.bpf.c",)), contact=" ")
    assert [one.path for one in caught.value.reasons] == ["two 1.0.0"]


def test_what_is_lacking_is_said() -> None:
    """A source that is nowhere, a text that is not there, an archive that could not be had."""
    lost = LackingPackage(name="three", version="1.0.0", archive_sha256="d" * 64, why="is gone")
    complete = bundled(handed_on(spdx="GPL-2.0-only OR MIT", source=PLACE))
    assert not checked_bundle(complete).needs_attention
    for files in (
        bundled(handed_on(lacks=("one.bpf.c",))),
        bundled(handed_on(lacks=("LICENSES/GPL-2.0-only.txt",))),
        notice_bundle([handed_on()], lacking=[lost], since="", until=UNTIL, contact="me"),
    ):
        assert checked_bundle(files).needs_attention
    assert f"three 1.0.0, {'d' * 64}: is gone" in files[NOTICE].decode()


@given(st.permutations([handed_on(name) for name in ("one", "two", "three")]))
def test_the_same_packages_make_the_same_bytes(handed: list[HandedOn]) -> None:
    """Whatever order they came in."""
    expected = bundled(*(handed_on(name) for name in ("one", "two", "three")))
    assert bundled(*handed) == expected


@given(st.data())
def test_no_byte_can_be_changed_added_or_left_out(data: st.DataObject) -> None:
    """Each change of any file is found, and so is a file more or less."""
    files = dict(WHOLE)
    path = data.draw(st.sampled_from(sorted(files)))
    match data.draw(st.sampled_from(["change", "remove", "add", "swap"])):
        case "change":
            at = data.draw(st.integers(0, len(files[path]) - 1))
            flip = data.draw(st.integers(1, 255))
            changed = bytearray(files[path])
            changed[at] ^= flip
            files[path] = bytes(changed)
        case "remove":
            del files[path]
        case "add":
            files[f"{path}.more"] = b""
        case _:
            other = data.draw(st.sampled_from(sorted(set(files) - {path})))
            files[path], files[other] = files[other], files[path]
            if files[path] == files[other]:
                return

    with pytest.raises(BundleError):
        checked_bundle(files)


@pytest.mark.parametrize("path", [NOTICE, OFFER, "sources", "texts"])
def test_a_manifest_that_was_made_to_fit_does_not_hide_what_is_gone(path: str) -> None:
    """Notices and offer follow from it, and every text and source that is needed is listed."""
    gone = [one for one in WHOLE if one == path or one.startswith(f"{path}/")]
    for one in gone:
        files = {name: content for name, content in WHOLE.items() if name != one}
        if path in {NOTICE, OFFER}:
            files[one] = b"nothing\n"
        files[MANIFEST] = refitted(files)
        with pytest.raises(BundleError):
            checked_bundle(files)


def refitted(files: dict[str, bytes]) -> bytes:
    """The manifest with the digests of what is there."""
    bundle = msgspec.json.decode(WHOLE[MANIFEST], type=NoticeBundle)
    listed = tuple(
        BundledFile(path=path, sha256=sha256_hex(content), size_bytes=len(content))
        for path, content in sorted(files.items())
        if path != MANIFEST
    )
    return manifest_bytes(msgspec.structs.replace(bundle, files=listed))


def test_nothing_can_be_hidden_in_the_manifest() -> None:
    """A field that is not known, or another way to write the same."""
    for changed in (
        re.sub(rb'"until"', rb'"hidden": 1, "until"', WHOLE[MANIFEST], count=1),
        WHOLE[MANIFEST] + b"\n",
    ):
        with pytest.raises(BundleError):
            checked_bundle({**WHOLE, MANIFEST: changed})


@pytest.mark.parametrize("name", ["bundle", "bundle.tar.gz"])
def test_what_was_written_is_read_back_and_never_overwritten(tmp_path: Path, name: str) -> None:
    """As a folder or an archive, which has the same bytes each time."""
    place, again = tmp_path / "a" / name, tmp_path / "b" / name

    for one in (place, again):
        check_new(one)
        write_bundle(one, dict(reversed(WHOLE.items())))

    assert read_bundle(place) == WHOLE
    if place.is_file():
        assert place.read_bytes() == again.read_bytes()
    assert [one.name for one in place.parent.iterdir()] == [name]
    with pytest.raises(RefusedError):
        check_new(place)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.integers(0, 400))
def test_an_archive_that_is_damaged_is_refused(tmp_path: Path, at: int) -> None:
    """By what cannot be read, or by what does not hold."""
    place = tmp_path / "bundle.tgz"
    write_bundle(place, WHOLE)
    data = place.read_bytes()
    place.write_bytes(data[: at * len(data) // 401])

    with pytest.raises((ForeignArchiveError, BundleError)):
        checked_bundle(read_bundle(place))
    place.unlink()


def test_a_folder_with_a_link_is_refused(tmp_path: Path) -> None:
    """What it points to is not the bundle's."""
    place = tmp_path / "bundle"
    write_bundle(place, WHOLE)
    (place / "texts" / "link.txt").symlink_to("/etc/hostname")

    with pytest.raises(RefusedError):
        read_bundle(place)
