# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bills of materials in CycloneDX 1.6 (ECMA-424), as JSON.

Pure.  `licenses` is what is declared; `evidence.licenses` is what a part is taken under, and
`evidence.copyright` what its own lines say.  Compilers are components of the `formulation`.  What
CycloneDX has no field for is a property whose name begins with `l3af:`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.contracts.sbom import BilledFile, BuildTool, PackageBill
from shared.sbom.document import (
    PRODUCT,
    as_cyclonedx,
    cyclonedx_licences,
    last_publication,
    package_url,
    repository_url,
    tools_of,
)
from shared.version import VERSION


def cyclonedx_document(bills: Sequence[PackageBill], *, channel: str = "") -> str:
    """The document of one package, or of what a channel offers.

    Args:
        bills: The package; with a channel, each that is in it.
        channel: Its name; empty: there is one bill.
    """
    content = {
        "metadata": _metadata(bills, channel),
        "components": [_package(bill) for bill in bills] if channel else _files(bills[0]),
        "dependencies": _dependencies(bills, channel),
        "compositions": [
            {
                "aggregate": "complete",
                "assemblies": [_reference(bill) for bill in bills],
            }
        ],
        **_formulation(bills),
    }
    return as_cyclonedx(content)


def _metadata(bills: Sequence[PackageBill], channel: str) -> dict[str, Any]:
    about = (
        {"type": "application", "bom-ref": _channel(channel), "name": f"channel {channel}"}
        if channel
        else {key: value for key, value in _package(bills[0]).items() if key != "components"}
    )
    tool = {"type": "application", "name": PRODUCT, "version": VERSION}
    return {
        "timestamp": last_publication(bills),
        "lifecycles": [{"phase": "post-build"}],
        "tools": {"components": [tool]},
        "component": about,
    }


def _package(bill: PackageBill) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": _reference(bill),
        "supplier": {"name": bill.publisher},
        **({"authors": [{"name": name} for name in bill.owners]} if bill.owners else {}),
        "publisher": bill.publisher,
        "name": bill.name,
        "version": bill.version,
        "description": bill.summary,
        "hashes": [{"alg": "SHA-256", "content": bill.archive_sha256}],
        "licenses": cyclonedx_licences(bill.declared, "declared"),
        "purl": package_url(bill.name, bill.version, bill.archive_sha256),
        **_places(bill),
        "components": _files(bill),
        "evidence": {"licenses": cyclonedx_licences(bill.concluded, "concluded")},
        "properties": list(_package_properties(bill)),
    }


def _files(bill: PackageBill) -> list[dict[str, Any]]:
    return [_file(bill, file) for file in bill.files]


def _file(bill: PackageBill, file: BilledFile) -> dict[str, Any]:
    copyrights = [{"text": text} for text in file.copyrights]
    return {
        "type": "file",
        "bom-ref": f"{_reference(bill)}#{file.path}",
        "name": file.path,
        "hashes": [
            {"alg": "SHA-256", "content": file.sha256},
            {"alg": "SHA-1", "content": file.sha1},
        ],
        "licenses": cyclonedx_licences(file.declared, "declared"),
        "evidence": {
            "licenses": cyclonedx_licences(file.concluded, "concluded"),
            **({"copyright": copyrights} if copyrights else {}),
        },
        "properties": [
            _property("file:kind", file.kind),
            _property("file:group", file.group),
            _property("file:size_bytes", str(file.size_bytes)),
            *([_property("file:tag", file.tag)] if file.tag else []),
            *(_property("file:source", path) for path in file.sources),
        ],
    }


def _package_properties(bill: PackageBill) -> Iterator[dict[str, str]]:
    yield _property("manifest:sha256", bill.manifest_sha256)
    yield _property("published_at", bill.published_at)
    for platform in bill.platforms:
        yield _property("platform", platform)
    for hook in bill.hooks:
        yield _property("hook", hook)
    if bill.kernels:
        yield _property("needs:kernel", bill.kernels)
    for feature in bill.features:
        yield _property("needs:feature", feature)
    for name in bill.shared_maps:
        yield _property("shared_map", name)
    for argument in bill.arguments:
        yield _property("build:argument", argument)
    if bill.headers_sha256:
        yield _property("build:headers_sha256", bill.headers_sha256)


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"l3af:{name}", "value": value}


def _places(bill: PackageBill) -> dict[str, Any]:
    source = bill.source
    if source is None:
        return {}
    within = f", folder {source.path}" if source.path else ""
    places: list[dict[str, Any]] = [
        {
            "url": repository_url(source),
            "comment": f"revision {source.revision}{within}",
            "type": "vcs",
        }
    ]
    if source.archive_sha256:
        places.append(
            {
                "url": repository_url(source),
                "comment": "the source archive that was released has this digest",
                "type": "source-distribution",
                "hashes": [{"alg": "SHA-256", "content": source.archive_sha256}],
            }
        )
    return {"externalReferences": places}


def _dependencies(bills: Sequence[PackageBill], channel: str) -> list[dict[str, Any]]:
    found = [
        {
            "ref": _reference(bill),
            "dependsOn": [f"{_reference(bill)}#{file.path}" for file in bill.files],
        }
        for bill in bills
    ]
    if channel:
        whole = {"ref": _channel(channel), "dependsOn": [_reference(bill) for bill in bills]}
        return [whole, *found]
    return found


def _formulation(bills: Sequence[PackageBill]) -> dict[str, Any]:
    tools = tools_of(bills)
    if not tools:
        return {}
    return {"formulation": [{"components": [_tool(tool) for tool in tools]}]}


def _tool(tool: BuildTool) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": f"tool:{tool.name}@{tool.version}",
        "name": tool.name,
        **({"version": tool.version} if tool.version else {}),
        "description": tool.said or "compiles the sources on each node",
    }


def _reference(bill: PackageBill) -> str:
    return f"{bill.name}@{bill.version}"


def _channel(name: str) -> str:
    return f"channel:{name}"
