# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which companions a node runs, and with what."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.companion_set import (
    CompanionPlace,
    parse_place,
    told_to,
    wanted_companions,
)
from services.node_executor.generations import ChainMemory, Point
from services.node_executor.held_maps import HeldMap
from shared.canonical import sha256_hex
from shared.companion_specs import spec_digest
from shared.contracts.package_manifest import CompanionLimits
from shared.dsse import signed_manifest
from shared.identifiers import NETWORK_HOOKS, Hook
from tests.package_builders import a_manifest
from tests.support.companions import (
    BOOT,
    ENTRY,
    EXECUTABLE,
    NODE,
    PACKED,
    a_companion_manifest,
    a_companion_memory,
    a_companion_program,
    wanted_by,
)


def test_there_is_one_companion_for_each_hook_point_and_deployment() -> None:
    """Two interfaces and two deployments on one of them: three."""
    wanted = wanted_by(
        a_companion_memory(a_companion_program(), a_companion_program("other", order=20)),
        a_companion_memory(a_companion_program(), interface="eth1"),
    )

    assert list(wanted) == [
        "eth0/xdp/edge/exporter",
        "eth0/xdp/other/exporter",
        "eth1/xdp/edge/exporter",
    ]


def test_what_a_companion_may_do_is_the_signed_manifests_alone() -> None:
    """User, capabilities, limits and commands; the deployment gives values of arguments."""
    entry = msgspec.structs.replace(
        ENTRY,
        start=("run",),
        stop=("drain",),
        user="nobody",
        capabilities=("CAP_BPF",),
        limits=CompanionLimits(memory_mib=8),
        restart="always",
    )
    program = a_companion_program(
        manifest=a_companion_manifest(entry=entry), arguments={"port": 9200}
    )

    (one,) = wanted_by(a_companion_memory(program)).values()

    spec, digest = one.spec, sha256_hex(EXECUTABLE)
    assert spec.start.arguments == ("run", "--port=9200")
    assert spec.stop is not None
    assert spec.stop.arguments == ("drain", "--port=9200")
    assert spec.update is not None
    assert spec.update.arguments == ("update", "--port=9200")
    assert (spec.start.sha256, spec.start.path) == (digest, f"/state/companions/{digest}")
    assert (spec.user, spec.capabilities, spec.limits.memory_mib) == ("nobody", ("CAP_BPF",), 8)
    assert (spec.restart, spec.readiness) == ("always", entry.readiness)
    assert spec.environment == {
        "L3AF_NODE": "n1",
        "L3AF_DEPLOYMENT": "edge",
        "L3AF_INTERFACE": "eth0",
        "L3AF_HOOK": "xdp",
    }


def test_a_companion_sees_the_maps_of_its_own_instance_that_outlive_the_program() -> None:
    """Neither a neighbour's nor the chain's own, neither constants nor global data."""
    maps = [
        HeldMap(deployment="edge", name="limits", map_id=7),
        HeldMap(deployment="edge", name="drops", map_id=8),
        HeldMap(deployment="edge", name=".rodata", map_id=9, is_pinned=False),
        HeldMap(deployment="edge", name=".bss", map_id=10),
        HeldMap(deployment="other", name="limits", map_id=11),
        HeldMap(deployment="", name="l3af_slots", map_id=12),
    ]

    (one,) = wanted_by(a_companion_memory(a_companion_program(), maps=maps)).values()

    assert one.spec.maps == {"drops": 8, "limits": 7}


def test_a_chain_of_an_earlier_boot_has_no_companions() -> None:
    """The ids of its maps mean others by now."""
    memory = a_companion_memory(a_companion_program(), boot_id="earlier-boot")

    assert wanted_by(memory) == {}


def test_what_is_only_desired_or_was_taken_off_has_no_companions() -> None:
    """Nothing runs there that it could work with."""
    assert wanted_by(ChainMemory(interface="eth0", hook="xdp", boot_id=BOOT)) == {}


def test_a_platform_without_an_executable_has_no_companion() -> None:
    """The node refuses such a chain before; here nothing is made up."""
    other = type(NODE)("n1", "linux-riscv64", NODE.folder)
    memory = a_companion_memory(a_companion_program())

    assert wanted_companions(other, [memory], manifest_of=signed_manifest, boot_id=BOOT) == {}


def test_another_revision_with_the_same_arguments_is_the_same_companion() -> None:
    """Its process goes on; another version with the same executable, too."""
    before = wanted_by(a_companion_memory(a_companion_program()))
    newer = a_companion_manifest(version="2.0.0")
    after = wanted_by(
        a_companion_memory(a_companion_program(revision=2, version="2.0.0", manifest=newer))
    )

    (old,), (new,) = before.values(), after.values()
    assert old.spec == new.spec
    assert (old.revision, new.revision) == (1, 2)


@pytest.mark.parametrize("change", ["arguments", "executable", "maps"])
def test_other_arguments_executables_or_maps_are_another_wish(change: str) -> None:
    """So the supervisor updates or replaces what runs."""
    before = wanted_by(a_companion_memory(a_companion_program()))
    program = a_companion_program()
    maps = None
    if change == "arguments":
        program = a_companion_program(arguments={"port": 9200})
    elif change == "executable":
        files = {**PACKED, "bin/exporter": EXECUTABLE + b"# newer\n"}
        program = a_companion_program(
            files=files, manifest=a_companion_manifest(files=files, version="2.0.0")
        )
    else:
        maps = [HeldMap(deployment="edge", name="limits", map_id=501)]
    after = wanted_by(a_companion_memory(program, maps=maps))

    (old,), (new,) = before.values(), after.values()
    assert spec_digest(old.spec) != spec_digest(new.spec)


def test_what_becomes_of_a_companion_is_told_to_its_chains_audience() -> None:
    """Of one that nobody wants any more, to those of its space."""
    wanted = wanted_by(
        a_companion_memory(
            a_companion_program(), a_companion_program("p_acme.fix", order=5), audience="p_acme"
        )
    )
    point = Point("eth0", "xdp")

    assert told_to(CompanionPlace(point, "edge", "exporter"), wanted) == "p_acme"
    assert told_to(CompanionPlace(point, "p_acme.fix", "exporter"), wanted) == "p_acme"
    assert told_to(CompanionPlace(point, "p_acme.fix", "exporter"), {}) == "p_acme"
    assert told_to(CompanionPlace(point, "edge", "exporter"), {}) == "public"


@given(
    interface=st.from_regex(r"\A[A-Za-z0-9@_:-]{1,15}\Z"),
    netns=st.sampled_from(["", "blue", "a.b"]),
    hook=st.sampled_from(NETWORK_HOOKS),
    deployment=st.sampled_from(["edge", "p_acme.edge"]),
)
def test_an_id_names_exactly_one_place(
    interface: str, netns: str, hook: Hook, deployment: str
) -> None:
    """So what the supervisor says is known to be of which deployment."""
    place = CompanionPlace(Point(interface, hook, netns), deployment, "exporter")

    assert parse_place(str(place)) == place


@pytest.mark.parametrize("text", ["", "exporter", "edge/exporter", "eth0/nothing/edge/exporter"])
def test_what_is_no_id_of_ours_is_no_place(text: str) -> None:
    """Nothing is said of it."""
    assert parse_place(text) is None


def test_a_chain_without_companions_wants_none() -> None:
    """A manifest that has none is the usual case."""
    program = a_companion_program(manifest=a_manifest(), companions={})

    assert wanted_by(a_companion_memory(program)) == {}
