# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is handed on with several packages: notices, texts, sources and a written offer, as files.

Pure, and the same bytes for the same packages.  Nothing in it says to whom anything was handed out.

Rules:
 * A text is there once, under its digest, whichever packages it is of (all licences ask for it).
 * Of objects that are taken under the GPL, all files of the archive that were not built are there
   (GPL-2.0 section 3 a).  If the archive has no source of an object's name, the written offer
   (section 3 b, for three years) is for it, with the place that the publisher named.
 * MANIFEST.json has every other file with its SHA-256; NOTICE.txt and SOURCE-OFFER.txt follow from
   it and from the texts, so they can be made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import msgspec

from shared.canonical import sha256_hex
from shared.contracts.errors import ErrorCode
from shared.contracts.notices import NoticeText, PackageNotice
from shared.contracts.package_manifest import PackageManifest
from shared.errors import Reason, RefusedError
from shared.licensing.notices import heading, notice_facts
from shared.sbom.bill import stated_kinds

MANIFEST: Final = "MANIFEST.json"
NOTICE: Final = "NOTICE.txt"
OFFER: Final = "SOURCE-OFFER.txt"
OFFER_YEARS: Final = 3
_TEXTS: Final = "LICENSES/"
_SHORT: Final = 12


class OfferContactError(RefusedError):
    """Sources have to be offered, and nobody says who offers them."""

    code: ClassVar[ErrorCode] = "invalid_request"


