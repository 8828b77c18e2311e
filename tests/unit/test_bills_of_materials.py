# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package's bill of materials names every file, what it is under and what it was made with."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shared.canonical import sha256_hex
from shared.contracts.package_facts import MapFacts
from shared.contracts.package_manifest import BuildRecipe, SourceLocation
from shared.contracts.sbom import PackageBill
from shared.licensing.package import LicensedPackage
from shared.licensing.source_tags import source_licences
from shared.licensing.verdict import check_licences
from shared.sbom.bill import package_bill
from shared.sbom.cyclonedx import cyclonedx_document
from shared.sbom.document import licences_in
from shared.sbom.spdx import spdx_document
from tests.package_builders import a_program, a_version, some_facts
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.licensed_packages import policy

TAG = b"// SPDX-License" + b"-Identifier: "
LINE = b"// SPDX-FileCopyright" + b"Text: 2026 "
FILES = {
    "LICENSES/LicenseRef-Acme.txt": b"Acme's own words\n",
    "README.md": b"# one\n",
    "common.h": TAG + b"MIT\n" + LINE + b"Acme\n" + LINE + b"Zed\n",
    "one.bpf.c": LINE + b"Acme\n",
    "one.bpf.o": b"\x7fELF one",
}
BUILD = BuildRecipe(
    compiler="Debian clang version 14.0.6",
    stripper="Debian LLVM version 14.0.6",
    arguments=("-O2",),
    headers_sha256="b" * 64,
)
SOURCE = SourceLocation(
    repository="git@example.org:team/one.git", revision="v1", archive_sha256="a" * 64, path="bpf"
)
STATED: dict[str, Any] = {
    "licence": "GPL-2.0-only OR MIT",
    "licences": {"docs": "LicenseRef-Acme"},
    "build": BUILD,
    "source": SOURCE,
    "owners": ("Ann <ann@example.org>",),
}


def a_bill(version: str = "1.0.0", files: dict[str, bytes] = FILES, **changes: Any) -> PackageBill:
    """The bill of a package with these files."""
    stated = {**STATED, "files": files, **changes}
    maps = stated.pop("maps_declared", ())
    published = a_version(version, elf=(some_facts(licence="GPL", maps=maps),), **stated)
    tags = source_licences(files)
    package = LicensedPackage(published.manifest, published.elf, policy("gpl-ok"), tags)
    return package_bill(published, package, files, check_licences(package).elections)


def test_every_file_is_named_with_its_digests() -> None:
    """Those of the manifest, and the SHA-1 that SPDX demands."""
    bill = a_bill()

    assert [file.path for file in bill.files] == sorted(FILES)
    assert [file.sha256 for file in bill.files] == [
        sha256_hex(FILES[path]) for path in sorted(FILES)
    ]
    assert bill.files[1].sha1 == "cc1b2a256961cf41d9d193c1b5eee9e80e1729ea"


def test_a_file_is_under_what_is_elected_tagged_or_declared() -> None:
    """In this order; what is declared is said beside it."""
    found = {file.path: (file.declared, file.concluded) for file in a_bill().files}

    assert found == {
        "LICENSES/LicenseRef-Acme.txt": ("LicenseRef-Acme", "LicenseRef-Acme"),
        "README.md": ("LicenseRef-Acme", "LicenseRef-Acme"),
        "common.h": ("GPL-2.0-only OR MIT", "MIT"),
        "one.bpf.c": ("GPL-2.0-only OR MIT", "GPL-2.0-only OR MIT"),
        "one.bpf.o": ("GPL-2.0-only OR MIT", "GPL-2.0-only"),
    }


def test_the_whole_is_under_all_that_its_parts_are_under() -> None:
    """A choice that stays open stays one."""
    bill = a_bill()

    assert bill.declared == "(GPL-2.0-only OR MIT) AND LicenseRef-Acme"
    assert set(licences_in(bill.concluded)) == {"GPL-2.0-only", "LicenseRef-Acme", "MIT"}


@pytest.mark.parametrize("count", [1, 2])
def test_documents_are_what_the_published_schemas_say(count: int) -> None:
    """Of one package, and of a channel with several."""
    bills = [a_bill(f"1.0.{number}") for number in range(count)]
    channel = "stable" if count > 1 else ""

    assert cyclonedx_problems(cyclonedx_document(bills, channel=channel)) == []
    assert spdx_problems(spdx_document(bills, channel=channel)) == []


def test_the_schemas_do_refuse() -> None:
    """A document with a member that no format has."""
    document = {**json.loads(spdx_document([a_bill()])), "surprise": 1}
    other = {**json.loads(cyclonedx_document([a_bill()])), "specVersion": 7}

    assert spdx_problems(json.dumps(document))
    assert cyclonedx_problems(json.dumps(other))


def test_a_channel_with_nothing_in_it_has_a_document() -> None:
    """And so has a package that says nothing of itself, with text that is hostile."""
    poor = a_bill(licences={}, build=None, source=None, owners=(), summary="\x1b[2J\u202e\"'<x>")

    for bills, channel in (([], "empty"), ([poor], "")):
        assert cyclonedx_problems(cyclonedx_document(bills, channel=channel)) == []
        assert spdx_problems(spdx_document(bills, channel=channel)) == []
        assert spdx_document(bills, channel=channel).replace("\n", "").isprintable()


