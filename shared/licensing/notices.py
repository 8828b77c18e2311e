# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The attribution bundle of a package: what its licences ask to be handed on, from its own files.

Pure, and the same bytes for the same package.  Copyright lines are those of SPDX tags (REUSE
specification 3), notices are files of that name (Apache-2.0 section 4(d)), and of objects that are
taken under the GPL it is said where their source is (GPL-2.0 section 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar, Final

from shared.contracts.errors import ErrorCode
from shared.contracts.licences import LicenceElection
from shared.contracts.notices import (
    MAX_NOTICE_BYTES,
    CopyrightLine,
    NoticeText,
    ObjectSource,
    PackageNotice,
)
from shared.errors import Reason, RefusedError
from shared.licensing.compatibility import is_gpl_2
from shared.licensing.expressions import parse_expression, text_path
from shared.licensing.obligations import named_licences, sources_of
from shared.licensing.package import LicensedPackage
from shared.licensing.source_tags import HEAD_BYTES, is_work

_COPYRIGHT: Final = re.compile(
    # The tag's name is taken apart, so that no tool takes this line for this file's own tag.
    rb"SPDX-FileCopyright" rb"Text:[ \t]*([^\r\n]{1,300})"
)
_COMMENT_END: Final = re.compile(r"\s*(\*/|-->)?\s*$")
_TEXTS: Final = "LICENSES/"
_NOTICE: Final = re.compile(r"NOTICE(\.txt|\.md)?")
_WIDTH: Final = 72


class NoticeTooLargeError(RefusedError):
    """The texts together are over MAX_NOTICE_BYTES."""

    code: ClassVar[ErrorCode] = "too_large"


def package_notice(
    package: LicensedPackage,
    files: Mapping[str, bytes],
    elections: Sequence[LicenceElection],
) -> PackageNotice:
    """The bundle.

    Args:
        package: What is handed on.
        files: All of its archive.
        elections: Under which choice each object is taken.

    Raises:
        NoticeTooLargeError: Nobody could be sent it.
    """
    manifest = package.manifest
    notice = PackageNotice(
        name=manifest.name,
        version=manifest.version,
        summary=manifest.summary,
        expressions=package.expressions,
        elections=tuple(sorted(elections, key=lambda one: one.file)),
        copyrights=tuple(copyright_lines(files)),
        notices=tuple(_texts(files, lambda path: bool(_NOTICE.fullmatch(_name(path))))),
        licences=tuple(_texts(files, lambda path: path.startswith(_TEXTS))),
        missing=tuple(one for one in named_licences(package) if text_path(one) not in files),
        objects=tuple(_sources(files, elections)),
        source=manifest.source,
    )
    size_bytes = sum(len(one.text.encode()) for one in (*notice.notices, *notice.licences))
    if size_bytes > MAX_NOTICE_BYTES:
        rule = "texts of licences and notices are too large for one bundle"
        reason = Reason(path="archive", rule=rule, got=size_bytes, allowed=MAX_NOTICE_BYTES)
        raise NoticeTooLargeError(f"{manifest.name} {manifest.version}: {rule}", [reason])
    return notice


def render_notice(notice: PackageNotice) -> str:
    """The bundle as a text, to be handed on as it is."""
    return "\n".join([*_lines(notice), ""]).lstrip("\n")


def copyright_lines(files: Mapping[str, bytes]) -> Iterator[CopyrightLine]:
    """What stands behind the tags of all texts of the work, by text."""
    found: dict[str, list[str]] = {}
    for path, content in sorted(files.items()):
        if not is_work(path, content):
            continue
        for match in _COPYRIGHT.finditer(content[:HEAD_BYTES]):
            text = _COMMENT_END.sub("", match[1].decode(errors="replace"))
            paths = found.setdefault(text, [])
            if path not in paths:
                paths.append(path)
    for text, paths in sorted(found.items()):
        yield CopyrightLine(text=text, files=tuple(paths))


def notice_facts(notice: PackageNotice) -> Iterator[str]:
    """The lines of the bundle before its texts: licences, copyright, and where the source is."""
    yield from heading(f"{notice.name} {notice.version}", "=")
    yield notice.summary
    yield from heading("Licences", "-")
    for group, expression in notice.expressions.items():
        yield f"{group}: {expression}"
    for one in notice.elections:
        yield f"{one.file} is taken under {one.elected}"
    if notice.copyrights:
        yield from heading("Copyright", "-")
        for line in notice.copyrights:
            yield line.text
    yield from _source_lines(notice)


def heading(text: str, line: str) -> tuple[str, ...]:
    """The text as a heading, of the first (`=`) or of the second rank."""
    above = (line * _WIDTH,) if line == "=" else ()
    return ("", *above, text, line * (_WIDTH if above else len(text)), "")


def _lines(notice: PackageNotice) -> Iterator[str]:
    yield from notice_facts(notice)
    for text in (*notice.notices, *notice.licences):
        yield from heading(text.path, "=")
        yield text.text.rstrip("\n")
    if notice.missing:
        yield from heading("Not in the package", "=")
        for licence in notice.missing:
            yield f"the text of {licence}"


def _source_lines(notice: PackageNotice) -> Iterator[str]:
    if not notice.objects and notice.source is None:
        return
    yield from heading("Source", "-")
    for one in notice.objects:
        where = f"in the package: {', '.join(one.sources)}" if one.sources else "not in the package"
        yield f"{one.file} ({one.elected}): {where}"
    if notice.source is not None:
        yield f"repository: {notice.source.repository}"
        yield f"revision: {notice.source.revision}"
        if notice.source.path:
            yield f"folder: {notice.source.path}"
        if notice.source.archive_sha256:
            yield f"source archive, SHA-256: {notice.source.archive_sha256}"


def _texts(files: Mapping[str, bytes], is_meant: Callable[[str], bool]) -> Iterator[NoticeText]:
    for path, content in sorted(files.items()):
        if is_meant(path):
            yield NoticeText(path=path, text=content.decode(errors="replace"))


def _sources(
    files: Mapping[str, bytes], elections: Sequence[LicenceElection]
) -> Iterator[ObjectSource]:
    for one in sorted(elections, key=lambda one: one.file):
        if not any(map(is_gpl_2, parse_expression(one.elected, path=one.file))):
            continue
        sources = tuple(sources_of(one.file, sorted(files)))
        yield ObjectSource(file=one.file, elected=one.elected, sources=sources)


def _name(path: str) -> str:
    return PurePosixPath(path).name