class BundledText(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A licence's or a notice's text of one package."""

    path: str
    """In the package."""
    sha256: str


class BundledPackage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One archive that was handed out."""

    archive_sha256: str
    manifest_sha256: str = ""
    notice: PackageNotice
    """Its texts are empty here: they are in the bundle by `texts`."""
    texts: tuple[BundledText, ...] = ()
    sources: tuple[str, ...] = ()
    """Files of the bundle that have its source."""
    offered: tuple[str, ...] = ()
    """Objects whose source is not in the archive, and which the written offer is for."""
    nowhere: tuple[str, ...] = ()
    """Those of them of which nobody says where their source is kept."""

    @property
    def folder(self) -> str:
        """What tells it apart from all others."""
        return f"{self.notice.name}-{self.notice.version}-{self.archive_sha256[:_SHORT]}"


class LackingPackage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One archive that was handed out, and of which nothing could be had."""

    name: str
    version: str
    archive_sha256: str
    why: str


class BundledFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the bundle."""

    path: str
    sha256: str
    size_bytes: int


class NoticeBundle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """MANIFEST.json."""

    form: Literal["l3af/notices/v1"] = msgspec.field(name="format")
    since: str = ""
    """RFC 3339; empty: from the beginning."""
    until: str
    """The first moment behind the range in which the packages were handed out."""
    contact: str = ""
    """Who is asked for sources."""
    packages: tuple[BundledPackage, ...]
    """By name, version and archive."""
    lacking: tuple[LackingPackage, ...] = ()
    files: tuple[BundledFile, ...]
    """All but MANIFEST.json, by path."""

    @property
    def needs_attention(self) -> bool:
        """Whether something that has to be handed on is not there."""
        return bool(self.lacking) or any(one.nowhere or one.notice.missing for one in self.packages)


@dataclass(frozen=True, slots=True)
class HandedOn:
    """One archive that was handed out, and what belongs to it."""

    archive_sha256: str
    manifest_sha256: str
    manifest: PackageManifest
    notice: PackageNotice
    files: Mapping[str, bytes]
    """All of its archive; may be empty if none of its objects is taken under the GPL."""


def notice_bundle(
    handed: Iterable[HandedOn],
    *,
    lacking: Iterable[LackingPackage] = (),
    since: str,
    until: str,
    contact: str,
) -> dict[str, bytes]:
    """Every file of the bundle, by path.

    Args:
        handed: What was handed out.
        lacking: What was too, and could not be had.
        since: First moment of the range, RFC 3339; empty: from the beginning.
        until: First moment behind it.
        contact: Who is asked for sources; may be empty if none has to be offered.

    Raises:
        OfferContactError: One has to be, and it is empty.
    """
    files: dict[str, bytes] = {}
    packages = []
    for one in handed:
        texts = [*one.notice.notices, *one.notice.licences]
        files |= {text_path(sha256_hex(text.text.encode())): text.text.encode() for text in texts}
        package = _package(one, texts)
        packages.append(package)
        for path in package.sources:
            files[path] = one.files[path.removeprefix(f"{_source_folder(package)}/")]
    packages.sort(key=lambda one: (one.notice.name, one.notice.version, one.archive_sha256))
    _check_contact(packages, contact)
    bundle = NoticeBundle(
        form="l3af/notices/v1",
        since=since,
        until=until,
        contact=contact.strip(),
        packages=tuple(packages),
        lacking=tuple(sorted(lacking, key=lambda one: (one.name, one.version, one.archive_sha256))),
        files=(),
    )
    files |= rendered(bundle, files)
    listed = tuple(
        BundledFile(path=path, sha256=sha256_hex(data), size_bytes=len(data))
        for path, data in sorted(files.items())
    )
    return {**files, MANIFEST: manifest_bytes(msgspec.structs.replace(bundle, files=listed))}


def manifest_bytes(bundle: NoticeBundle) -> bytes:
    """MANIFEST.json, the same for the same bundle."""
    return msgspec.json.format(msgspec.json.encode(bundle), indent=1) + b"\n"


def rendered(bundle: NoticeBundle, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """NOTICE.txt, and SOURCE-OFFER.txt if sources are offered.

    Args:
        bundle: What is in it.
        files: At least its texts.
    """
    found = {NOTICE: _text(_notice_lines(bundle, files))}
    if bundle.contact and any(one.notice.objects for one in bundle.packages):
        found[OFFER] = _text(_offer_lines(bundle))
    return found


def text_path(sha256: str) -> str:
    """Where a text is."""
    return f"texts/{sha256}.txt"


def _package(one: HandedOn, texts: Iterable[NoticeText]) -> BundledPackage:
    notice = one.notice
    lacking = tuple(object_.file for object_ in notice.objects if not object_.sources)
    package = BundledPackage(
        archive_sha256=one.archive_sha256,
        manifest_sha256=one.manifest_sha256,
        notice=msgspec.structs.replace(
            notice,
            notices=tuple(NoticeText(path=text.path, text="") for text in notice.notices),
            licences=tuple(NoticeText(path=text.path, text="") for text in notice.licences),
        ),
        texts=tuple(
            BundledText(path=text.path, sha256=sha256_hex(text.text.encode())) for text in texts
        ),
        offered=lacking,
        nowhere=lacking if notice.source is None else (),
    )
    if not notice.objects:
        return package
    built = {path for path, kind in stated_kinds(one.manifest).items() if kind != "source"}
    kept = sorted(path for path in one.files if path not in built and not path.startswith(_TEXTS))
    folder = _source_folder(package)
    return msgspec.structs.replace(package, sources=tuple(f"{folder}/{path}" for path in kept))


def _source_folder(package: BundledPackage) -> str:
    return f"sources/{package.folder}"


def _check_contact(packages: Iterable[BundledPackage], contact: str) -> None:
    if contact.strip():
        return
    reasons = [
        Reason(
            path=f"{one.notice.name} {one.notice.version}",
            rule="has objects under the GPL whose source is not in the archive",
            got=list(one.offered),
        )
        for one in packages
        if one.offered
    ]
    if reasons:
        message = "say who is to be asked for sources (--contact): they have to be offered"
        raise OfferContactError(message, reasons)


def _notice_lines(bundle: NoticeBundle, files: Mapping[str, bytes]) -> Iterator[str]:
    since = f"from {bundle.since} " if bundle.since else ""
    yield f"Notices for what was handed out {since}until {bundle.until}"
    used: dict[str, list[tuple[str, BundledPackage]]] = {}
    for one in bundle.packages:
        yield from notice_facts(one.notice)
        yield ""
        yield f"archive, SHA-256: {one.archive_sha256}"
        if one.sources:
            yield f"source: {_source_folder(one)}/"
        if one.offered:
            yield f"source is offered in {OFFER}: {', '.join(one.offered)}"
        for text in one.texts:
            yield f"{text.path}: {text_path(text.sha256)}"
            used.setdefault(text.sha256, []).append((text.path, one))
        for licence in one.notice.missing:
            yield f"not in the package: the text of {licence}"
    if bundle.lacking:
        yield from heading("Not in this bundle", "=")
        for lacking in bundle.lacking:
            yield f"{lacking.name} {lacking.version}, {lacking.archive_sha256}: {lacking.why}"
    for digest, users in sorted(used.items(), key=lambda item: (item[1][0][0], item[0])):
        yield from heading(users[0][0], "=")
        names = dict.fromkeys(f"{one.notice.name} {one.notice.version}" for _, one in users)
        yield f"of {', '.join(names)}"
        yield ""
        yield files[text_path(digest)].decode(errors="replace").rstrip("\n")


def _offer_lines(bundle: NoticeBundle) -> Iterator[str]:
    yield f"Written offer of source code, valid for at least {OFFER_YEARS} years"
    yield ""
    yield "For the objects below, which are under the GNU General Public License, version 2, we"
    yield f"give any third party who asks within {OFFER_YEARS} years after it was handed out, for"
    yield "no more than it costs us to hand it on, a complete machine-readable copy of the"
    yield "corresponding source code (GNU General Public License, version 2, section 3 b)."
    yield ""
    yield f"Ask: {bundle.contact}"
    for one in bundle.packages:
        if not one.notice.objects:
            continue
        yield from heading(f"{one.notice.name} {one.notice.version}", "-")
        yield f"archive, SHA-256: {one.archive_sha256}"
        for object_ in one.notice.objects:
            where = "by this offer" if object_.file in one.offered else "in this bundle as well"
            yield f"{object_.file} ({object_.elected}): {where}"
        if one.notice.source is not None:
            yield f"kept at {one.notice.source.repository}, {one.notice.source.revision}"


def _text(lines: Iterable[str]) -> bytes:
    return "\n".join([*lines, ""]).encode()