def test_the_same_version_gives_the_same_bytes() -> None:
    """And another one another number."""
    for made in (cyclonedx_document, spdx_document):
        assert made([a_bill()]) == made([a_bill()])
    first, second = (json.loads(spdx_document([a_bill(v)])) for v in ("1.0.0", "1.0.1"))

    assert first["documentNamespace"] != second["documentNamespace"]


def test_both_formats_name_the_compilers_and_relate_them() -> None:
    """As tools of the build, with their versions."""
    spdx = json.loads(spdx_document([a_bill()]))
    cyclonedx = json.loads(cyclonedx_document([a_bill()]))

    tools = {one["SPDXID"]: one for one in spdx["packages"] if "Tool" in one["SPDXID"]}
    related = [one for one in spdx["relationships"] if one["relationshipType"] == "BUILD_TOOL_OF"]
    assert [(one["name"], one["versionInfo"]) for one in tools.values()] == [
        ("clang", "14.0.6"),
        ("LLVM", "14.0.6"),
    ]
    assert [one["spdxElementId"] for one in related] == list(tools)
    (formula,) = cyclonedx["formulation"]
    assert [one["name"] for one in formula["components"]] == ["clang", "LLVM"]


def test_what_nodes_compile_has_the_compiler_of_the_node() -> None:
    """Its version is not known."""
    program = a_program(object="one.bpf.c", compiler="bcc")
    bill = a_bill(programs=(program,), build=None)

    assert [(tool.name, tool.version) for tool in bill.tools] == [("bcc", "")]
    assert cyclonedx_problems(cyclonedx_document([bill])) == []


def test_every_relationship_is_between_elements_of_the_document() -> None:
    """And every element has an identifier of its own."""
    found = json.loads(spdx_document([a_bill("1.0.0"), a_bill("1.0.0+a"), a_bill("1.0.0-a")]))

    names = [one["SPDXID"] for one in (*found["packages"], *found["files"])]
    ends = {
        one[end]
        for one in found["relationships"]
        for end in ("spdxElementId", "relatedSpdxElement")
    }
    assert len(names) == len(set(names))
    assert ends <= {*names, "SPDXRef-DOCUMENT"}
    assert {
        "spdxElementId": next(n for n in names if "one.bpf.o" in n),
        "relationshipType": "GENERATED_FROM",
        "relatedSpdxElement": next(n for n in names if "one.bpf.c" in n),
    } in found["relationships"]


def test_a_reference_of_cyclonedx_names_one_part() -> None:
    """So that what depends on it can be followed."""
    found = json.loads(cyclonedx_document([a_bill("1.0.0"), a_bill("1.0.1")], channel="stable"))

    parts = [*found["components"], *(f for one in found["components"] for f in one["components"])]
    names = [one["bom-ref"] for one in (*parts, found["metadata"]["component"])]
    depends = {ref for one in found["dependencies"] for ref in (one["ref"], *one["dependsOn"])}
    assert len(names) == len(set(names))
    assert depends <= set(names)


def test_licences_of_their_own_come_with_their_text() -> None:
    """As the archive has it; two packages may mean two texts by one name."""
    other = {**FILES, "LICENSES/LicenseRef-Acme.txt": b"Others\n"}
    bills = [a_bill("1.0.0"), a_bill("1.0.1", other)]

    (info,) = json.loads(spdx_document(bills))["hasExtractedLicensingInfos"]

    assert info == {
        "licenseId": "LicenseRef-Acme",
        "extractedText": "Acme's own words\n\n\nOthers\n",
    }


def test_shared_maps_are_said() -> None:
    """Whoever else declares them depends on the same content."""
    facts = MapFacts(
        name="flows",
        type="hash",
        key_size_bytes=4,
        value_size_bytes=8,
        max_entries=8,
        is_pinned_by_name=True,
    )
    bill = a_bill(maps_declared=(facts,))

    component = json.loads(cyclonedx_document([bill]))["metadata"]["component"]
    package = json.loads(spdx_document([bill]))["packages"][0]
    assert {"name": "l3af:shared_map", "value": "flows"} in component["properties"]
    assert "maps that are declared to be one for all: flows" in package["comment"]


def test_what_is_no_expression_is_not_passed_off_as_one() -> None:
    """The words are kept where words may stand."""
    bill = msgspec.structs.replace(a_bill(), declared="ask Bob")

    package = json.loads(spdx_document([bill]))["packages"][0]
    component = json.loads(cyclonedx_document([bill]))["metadata"]["component"]

    assert package["licenseDeclared"] == "NOASSERTION"
    assert "ask Bob" in package["licenseComments"]
    assert component["licenses"] == [
        {"license": {"name": "ask Bob", "acknowledgement": "declared"}}
    ]


def test_sources_are_where_the_publisher_says() -> None:
    """Git's short form for ssh becomes an address."""
    spdx = json.loads(spdx_document([a_bill()]))
    cyclonedx = json.loads(cyclonedx_document([a_bill()]))

    source = next(one for one in spdx["packages"] if one["name"] == "one source")
    places = cyclonedx["metadata"]["component"]["externalReferences"]
    assert source["downloadLocation"] == "git+ssh://git@example.org/team/one.git@v1#bpf"
    assert [one["type"] for one in places] == ["vcs", "source-distribution"]
