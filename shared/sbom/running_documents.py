# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran at a moment or within a range, as CycloneDX 1.6 (ECMA-424) and SPDX 2.3 (ISO/IEC 5962).

Pure; both as JSON.  In CycloneDX a hook point is a component of type `platform` that depends on the
packages that ran there; what the format has no field for is a property whose name begins with
`ebpf:` or `l3af:`.  Of a range it is each chain, with the hook points on which it ran.  In SPDX
hook points are in the comments of a package: it has no part for a place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from shared.contracts.inventory import RunningProgram
from shared.contracts.sbom import BillFormat
from shared.licensing.expressions import licences_named
from shared.sbom.bill import all_of
from shared.sbom.document import (
    PRODUCT,
    SPDX_DOCUMENT,
    as_cyclonedx,
    as_spdx,
    cyclonedx_licences,
    is_expression,
    package_url,
    spdx_url,
)
from shared.sbom.running import (
    RanHookPoint,
    RanObject,
    RanPackage,
    RanThen,
    RanTogether,
    licences_of,
    place_name,
)
from shared.version import VERSION

PLACES_SHOWN: Final = 200
"""Hook points named in the comment of an SPDX package; CycloneDX has all."""
_UNKNOWN: Final = "NOASSERTION"
_OWN: Final = "LicenseRef-"


def running_cyclonedx(ran: RanThen) -> str:
    """The document."""
    packages = [_component(one) for one in ran.packages]
    depending = {_place(one): one.packages for one in ran.hook_points}
    depending |= {_chain_reference(one): one.packages for one in ran.chains}
    content = {
        "metadata": {
            "timestamp": f"{ran.at[:19]}Z",
            "lifecycles": [{"phase": "operations"}],
            "tools": {"components": [{"type": "application", "name": PRODUCT, "version": VERSION}]},
            "component": {"type": "platform", "bom-ref": "running", "name": ran.title},
            "properties": [_property("l3af:log:tree_size", str(ran.tree_size))],
        },
        "components": [
            *packages,
            *map(_hook_point, ran.hook_points),
            *map(_chain, ran.chains),
        ],
        "dependencies": [
            {"ref": "running", "dependsOn": list(depending)},
            *(
                {"ref": reference, "dependsOn": list(dict.fromkeys(of_one))}
                for reference, of_one in depending.items()
            ),
        ],
        "compositions": [
            {
                "aggregate": "complete" if ran.is_complete else "incomplete",
                "dependencies": ["running", *depending],
            }
        ],
    }
    return as_cyclonedx(content)


def running_spdx(ran: RanThen) -> str:
    """The document."""
    content = {
        "name": ran.title,
        "comment": _spdx_comment(ran),
        "packages": [_spdx_package(one, ran) for one in ran.packages],
        "relationships": [
            {
                "spdxElementId": SPDX_DOCUMENT,
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": _spdx_reference(one),
            }
            for one in ran.packages
        ],
        **_own_licences(ran.packages),
    }
    return as_spdx(content, created=f"{ran.at[:19]}Z")


RUNNING_DOCUMENTS: Final[Mapping[BillFormat, Callable[[RanThen], str]]] = {
    "cyclonedx": running_cyclonedx,
    "spdx": running_spdx,
}


def _component(package: RanPackage) -> dict[str, Any]:
    return {
        "type": "application",
        "bom-ref": package.reference,
        "name": package.name,
        "version": package.version,
        **_hashes(package.archive_sha256),
        **_licences(package.declared, "declared"),
        "purl": _url(package),
        **_elected(package.elected),
        "components": [_object(package, one) for one in package.objects.values()],
        "properties": [
            *(_property("l3af:program", one) for one in package.programs),
            *(_property("l3af:deployment", one) for one in package.deployments),
        ],
    }


def _object(package: RanPackage, one: RanObject) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"{package.reference}/{one.sha256[:12]}",
        "name": f"object of {package.name}",
        **_hashes(one.sha256),
        **_licences(tuple(one.licences), "declared"),
        **_elected(tuple(one.elected)),
        "properties": [_property("ebpf:elf_license", text) for text in one.elf_strings],
    }


def _hook_point(point: RanHookPoint) -> dict[str, Any]:
    run, reading = point.run, point.run.reading
    said = {
        "ebpf:prog_id": str(reading.program_id),
        "ebpf:prog_tag": reading.program_tag,
        "ebpf:attach": reading.attachment or run.place.hook,
        "ebpf:gpl_compatible": "true" if reading.gpl_compatible else "false",
        "l3af:plan_sha256": reading.plan_sha256,
        "l3af:generation": str(reading.generation),
        "l3af:since": run.since,
        "l3af:confirmed_at": run.confirmed_at,
        "l3af:log:record": str(run.record),
        "l3af:source": run.source,
        "l3af:correlation": run.correlation,
        "l3af:actor": run.actor_key,
    }
    return {
        "type": "platform",
        "bom-ref": _place(point),
        "name": point.name,
        "properties": [
            *(_property(name, value) for name, value in said.items() if value),
            *_order(reading.running or ()),
        ],
    }


