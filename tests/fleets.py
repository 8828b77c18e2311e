# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Builders of fleets for the scheduler's tests: only what a test is about need be named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.audiences import Audiences
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from shared.canonical import canonical_digest
from shared.contracts.catalog import DsseEnvelope, DsseSignature, PackageVersion, SignedPackage
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredNode
from shared.contracts.events import Actor
from shared.contracts.interfaces import Interface
from shared.contracts.node import (
    REDACTION,
    NodeRecord,
    ObservedChain,
    ObservedNode,
    ObservedProgram,
)
from shared.contracts.package_facts import ElfFacts, MapFacts, ProgramFacts
from shared.contracts.package_manifest import (
    MapEntry,
    MetricEntry,
    Needs,
    PackageManifest,
    ProgramEntry,
)
from shared.contracts.selectors import NodeShare
from shared.errors import Refusal

OBJECT = "program.bpf.o"
ENVELOPE = DsseEnvelope(
    payloadType="application/json",
    payload="e30=",
    signatures=(DsseSignature(keyid="k", sig="c2ln"),),
)


def a_spec(name: str = "edge", **fields: Any) -> DeploymentSpec:
    """A deployment of `rate-limit` on eth0/xdp of every node."""
    selector = NodeShare(
        labels=fields.pop("labels", {}),
        names=tuple(fields.pop("names", ("*",))),
        rules=fields.pop("rules", ()),
        percent=fields.pop("percent", None),
        count=fields.pop("count", None),
        spread=fields.pop("spread", None),
    )
    defaults: dict[str, Any] = {
        "package": "rate-limit",
        "hook": "xdp",
        "interfaces": ("eth0",),
        "nodes": selector,
    }
    return DeploymentSpec(name=name, **{**defaults, **fields})


def a_package(
    name: str = "rate-limit",
    version: str = "1.0.0",
    *,
    programs: Sequence[ProgramEntry] | None = None,
    maps: dict[str, MapEntry] | None = None,
    metrics: dict[str, MetricEntry] | None = None,
    needs: Needs = Needs(),  # noqa: B008 because it never changes
) -> PackageVersion:
    """A published version with one XDP program, one map to configure and one counter."""
    manifest = PackageManifest(
        name=name,
        version=version,
        summary="for tests",
        licence="GPL-2.0-only",
        needs=needs,
        programs=tuple(programs or [a_program()]),
        maps={"limits": MapEntry(key="TCP port", key_minimum=1, key_maximum=65535)}
        if maps is None
        else maps,
        metrics={"dropped": MetricEntry(map="drops")} if metrics is None else metrics,
    )
    facts = tuple(
        MapFacts(name=one, type="hash", key_size_bytes=4, value_size_bytes=8, max_entries=16)
        for one in ("limits", "drops")
    )
    return PackageVersion(
        version=version,
        signed=SignedPackage(
            manifest=ENVELOPE,
            certificate=ENVELOPE,
            archive_sha256=canonical_digest([name, version]),
        ),
        manifest=manifest,
        elf=(
            ElfFacts(
                path=OBJECT,
                licence="GPL",
                has_btf=True,
                needs_kernel_btf=False,
                programs=(),
                maps=facts,
            ),
        ),
        published_at="2026-01-01T00:00:00.000000Z",
        published_by="U",
    )


def counted(package: PackageVersion, instructions: int) -> PackageVersion:
    """The version, of whose program it is known how large it is."""
    (facts,) = package.elf
    (program,) = package.manifest.programs
    found = ProgramFacts(
        function=program.function, section="xdp", instructions=instructions, helpers=()
    )
    return msgspec.structs.replace(
        package, elf=(msgspec.structs.replace(facts, programs=(found,)),)
    )


def a_program(name: str = "limiter", **fields: Any) -> ProgramEntry:
    """An XDP program."""
    defaults: dict[str, Any] = {
        "object": OBJECT,
        "function": name.replace("-", "_"),
        "hooks": ("xdp",),
    }
    return ProgramEntry(name=name, **{**defaults, **fields})


def a_node(name: str = "n1", *interfaces: str, **labels: str) -> NodeView:
    """A node with these interfaces, or eth0, and these labels."""
    return NodeView(
        name=name,
        labels=labels,
        interfaces=interfaces or ("eth0",),
        features={REDACTION: True},
    )


