# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says into the audit log, and under which ids.

Pure.  An id is a digest of node, hook point, desired generation, command, the chain's own
generation and the action: whoever journals the same step again, after whatever crash, gets the
same id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from services.node_executor.generations import Generation, Point, plan_digest
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.events import Actor, EventBody, Outcome
from shared.contracts.node import Cause, DesiredChain, DesiredProgram, NodeRecord, ObservedChain
from shared.errors import Reason, Refusal
from shared.identifiers import Digest

ChainAction = Literal[
    "chain.request",
    "chain.attach",
    "chain.configure",
    "chain.detach",
    "chain.change",
    "chain.adopt",
    "chain.drift",
]
MAX_REASONS: Final = 32
MAX_TEXT_CHARACTERS: Final = 512
MAX_MESSAGE_CHARACTERS: Final = 4096

_OUTCOMES: dict[ChainAction, Outcome] = {
    "chain.request": "accepted",
    "chain.attach": "succeeded",
    "chain.configure": "succeeded",
    "chain.detach": "succeeded",
    "chain.change": "failed",
    "chain.adopt": "observed",
    "chain.drift": "observed",
}


def change_event_id(
    node: str, point: Point, action: str, *, desired_generation: int, number: int, command_id: str
) -> Digest:
    """The id of one step of one change; `command_id` is what led to it."""
    place = f"{node}|{point.interface}/{point.hook}"
    return sha256_hex(f"{place}|{desired_generation}|{command_id}|{number}|{action}".encode())


def bounded(refusal: Refusal) -> Refusal:
    """The refusal, cut so that it fits events and records whatever was refused."""
    reasons = tuple(
        Reason(
            path=reason.path[:MAX_TEXT_CHARACTERS],
            rule=reason.rule[:MAX_TEXT_CHARACTERS],
            got=_short(reason.got),
            allowed=_short(reason.allowed),
        )
        for reason in refusal.reasons[:MAX_REASONS]
    )
    message = refusal.message[:MAX_MESSAGE_CHARACTERS]
    return Refusal(code=refusal.code, message=message, reasons=reasons)


def sight_event_id(node: str, place: str, action: str, *, occasion: str) -> Digest:
    """The id of something that was seen, once on each occasion."""
    return sha256_hex(f"{node}|{place}|{occasion}|{action}".encode())


def chain_body(
    action: ChainAction,
    *,
    node: str,
    point: Point,
    cause: Cause | None,
    before: Generation | None = None,
    after: DesiredChain | None = None,
    refusal: Refusal | None = None,
    details: Mapping[str, Any] | None = None,
) -> EventBody:
    """What happened to a chain.

    `deployment`, `package` and `version` are set when the change concerns exactly one deployment;
    `details.programs` always lists the whole chain.
    """
    ran = before.chain if before else None
    concerned = _concerned(ran, after)
    shown = after or ran
    return EventBody(
        action=action,
        outcome=_OUTCOMES[action],
        correlation=cause.command_id if cause else "",
        actor=_actor(cause),
        node=node,
        interface=point.interface,
        hook=point.hook,
        deployment=concerned.deployment if concerned else "",
        package=concerned.package if concerned else "",
        version=concerned.version if concerned else "",
        reasons=refusal.reasons if refusal else (),
        before=before.plan_sha256 if before else "",
        after=plan_digest(after) if after and after.programs else "",
        details={
            **(details or {}),
            **({"code": refusal.code, "message": refusal.message} if refusal else {}),
            "programs": [_program_line(program) for program in shown.programs] if shown else [],
        },
    )


def kernel_details(chain: ObservedChain) -> dict[str, Any]:
    """What was read back from the kernel."""
    return {
        "generation": chain.generation,
        "desired_generation": chain.desired_generation,
        "program_id": chain.program_id,
        "program_tag": chain.program_tag,
        "link_id": chain.link_id,
        "xdp_mode": chain.xdp_mode,
        "gpl_compatible": chain.gpl_compatible,
        "verified_instructions": chain.verified_instructions,
        "jited_bytes": chain.jited_bytes,
        "map_ids": list(chain.map_ids),
        "config_sha256": chain.config_sha256,
    }


def registration_body(record: NodeRecord) -> EventBody:
    """The node's inventory is new or changed."""
    return EventBody(
        action="node.register",
        outcome="succeeded",
        node=record.node,
        details={
            "kernel": record.kernel,
            "architecture": record.architecture,
            "executor_version": record.executor_version,
            "labels": record.labels,
            "features": record.features,
            "interfaces": [interface.name for interface in record.interfaces],
        },
    )


def _short(value: Any) -> Any:
    encoded = canonical_bytes(value)
    if len(encoded) <= MAX_TEXT_CHARACTERS:
        return value
    return encoded[:MAX_TEXT_CHARACTERS].decode(errors="ignore") + "…"


def _actor(cause: Cause | None) -> Actor | None:
    """Who gave the command, as the scheduler, which alone writes desired records, attested it."""
    if cause is None or not cause.actor_key:
        return None
    return Actor(key=cause.actor_key, role=cause.actor_role, attested=True)


def _concerned(before: DesiredChain | None, after: DesiredChain | None) -> DesiredProgram | None:
    olds = {program.deployment: program for program in (before.programs if before else ())}
    news = {program.deployment: program for program in (after.programs if after else ())}
    differing = [
        news.get(name) or olds[name]
        for name in sorted({*olds, *news})
        if olds.get(name) != news.get(name)
    ]
    return differing[0] if len(differing) == 1 else None


def _program_line(program: DesiredProgram) -> dict[str, Any]:
    return {
        "deployment": program.deployment,
        "revision": program.revision,
        "package": program.package,
        "version": program.version,
        "archive_sha256": program.signed.archive_sha256,
    }
