# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A version waits for kernels: a real catalog, a real executor, and this machine's kernel."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from cli.package_build import BuiltPackage
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import MAX_TESTS, PackageTested, RunPackageTests, TrialLimits
from shared.contracts.reviews import GET_REVIEW, PROMOTE_PACKAGE, GetReview, PromotePackage
from tests.support.catalog_process import ROOT, a_built_package
from tests.support.node_fleets import NODE, a_fleet
from tests.support.verifying_fleets import PACKAGE, VerifyingFleet, own_tests, with_tests

pytestmark = pytest.mark.kernel


class HastyFleet(VerifyingFleet):
    """Nodes have one second for a trial."""

    seconds = 1


class TwoKernelFleet(VerifyingFleet):
    """Its channels demand one kernel more than there is."""

    kernels = 2


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[VerifyingFleet]:
    """One kernel is demanded, and one node verifies."""
    async with a_fleet(tmp_path, VerifyingFleet) as made:
        await made.start_and_register()
        yield made


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[TwoKernelFleet]:
    """Two kernels are demanded, and one node verifies."""
    async with a_fleet(tmp_path, TwoKernelFleet) as made:
        await made.start_and_register()
        yield made


async def _said(fleet: VerifyingFleet, action: str, count: int) -> list[tuple[str, str]]:
    """Node and outcome of the events of an action, once there are so many."""

    async def read() -> bool:
        return len(fleet.outcomes(action)) >= count

    await fleet.until(read)
    return fleet.outcomes(action)


async def test_what_passes_on_the_kernel_is_released(fleet: VerifyingFleet) -> None:
    """Stored at once, released after the node's report, and every step is in the audit log."""
    published = await fleet.publish()
    assert published.awaits == {"stable": 1}
    assert not (await fleet.matrix()).channels or await fleet.is_resolved()

    shown = await fleet.until_matrix("released")

    assert await fleet.is_resolved()
    assert (shown.channels, shown.kernels) == (("stable",), (platform.release(),))
    (node,) = shown.nodes
    assert (node.node, node.state, node.kernel) == (NODE, "passed", platform.release())
    assert len(node.results) == len(own_tests(a_built_package(PACKAGE)))
    assert all(one.has_passed and one.verified_instructions for one in node.results)
    assert all(one.ns_per_packet > 0 and not one.problem for one in node.results)
    assert await _said(fleet, "package.release", 1) == [("", "succeeded")]
    assert fleet.outcomes("package.verify") == [(NODE, "succeeded")]


async def test_a_promotion_waits_for_the_kernel_and_enters_by_itself(fleet: VerifyingFleet) -> None:
    """What the kernel said of the version counts for the next channel too, and it is released."""
    await fleet.publish()
    await fleet.until_matrix("released")

    command = PromotePackage(name=PACKAGE, version="1.0.0", to="canary", reason="a test")
    promoted = await fleet.publisher.request(PROMOTE_PACKAGE, command)

    async def is_in() -> bool:
        return "canary" in (await fleet.matrix()).channels

    await fleet.until(is_in)
    found = await fleet.publisher.request(GET_REVIEW, GetReview(name=PACKAGE))
    assert (promoted.awaits, promoted.channels) == ({"canary": 1}, ("stable",))
    assert set(found.lifecycle.entered) == {"stable", "canary"}
    assert await _said(fleet, "package.release", 2) == [("", "succeeded"), ("", "succeeded")]
    (event,) = [one for one in fleet.events if one.data.action == "package.publish"]
    assert (event.data.details["channels"], event.data.details["awaits"]) == ([], {"stable": 1})


async def test_what_gets_the_wrong_verdict_is_not_released(fleet: VerifyingFleet) -> None:
    """The failure keeps it out with the first difference; asking anew asks the kernel again."""
    await fleet.publish(with_tests(a_built_package(PACKAGE), wrong=True))
    shown = await fleet.until_matrix("failed")

    assert not await fleet.is_resolved()
    assert shown.channels == ()
    (node,) = shown.nodes
    assert node.why.startswith('packets[0].verdict: expected "aborted", got ')
    assert shown.waits_for == (f"node {NODE} (Linux {platform.release()}) says no: {node.why}",)
    assert not any(one.has_passed for one in node.results)
    assert await _said(fleet, "package.verify", 1) == [(NODE, "failed")]

    again = await fleet.l3af("package", "verify", PACKAGE, "1.0.0", "--watch")

    assert again.status == 2
    assert "says no: packets[0].verdict" in " ".join(again.output.split())
    assert await _said(fleet, "package.verify", 3) == [
        (NODE, "failed"),
        ("", "accepted"),
        (NODE, "failed"),
    ]
    assert (await fleet.matrix()).state == "failed"


async def test_a_probe_is_loaded_for_what_its_section_names(fleet: VerifyingFleet) -> None:
    """No packet passes it, nothing is attached; that the kernel takes it releases the version."""
    words = ("package", "publish", str(ROOT / "packages" / "exec-count"), "--watch", "--json")
    published = await fleet.l3af(*words)

    assert (published.status, published.document["state"]) == (0, "released")
    (node,) = published.document["nodes"]
    (result,) = node["results"]
    assert (result["hook"], result["has_passed"]) == ("tracepoint", True)
    assert result["verified_instructions"] > 0
    assert not result.get("packets")


