# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives that somebody else packed, read in memory: `.tar`, `.tar.gz`, `.zip`.

Pure.  Nothing is written to a disk, so nothing can land beside where it should; what comes out has
names that could be written anywhere all the same.

Rules:
 * Regular files and folders only: a link, device, FIFO or sparse file is refused by name.
 * No absolute path, no `..`, no backslash, no drive, no control character; no file with a setuid or
   setgid bit.
 * No two names that are one on some file system: equal, or different by case or Unicode form.
 * What is unpacked has an end: in all, in number, and in proportion to what was packed.
 * What two readers could read differently is refused: bytes between, before or behind the entries.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from shared.errors import Reason, VerificationError
from shared.reason_lists import bounded_reasons

MAX_FILES: Final = 4096
MAX_PATH_BYTES: Final = 1024
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
MAX_RATIO: Final = 100
"""Unpacked bytes for each packed one; looked at from FREE_BYTES on."""
FREE_BYTES: Final = 1024 * 1024

_SET_ID: Final = 0o6000
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class ForeignArchiveError(VerificationError):
    """The archive holds what is not unpacked, or is none."""


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """One regular file of an archive."""

    data: bytes
    is_executable: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as its archive states it, before anything is believed."""

    path: str
    kind: str
    """`file`, `folder`, or what else it is."""
    mode: int = 0o644
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may come out of an archive."""

    total_bytes: int = MAX_TOTAL_BYTES
    files: int = MAX_FILES
    ratio: int = MAX_RATIO

    def of(self, packed_bytes: int) -> int:
        """Bytes that so many packed ones may become."""
        return min(self.total_bytes, max(FREE_BYTES, packed_bytes * self.ratio))


DEFAULT_LIMITS: Final = Limits()


def is_gzip(data: bytes) -> bool:
    """Whether it begins as gzip does (RFC 1952)."""
    return data.startswith(_GZIP)


def is_zip(data: bytes) -> bool:
    """Whether it begins as a ZIP file with an entry does."""
    return data.startswith(_ZIP)


def gunzip(data: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """What was packed with gzip, all members after one another.

    Raises:
        ForeignArchiveError: It is damaged, ends early, has bytes behind its end, or becomes larger
            than its limits.
    """
    allowed_bytes = limits.of(len(data))
    parts: list[bytes] = []
    found_bytes = 0
    rest = data
    while rest:
        if not is_gzip(rest):
            raise archive_error("archive", "has bytes behind its end")
        reader = zlib.decompressobj(wbits=31)
        try:
            part = reader.decompress(rest, allowed_bytes - found_bytes + 1)
        except zlib.error as error:
            raise archive_error("archive", f"is damaged: {error}") from error
        found_bytes += len(part)
        if found_bytes > allowed_bytes:
            raise too_large(found_bytes, len(data), limits)
        if not reader.eof:
            raise archive_error("archive", "ends within its compressed content")
        parts.append(part)
        rest = reader.unused_data
    return b"".join(parts)


def checked_files(entries: Iterable[Entry], limits: Limits) -> dict[str, ForeignFile]:
    """The regular files by path, once every entry is one that may be unpacked.

    Raises:
        ForeignArchiveError: With every entry that may not.
    """
    files: dict[str, ForeignFile] = {}
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    reasons: list[Reason] = []
    count = total_bytes = 0
    for entry in entries:
        count += 1
        if count > limits.files:
            rule = "holds more entries than are unpacked"
            reasons.append(Reason(path="archive", rule=rule, got=count, allowed=limits.files))
            break
        path = entry.path.rstrip("/") if entry.kind == "folder" else entry.path
        while path.startswith("./"):
            path = path[2:]
        if entry.kind == "folder" and path in ("", "."):
            continue
        found = [*_entry_reasons(entry, path), *_name_reasons(path, entry.kind, seen, folders)]
        reasons += found
        total_bytes += len(entry.data)
        if total_bytes > limits.total_bytes:
            rule = "is larger unpacked than it may be"
            allowed = limits.total_bytes
            reasons.append(Reason(path="archive", rule=rule, got=total_bytes, allowed=allowed))
            break
        if not found and entry.kind == "file":
            files[path] = ForeignFile(entry.data, is_executable=bool(entry.mode & 0o111))
    if reasons:
        raise ForeignArchiveError(f"{reasons[0].path}: {reasons[0].rule}", bounded_reasons(reasons))
    return files


def archive_error(
    path: str, rule: str, got: object = None, allowed: object = None
) -> ForeignArchiveError:
    """The refusal for one reason."""
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return ForeignArchiveError(f"{path}: {rule}", [reason])


def too_large(found_bytes: int, packed_bytes: int, limits: Limits) -> ForeignArchiveError:
    """The refusal of an archive that goes on for ever, or as good as that."""
    if found_bytes > limits.total_bytes:
        rule = "is larger unpacked than it may be"
        return archive_error("archive", rule, f"over {limits.total_bytes}", limits.total_bytes)
    rule = f"becomes over {limits.ratio} times as large as it is packed"
    return archive_error("archive", rule, f"over {limits.of(packed_bytes)}", packed_bytes)


def _entry_reasons(entry: Entry, path: str) -> Iterator[Reason]:
    place = f"archive[{entry.path}]"
    if entry.kind not in ("file", "folder"):
        yield Reason(path=place, rule=f"is {entry.kind}, not a regular file")
    if entry.kind == "file" and entry.mode & _SET_ID:
        yield Reason(path=place, rule="has a setuid or setgid bit", got=oct(entry.mode))
    if path.startswith("/") or _DRIVE.match(path):
        yield Reason(path=place, rule="is an absolute path")
    elif ".." in path.split("/"):
        yield Reason(path=place, rule="leads out of its folder")
    elif "\\" in path:
        yield Reason(path=place, rule="has a backslash, which some systems take for a '/'")
    elif any(part in ("", ".") for part in path.split("/")):
        yield Reason(path=place, rule="has an empty part or '.'")
    elif any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in path):
        yield Reason(path=place, rule="has a control character")
    elif len(path.encode(errors="replace")) > MAX_PATH_BYTES:
        rule = "the path is too long"
        yield Reason(path=place[:200], rule=rule, got=len(path), allowed=MAX_PATH_BYTES)


def _name_reasons(
    path: str, kind: str, seen: dict[str, str], folders: dict[str, str]
) -> Iterator[Reason]:
    """Whether the name can stand beside the earlier ones, to which it is added."""
    place, name = f"archive[{path}]", _one_name(path)
    parts = path.split("/")
    for length in range(1, len(parts) + (kind == "folder")):
        folder = "/".join(parts[:length])
        known = folders.setdefault(_one_name(folder), folder)
        if known != folder:
            rule = "its folder differs from another only by case or Unicode form"
            yield Reason(path=place, rule=rule, got=known)
            return
        if _one_name(folder) in seen:
            yield Reason(path=place, rule="its folder is a file", got=folder)
            return
    if kind == "folder":
        return
    if (earlier := seen.get(name)) is not None:
        rule = (
            "is there twice"
            if earlier == path
            else "differs from another only by case or Unicode form"
        )
        yield Reason(path=place, rule=rule, got=earlier)
    elif name in folders:
        yield Reason(path=place, rule="is also the folder of another file")
    seen.setdefault(name, path)


def _one_name(path: str) -> str:
    """Equal for names that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
