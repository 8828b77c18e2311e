# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the files of a bundle of notices are those that its manifest names, and all of them.

Pure.  Nothing is asked of anybody: what follows from the manifest is made again and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from shared.canonical import sha256_hex
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError, VerificationError
from shared.licensing.notice_bundle import (
    MANIFEST,
    NOTICE,
    OFFER,
    BundledPackage,
    NoticeBundle,
    manifest_bytes,
    rendered,
    text_path,
)
from shared.reason_lists import bounded_reasons
from shared.validation import decode_document


class BundleError(VerificationError):
    """The bundle is not what its manifest says."""

    code: ClassVar[ErrorCode] = "verification_failed"


def checked_bundle(files: Mapping[str, bytes]) -> NoticeBundle:
    """What the bundle is, once everything in it is known to be as its manifest says.

    Raises:
        BundleError: With every difference.
    """
    if MANIFEST not in files:
        raise _error([Reason(path=MANIFEST, rule="is not there")])
    try:
        bundle = decode_document(files[MANIFEST], NoticeBundle, what=MANIFEST)
    except RefusedError as error:
        raise _error(list(error.reasons)) from error
    reasons = [*_file_reasons(bundle, files), *_package_reasons(bundle)]
    if not reasons:
        reasons = list(_text_reasons(bundle, files))
    if reasons:
        raise _error(reasons)
    return bundle


def _file_reasons(bundle: NoticeBundle, files: Mapping[str, bytes]) -> Iterator[Reason]:
    listed = {one.path: one for one in bundle.files}
    if len(listed) != len(bundle.files):
        yield Reason(path=MANIFEST, rule="names a file twice")
    for path in sorted(files.keys() - listed.keys() - {MANIFEST}):
        yield Reason(path=path, rule="is not in the manifest")
    for path, one in sorted(listed.items()):
        if path not in files:
            yield Reason(path=path, rule="is not there")
        elif sha256_hex(files[path]) != one.sha256 or len(files[path]) != one.size_bytes:
            got = sha256_hex(files[path])
            yield Reason(path=path, rule="is not what was put in", got=got, allowed=one.sha256)


def _package_reasons(bundle: NoticeBundle) -> Iterator[Reason]:
    listed = {one.path: one.sha256 for one in bundle.files}
    for package in bundle.packages:
        for path in _needed(package):
            if path not in listed:
                yield Reason(path=path, rule=f"belongs to {package.folder} and is not listed")
        for object_ in package.notice.objects:
            if object_.file in package.offered:
                continue
            folder = f"sources/{package.folder}"
            lacking = {f"{folder}/{one}" for one in object_.sources} - set(package.sources)
            if lacking or not object_.sources:
                rule = f"is an object under the GPL of {package.folder}, without source or offer"
                yield Reason(path=object_.file, rule=rule, got=sorted(lacking))
        if package.offered and OFFER not in listed:
            rule = f"is not there, and {package.folder} needs it"
            yield Reason(path=OFFER, rule=rule, got=list(package.offered))
    for path, digest in listed.items():
        if path.startswith("texts/") and path != text_path(digest):
            yield Reason(path=path, rule="is not the text of its digest")


def _needed(package: BundledPackage) -> Iterator[str]:
    yield from (text_path(text.sha256) for text in package.texts)
    yield from package.sources


def _text_reasons(bundle: NoticeBundle, files: Mapping[str, bytes]) -> Iterator[Reason]:
    """NOTICE.txt and the offer say what follows from the manifest."""
    if manifest_bytes(bundle) != files[MANIFEST]:
        yield Reason(path=MANIFEST, rule="is not written as this release writes what it says")
    made = rendered(bundle, files)
    for path in (NOTICE, OFFER):
        if made.get(path) != files.get(path):
            yield Reason(path=path, rule="does not say what follows from the manifest")


def _error(reasons: list[Reason]) -> BundleError:
    first = f"{reasons[0].path}: {reasons[0].rule}"
    return BundleError(f"the bundle does not hold: {first}", bounded_reasons(reasons))
