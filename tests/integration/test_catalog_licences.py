# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog checks licences against what the kernels of the nodes restrict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.package_build import BuiltPackage
from shared.bytecode.elf import read_elf_facts
from shared.contracts.catalog import GET_PACKAGE, GetPackage
from shared.contracts.node import NODES
from shared.package_archive import write_archive
from tests.integration.conftest import Buses
from tests.package_builders import a_manifest
from tests.support.bpf_objects import compile_source
from tests.support.catalog_stage import Stage, a_stage
from tests.support.kernels import a_kernel, a_node_with

SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int one(struct xdp_md *ctx)
{
	return bpf_get_prandom_u32() & 1 ? XDP_PASS : XDP_DROP;
}
char LICENSE[] SEC("license") = "MIT";
"""


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """A catalog that answers."""
    async with a_stage(buses, tmp_path / "state") as stage:
        yield stage


async def test_a_helper_that_a_node_s_kernel_restricts_is_closed_to_other_licences(
    stage: Stage,
) -> None:
    """It is open as long as no node says otherwise."""
    files = {"LICENSES/MIT.txt": b"MIT", "one.bpf.o": compile_source(SOURCE)}
    facts = (read_elf_facts(files["one.bpf.o"], "one.bpf.o"),)

    def version(number: str) -> BuiltPackage:
        manifest = a_manifest(files, version=number, licence="MIT")
        return BuiltPackage(manifest=manifest, archive=write_archive(files), elf=facts)

    await stage.publish(version("1.0.0"))
    node = await stage.buses.open("node", "n1")
    strict = a_node_with("n1", capabilities=a_kernel(gpl_only_helpers="7"))
    await node.bucket(NODES).put("n1", strict)
    refusal = await stage.refused(built=version("1.1.0"))

    (reason,) = refusal.reasons
    assert reason.got["elf"] == "MIT"
    assert "7" in str(reason.got["helpers"])


async def test_an_installation_refuses_what_its_policy_forbids(
    buses: Buses, tmp_path: Path
) -> None:
    """The verdict is recorded with what is published, and in the event of what is not."""
    policy = tmp_path / "strict.toml"
    policy.write_text(
        'name = "strict"\nversion = "3.1.0"\nsummary = "MIT alone"\n'
        '[groups.kernel]\nallows = ["MIT"]\nbecause = "we say so"\n'
    )
    files = {"LICENSES/MIT.txt": b"MIT", "one.bpf.o": compile_source(SOURCE)}
    manifest = a_manifest(files, licence="MIT")
    mit = BuiltPackage(manifest=manifest, archive=write_archive(files), elf=())

    async with a_stage(buses, tmp_path / "state", licence_policy=str(policy)) as stage:
        refusal = await stage.refused()
        await stage.publish(mit)
        shown = await stage.publisher.request(GET_PACKAGE, GetPackage(name="one"))
        await stage.until(lambda: len(stage.events) == 2)

    (reason,) = refusal.reasons
    assert (reason.path, reason.allowed) == ("manifest.licence", ["MIT"])
    assert "policy strict" in reason.rule
    verdict = shown.package.licences
    assert verdict is not None
    assert (verdict.policy, verdict.policy_version) == ("strict", "3.1.0")
    assert verdict.outcome == "passed"
    assert [
        (event.data.outcome, event.data.details["licences"]["outcome"]) for event in stage.events
    ] == [("refused", "refused"), ("accepted", "passed")]
