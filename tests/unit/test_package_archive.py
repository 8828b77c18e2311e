# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives: one byte string for a set of files, and no way to hide in one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES, MAX_FILE_BYTES
from shared.errors import RefusedError
from shared.package_archive import ArchiveError, read_archive, unpack_archive, write_archive
from tests.package_builders import FILES, a_manifest, a_program


def rules(call: Callable[[], object]) -> dict[str, str]:
    """Path to rule of every reason with which the call refuses."""
    with pytest.raises(RefusedError) as caught:
        call()
    return {reason.path: reason.rule for reason in caught.value.reasons}


def a_tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    """An archive that another tool wrote, in the same format."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def a_member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """One entry of a tar."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_every_tar_reads_what_is_written() -> None:
    """The archive is a standard tar: other tools find the same files."""
    long_path = f"{'d' * 90}/{'e' * 90}"
    files = {**FILES, long_path: b"deep"}

    with tarfile.open(fileobj=io.BytesIO(write_archive(files))) as tar:
        members = {member.name: member for member in tar}
        found = {name: tar.extractfile(member).read() for name, member in members.items()}  # type: ignore[union-attr]

    assert found == files
    assert {(m.mode, m.uid, m.gid, m.mtime) for m in members.values()} == {(0o644, 0, 0, 0)}


def test_the_files_of_a_manifest_come_back() -> None:
    """What was written is read, if the manifest says the same."""
    assert read_archive(write_archive(FILES), a_manifest()) == dict(FILES)


def test_every_difference_from_the_manifest_is_named() -> None:
    """A changed, a missing and an additional file are all reported, by name."""
    changed = {"README.md": b"# two\n", "one.bpf.o": b"longer than it was", "extra.txt": b""}

    found = rules(lambda: read_archive(write_archive(changed), a_manifest()))

    assert found == {
        "archive[README.md].sha256": "the digest differs from the manifest's",
        "archive[one.bpf.o].sha256": "the digest differs from the manifest's",
        "archive[one.bpf.o].size_bytes": "the size differs from the manifest's",
        "archive[one.bpf.c]": "the archive lacks this file",
        "archive[extra.txt]": "the manifest does not name this file",
    }


def test_a_program_needs_its_object_file() -> None:
    """A manifest whose program names a file it does not list is refused."""
    manifest = a_manifest(programs=(a_program(object="other.o"),))

    assert rules(lambda: read_archive(write_archive(FILES), manifest)) == {
        "manifest.programs[0].object": "names a file that the manifest does not list"
    }


@pytest.mark.parametrize(
    "path", ["../a", "a/../b", "/a", "./a", "a//b", ".hidden", "a/", "", "a\nb", "a b", "ü", "a\n"]
)
def test_no_path_leaves_the_folder(path: str) -> None:
    """A path that could mean another place is refused, when writing and when reading."""
    assert f"files[{path}]" in rules(lambda: write_archive({path: b""}))


def test_a_path_that_was_smuggled_in_is_refused() -> None:
    """Another tool's archive with a traversal in it is refused by name."""
    data = a_tar(a_member("ok"), a_member("../../etc/passwd"), a_member("/absolute"))

    assert rules(lambda: unpack_archive(data)).keys() == {
        "files[../../etc/passwd]",
        "files[/absolute]",
    }


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.DIRTYPE, "a directory"),
        (tarfile.FIFOTYPE, "a FIFO"),
        (b"Z", "of an unknown kind"),
    ],
)
def test_only_regular_files_are_taken(kind: bytes, word: str) -> None:
    """Links, folders and devices are refused by name."""
    found = rules(lambda: unpack_archive(a_tar(a_member("thing", kind, "ok"))))

    assert f"is {word}, not a regular file" in found.values()


def test_two_names_for_one_file_are_refused() -> None:
    """Duplicates, and names that differ only by case, are refused."""
    twice = a_tar(a_member("same"), a_member("same"))
    by_case = a_tar(a_member("Case"), a_member("case"))

    assert rules(lambda: unpack_archive(twice)) == {"files[same]": "is there twice"}
    assert rules(lambda: unpack_archive(by_case)) == {
        "files[case]": "differs from another only by case"
    }


def test_nothing_hides_in_an_archive() -> None:
    """Other padding, other metadata, another order or a longer end is not the same archive."""
    data = write_archive(FILES)
    padded = bytearray(data)
    padded[512 + len(FILES["README.md"])] = 1
    owned = a_member("README.md")
    owned.uname = "root"

    for altered in (bytes(padded), data + bytes(512), data + b"hidden", data[:-512]):
        with pytest.raises(ArchiveError):
            read_archive(altered, a_manifest())
    with pytest.raises(ArchiveError, match="canonical"):
        unpack_archive(a_tar(owned))


@pytest.mark.parametrize("size", [0, 1, 511, 512, 700, 1024])
def test_an_archive_that_was_cut_is_refused(size: int) -> None:
    """Every truncation is refused, wherever it cuts."""
    with pytest.raises(ArchiveError):
        unpack_archive(write_archive(FILES)[:size])


def test_an_archive_has_a_largest_size() -> None:
    """What is over the limit is refused before anything of it is looked at."""
    found = rules(lambda: unpack_archive(bytes(MAX_ARTIFACT_BYTES + 1)))

    assert found == {"archive": "larger than an archive may be"}


def test_a_file_has_a_largest_size() -> None:
    """A member that says that it is larger is refused by name."""
    found = rules(lambda: write_archive({"large": bytes(MAX_FILE_BYTES + 1)}))

    assert found == {"files[large]": "is larger than a file may be"}


def test_a_mapped_archive_is_read_without_a_copy() -> None:
    """Of a view, the files are views of the same bytes."""
    archive = write_archive(FILES)
    view = memoryview(archive)

    files = read_archive(view, a_manifest())

    assert dict(files) == FILES
    assert all(files.view(path).obj is archive for path in FILES)


def test_an_archive_has_a_largest_number_of_files() -> None:
    """A thousand files are too many."""
    found = rules(lambda: write_archive({f"f{number}": b"" for number in range(1000)}))

    assert found == {"files": "too many files"}


def test_a_path_that_no_header_can_hold_is_refused() -> None:
    """A single name of more than 100 characters does not fit ustar."""
    assert rules(lambda: write_archive({"n" * 101: b""})) == {
        f"files[{'n' * 101}]": "does not fit a ustar header"
    }
