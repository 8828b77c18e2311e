# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Private forks: which versions are their own, and when upstream has caught up."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.overlays import (
    MAX_SHOWN_CHANGES,
    file_changes,
    newly_caught_up,
    overlay_package,
    overlay_reasons,
)
from services.catalog.version_entries import files_digest
from shared.contracts.lifecycle import Lifecycle, Statement
from shared.contracts.overlays import MAX_FILE_CHANGES, FileChange
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.versions import precedence
from tests.package_builders import a_manifest, a_record

PATCHES = st.integers(0, 6)
FILES = st.sampled_from(["a", "b", "c"])


def an_entry(version: str, files: str = "") -> VersionEntry:
    """A release; equal `files` are equal files."""
    entry = a_record(version).versions[0]
    return msgspec.structs.replace(entry, version=version, files_sha256=files)


def a_package(versions: dict[str, str]) -> PackageRecord:
    """Version to its files."""
    entries = (an_entry(version, files) for version, files in versions.items())
    return PackageRecord(name="edge", versions=tuple(entries))


@pytest.mark.parametrize(
    ("version", "space", "rule"),
    [
        ("1.4.2+acme.3", "p_acme", None),
        ("1.4.2+acme.3", "public", None),
        ("9.9.9", "r_0123456789abcdef", None),
        ("1.4.2", "p_acme", "is public too"),
        ("1.4.2+other.3", "p_acme", "is public too"),
        ("1.4.2+acme.0", "p_acme", "is public too"),
        ("1.4.3+acme.1", "p_acme", "stands on a version that is not public"),
    ],
)
def test_own_versions_say_whose_change_of_what_they_are(
    version: str, space: str, rule: str | None
) -> None:
    """In a private space, of what is public too; elsewhere nothing is asked."""
    found = list(overlay_reasons(version, space, a_package({"1.4.2": ""})))

    assert [one.path for one in found] == (["manifest.version"] if rule else [])
    assert rule is None or rule in found[0].rule


def test_what_nobody_else_has_is_free() -> None:
    """A package of the space alone has any versions."""
    assert list(overlay_reasons("1.0.0", "p_acme", None)) == []
    assert list(overlay_reasons("1.0.0", "p_acme", PackageRecord(name="edge"))) == []


@given(
    upstream=st.dictionaries(PATCHES, FILES, min_size=1),
    own=st.dictionaries(st.tuples(PATCHES, st.integers(1, 3)), FILES, min_size=1),
)
def test_the_state_is_that_of_the_newest_own_version(
    upstream: dict[int, str], own: dict[tuple[int, int], str]
) -> None:
    """Caught up by the oldest public version after the base with the files that the base lacks."""
    public = a_package({f"1.0.{patch}": files for patch, files in upstream.items()})
    mine = a_package({f"1.0.{patch}+acme.{one}": files for (patch, one), files in own.items()})

    found = overlay_package(mine, public)

    patch, number = max(own)
    same = [other for other, files in upstream.items() if files == own[max(own)] and other > patch]
    if upstream.get(patch) == own[max(own)]:
        same = []
    assert found.versions[0].version == f"1.0.{patch}+acme.{number}"
    assert found.versions[0].caught_up_by == (f"1.0.{min(same)}" if same else "")
    assert found.upstream == f"1.0.{max(upstream)}"
    if same:
        assert found.state == "caught-up"
    elif patch not in upstream:
        assert found.state == "own"
    else:
        assert found.state == ("behind" if max(upstream) > patch else "current")
    assert [precedence(one.version) for one in found.versions] == sorted(
        (precedence(one.version) for one in mine.versions), reverse=True
    )


@given(
    own=st.dictionaries(st.tuples(PATCHES, st.integers(1, 3)), FILES),
    upstream=st.dictionaries(PATCHES, FILES, min_size=1),
    data=st.data(),
)
def test_a_publication_tells_whom_it_concerns(
    own: dict[tuple[int, int], str], upstream: dict[int, str], data: st.DataObject
) -> None:
    """The own versions with its files that stand on something older, which has others."""
    patch = data.draw(st.sampled_from(sorted(upstream)))
    public = a_package({f"1.0.{one}": files for one, files in upstream.items()})
    mine = a_package({f"1.0.{base}+acme.{one}": held for (base, one), held in own.items()})

    published = an_entry(f"1.0.{patch}", upstream[patch])
    found = newly_caught_up(mine, published, public.versions)

    assert {one.version for one in found} == {
        f"1.0.{base}+acme.{one}"
        for (base, one), held in own.items()
        if held == upstream[patch] and base < patch and upstream.get(base) != held
    }