async def test_publishing_can_be_watched(fleet: VerifyingFleet) -> None:
    """The command says what it waits for and ends with the matrix, for scripts and for people."""
    words = ("package", "publish", str(ROOT / "packages" / PACKAGE), "--watch")
    published = await fleet.l3af(*words, "--json")
    shown = await fleet.l3af("package", "matrix", PACKAGE)

    assert (published.status, shown.status) == (0, 0)
    assert published.document["state"] == "released"
    count = len(own_tests(a_built_package(PACKAGE)))
    assert len(published.document["nodes"][0]["results"]) == count
    line = f"Linux {platform.release()}"
    assert line in shown.output
    assert "instructions" in shown.output
    assert " ns" in shown.output


async def test_a_trial_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    """It is ended, the node reports it, and no process is left behind."""
    async with a_fleet(tmp_path, HastyFleet) as hasty:
        await hasty.start_and_register()
        package = a_built_package(PACKAGE)
        copies = MAX_TESTS // len(own_tests(package))
        await hasty.publish(with_tests(package, copies=copies))

        shown = await hasty.until_matrix("failed")

        assert shown.nodes[0].why == "its trial took longer than 1 s"


def _tried(built: BuiltPackage, manifest: PackageManifest, *, map_bytes: int) -> PackageTested:
    limits = TrialLimits(memory_bytes=2 << 30, processor_seconds=60, map_bytes=map_bytes)
    order = RunPackageTests(manifest=manifest, archive=built.archive, loads_all=True, limits=limits)
    done = subprocess.run(
        [sys.executable, "-m", "services.node_executor.package_test"],
        cwd=ROOT,
        input=msgspec.json.encode(order),
        capture_output=True,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=PackageTested)


def test_a_node_tries_what_has_an_object_for_it() -> None:
    """Of a program for another platform it says nothing, neither good nor bad."""
    built = a_built_package(PACKAGE)
    (own,) = built.manifest.programs
    other = msgspec.structs.replace(
        own, name="there", object="", objects={"windows-aarch64": own.object}
    )
    manifest = msgspec.structs.replace(built.manifest, programs=(own, other))

    tested = _tried(built, manifest, map_bytes=1 << 28)

    assert {one.program for one in tested.results} == {own.name}
    assert tested.has_passed


def test_a_candidate_gets_no_more_than_its_limits() -> None:
    """Its maps are refused by size before the kernel makes them."""
    built = a_built_package(PACKAGE)
    manifest = msgspec.structs.replace(built.manifest, tests=None)

    (loaded,) = _tried(built, manifest, map_bytes=1000).results

    assert (loaded.name, loaded.hook, loaded.packets) == ("", "xdp", 0)
    assert "and a trial has 1000" in loaded.problem
    assert not loaded.verified_instructions


async def test_two_kernels_demanded_are_two_kernels(two: TwoKernelFleet) -> None:
    """One kernel is not enough, nor is it twice, nor the word of a node that is no verifier."""
    await two.publish()
    shown = await two.until_node_is("passed")
    advice = "label a node on another kernel verifier=true"
    sentence = f"passed on 1 of 2 different kernels ({platform.release()}); {advice}"
    assert (shown.state, shown.is_open) == ("waiting", True)
    assert shown.waits_for == (sentence,)
    own = await two.stored()
    assert own is not None

    same = await two.second_node("n2", kernel=platform.release(), labels={"verifier": "true"})
    other = await two.second_node("n3", kernel="5.15.0", labels={})
    await two.report(same, own)
    await two.report(other, own)
    assert await _said(two, "package.verify", 2) == [(NODE, "succeeded"), ("n2", "succeeded")]
    assert not await two.is_resolved()

    third = await two.second_node("n4", kernel="5.15.0", labels={"verifier": "true"})
    await two.report(third, own)

    shown = await two.until_matrix("released")
    assert shown.kernels == (platform.release(), "5.15.0")
    assert await two.is_resolved()


async def test_a_node_that_is_killed_begins_again(fleet: VerifyingFleet) -> None:
    """Its trial ends with it, nobody is told a verdict, and it is asked again when it is back."""
    package = with_tests(a_built_package(PACKAGE), copies=5)
    await fleet.publish(package)
    await fleet.until_node_is("running")
    await fleet.publisher.request(GET_CHAINS.at(node=NODE), GetChains())  # it works on meanwhile
    fleet.stop(signal.SIGKILL)
    shown = await fleet.until_node_is("silent")
    assert (shown.state, shown.kernels) == ("waiting", ())
    assert not await fleet.is_resolved()

    fleet.start()

    shown = await fleet.until_matrix("released")
    assert len(shown.nodes[0].results) == len(own_tests(package))
    assert fleet.outcomes("package.verify") == [(NODE, "succeeded")]


async def test_a_catalog_that_is_killed_goes_on(fleet: VerifyingFleet) -> None:
    """A report that comes while it is dead is found, recorded once, and releases the version."""
    await fleet.publish()
    await fleet.until_node_is("running")
    fleet.catalog_process.kill()
    await fleet.until(fleet.stored)
    assert not fleet.outcomes("package.verify")
    await fleet.catalog_process.start(fleet.publisher)

    await fleet.until_matrix("released")
    assert await _said(fleet, "package.release", 1) == [("", "succeeded")]
    assert fleet.outcomes("package.verify") == [(NODE, "succeeded")]