def a_node_record(name: str = "n1", *interfaces: str, **labels: str) -> NodeRecord:
    """The inventory that a node writes."""
    return NodeRecord(
        node=name,
        hostname=name,
        architecture="x86_64",
        kernel="6.12.0",
        executor_version="0",
        boot_id="b",
        labels=labels,
        interfaces=tuple(
            Interface(name=one, index=index)
            for index, one in enumerate(interfaces or ("eth0",), start=1)
        ),
        features={"xdp": True, "tcx": True, REDACTION: True},
    )


def a_command(number: int = 1, **fields: Any) -> CommandFacts:
    """The `number`th command, given one second after the one before."""
    defaults: dict[str, Any] = {
        "command_id": f"command-{number:04d}",
        "actor": Actor(key="UACTOR", role="operator", attested=True),
        "at": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000000Z",
    }
    return CommandFacts(**{**defaults, **fields})


def a_fleet(*nodes: NodeView) -> Fleet:
    """Nodes, or n1, that run nothing."""
    return Fleet(
        deployments={}, nodes={node.name: node for node in nodes or (a_node(),)}, desired={}
    )


def applied(fleet: Fleet, spec: DeploymentSpec, *, version: str = "1.0.0", at: int = 1) -> Fleet:
    """The fleet once `spec` was accepted and every node told."""
    draft = draft_application(fleet, spec, a_package(spec.package, version), a_command(at))
    return told(fleet.with_deployment(draft.record))


def removed(fleet: Fleet, name: str, *, at: int) -> Fleet:
    """The fleet once the deployment was removed and every node told."""
    return told(fleet.with_deployment(draft_removal(fleet, name, a_command(at)).record))


def reaching(fleet: Fleet, name: str = "edge", **state: Any) -> Fleet:
    """The fleet once the deployment's rollout came so far and every node was told."""
    record = fleet.deployments[name]
    if record.rollout is None:
        raise ValueError(f"{name} has no rollout")
    rollout = msgspec.structs.replace(record.rollout, **{"phase": "rolling-out", **state})
    return told(fleet.with_deployment(msgspec.structs.replace(record, rollout=rollout)))


def told(fleet: Fleet) -> Fleet:
    """The fleet once every node was told what follows from the deployments."""
    return replace(fleet, desired=derive_desired(fleet).desired)


def observing(desired: DesiredNode, *, refusal: Refusal | None = None) -> ObservedNode:
    """A node that runs exactly what it is told, or refused all of it."""
    return ObservedNode(
        node=desired.node,
        desired_generation=desired.generation,
        at="2026-01-01T00:00:00.000000Z",
        chains=tuple(
            ObservedChain(
                interface=chain.interface,
                hook=chain.hook,
                netns=chain.netns,
                state="failed" if refusal else "attached" if chain.programs else "absent",
                generation=1,
                desired_generation=desired.generation,
                program_id=7,
                program_tag="0123456789abcdef",
                refusal=refusal,
                programs=()
                if refusal
                else tuple(
                    ObservedProgram(
                        deployment=program.deployment,
                        revision=program.revision,
                        package=program.package,
                        version=program.version,
                        archive_sha256=program.signed.archive_sha256,
                        program=program.program,
                        order=program.order,
                    )
                    for program in chain.programs
                ),
            )
            for chain in desired.chains
        ),
    )


def seen_by(fleet: Fleet, **members: Iterable[str]) -> Fleet:
    """The fleet with these spaces, none of them open; each has these members."""
    names = {space: tuple(sorted(those)) for space, those in members.items()}
    return replace(fleet, audiences=Audiences(members=names))


def opened(fleet: Fleet, *spaces: str) -> Fleet:
    """The fleet once everybody sees what is in these spaces."""
    before = fleet.audiences
    members = {space: those for space, those in before.members.items() if space not in spaces}
    return replace(fleet, audiences=Audiences(before.opened | set(spaces), members))


def all_observing(fleet: Fleet) -> dict[str, ObservedNode]:
    """Every node runs exactly what it is told."""
    return {name: observing(desired) for name, desired in fleet.desired.items()}


def orders(fleet: Fleet, node: str = "n1") -> dict[str, list[str]]:
    """Hook point to deployments, first program first, of one node."""
    return {
        f"{chain.interface}/{chain.hook}": [one.deployment for one in chain.programs]
        for chain in fleet.desired[node].chains
    }


def rules(reasons: Iterable[Any]) -> dict[str, str]:
    """Path to rule of every reason."""
    return {reason.path: reason.rule for reason in reasons}
