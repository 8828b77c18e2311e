# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The one byte string that a set of files is stored and shipped as, and the way back.

Pure: nothing is written to disk.  POSIX.1-1988 ustar, regular files only, sorted by path, mode
0644, owner 0, time 0, so that equal files always make equal bytes and equal digests.  Reading
copies no file but those that are asked for, so that an archive may be mapped and need no memory.

Rules for reading (`read_archive`):
 * Every way in which the archive differs from the manifest is reported, not only the first.
 * No path leaves the archive's folder, none differs from another only by case, none is a link.
 * What the strict reader understood is encoded again and must give the same bytes, so nothing can
   hide in padding, extended headers, other metadata or behind the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from shared.archive_files import ArchiveBytes, ArchiveFiles
from shared.canonical import sha256_hex
from shared.contracts.package_manifest import (
    MAX_ARTIFACT_BYTES,
    MAX_FILE_BYTES,
    PackageFile,
    PackageManifest,
    ProgramEntry,
)
from shared.errors import Reason, RefusedError, VerificationError
from shared.reason_lists import bounded_reasons

MAX_FILES: Final = 512
MAX_PATH_BYTES: Final = 255
"""100 in the ustar name field and 155 in its prefix field; fewer fit if no `/` stands right."""

_BLOCK: Final = 512
_NAME_BYTES: Final = 100
_PREFIX_BYTES: Final = 155
_CHECKSUM: Final = slice(148, 156)
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_REGULAR: Final = b"0"
_END: Final = bytes(2 * _BLOCK)
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a FIFO",
    b"x": "an extended header",
    b"g": "a global extended header",
    b"L": "a GNU long name",
    b"K": "a GNU long link name",
}


class ArchiveError(VerificationError):
    """The archive is not exactly the files that its manifest names."""


@dataclass(frozen=True, slots=True)
class _Member:
    path: str
    kind: bytes
    start: int
    size_bytes: int


