# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What both formats of a bill of materials have in common: licences, moments, names, bytes.

Pure.  A document is made of facts alone: its moment is that of the last publication in it, and its
number is a digest of all else, so that the same versions always give the same bytes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from shared.canonical import canonical_digest
from shared.contracts.package_manifest import SourceLocation
from shared.contracts.sbom import BuildTool, PackageBill
from shared.licensing.expressions import ExpressionError, is_known, parse_expression
from shared.version import VERSION

PRODUCT: Final = "l3af-bus"
SPDX_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_FOREIGN: Final = "DocumentRef-"


def is_expression(text: str) -> bool:
    """Whether others can read it: an SPDX expression of listed licences and LicenseRef- ones."""
    try:
        arms = parse_expression(text, path="licence")
    except ExpressionError:
        return False
    names = {name for arm in arms for name in arm}
    return all(is_known(name) and not name.startswith(_FOREIGN) for name in names)


def licences_in(expression: str) -> list[str]:
    """The licences that an expression is made of, ascending; exceptions stay with theirs."""
    return sorted({name for arm in parse_expression(expression, path="licence") for name in arm})


def package_url(name: str, version: str, archive_sha256: str) -> str:
    """As `pkg:generic/one@1.0.0?checksum=sha256:…` (package-url/purl-spec); a digest if known."""
    checksum = f"?checksum=sha256:{archive_sha256}" if archive_sha256 else ""
    return f"pkg:generic/{quote(name)}@{quote(version)}{checksum}"


def as_cyclonedx(content: dict[str, Any]) -> str:
    """The document whose members these are."""
    return render(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": number_of(content).urn,
            "version": 1,
            **content,
        }
    )


def as_spdx(content: dict[str, Any], *, created: str, creators: Sequence[str] = ()) -> str:
    """The document whose members these are.

    Args:
        content: Members.
        created: The moment that it is of.
        creators: Beside the product.
    """
    return render(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": SPDX_DOCUMENT,
            "documentNamespace": number_of(content).urn,
            "creationInfo": {
                "created": created,
                "creators": [f"Tool: {PRODUCT}-{VERSION}", *creators],
            },
            **content,
        }
    )


def spdx_url(url: str) -> dict[str, Any]:
    """Where SPDX says what a package's URL is."""
    return {
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": url,
            }
        ]
    }


def cyclonedx_licences(expression: str, acknowledgement: str) -> list[dict[str, Any]]:
    """How CycloneDX says a licence, `declared` or `concluded`."""
    if is_expression(expression):
        return [{"expression": expression, "acknowledgement": acknowledgement}]
    return [{"license": {"name": expression, "acknowledgement": acknowledgement}}]


def tools_of(bills: Sequence[PackageBill]) -> list[BuildTool]:
    """Each version of each tool once."""
    found: dict[tuple[str, str], BuildTool] = {}
    for bill in bills:
        for tool in bill.tools:
            found.setdefault((tool.name, tool.version), tool)
    return list(found.values())


def repository_url(source: SourceLocation) -> str:
    """The repository as a URL; git's short form for ssh is none."""
    if "://" in source.repository:
        return source.repository
    host, _, path = source.repository.partition(":")
    return f"ssh://{host}/{path.lstrip('/')}"


def last_publication(bills: Sequence[PackageBill]) -> str:
    """When the newest of them was published, to the second."""
    moment = max((bill.published_at for bill in bills), default="1970-01-01T00:00:00Z")
    return f"{moment[:19]}Z"


def number_of(content: Any) -> uuid.UUID:
    """One number for one content (RFC 9562 section 5.5)."""
    return uuid.uuid5(uuid.NAMESPACE_OID, canonical_digest(content))


def render(document: dict[str, Any]) -> str:
    """The bytes, as text: ASCII, members in the order of the format, two spaces a level."""
    return json.dumps(document, indent=2) + "\n"
