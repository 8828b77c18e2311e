# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How records, proofs and heads look to a person."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain
from cli.people import Names, render_actor
from services.auditor.proofs import Proved
from services.auditor.records import ProblemLeaf
from shared.contracts.audit import AuditRecord, Checkpoint, PrunedNote, RecordList
from shared.contracts.events import EventBody
from shared.contracts.log_heads import WitnessSeen

OUTCOME_STYLES = {
    "accepted": "cyan",
    "succeeded": "green",
    "refused": "yellow",
    "failed": "red",
    "observed": "",
}
HEADINGS = ("record", "time", "action", "outcome", "who", "what", "why")
SHOWN_DETAILS = 3
SHORT_HEADINGS = frozenset({"record", "time", "action", "outcome"})


def render_list(listed: RecordList, names: Names) -> RenderableType:
    """A line for each record, newest first."""
    if not listed.records:
        return Text(f"no record matches ({listed.tree_size} in the log)")
    shown = len(listed.records)
    end = f"{shown} shown, more match" if listed.more else f"{shown} shown"
    return Group(
        render_records(listed.records, names, has_heading=True),
        Text(f"{end}, {listed.tree_size} in the log", style="dim"),
    )


def render_records(
    records: Sequence[AuditRecord], names: Names, *, has_heading: bool
) -> RenderableType:
    """A line for each record."""
    table = Table(box=None, pad_edge=False, show_header=has_heading)
    for heading in HEADINGS:
        is_short = heading in SHORT_HEADINGS
        table.add_column(heading, header_style="bold", overflow="fold", no_wrap=is_short)
    for record in records:
        table.add_row(*_record_cells(record, names))
    return table


def describe(body: EventBody) -> str:
    """What an event was about: the things it names."""
    package = f"{body.package} {body.version}".strip()
    place = "/".join(part for part in (body.node, body.netns, body.interface, body.hook) if part)
    name = body.details.get("name", "")
    parts = [str(part) for part in (body.deployment, package, place, name) if part]
    if not parts:
        shown = sorted((key, value) for key, value in body.details.items() if value)
        parts = [f"{key}={_short(value)}" for key, value in shown][:SHOWN_DETAILS]
    return ", ".join(parts)


def why(body: EventBody) -> str:
    """The caller's words, or the rules that were broken."""
    return body.reason or "; ".join(
        f"{reason.path}: {reason.rule}" if reason.path else reason.rule for reason in body.reasons
    )


def render_proved(
    proved: Proved, *, key: str, key_source: str, witnesses: Sequence[str] = (), names: Names
) -> RenderableType:
    """What a bundle was found to show, and what it cannot show."""
    head = proved.head
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for label, value in _leaf_facts(proved, names):
        facts.add_row(label, plain(value))
    return Group(
        Text("verified", style="bold green"),
        Text(
            f"The log {plain(head.origin)}, when it had {head.size} records (root "
            f"{head.root.hex()[:16]}…), held this as record {proved.index}:"
        ),
        facts,
        Text(_body_sentence(proved)),
        Text(f"The log's key, by {key_source}: {plain(key)}"),
        *(Text(f"Cosigned by {plain(witness)}") for witness in witnesses),
        Text(
            "A proof does not show that the emitter told the "
            "truth, nor that the log shows everybody the same: for that, compare heads "
            "(`l3af audit checkpoint --older`).",
            style="dim",
        ),
    )


def render_checkpoint(checkpoint: Checkpoint, older_size: int | None) -> RenderableType:
    """The signed head as it is, and what was checked about it."""
    checked = "Its signature is the log's."
    if older_size is not None:
        checked += f"  The {older_size} records of the older head are its first, unchanged."
    signed = Text(f"{checked}  Signed {checkpoint.signed_at}.", style="dim")
    note = Text(plain(checkpoint.checkpoint), no_wrap=True, overflow="ignore")
    return Group(note, signed, *(Text(_standing(seen)) for seen in checkpoint.witnesses))


def _standing(seen: WitnessSeen) -> str:
    """How far one witness has followed."""
    name = plain(seen.verifier_key.partition("+")[0])
    if seen.tree_size is None:
        followed = "has cosigned nothing since the auditor started"
    else:
        followed = f"cosigned {seen.tree_size} records at {seen.cosigned_at}"
    return f"{name} {followed}" + (f": {plain(seen.problem)}" if seen.problem else "")


def moment(time: str) -> str:
    """To the second; all times of the log are UTC."""
    return time[:19].replace("T", " ")


def pruned_line(note: PrunedNote) -> str:
    """By what a record was let go of, and where it is."""
    kept = f", in the archive {note.segment}" if note.segment else ""
    return f"by rule {note.rule} (record {note.record}){kept}"


def _record_cells(record: AuditRecord, names: Names) -> tuple[RenderableType, ...]:
    event = record.event
    if record.pruned is not None:
        return (
            str(record.index),
            moment(record.pruned.at),
            Text("pruned", style="dim"),
            "",
            "",
            "",
            Text(plain(pruned_line(record.pruned)), style="dim"),
        )
    if record.leaf_hash:
        return (str(record.index), "", Text("restricted", style="dim"), "", "", "", "")
    if record.problem or event is None:
        problem = record.problem or "its body was erased"
        claimed = f"claims to be {event.data.action} by {event.emitter}" if event else ""
        return (
            str(record.index),
            moment(record.received_at),
            Text("PROBLEM", style="bold red"),
            "",
            "",
            plain(claimed),
            Text(plain(problem), style="red"),
        )
    body = event.data
    return (
        str(record.index),
        plain(moment(event.time)),
        plain(body.action),
        Text(body.outcome, style=OUTCOME_STYLES[body.outcome]),
        plain(render_actor(body.actor, names) or event.emitter),
        plain(describe(body)),
        plain(why(body)),
    )


def _leaf_facts(proved: Proved, names: Names) -> list[tuple[str, str]]:
    leaf = proved.leaf
    if leaf is None:
        return [("restricted", "told to an audience that who had it proved does not see")]
    if isinstance(leaf, ProblemLeaf):
        return [
            ("a message that was not believed", leaf.problem),
            ("published on", leaf.subject),
            ("sequence in the stream", str(leaf.stream_sequence)),
            ("SHA-256", leaf.sha256),
        ]
    facts = [
        ("event", leaf.id),
        ("type", leaf.type),
        ("time, by the emitter", leaf.time),
        ("emitter", f"{leaf.emitter}, its number {leaf.sequence} for {leaf.audience}"),
    ]
    if proved.event is not None:
        body = proved.event.data
        actor = body.actor
        facts += [
            ("who", render_actor(actor, names)),
            ("key", actor.key if actor else ""),
            ("what", describe(body)),
            ("why", body.reason),
        ]
    return [(label, value) for label, value in facts if value]


def _body_sentence(proved: Proved) -> str:
    if isinstance(proved.leaf, ProblemLeaf):
        return "The log recorded that this message came, and that it was not believed."
    if proved.leaf is None:
        return "The bundle has the hash of the leaf alone: that the log holds it is what is proved."
    if proved.event is None:
        return "The bundle has no body: only the envelope is proved."
    return "The body is the one whose salted SHA-256 the envelope holds, to the last byte."


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else f"{text[:39]}…"  # noqa: PLR2004 # a table cell
