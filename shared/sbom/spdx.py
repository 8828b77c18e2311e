# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bills of materials in SPDX 2.3 (ISO/IEC 5962), as JSON.

Pure.  A file's concluded licence is what it is taken under, and what its manifest declares for its
group is in the comment; of a package both have a field.  Compilers and sources are packages of
their own, related to what was made with and from them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from shared.contracts.sbom import BilledFile, BuildTool, FileKind, PackageBill
from shared.licensing.expressions import licences_named
from shared.sbom.document import (
    SPDX_DOCUMENT,
    as_spdx,
    is_expression,
    last_publication,
    licences_in,
    package_url,
    repository_url,
    spdx_url,
    tools_of,
)

_UNKNOWN: Final = "NOASSERTION"
_OWN: Final = "LicenseRef-"
_KINDS: Final[dict[FileKind, str]] = {
    "object": "BINARY",
    "executable": "APPLICATION",
    "source": "SOURCE",
    "documentation": "DOCUMENTATION",
    "other": "OTHER",
}


def spdx_document(bills: Sequence[PackageBill], *, channel: str = "") -> str:
    """The document of one package, or of what a channel offers.

    Args:
        bills: The package; with a channel, each that is in it.
        channel: Its name; empty: there is one bill.
    """
    content = {
        "name": f"channel {channel}" if channel else f"{bills[0].name} {bills[0].version}",
        "packages": [
            *(_package(bill) for bill in bills),
            *(_source(bill) for bill in bills if bill.source),
            *(_tool(tool) for tool in tools_of(bills)),
        ],
        "files": [_file(bill, file) for bill in bills for file in bill.files],
        "relationships": [one for bill in bills for one in _relationships(bill)],
        **_own_licences(bills),
    }
    creators = sorted({f"Organization: {bill.publisher}" for bill in bills})
    return as_spdx(content, created=last_publication(bills), creators=creators)


def _package(bill: PackageBill) -> dict[str, Any]:
    tagged = {name for file in bill.files for name in _tagged(file)}
    return {
        "SPDXID": _reference(bill),
        "name": bill.name,
        "versionInfo": bill.version,
        "packageFileName": f"{bill.name}-{bill.version}.l3afpkg",
        "supplier": f"Organization: {bill.publisher}",
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": True,
        "packageVerificationCode": {"packageVerificationCodeValue": _verification_code(bill)},
        "checksums": [{"algorithm": "SHA256", "checksumValue": bill.archive_sha256}],
        "licenseConcluded": _expression(bill.concluded),
        "licenseInfoFromFiles": sorted(tagged - {_UNKNOWN}) or [_UNKNOWN],
        "licenseDeclared": _expression(bill.declared),
        "licenseComments": f"declared: {bill.declared}",
        "copyrightText": _copyrights([text for file in bill.files for text in file.copyrights]),
        "summary": bill.summary,
        "comment": "\n".join(_remarks(bill)),
        **spdx_url(package_url(bill.name, bill.version, bill.archive_sha256)),
        "primaryPackagePurpose": "APPLICATION",
    }


def _remarks(bill: PackageBill) -> Iterator[str]:
    yield f"manifest sha256: {bill.manifest_sha256}"
    yield f"published at: {bill.published_at}"
    for word, values in (
        ("owners", bill.owners),
        ("platforms", bill.platforms),
        ("hooks", bill.hooks),
        ("features that a node must have", bill.features),
        ("maps that are declared to be one for all", bill.shared_maps),
        ("arguments of the compiler", bill.arguments),
    ):
        if values:
            yield f"{word}: {', '.join(values)}"
    if bill.kernels:
        yield f"kernels: {bill.kernels}"
    if bill.headers_sha256:
        yield f"sha256 over other headers: {bill.headers_sha256}"


def _file(bill: PackageBill, file: BilledFile) -> dict[str, Any]:
    return {
        "SPDXID": _file_reference(bill, file.path),
        "fileName": f"./{file.path}",
        "fileTypes": [_KINDS[file.kind]],
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": file.sha1},
            {"algorithm": "SHA256", "checksumValue": file.sha256},
        ],
        "licenseConcluded": _expression(file.concluded),
        "licenseInfoInFiles": _tagged(file),
        "licenseComments": f"declared for the group {file.group}: {file.declared}",
        "copyrightText": _copyrights(file.copyrights),
    }


