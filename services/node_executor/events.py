# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says into the audit log, and under which ids.

Pure.  An id is a digest of node, hook point, desired generation, command, the chain's own
generation and the action: whoever journals the same step again, after whatever crash, gets the
same id.  Every body fits into an event of the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.node_executor.generations import Generation, Point, plan_digest
from shared.canonical import canonical_bytes, canonical_digest, sha256_hex
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.events import Actor, EventBody, Outcome
from shared.contracts.inventory import RunningProgram
from shared.contracts.node import NodeRecord, ObservedChain
from shared.contracts.node_actions import ChainAction
from shared.contracts.trust import TrustDocument
from shared.errors import Reason, Refusal
from shared.event_size import fit_event_body
from shared.identifiers import Digest
from shared.trust.documents import document_digest
from shared.trust.receipts import unverified

MAX_REFUSAL_BYTES: Final = 4096
"""A refusal in the observed record, in JSON: those of 64 hook points take half of the record."""
MAX_REASONS: Final = 32
MAX_MESSAGE_BYTES: Final = 1024
MAX_TEXT_BYTES: Final = 512
"""Of each part of a reason, so that the first reason always fits."""
MAX_EVENT_MESSAGE_BYTES: Final = 8192
"""A message that the rest of an event has room beside."""

_OUTCOMES: dict[ChainAction, Outcome] = {
    "chain.request": "accepted",
    "chain.attach": "succeeded",
    "chain.configure": "succeeded",
    "chain.detach": "succeeded",
    "chain.change": "failed",
    "chain.adopt": "observed",
    "chain.drift": "observed",
    "chain.orphan": "observed",
}


def change_event_id(
    node: str, point: Point, action: str, *, desired_generation: int, number: int, command_id: str
) -> Digest:
    """The id of one step of one change; `command_id` is what led to it."""
    place = f"{node}|{point}"
    return sha256_hex(f"{place}|{desired_generation}|{command_id}|{number}|{action}".encode())


def bounded(refusal: Refusal) -> Refusal:
    """The refusal, or as much of it as MAX_REFUSAL_BYTES hold: the first reasons, cut texts."""
    message = _cut(refusal.message, MAX_MESSAGE_BYTES)
    bare = Refusal(code=refusal.code, message=message)
    left_bytes = MAX_REFUSAL_BYTES - len(canonical_bytes(bare)) - len(',"reasons":[]')
    reasons: list[Reason] = []
    for reason in map(_short_reason, refusal.reasons[:MAX_REASONS]):
        left_bytes -= len(canonical_bytes(reason)) + 1
        if left_bytes < 0:
            break
        reasons.append(reason)
    return Refusal(code=refusal.code, message=message, reasons=tuple(reasons))


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
    `details.programs` lists the whole chain, if an event has room for it.
    """
    ran = before.chain if before else None
    concerned = _concerned(ran, after)
    shown = after or ran
    body = EventBody(
        action=action,
        outcome=_OUTCOMES[action],
        correlation=cause.command_id if cause else "",
        actor=_actor(cause, node=node),
        node=node,
        interface=point.interface,
        netns=point.netns,
        hook=point.hook,
        deployment=concerned.deployment if concerned else "",
        package=concerned.package if concerned else "",
        version=concerned.version if concerned else "",
        reasons=refusal.reasons if refusal else (),
        before=before.plan_sha256 if before else "",
        after=plan_digest(after) if after and after.programs else "",
        details={
            **(details or {}),
            **(_said(refusal) if refusal else {}),
            **_unverified(before, shown, details or {}),
            "programs": [_program_line(program) for program in shown.programs] if shown else [],
        },
    )
    return fit_event_body(body)


def kernel_details(chain: ObservedChain) -> dict[str, Any]:
    """What was read back from the kernel."""
    return {
        "running": [msgspec.to_builtins(one) for one in running_programs(chain)],
        "plan_sha256": chain.plan_sha256,
        **_licence(chain),
        "generation": chain.generation,
        "desired_generation": chain.desired_generation,
        "program_id": chain.program_id,
        "program_tag": chain.program_tag,
        "link_id": chain.link_id,
        "xdp_mode": chain.xdp_mode,
        "attachment": chain.attachment,
        "attachment_reason": chain.attachment_reason,
        **({"displaced": msgspec.to_builtins(chain.displaced)} if chain.displaced else {}),
        "gpl_compatible": chain.gpl_compatible,
        "verified_instructions": chain.verified_instructions,
        "jited_bytes": chain.jited_bytes,
        "map_ids": list(chain.map_ids),
        "config_sha256": chain.config_sha256,
        **_compilations(chain),
        **_remarks({one.deployment: one.unverified for one in chain.programs}),
    }


def running_programs(chain: ObservedChain) -> tuple[RunningProgram, ...]:
    """What runs on the hook, first to run first, and under which licences."""
    return tuple(
        RunningProgram(
            deployment=one.deployment,
            revision=one.revision,
            package=one.package,
            version=one.version,
            program=one.program,
            archive_sha256=one.archive_sha256,
            object_sha256=one.object_sha256,
            licence=one.licence,
        )
        for one in chain.programs
    )


def registration_body(record: NodeRecord) -> EventBody:
    """The node's inventory is new or changed."""
    body = EventBody(
        action="node.register",
        outcome="succeeded",
        node=record.node,
        details={
            "kernel": record.kernel,
            "architecture": record.architecture,
            "executor_version": record.executor_version,
            "offline_mode": record.offline_mode,
            "trust_mode": record.trust_mode,
            "labels": record.labels,
            "features": record.features,
            **({"feature_notes": record.feature_notes} if record.feature_notes else {}),
            "interfaces": [one.place for one in record.interfaces],
            "capabilities_sha256": canonical_digest(record.capabilities),
        },
    )
    return fit_event_body(body)


