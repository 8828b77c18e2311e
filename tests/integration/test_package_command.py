# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package` as a person runs it: exit statuses, JSON, readable refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.adapters.callers import Caller
from shared.contracts.catalog import LIST_PACKAGES, ListPackages, PackageList, PackageSummary
from tests.integration.conftest import Buses
from tests.support.bcc_packages import package_folder
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer

PACKAGE = ROOT / "packages" / "rate-limit"


@dataclass(frozen=True)
class Desk:
    """Where the commands are run, as a publisher."""

    catalog: CatalogProcess
    credentials: Path
    folder: Path

    async def l3af(self, *words: str) -> Answer:
        """Run one command."""
        return await run_l3af(*words, credentials=self.credentials, folder=self.folder)


@pytest.fixture
async def desk(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[Desk]:
    """A catalog that answers, and a publisher's credentials."""
    catalog = CatalogProcess(provisioned, tmp_path / "state")
    await catalog.start(await buses.open("viewer", "vera"))
    credentials = provisioned.credentials("publisher", "acme")
    write_publisher(credentials)
    folder = tmp_path / "desk"
    folder.mkdir()
    try:
        yield Desk(catalog, credentials, folder)
    finally:
        catalog.kill()


async def test_a_package_goes_from_a_folder_into_the_catalog(desk: Desk) -> None:
    """Build, publish, list and show agree on what was published."""
    built = await desk.l3af("package", "build", str(PACKAGE), "--json")
    published = await desk.l3af("package", "publish", str(PACKAGE), "--json")
    listed = await desk.l3af("package", "list", "--json")
    shown = await desk.l3af("package", "show", "rate-limit", "1.0.0", "--json")

    assert [answer.status for answer in (built, published, listed, shown)] == [0, 0, 0, 0]
    assert (desk.folder / "rate-limit-1.0.0.l3afpkg").is_file()
    for name in ("archive_sha256", "manifest_sha256", "version"):
        assert published.document[name] == built.document[name]
    assert listed.document["packages"][0]["hooks"] == ["xdp"]
    assert shown.document["package"]["manifest"] == built.document["manifest"]
    assert shown.document["package"]["elf"] == built.document["elf"]


async def test_a_list_of_several_pages_is_shown_as_one(
    provisioned: OperatorModeServer, buses: Buses
) -> None:
    """The command asks until there is no more, each time behind the page before."""
    asked: list[ListPackages] = []

    async def page(request: ListPackages, _caller: Caller) -> PackageList:
        asked.append(request)
        line = PackageSummary(
            name=f"p{len(asked)}", versions=("1.0.0",), summary="", licence="", hooks=("xdp",)
        )
        return PackageList(packages=(line,), next=line.name if len(asked) < 3 else "")

    catalog = await buses.open("service-catalog")
    async with catalog.serve("catalog", {LIST_PACKAGES: page}, version="0.1.0"):
        credentials = provisioned.credentials("viewer", "vera")
        listed = await run_l3af("package", "list", "p*", "--json", credentials=credentials)

    assert [one["name"] for one in listed.document["packages"]] == ["p1", "p2", "p3"]
    assert [(one.name, one.after) for one in asked] == [("p*", ""), ("p*", "p1"), ("p*", "p2")]


async def test_people_get_tables(desk: Desk) -> None:
    """Without --json the same facts are readable."""
    published = await desk.l3af("package", "publish", str(PACKAGE))
    listed = await desk.l3af("package", "list")
    shown = await desk.l3af("package", "show", "rate-limit")

    assert "rate-limit 1.0.0" in published.output
    assert "rate-limit" in listed.output
    assert "rl_limits" in shown.output
    assert "Dual BSD/GPL" in shown.output


async def test_a_built_archive_is_published_as_it_was_built(desk: Desk) -> None:
    """Building and publishing may happen on different days."""
    await desk.l3af("package", "build", str(PACKAGE), "--out", "one.l3afpkg")

    assert (await desk.l3af("package", "publish", "one.l3afpkg")).status == 0


async def test_a_tampered_archive_is_never_signed(desk: Desk) -> None:
    """A byte that changed between build and publication is refused with status 2."""
    await desk.l3af("package", "build", str(PACKAGE), "--out", "one.l3afpkg")
    archive = bytearray((desk.folder / "one.l3afpkg").read_bytes())
    archive[len(archive) // 2] ^= 1
    (desk.folder / "one.l3afpkg").write_bytes(bytes(archive))

    answer = await desk.l3af("package", "publish", "one.l3afpkg", "--json")

    assert answer.status == 2
    assert json.loads(answer.message)["code"] == "verification_failed"
    assert (await desk.l3af("package", "list", "--json")).document["packages"] == []


async def test_refusals_exit_2_and_say_why(desk: Desk) -> None:
    """What is refused once is refused again: a version twice, an unknown package, no key."""
    await desk.l3af("package", "publish", str(PACKAGE))

    twice = await desk.l3af("package", "publish", str(PACKAGE))
    unknown = await desk.l3af("package", "show", "no-such-package")
    (desk.credentials / "publisher.key").unlink()
    keyless = await desk.l3af("package", "publish", str(PACKAGE))
    missing = await desk.l3af("package", "publish", "nothing-here")

    assert [one.status for one in (twice, unknown, keyless, missing)] == [2, 2, 2, 2]
    assert "already published with the same content" in twice.message
    assert "unknown package no-such-package" in unknown.message
    assert "may not sign packages" in keyless.message
    assert "cannot be read" in missing.message


async def test_a_key_of_another_publisher_is_refused_by_name(
    desk: Desk, provisioned: OperatorModeServer
) -> None:
    """The refusal says who signed, who asks, and the rule."""
    borrowed = provisioned.credentials("publisher", "paula")
    write_publisher(borrowed)
    words = ("package", "publish", str(PACKAGE), "--credentials", str(borrowed))

    told, printed = await desk.l3af(*words), await desk.l3af(*words, "--json")

    assert (told.status, printed.status) == (2, 2)
    assert "not permitted: acme signed this package, and paula asks" in told.message
    assert "a publisher publishes only what its own key signed" in told.message
    assert json.loads(printed.message)["code"] == "not_permitted"


async def test_a_fault_exits_3_at_once(desk: Desk) -> None:
    """A catalog that is down is no refusal: the same command may work later."""
    desk.catalog.kill()

    answer = await desk.l3af("package", "list", "--json")

    assert answer.status == 3
    assert json.loads(answer.message) == {
        "code": "unavailable",
        "message": "catalog is not answering",
    }


async def test_a_source_that_does_not_compile_is_refused_by_line(desk: Desk) -> None:
    """The compiler's words and places are the reasons."""
    folder = desk.folder / "broken"
    shutil.copytree(PACKAGE, folder)
    source = folder / "rate_limit.bpf.c"
    source.write_text(source.read_text().replace("return XDP_DROP;", "return XDP_DROPP;"))

    answer = await desk.l3af("package", "build", "broken", "--json")

    refusal = json.loads(answer.message)
    assert answer.status == 2
    assert refusal["message"] == "rate_limit.bpf.c does not compile"
    assert refusal["reasons"][0]["path"].startswith("rate_limit.bpf.c:")
    assert "XDP_DROPP" in refusal["reasons"][0]["rule"]


async def test_source_for_bcc_is_published_as_it_is(desk: Desk) -> None:
    """No compiler runs; what only one can tell is left open."""
    folder = package_folder(desk.folder / "gate")

    published = await desk.l3af("package", "publish", str(folder), "--json")
    shown = await desk.l3af("package", "show", "port-gate", "--json")
    table = await desk.l3af("package", "show", "port-gate")

    assert published.status == 0, published.message
    manifest = shown.document["package"]["manifest"]
    assert {one["path"] for one in manifest["files"]} > {"port_gate.c", "ports.h"}
    (facts,) = shown.document["package"]["elf"]
    assert (facts["compiler"], facts["licence"]) == ("bcc", "Dual BSD/GPL")
    assert {one["name"] for one in facts["maps"]} == {"closed", "dropped", "ports", "next"}
    assert "compiled by bcc" in table.output