def describe_files(files: Mapping[str, bytes]) -> tuple[PackageFile, ...]:
    """What a manifest says about `files`: path, digest and size of each, by path."""
    return tuple(
        PackageFile(path=path, sha256=sha256_hex(data), size_bytes=len(data))
        for path, data in sorted(files.items())
    )


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The archive of `files` (path to content); equal files give equal bytes.

    Raises:
        RefusedError: A path is not allowed or too long, there are too many files, or the whole is
            larger than MAX_ARTIFACT_BYTES; with every reason.
    """
    reasons = [*_path_reasons(files), *_count_reasons(len(files))]
    reasons += _file_size_reasons((path, len(data)) for path, data in files.items())
    reasons += [
        Reason(path=f"files[{path}]", rule="does not fit a ustar header", got=len(path))
        for path in files
        if _PATH.fullmatch(path) and _split(path) is None
    ]
    if reasons:
        raise RefusedError("these files cannot be an archive", reasons)
    archive = _encode(files)
    if len(archive) > MAX_ARTIFACT_BYTES:
        raise RefusedError("the archive is too large", [_size_reason(len(archive))])
    return archive


def read_archive(data: ArchiveBytes, manifest: PackageManifest) -> ArchiveFiles:
    """The files of the archive, once they are known to be exactly those of the manifest.

    Raises:
        ArchiveError: With every difference found.
    """
    files = _read(data)
    reasons = [*_manifest_reasons(manifest), *_difference_reasons(files, manifest)]
    if not reasons and not _is_canonical(data, files):
        reasons.append(
            Reason(path="archive", rule="is not the canonical archive of the files it holds")
        )
    if reasons:
        raise ArchiveError("the archive is not what the manifest says", bounded_reasons(reasons))
    return files


def unpack_archive(data: ArchiveBytes) -> dict[str, bytes]:
    """The files of a canonical archive for which there is no manifest yet.

    Raises:
        ArchiveError: `write_archive` does not make such archives.
    """
    files = _read(data)
    if not _is_canonical(data, files):
        reason = Reason(path="archive", rule="is not the canonical archive of the files it holds")
        raise ArchiveError("the archive is not canonical", [reason])
    return dict(files)


def _read(data: ArchiveBytes) -> ArchiveFiles:
    """All members, once the archive as such breaks no rule."""
    if len(data) > MAX_ARTIFACT_BYTES:
        raise ArchiveError("the archive is too large", [_size_reason(len(data))])
    # One more than are allowed: those behind it could only make the refusal longer.
    members = list(islice(_members(data), MAX_FILES + 1))
    paths = [member.path for member in members]
    reasons = [
        *_path_reasons(paths),
        *_count_reasons(len(members)),
        *_file_size_reasons((member.path, member.size_bytes) for member in members),
        *(
            Reason(
                path=f"archive[{member.path}]",
                rule=f"is {_KINDS.get(member.kind, 'of an unknown kind')}, not a regular file",
            )
            for member in members
            if member.kind != _REGULAR
        ),
    ]
    if reasons:
        raise ArchiveError("the archive holds what no archive may hold", bounded_reasons(reasons))
    places = {one.path: slice(one.start, one.start + one.size_bytes) for one in members}
    return ArchiveFiles(data, places)


def _manifest_reasons(manifest: PackageManifest) -> Iterator[Reason]:
    yield from _path_reasons(file.path for file in manifest.files)
    listed = {file.path for file in manifest.files}
    for index, program in enumerate(manifest.programs):
        for field, path in (("object", program.object), *_platform_objects(program)):
            if path and path not in listed:
                yield Reason(
                    path=f"manifest.programs[{index}].{field}",
                    rule="names a file that the manifest does not list",
                    got=path,
                )


def _platform_objects(program: ProgramEntry) -> Iterator[tuple[str, str]]:
    return ((f"objects.{key}", path) for key, path in program.objects.items())


def _difference_reasons(files: ArchiveFiles, manifest: PackageManifest) -> Iterator[Reason]:
    wanted = {file.path: file for file in manifest.files}
    for path in sorted(files.keys() - wanted.keys()):
        yield Reason(path=f"archive[{path}]", rule="the manifest does not name this file")
    for path in sorted(wanted.keys() - files.keys()):
        yield Reason(path=f"archive[{path}]", rule="the archive lacks this file")
    for path in sorted(wanted.keys() & files.keys()):
        content = files.view(path)
        size_bytes, digest = len(content), sha256_hex(content)
        if size_bytes != wanted[path].size_bytes:
            yield Reason(
                path=f"archive[{path}].size_bytes",
                rule="the size differs from the manifest's",
                got=size_bytes,
                allowed=wanted[path].size_bytes,
            )
        if digest != wanted[path].sha256:
            yield Reason(
                path=f"archive[{path}].sha256",
                rule="the digest differs from the manifest's",
                got=digest,
                allowed=wanted[path].sha256,
            )


def _path_reasons(paths: Iterable[str]) -> Iterator[Reason]:
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        if not _PATH.fullmatch(path):
            yield Reason(
                path=f"files[{path}]",
                rule="a path is letters, digits, '.', '_', '-' in parts that no '.' begins",
                got=path,
            )
        elif len(path) > MAX_PATH_BYTES:
            yield Reason(
                path=f"files[{path}]",
                rule="the path is too long",
                got=len(path),
                allowed=MAX_PATH_BYTES,
            )
        if (earlier := seen.get(path.casefold())) is not None:
            rule = "is there twice" if earlier == path else "differs from another only by case"
            yield Reason(path=f"files[{path}]", rule=rule, got=earlier)
        seen.setdefault(path.casefold(), path)
        yield from _folder_reasons(path, seen, folders)


def _folder_reasons(path: str, files: dict[str, str], folders: dict[str, str]) -> Iterator[Reason]:
    """Whether the path's folders can lie beside what was seen before; they are added to it.

    Args:
        path: One path.
        files: Those so far and itself, by their case-folded form.
        folders: Those of the paths so far, likewise.
    """
    if path.casefold() in folders:
        yield Reason(path=f"files[{path}]", rule="is also the folder of another file")
    parts = path.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts))]
    for folder in above:
        if (file := files.get(folder.casefold())) is not None:
            yield Reason(path=f"files[{path}]", rule="its folder is a file", got=file)
        if (other := folders.setdefault(folder.casefold(), folder)) != folder:
            rule = "its folder differs from another only by case"
            yield Reason(path=f"files[{path}]", rule=rule, got=other)
            return


def _count_reasons(count: int) -> Iterator[Reason]:
    if count > MAX_FILES:
        yield Reason(path="files", rule="too many files", got=count, allowed=MAX_FILES)


def _file_size_reasons(sizes: Iterable[tuple[str, int]]) -> Iterator[Reason]:
    for path, size_bytes in sizes:
        if size_bytes > MAX_FILE_BYTES:
            yield Reason(
                path=f"files[{path}]",
                rule="is larger than a file may be",
                got=size_bytes,
                allowed=MAX_FILE_BYTES,
            )


def _size_reason(size_bytes: int) -> Reason:
    return Reason(
        path="archive",
        rule="larger than an archive may be",
        got=size_bytes,
        allowed=MAX_ARTIFACT_BYTES,
    )


def _encode(files: Mapping[str, bytes]) -> bytes:
    blocks: list[bytes] = []
    for path, data in sorted(files.items()):
        blocks += [_header(path, len(data)), data, _padding(len(data))]
    blocks.append(_END)
    return b"".join(blocks)


def _is_canonical(data: ArchiveBytes, files: ArchiveFiles) -> bool:
    """Whether encoding the files again gives these bytes.

    If all headers stand where they would stand then, so do the contents, which are not compared.
    """
    offset = 0
    for path in sorted(files):
        content = files.view(path)
        header, padding = _header(path, len(content)), _padding(len(content))
        start, offset = offset + _BLOCK, offset + _BLOCK + len(content) + len(padding)
        if (
            data[start - _BLOCK : start] != header
            or data[offset - len(padding) : offset] != padding
        ):
            return False
    return data[offset:] == _END


def _padding(size_bytes: int) -> bytes:
    return bytes(-size_bytes % _BLOCK)


def _header(path: str, size_bytes: int) -> bytes:
    """One ustar header block (POSIX.1-1988, pax(1) "ustar Interchange Format")."""
    split = _split(path)
    assert split is not None
    prefix, name = split
    header = bytearray(
        b"".join(
            (
                name.encode().ljust(_NAME_BYTES, b"\0"),
                b"0000644\0",  # mode
                b"0000000\0" * 2,  # owner, group
                b"%011o\0" % size_bytes,
                b"%011o\0" % 0,  # time
                b" " * 8,  # the checksum counts itself as spaces
                _REGULAR,
                bytes(_NAME_BYTES),  # link name
                b"ustar\0" + b"00",
                bytes(64),  # owner's and group's name
                b"0000000\0" * 2,  # device
                prefix.encode().ljust(_PREFIX_BYTES, b"\0"),
            )
        ).ljust(_BLOCK, b"\0")
    )
    header[_CHECKSUM] = b"%06o\0 " % sum(header)
    return bytes(header)


def _split(path: str) -> tuple[str, str] | None:
    """Prefix and name field of a path; None if no `/` stands where both fit."""
    if len(path) <= _NAME_BYTES:
        return "", path
    for index, letter in enumerate(path[: _PREFIX_BYTES + 1]):
        if letter == "/" and len(path) - index - 1 <= _NAME_BYTES:
            return path[:index], path[index + 1 :]
    return None


def _members(data: ArchiveBytes) -> Iterator[_Member]:
    """The members up to the end mark; what comes after it shows when encoding again."""
    offset = 0
    while True:
        header = bytes(data[offset : offset + _BLOCK])
        if len(header) < _BLOCK:
            raise _malformed(offset, "ends without an end mark")
        if header == bytes(_BLOCK):
            return
        expected = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
        if header[257:263] != b"ustar\0" or _octal(header[_CHECKSUM], offset) != expected:
            raise _malformed(offset, "holds a header that is not ustar or does not add up")
        size_bytes = _octal(header[124:136], offset)
        start = offset + _BLOCK
        if start + size_bytes > len(data):
            raise _malformed(start, "ends within a file")
        offset = start + size_bytes + (-size_bytes % _BLOCK)
        name, prefix = _text(header[:_NAME_BYTES]), _text(header[345:500])
        yield _Member(
            path=f"{prefix}/{name}" if prefix else name,
            kind=header[156:157],
            start=start,
            size_bytes=size_bytes,
        )


def _octal(field: bytes, offset: int) -> int:
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        raise _malformed(offset, "holds a number that is not octal")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("latin-1")


def _malformed(offset: int, rule: str) -> ArchiveError:
    reason = Reason(path="archive", rule=rule, got={"offset_bytes": offset})
    return ArchiveError(f"the archive {rule}", [reason])