def _chain(one: RanTogether) -> dict[str, Any]:
    """One chain of a range: where, from when to when, and in which order."""
    chain = one.chain
    said = {
        "ebpf:prog_tag": chain.program_tag,
        "l3af:since": chain.since,
        "l3af:until": chain.until,
        "l3af:log:record": str(chain.record),
        "l3af:hook_points": str(chain.hook_points),
    }
    return {
        "type": "platform",
        "bom-ref": _chain_reference(one),
        "name": f"chain on {chain.hook_points} hook points",
        "properties": [
            *(_property(name, value) for name, value in said.items() if value),
            *(_property("l3af:hook_point", place_name(place)) for place in chain.places),
            *_order(chain.running or ()),
        ],
    }


def _chain_reference(one: RanTogether) -> str:
    return f"chain:{one.chain.key[:24]}"


def _order(running: Sequence[RunningProgram]) -> Iterator[dict[str, str]]:
    """Which program is which, and what each told the kernel."""
    for number, one in enumerate(running):
        yield _property(f"l3af:order:{number}", f"{one.package}@{one.version} {one.program}")
    for number, text in enumerate(licences_of(running)):
        if text:
            yield _property(f"ebpf:elf_license:{number}", text)


def _place(point: RanHookPoint) -> str:
    return f"place:{point.name}"


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def _hashes(sha256: str) -> dict[str, Any]:
    return {"hashes": [{"alg": "SHA-256", "content": sha256}]} if sha256 else {}


def _licences(expressions: Sequence[str], acknowledgement: str) -> dict[str, Any]:
    """Of several, which should not be, all hold."""
    if not expressions:
        return {}
    return {"licenses": cyclonedx_licences(all_of(expressions), acknowledgement)}


def _elected(expressions: Sequence[str]) -> dict[str, Any]:
    found = _licences(expressions, "concluded")
    return {"evidence": found} if found else {}


def _url(package: RanPackage) -> str:
    return package_url(package.name, package.version, package.archive_sha256)


def _spdx_comment(ran: RanThen) -> str:
    known = "" if ran.is_complete else "; of some of them it is not known what ran there"
    what = f"{len(ran.chains)} chains" if ran.since else f"{len(ran.hook_points)} hook points"
    return f"rebuilt from an audit log of {ran.tree_size} records: {what}{known}"


def _spdx_package(package: RanPackage, ran: RanThen) -> dict[str, Any]:
    places = [one.name for one in ran.hook_points if package.reference in one.packages]
    together = [one.chain.places for one in ran.chains if package.reference in one.packages]
    places += sorted({place_name(place) for chain in together for place in chain})
    declared, elected = all_of(package.declared or [""]), all_of(package.elected or [""])
    digest = package.archive_sha256
    checksums = [{"algorithm": "SHA256", "checksumValue": digest}]
    return {
        "SPDXID": _spdx_reference(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        **({"checksums": checksums} if digest else {}),
        "licenseConcluded": _expression(elected or declared),
        "licenseDeclared": _expression(declared),
        "copyrightText": _UNKNOWN,
        "comment": "\n".join(_spdx_remarks(package, places)),
        **spdx_url(_url(package)),
        "primaryPackagePurpose": "APPLICATION",
    }


def _spdx_remarks(package: RanPackage, places: Sequence[str]) -> Iterator[str]:
    for one in package.objects.values():
        told = ", ".join(one.elf_strings) or "not said"
        yield f"object sha256: {one.sha256 or 'not said'}; its licence string: {told}"
    yield f"deployments: {', '.join(package.deployments)}"
    more = len(places) - PLACES_SHOWN
    yield f"ran on: {', '.join(places[:PLACES_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _spdx_reference(package: RanPackage) -> str:
    digest = hashlib.sha256(
        f"{package.name} {package.version} {package.archive_sha256}".encode()
    ).hexdigest()
    return f"SPDXRef-Package-{digest[:24]}"


def _expression(text: str) -> str:
    return text if text and is_expression(text) else _UNKNOWN


def _own_licences(packages: Sequence[RanPackage]) -> dict[str, Any]:
    """Licences that are in no list; the log does not hold their texts."""
    expressions = {text for one in packages for text in (*one.declared, *one.elected)}
    names = {
        name
        for text in expressions
        if is_expression(text)
        for name in licences_named(text)
        if name.startswith(_OWN)
    }
    infos = [
        {"licenseId": name, "extractedText": "in the archive of the package"}
        for name in sorted(names)
    ]
    return {"hasExtractedLicensingInfos": infos} if infos else {}
