# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a version's verification: events for the audit log, and the matrix for people.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import msgspec

from services.catalog.release_gate import Asked, Standing, Verifier
from services.catalog.remarks import remarks
from services.catalog.resolution import chosen_version
from services.catalog.version_entries import with_state
from shared.contracts.catalog import PackageVersion
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.contracts.release_gate import NodeVerdict
from shared.contracts.verification import (
    MatrixNode,
    ProgramVerified,
    VerificationMatrix,
    VerificationReport,
)
from shared.dsse import manifest_digest
from shared.errors import Reason, RefusedError

VERIFY: Final = "package.verify"
RELEASE: Final = "package.release"
MAX_RESULTS_BYTES: Final = 384 * 1024
"""What the results of all nodes take together in one reply."""


class NobodyVerifiesError(RefusedError):
    """No node is labelled to verify packages."""

    code: ClassVar[ErrorCode] = "no_eligible_node"


def version_of(record: PackageRecord | None, *, name: str, version: str) -> VersionEntry:
    """The version that is meant; of none the one that was published last.

    Raises:
        UnknownPackageError: It is not published.
    """
    if record is not None and record.versions and not version:
        return record.versions[-1]
    return chosen_version(record, name=name, version=version)


def replaced(record: PackageRecord, version: PackageVersion, *, command_id: str) -> PackageRecord:
    """The record with this one version as it is now."""
    versions = tuple(
        with_state(one, version) if one.version == version.version else one
        for one in record.versions
    )
    return msgspec.structs.replace(record, versions=versions, command_id=command_id)


def with_gate(event: EventBody, version: PackageVersion) -> EventBody:
    """The event of a publication that waits: `details.awaits`, channel to kernels demanded."""
    if not (awaits := awaited(version)):
        return event
    return msgspec.structs.replace(event, details={**event.details, "awaits": awaits})


def awaited(version: PackageVersion) -> dict[str, int]:
    """Channels that the version is not released to yet, and how many kernels each demands."""
    gate = version.gate
    return {channel: gate.kernels[channel] for channel in gate.awaits} if gate else {}


def check_verifiers(verifiers: Mapping[str, Verifier]) -> None:
    """There is somebody to ask.

    Raises:
        NobodyVerifiesError: There is not.
    """
    if not verifiers:
        rule = "no node that it is for carries the label: l3af node label NODE verifier=true"
        raise NobodyVerifiesError(
            "no node verifies packages here", [Reason(path="verifier", rule=rule)]
        )


def order_event(version: PackageVersion, verifiers: Mapping[str, Verifier]) -> EventBody:
    """Somebody asked for a version to be verified; `details`: nodes, manifest_sha256."""
    digest = manifest_digest(version.signed)
    return EventBody(
        action=VERIFY,
        outcome="accepted",
        package=version.manifest.name,
        version=version.version,
        after=digest,
        details={"nodes": list(verifiers), "manifest_sha256": digest, **remarks(version)},
    )


def verdict_event(version: PackageVersion, verdict: NodeVerdict) -> EventBody:
    """A node reported; `details`: kernel, machine, manifest_sha256."""
    has_passed = verdict.outcome == "passed"
    return EventBody(
        action=VERIFY,
        outcome="succeeded" if has_passed else "failed",
        correlation=version.gate.order if version.gate else "",
        node=verdict.node,
        package=version.manifest.name,
        version=version.version,
        reasons=() if has_passed else (Reason(path=verdict.node, rule=verdict.why),),
        before=manifest_digest(version.signed),
        after=manifest_digest(version.signed),
        details={
            "kernel": verdict.kernel,
            "machine": verdict.machine,
            "manifest_sha256": manifest_digest(version.signed),
            **remarks(version),
        },
    )


def release_event(version: PackageVersion, standing: Standing) -> EventBody:
    """A version entered channels; `details`: channels, kernels, nodes, manifest_sha256."""
    return EventBody(
        action=RELEASE,
        outcome="succeeded",
        correlation=version.gate.order if version.gate else "",
        package=version.manifest.name,
        version=version.version,
        before=manifest_digest(version.signed),
        after=manifest_digest(version.signed),
        details={
            "channels": list(standing.releases),
            "kernels": list(standing.kernels),
            "nodes": [one.node for one in standing.verdicts if one.outcome == "passed"],
            "manifest_sha256": manifest_digest(version.signed),
            **remarks(version),
        },
    )


def settlement_events(version: PackageVersion, standing: Standing) -> Iterator[EventBody]:
    """What is new, in the order in which it happened."""
    for verdict in standing.fresh:
        yield verdict_event(version, verdict)
    if standing.releases:
        yield release_event(version, standing)


def matrix(
    version: PackageVersion,
    standing: Standing,
    *,
    verifiers: Mapping[str, Verifier],
    reports: Mapping[str, VerificationReport],
    asked: Mapping[str, Asked],
) -> VerificationMatrix:
    """Kernels and programs of one version; results that have no room are counted.

    Args:
        version: As it is published.
        standing: Its own.
        verifiers: Nodes that may be asked.
        reports: By node, the newest about this version.
        asked: By node.
    """
    verdicts = {one.node: one for one in standing.verdicts}
    nodes = []
    left_bytes = MAX_RESULTS_BYTES
    for node, state in sorted(standing.nodes.items()):
        verdict, report = verdicts.get(node), reports.get(node)
        is_known = verdict is not None and report is not None
        results = report.results if is_known and report is not None else ()
        kept, left_bytes = _fitting(results, left_bytes)
        verifier = verifiers.get(node)
        kernel, machine = (verifier.kernel, verifier.machine) if verifier else ("", "")
        if verdict is not None:
            kernel, machine = verdict.kernel, verdict.machine
        nodes.append(
            MatrixNode(
                node=node,
                kernel=kernel,
                machine=machine,
                state=state,
                at=verdict.at if verdict else "",
                why=verdict.why if verdict else asked[node].why if node in asked else "",
                results=kept,
                left_out=len(results) - len(kept),
            )
        )
    return VerificationMatrix(
        name=version.manifest.name,
        version=version.version,
        state=standing.state,
        channels=version.channels,
        gate=version.gate,
        kernels=standing.kernels,
        waits_for=standing.waits_for,
        is_open=standing.is_open,
        nodes=tuple(nodes),
    )


def _fitting(
    results: tuple[ProgramVerified, ...], left_bytes: int
) -> tuple[tuple[ProgramVerified, ...], int]:
    """The first results that have room, and the room that is left."""
    for number, result in enumerate(results):
        size_bytes = len(msgspec.json.encode(result)) + 1
        if size_bytes > left_bytes:
            return results[:number], 0
        left_bytes -= size_bytes
    return results, left_bytes