def _source(bill: PackageBill) -> dict[str, Any]:
    assert bill.source is not None
    source = bill.source
    url = repository_url(source)
    within = f"#{source.path}" if source.path else ""
    scheme = "" if url.startswith("git:") else "git+"
    checksums = [{"algorithm": "SHA256", "checksumValue": source.archive_sha256}]
    return {
        "SPDXID": f"{_reference(bill)}-source",
        "name": f"{bill.name} source",
        "versionInfo": source.revision,
        "downloadLocation": f"{scheme}{url}@{source.revision}{within}",
        "filesAnalyzed": False,
        **({"checksums": checksums} if source.archive_sha256 else {}),
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _expression(bill.declared),
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": "SOURCE",
    }


def _tool(tool: BuildTool) -> dict[str, Any]:
    return {
        "SPDXID": _tool_reference(tool),
        "name": tool.name,
        **({"versionInfo": tool.version} if tool.version else {}),
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "comment": tool.said or "compiles the sources on each node",
        "primaryPackagePurpose": "APPLICATION",
    }


def _relationships(bill: PackageBill) -> Iterator[dict[str, str]]:
    package = _reference(bill)
    yield _relationship(SPDX_DOCUMENT, "DESCRIBES", package)
    if bill.source:
        yield _relationship(package, "GENERATED_FROM", f"{package}-source")
    for tool in bill.tools:
        yield _relationship(_tool_reference(tool), "BUILD_TOOL_OF", package)
    for file in bill.files:
        yield _relationship(package, "CONTAINS", _file_reference(bill, file.path))
        for path in file.sources:
            made, source = _file_reference(bill, file.path), _file_reference(bill, path)
            yield _relationship(made, "GENERATED_FROM", source)


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _verification_code(bill: PackageBill) -> str:
    """SPDX 2.3 section 7.9: SHA-1 over the files' SHA-1, ascending."""
    text = "".join(sorted(file.sha1 for file in bill.files))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _expression(text: str) -> str:
    return text if is_expression(text) else _UNKNOWN


def _tagged(file: BilledFile) -> list[str]:
    return licences_in(file.tag) if is_expression(file.tag) else [_UNKNOWN]


def _copyrights(lines: Sequence[str]) -> str:
    return "\n".join(dict.fromkeys(lines)) or _UNKNOWN


def _own_licences(bills: Sequence[PackageBill]) -> dict[str, Any]:
    """Licences that are in no list, each with every text that packages mean by it."""
    named: dict[str, dict[str, None]] = {}
    for bill in bills:
        texts = {one.licence: one.text for one in bill.texts}
        for expression in _expressions(bill):
            for name in licences_named(expression):
                if name.startswith(_OWN):
                    text = texts.get(name, f"{bill.name} {bill.version} does not hold the text")
                    named.setdefault(name, {})[text] = None
    infos = [
        {"licenseId": name, "extractedText": "\n\n".join(texts)}
        for name, texts in sorted(named.items())
    ]
    return {"hasExtractedLicensingInfos": infos} if infos else {}


def _expressions(bill: PackageBill) -> list[str]:
    found = [bill.declared, bill.concluded]
    for file in bill.files:
        found += [file.concluded, file.tag]
    return [one for one in found if is_expression(one)]


def _reference(bill: PackageBill) -> str:
    return f"SPDXRef-Package-{_named(bill.name, f'{bill.name} {bill.version}')}"


def _file_reference(bill: PackageBill, path: str) -> str:
    return f"SPDXRef-File-{bill.manifest_sha256[:12]}-{_named(path, path)}"


def _tool_reference(tool: BuildTool) -> str:
    return f"SPDXRef-Tool-{_named(tool.name, f'{tool.name} {tool.version}')}"


def _named(text: str, identity: str) -> str:
    """The text in the letters that an identifier may have, and a digest that tells it apart."""
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.-]', '-', text)}-{digest[:12]}"