def _licence(chain: ObservedChain) -> dict[str, str]:
    """What was declared, if it is one expression for the whole chain."""
    declared = {one.licence.declared if one.licence else "" for one in chain.programs}
    (licence,) = declared if len(declared) == 1 else ("",)
    return {"licence": licence} if licence else {}


def _unverified(
    before: Generation | None, shown: DesiredChain | None, details: Mapping[str, Any]
) -> dict[str, Any]:
    """What trust mode `normal` let pass, of what is desired, of what ran and of what runs.

    Of what is desired the catalog says it, of the others this node found it.
    """
    remarks = {one.deployment: unverified(one.signed) for one in (shown.programs if shown else ())}
    remarks |= {
        one.deployment: one.unverified
        for one in (before.programs if before else ())
        if one.unverified
    }
    return _remarks(remarks | details.get("unverified", {}))


def _remarks(unverified: Mapping[str, str]) -> dict[str, Any]:
    """By deployment; nothing if there is nothing to say."""
    said = {deployment: remark for deployment, remark in unverified.items() if remark}
    return {"unverified": said} if said else {}


def _compilations(chain: ObservedChain) -> dict[str, Any]:
    """What this node compiled, by deployment; nothing if every archive held its object."""
    found = {
        program.deployment: msgspec.to_builtins(program.compilation)
        for program in chain.programs
        if program.compilation is not None
    }
    return {"compilations": found} if found else {}


def damaged_archive_body(*, node: str, sha256: str, found: str, size_bytes: int) -> EventBody:
    """A cached archive was not what its name says; it was removed, and is fetched again."""
    return EventBody(
        action="artifact.damage",
        outcome="observed",
        node=node,
        before=sha256,
        details={"archive_sha256": sha256, "found_sha256": found, "size_bytes": size_bytes},
    )


def rebuilt_body(
    *, node: str, problem: str, set_aside: str, hook_points: int, events: int
) -> EventBody:
    """The state file was damaged or gone; a new one took its place."""
    return EventBody(
        action="state.rebuild",
        outcome="observed",
        node=node,
        details={
            "problem": _cut(problem, MAX_TEXT_BYTES),
            "set_aside": set_aside,
            "salvaged_hook_points": hook_points,
            "salvaged_events": events,
        },
    )


def resumed_body(*, node: str, since: str, problem: str) -> EventBody:
    """For a time nothing could be journaled, and so nothing was changed."""
    return EventBody(
        action="journal.resume",
        outcome="observed",
        node=node,
        details={"since": since, "problem": _cut(problem, MAX_TEXT_BYTES)},
    )


def pins_restored_body(*, node: str, pins: int) -> EventBody:
    """The bpffs was unmounted by somebody; what was pinned there is pinned in a new one."""
    return EventBody(action="pins.restore", outcome="observed", node=node, details={"pins": pins})


def trust_learnt_body(
    *, node: str, before: TrustDocument | None, after: TrustDocument
) -> EventBody:
    """From now on signatures count here as this document says."""
    return EventBody(
        action="trust.learn",
        outcome="succeeded",
        node=node,
        before=document_digest(before) if before else "",
        after=document_digest(after),
        details={"namespace": after.namespace, "version": after.version},
    )


def trust_refused_body(*, node: str, sha256: str, refusal: Refusal) -> EventBody:
    """Somebody offered a trust document that this node does not take."""
    return fit_event_body(
        EventBody(
            action="trust.refuse",
            outcome="refused",
            node=node,
            reasons=refusal.reasons,
            details={"sha256": sha256, **_said(refusal)},
        )
    )


def mode_body(*, node: str, before: str, after: str) -> EventBody:
    """The executor was told another offline mode than before."""
    return EventBody(
        action="node.mode",
        outcome="succeeded",
        node=node,
        details={"offline_mode": after, "before": before},
    )


def _said(refusal: Refusal) -> dict[str, Any]:
    message = _cut(refusal.message, MAX_EVENT_MESSAGE_BYTES)
    return {"code": refusal.code, "message": message}


def _short_reason(reason: Reason) -> Reason:
    return Reason(
        path=_cut(reason.path, MAX_TEXT_BYTES),
        rule=_cut(reason.rule, MAX_TEXT_BYTES),
        got=_short(reason.got),
        allowed=_short(reason.allowed),
    )


def _short(value: Any) -> Any:
    """The value, or the beginning of its JSON."""
    encoded = canonical_bytes(value)
    if len(encoded) <= MAX_TEXT_BYTES:
        return value
    return _cut(value if isinstance(value, str) else encoded.decode(), MAX_TEXT_BYTES)


def _cut(text: str, max_bytes: int) -> str:
    """The text, or a beginning of it with an ellipsis that takes at most `max_bytes` in JSON."""
    if len(canonical_bytes(text)) <= max_bytes:
        return text
    kept = text[:max_bytes]
    while len(canonical_bytes(f"{kept}…")) > max_bytes:
        kept = kept[: len(kept) * 9 // 10]
    return f"{kept}…"


def _actor(cause: Cause | None, *, node: str) -> Actor | None:
    """Who gave the command, as the scheduler, which alone writes desired records, attested it."""
    if cause is None or not cause.actor_key:
        return None
    return Actor(
        key=cause.actor_key,
        role=cause.actor_role,
        attested=True,
        address=cause.actor_address,
        through=f"node/{node}",
    )


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