def test_what_was_taken_back_or_is_licensed_otherwise_has_not_caught_up() -> None:
    """Nobody is told that the change can go, for what can not be run or not on these terms."""
    mine = a_package({"1.0.0+acme.1": "b"})
    base, same = an_entry("1.0.0", "a"), an_entry("1.0.1", "b")
    said = Statement(by="UA", name="ada", role="approver", at="2026-01-01T00:00:00.000000Z")
    changed = (
        msgspec.structs.replace(same, lifecycle=Lifecycle(revoked=said)),
        msgspec.structs.replace(same, lifecycle=Lifecycle(yanked=said)),
        msgspec.structs.replace(
            same, facets=msgspec.structs.replace(same.facets, licence="GPL-3.0-only")
        ),
    )

    for other in changed:
        public = PackageRecord(name="edge", versions=(base, other))
        assert overlay_package(mine, public).versions[0].caught_up_by == ""
        assert newly_caught_up(mine, other, public.versions) == ()
    public = PackageRecord(name="edge", versions=(base, same))
    assert overlay_package(mine, public).versions[0].caught_up_by == "1.0.1"


def test_what_changes_package_toml_alone_is_not_upstreams_already() -> None:
    """Its files are those of what it stands on, and the change is in none of them."""
    found = overlay_package(a_package({"1.0.0+acme.1": "a"}), a_package({"1.0.0": "a"}))

    assert (found.state, found.versions[0].caught_up_by) == ("current", "")


def test_what_was_the_spaces_alone_and_is_public_as_it_is_has_caught_up() -> None:
    """Its version is no change of the public one: it is the same."""
    mine, public = a_package({"2.0.0": "a"}), a_package({"2.0.0": "a"})

    assert overlay_package(mine, public).versions[0].caught_up_by == "2.0.0"
    assert newly_caught_up(mine, public.versions[0], public.versions) == mine.versions


def test_a_public_version_with_build_metadata_can_be_stood_on() -> None:
    """1.4.2+linux.6 is public as 1.4.2, which metadata of a build does not change."""
    upstream = a_package({"1.4.2+linux.6": "a"})

    assert list(overlay_reasons("1.4.2+acme.1", "p_acme", upstream)) == []
    found = overlay_package(a_package({"1.4.2+acme.1": "b"}), upstream)
    assert (found.state, found.versions[0].base) == ("current", "1.4.2")


CONTENTS = st.dictionaries(
    st.sampled_from(["a.bpf.o", "b.h", "LICENSES/MIT.txt", "package.toml"]),
    st.binary(max_size=2),
    min_size=1,
)


@given(CONTENTS, CONTENTS)
def test_files_differ_by_path_and_content(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    """Equal digests are no changes; package.toml, which names the version, does not count."""
    old, new = a_manifest(before), a_manifest(after)

    found = {one.path: one.change for one in file_changes(old, new)}

    relevant = (before.keys() | after.keys()) - {"package.toml"}
    assert found.keys() == {path for path in relevant if before.get(path) != after.get(path)}
    assert (files_digest(old) == files_digest(new)) == (not found)
    assert all((found[path] == "added") == (path not in before) for path in found)


@given(st.integers(1, 5000), st.integers(0, 300))
def test_what_is_shown_together_fits_a_message(packages: int, count: int) -> None:
    """The more packages, the fewer changes of each; those that are left out are counted."""
    changes = [FileChange(path=f"f{number}", change="added") for number in range(count)]

    found = overlay_package(
        a_package({"1.0.0+acme.1": "b"}), a_package({"1.0.0": "a"}), changes, packages=packages
    )

    assert len(found.changes) + found.more_changes == count
    assert len(found.changes) * packages <= MAX_SHOWN_CHANGES
    assert len(found.changes) == min(count, MAX_FILE_CHANGES) or packages > 20


def test_versions_of_which_no_files_are_known_are_not_the_same() -> None:
    """They were published by a release that did not note them."""
    found = overlay_package(a_package({"1.0.0+acme.1": ""}), a_package({"1.0.0": ""}))

    assert found.state == "current"
