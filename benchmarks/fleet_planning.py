# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long the scheduler plans over ten thousand nodes of several kernels with twenty deployments.

Nothing but Python in one process: no bus, no kernel, no staging.  Two of three nodes lack a helper
that half of the deployments need.

view     the inventories become what placement looks at
plan     one more deployment: placed, chains of the nodes it reaches derived, plan described
start    the records of all nodes from all deployments, as when a scheduler starts
label    one node is another: the records of all nodes, of what was derived before
report   what runs where it could not be put now, of all nodes
waves    the next revision of one of the deployments, which comes in waves: as plan
release  one node of it gets the revision, of a record that was read anew: as label
cross    one more deployment while that rollout goes on: as plan
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Final

import msgspec

from benchmarks.report import Row, report
from services.scheduler.acceptance import draft_application
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import view_node
from services.scheduler.unfit import stays
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.catalog import DsseEnvelope, DsseSignature, PackageVersion, SignedPackage
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.events import Actor
from shared.contracts.interfaces import Interface
from shared.contracts.node import NodeRecord
from shared.contracts.package_facts import ElfFacts, ProgramFacts, ProgramRequirements
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.contracts.rollouts import RolloutSpec

NODES: Final = 10_000
DEPLOYMENTS: Final = 20
ROUNDS: Final = 5
TARGET_MS: Final = 1000.0
LABEL_TARGET_MS: Final = 5.0
AT_ONCE: Final = RolloutSpec()
WAVES: Final = RolloutSpec(strategy="canary", waves=("10%", "50%"))
KERNELS: Final = {"5.4.0": "1-130", "5.15.0": "1-180", "6.12.0": "1-211"}


def main() -> None:
    """Measure and print."""
    nodes = [a_node(number) for number in range(NODES)]
    view_ms = _median_ms(lambda: {one.node: view_node(one, None) for one in nodes})
    fleet = Fleet({}, {one.node: view_node(one, None) for one in nodes}, {})
    for number in range(DEPLOYMENTS):
        fleet = deployed(fleet, number)
    everywhere, some = DEPLOYMENTS, DEPLOYMENTS + 1
    excluded = len(_draft(fleet, some).excluded)
    fresh = replace(fleet, known=None)
    moved = [_relabelled(fleet, number) for number in range(ROUNDS)]
    after = iter(moved)
    what = f"plan, {NODES} nodes, {DEPLOYMENTS} deployments"
    report(
        "fleet_planning",
        [
            Row(f"view, {NODES} nodes", view_ms, "ms"),
            Row(
                f"{what}, {excluded} nodes excluded",
                _median_ms(lambda: _draft(fleet, some)),
                "ms",
                TARGET_MS,
            ),
            Row(
                f"{what}, none excluded",
                _median_ms(lambda: _draft(fleet, everywhere)),
                "ms",
                TARGET_MS,
            ),
            Row("start", _median_ms(lambda: derive_desired(fresh)), "ms", TARGET_MS),
            Row("label", _median_ms(lambda: derive_desired(next(after))), "ms", LABEL_TARGET_MS),
            Row("report", _median_ms(lambda: list(stays(fleet))), "ms"),
            *_rollout_rows(fleet, everywhere),
        ],
    )


def _rollout_rows(fleet: Fleet, further: int) -> list[Row]:
    """What a rollout of the first deployment costs, and what it costs the `further` one."""
    waves_ms = _median_ms(lambda: _draft(fleet, 0, WAVES))
    fleet = deployed(fleet, 0, WAVES)
    record = fleet.deployments["deployment-0"]
    if record.rollout is None:
        raise AssertionError("unreachable: it comes in waves")
    rollout = msgspec.structs.replace(record.rollout, phase="rolling-out", released=1)
    data = msgspec.json.encode(msgspec.structs.replace(record, rollout=rollout))
    released = fleet.with_deployment(msgspec.json.decode(data, type=DeploymentRecord))
    return [
        Row("waves", waves_ms, "ms", TARGET_MS),
        Row("release", _median_ms(lambda: derive_desired(released)), "ms"),
        Row("cross", _median_ms(lambda: _draft(fleet, further)), "ms", TARGET_MS),
    ]


def _relabelled(fleet: Fleet, number: int) -> Fleet:
    """The fleet with another label on one node."""
    name = f"node-{number:05d}"
    node = replace(fleet.nodes[name], labels={"role": "edge"})
    return replace(fleet, nodes={**fleet.nodes, name: node})


def _median_ms(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(ROUNDS):
        started = perf_counter_ns()
        work()
        spent.append((perf_counter_ns() - started) / 1e6)
    return statistics.median(spent)


def a_node(number: int) -> NodeRecord:
    """One of a fleet with several kernels."""
    release, helpers = list(KERNELS.items())[number % len(KERNELS)]
    return NodeRecord(
        node=f"node-{number:05d}",
        hostname="host",
        architecture="x86_64",
        kernel=release,
        executor_version="0",
        boot_id="boot",
        interfaces=(Interface(name="eth0", index=2, driver="ice", xdp_features=("basic",)),),
        features={"xdp": True, "tcx": True, "cls_bpf": True},
        capabilities=Capabilities(
            kernel_build=release,
            has_types=True,
            program_types=(ProgramTypeSupport(name="xdp", helpers=helpers),),
            gpl_only_helpers="25,69",
            kernel_functions=tuple(f"bpf_function_{one}" for one in range(200)),
            kernel_functions_are_known=True,
        ),
    )


def deployed(fleet: Fleet, number: int, rollout: RolloutSpec = AT_ONCE) -> Fleet:
    """The deployment is accepted, and every node told."""
    accepted = fleet.with_deployment(_draft(fleet, number, rollout).record)
    derived = derive_desired(accepted)
    return replace(accepted, desired=derived.desired, known=derived.known)


def _draft(fleet: Fleet, number: int, rollout: RolloutSpec = AT_ONCE) -> Any:
    spec = DeploymentSpec(
        name=f"deployment-{number}",
        package="one",
        hook="xdp",
        interfaces=("eth*",),
        order=number,
        rollout=rollout,
    )
    actor = Actor(key="U", role="operator", attested=True)
    facts = CommandFacts(f"command-{number:04d}", actor, "2026-01-01T00:00:00.000000Z")
    return draft_application(fleet, spec, _package(needs_loop=bool(number % 2)), facts)


def _package(*, needs_loop: bool) -> PackageVersion:
    envelope = DsseEnvelope(
        payloadType="application/json",
        payload="0" * 2000,
        signatures=(DsseSignature(keyid="", sig=""),),
    )
    helpers = (1, 44, 181) if needs_loop else (1, 44)
    program = ProgramFacts(
        function="one",
        section="xdp",
        instructions=100,
        helpers=helpers,
        requires=ProgramRequirements(helpers=helpers, map_types=("hash",), licence="GPL"),
    )
    return PackageVersion(
        version="1.0.0",
        signed=SignedPackage(manifest=envelope, certificate=envelope, archive_sha256="0" * 64),
        manifest=PackageManifest(
            name="one",
            version="1.0.0",
            summary="one",
            licence="GPL-2.0-only",
            programs=(ProgramEntry(name="one", object="one.o", function="one", hooks=("xdp",)),),
        ),
        elf=(
            ElfFacts(
                path="one.o",
                licence="GPL",
                has_btf=True,
                needs_kernel_btf=False,
                programs=(program,),
                maps=(),
            ),
        ),
        published_at="2026-01-01T00:00:00.000000Z",
        published_by="U",
    )


if __name__ == "__main__":
    main()
