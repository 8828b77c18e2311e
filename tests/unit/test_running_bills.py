# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Bills of materials of what ran at a moment: they are what the schemas ask for, and no more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.inventory import HookPlace, HookReading, HookRun
from shared.contracts.licences import ProgramLicence
from shared.sbom.running import RanThen, ran_then
from shared.sbom.running_documents import RUNNING_DOCUMENTS, running_cyclonedx, running_spdx
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.inventories import a_reading, at, digest_of

PROBLEMS = {"cyclonedx": cyclonedx_problems, "spdx": spdx_problems}


def a_run(node: str, reading: HookReading, record: int = 1) -> HookRun:
    """What ran on one hook point of a node."""
    place = HookPlace(node=node, interface=reading.interface, hook=reading.hook)
    return HookRun(place=place, since=at(1), record=record, reading=reading, actor_key="UALICE")


def then(*runs: HookRun) -> RanThen:
    """All of that, at one moment of a log of 100 records."""
    return ran_then(runs, at=at(60), tree_size=100)


BUSY = then(
    a_run("n1", a_reading("firewall@2.0.0", "rate-limit"), 7),
    a_run("n2", a_reading("rate-limit"), 8),
    a_run("n3", a_reading(), 9),
)


def cyclonedx(ran: RanThen) -> dict[str, Any]:
    """The document, once the schema took it."""
    document = running_cyclonedx(ran)
    assert cyclonedx_problems(document) == []
    found: dict[str, Any] = json.loads(document)
    return found


def properties(component: dict[str, Any]) -> dict[str, str]:
    """By name; of a name that comes again the last."""
    return {one["name"]: one["value"] for one in component["properties"]}


def test_a_bill_has_every_package_once_and_every_place_in_its_order() -> None:
    """Packages with digest and licence; places depend on what ran there, first to run first."""
    document = cyclonedx(BUSY)

    kinds = {one["bom-ref"]: one for one in document["components"]}
    packages = [one for one in document["components"] if one["type"] == "application"]
    assert [(one["name"], one["version"]) for one in packages] == [
        ("firewall", "2.0.0"),
        ("rate-limit", "1.0.0"),
    ]
    assert packages[1]["hashes"][0]["content"] == digest_of("archive rate-limit")
    assert packages[1]["licenses"][0]["expression"] == "GPL-2.0-only"
    (part,) = packages[1]["components"]
    assert part["hashes"][0]["content"] == digest_of("object rate-limit")
    assert properties(part) == {"ebpf:elf_license": "GPL"}
    place = properties(kinds["place:n1/eth0/xdp"])
    assert place["l3af:order:0"] == "firewall@2.0.0 main"
    assert place["l3af:order:1"] == "rate-limit@1.0.0 main"
    assert (place["l3af:log:record"], place["l3af:actor"]) == ("7", "UALICE")
    needs = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert needs["running"] == ["place:n1/eth0/xdp", "place:n2/eth0/xdp"]
    assert needs["place:n1/eth0/xdp"] == [one["bom-ref"] for one in packages]
    assert document["compositions"][0]["aggregate"] == "complete"


def test_spdx_says_the_same_of_packages() -> None:
    """Digest, licence, objects and places; the schema takes it."""
    document = running_spdx(BUSY)
    assert spdx_problems(document) == []
    firewall, limit = json.loads(document)["packages"]

    assert (firewall["name"], firewall["versionInfo"]) == ("firewall", "2.0.0")
    assert limit["checksums"][0]["checksumValue"] == digest_of("archive rate-limit")
    assert limit["licenseDeclared"] == limit["licenseConcluded"] == "GPL-2.0-only"
    assert digest_of("object rate-limit") in limit["comment"]
    assert "ran on: n1/eth0/xdp, n2/eth0/xdp" in limit["comment"]


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
def test_what_nobody_said_is_not_made_up(form: str) -> None:
    """A release that said neither programs, digests nor licences: the bill is incomplete."""
    reading = a_reading("old")
    (program,) = reading.running or ()
    silent = msgspec.structs.replace(program, archive_sha256="", object_sha256="", licence=None)
    unsaid = msgspec.structs.replace(
        reading, running=None, interface="eth1", hook="tc-ingress", plan_sha256=""
    )
    ran = then(
        a_run("n1", msgspec.structs.replace(reading, running=(silent,))), a_run("n1", unsaid)
    )

    document = RUNNING_DOCUMENTS["spdx" if form == "spdx" else "cyclonedx"](ran)

    assert PROBLEMS[form](document) == []
    assert "checksum=" not in document
    assert digest_of("archive old") not in document
    assert ("incomplete" in document) == (form == "cyclonedx")
    assert ("not known what ran there" in document) == (form == "spdx")


def test_two_archives_of_one_name_and_version_are_two_parts() -> None:
    """What somebody put in the place of a package is told apart from it."""
    reading = a_reading("limit")
    (program,) = reading.running or ()
    other = msgspec.structs.replace(program, archive_sha256=digest_of("another archive"))
    ran = then(
        a_run("n1", reading), a_run("n2", msgspec.structs.replace(reading, running=(other,)))
    )

    found = [one for one in cyclonedx(ran)["components"] if one["type"] == "application"]

    assert len({one["bom-ref"] for one in found}) == 2
    assert len({one["purl"] for one in found}) == 2


@given(
    st.permutations(list(range(4))),
    st.sampled_from(["MIT", "LicenseRef-own OR MIT", "no expression at all", "", "GPL-2.0-only"]),
)
def test_the_same_log_gives_the_same_bytes_in_any_order(order: list[int], declared: str) -> None:
    """Whatever was declared, both schemas take it, and the order of places decides nothing."""
    licence = ProgramLicence(declared=declared, elf="Dual MIT/GPL")
    runs = []
    for number in range(4):
        reading = a_reading("limit", f"other@1.{number}.0")
        running = tuple(
            msgspec.structs.replace(one, licence=licence) for one in reading.running or ()
        )
        runs.append(a_run(f"n{number}", msgspec.structs.replace(reading, running=running)))

    for form, written in RUNNING_DOCUMENTS.items():
        document = written(then(*runs))
        assert written(then(*(runs[number] for number in order))) == document
        assert PROBLEMS[form](document) == []


def test_nothing_ran() -> None:
    """A bill of nothing is one too."""
    for form, written in RUNNING_DOCUMENTS.items():
        assert PROBLEMS[form](written(then())) == []
