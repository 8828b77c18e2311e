# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit log|prove|verify|checkpoint`: ask the log, prove records, verify proofs offline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import cyclopts
import msgspec
from cyclopts import Parameter
from rich.console import Console

from cli.audit_view import render_checkpoint, render_list, render_proved, render_records
from cli.console import CredentialsOption, JsonFlag, emit, refusing, run, say
from cli.moments import parse_moment
from cli.people import keys_of, read_names
from cli.proof_files import (
    ProofFormat,
    VerifiedProof,
    VerifiedWitness,
    render_proof,
    verify_proof,
)
from cli.session import connected
from services.auditor.checkpoint import (
    TreeHead,
    open_checkpoint,
    parse_tree_head,
    parse_verifier_key,
    split_note,
)
from services.auditor.log_keys import follow_keys, open_by_any
from services.auditor.merkle import Hash, ProofError, check_consistency
from services.auditor.proofs import verify_bundle
from services.auditor.records import ProblemLeaf
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    GET_CHECKPOINT,
    LIST_RECORDS,
    PROVE_RECORD,
    AuditRecord,
    Checkpoint,
    GetCheckpoint,
    ListRecords,
    ProofBundle,
    ProveRecord,
    RecordList,
)
from shared.contracts.events import Envelope, Event
from shared.errors import FaultError, Reason, RefusedError
from shared.validation import convert_document

PAGE_RECORDS: Final = 1000
FOLLOW_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 30.0

app = cyclopts.App(name="audit", help="Ask the log, prove records, verify proofs.")
app.command("cli.audit_key:app", name="key", help="Change the key that signs the log.")
app.command("cli.audit_backup:backup", help="Copy the log while the auditor writes it.")
app.command("cli.audit_inventory:as_of", name="as-of", help="What ran at a moment, and where.")
app.command("cli.audit_inventory:diff", help="Where something else ran at another moment.")
app.command("cli.audit_inventory:ran", help="Where and when something with a digest ran.")


class VerifiedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify --json` prints of a bundle that holds."""

    verified: bool = True
    origin: str
    tree_size: int
    root: str
    index: int
    leaf: Envelope | ProblemLeaf
    event: Event | None
    key_source: str
    """Whose word it is that the key is the log's."""
    witnesses: tuple[VerifiedWitness, ...] = ()
    """Those of the witnesses named that cosigned the head."""


@app.command
def log(
    *,
    since: Annotated[str, Parameter(help="From then on: 1h, 7d, 2026-01-02, RFC 3339.")] = "",
    until: Annotated[str, Parameter(help="Before then.")] = "",
    actor: Annotated[str, Parameter(help="Who asked: a public key, or a name.")] = "",
    action: Annotated[str, Parameter(help="What, as deployment.apply or 'chain.*'.")] = "",
    package: str = "",
    node: str = "",
    deployment: str = "",
    outcome: Annotated[
        str, Parameter(help="accepted, refused, succeeded, failed or observed.")
    ] = "",
    correlation: Annotated[str, Parameter(help="Command id.")] = "",
    limit: Annotated[int, Parameter(help="Records at most.")] = 50,
    follow: Annotated[
        bool, Parameter(negative=(), help="Go on with what is recorded from now on.")
    ] = False,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """What happened, newest first; reading it is recorded too."""
    names = read_names()
    with refusing(json=json):
        now = datetime.now(UTC)
        filters = {
            "since": parse_moment(since, now=now, path="--since"),
            "until": parse_moment(until, now=now, path="--until"),
            "action": action,
            "package": package,
            "node": node,
            "deployment": deployment,
            "outcome": outcome,
            "correlation": correlation,
            "limit": min(limit, PAGE_RECORDS),
        }
        requests = [
            convert_document({**filters, "actor": key}, ListRecords, what="audit log")
            for key in (keys_of(actor, names) if actor else ("",))
        ]

    async def listed() -> RecordList:
        async with connected(credentials) as bus:
            return await _list(bus, requests, limit)

    async def followed() -> None:
        has_heading = True
        async with connected(credentials) as bus:
            async for records in _follow(bus, requests, limit):
                if json:
                    lines = b"\n".join(msgspec.json.encode(record) for record in records)
                    sys.stdout.write(lines.decode() + "\n")
                    sys.stdout.flush()
                else:
                    Console(markup=False, highlight=False, emoji=False).print(
                        render_records(records, names, has_heading=has_heading)
                    )
                has_heading = False

    if follow:
        run(followed(), json=json)
        return
    emit(run(listed(), json=json), lambda found: render_list(found, names), json=json)


@app.command
def prove(
    record: int,
    *,
    out: Annotated[
        Path | None, Parameter(help="Where the bundle goes; else it is printed.")
    ] = None,
    format: Annotated[  # noqa: A002 # it is the option's name
        ProofFormat, Parameter(help="bundle: JSON; tlog-proof: text that other tools read.")
    ] = "bundle",
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Everything needed to verify one record without the log, checked before it is given out.

    Parameters
    ----------
    record
        Its number, as `l3af audit log` shows it.
    """

    async def proved() -> ProofBundle:
        request = convert_document({"index": record}, ProveRecord, what="audit prove")
        async with connected(credentials) as bus:
            bundle = await bus.request(PROVE_RECORD, request)
            trusted = parse_verifier_key(bus.facts.log_verifier_key)
            verify_bundle(bundle, key=follow_keys(trusted, bundle.key_chain)[-1])
            return bundle

    bundle = run(proved(), json=json)
    text = render_proof(bundle, format)
    if out is None or json:
        sys.stdout.write(render_proof(bundle, "bundle") if json else text)
    if out is None:
        return
    with refusing(json=json):
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise FaultError(f"{out}: cannot be written: {error.strerror}") from error
    say(f"record {record} and its proof are in {out}", json=json)


@app.command
def verify(
    bundle: Path,
    *,
    key: Annotated[str, Parameter(help="The log's verifier key that you trust.")] = "",
    witness: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="Verifier key of a witness that counts; repeat for more."),
    ] = (),
    witnesses: Annotated[
        int | None, Parameter(help="How many of them must have cosigned; else all of them.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check a proof offline; needs neither a server nor credentials.

    Parameters
    ----------
    bundle
        The file that `l3af audit prove` wrote, in either format.
    """
    with refusing(json=json):
        found = verify_proof(bundle, key=key, witnesses=witness, least=witnesses)
    if json:
        emit(_verified(found), lambda _: "", json=True)
        return
    emit(
        found,
        lambda one: render_proved(
            one.proved,
            key=one.key,
            key_source=one.key_source,
            witnesses=[f"{seen.verifier_key} at {seen.cosigned_at}" for seen in one.witnesses],
            names=read_names(),
        ),
        json=False,
    )


@app.command
def checkpoint(
    *,
    older: Annotated[
        Path | None, Parameter(help="An older head; show that the log only grew since.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Where the signed head goes as well.")] = None,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """The newest signed head of the log, its signature checked."""

    async def got() -> tuple[Checkpoint, TreeHead | None]:
        async with connected(credentials) as bus:
            trusted = parse_verifier_key(bus.facts.log_verifier_key)
            note = _read_note(older) if older is not None else ""
            size = parse_tree_head(split_note(note)[0]).size if note else 0
            newest = await bus.request(GET_CHECKPOINT, GetCheckpoint(consistent_with_size=size))
            keys = follow_keys(trusted, newest.key_chain)
            known = open_by_any(note, keys) if older is not None else None
            head = open_checkpoint(newest.checkpoint, key=keys[-1])
            if known is not None and known.size:
                _check_growth(known, head, newest.consistency)
            return newest, known

    newest, known = run(got(), json=json)
    if out is not None:
        with refusing(json=json):
            try:
                out.write_text(newest.checkpoint, encoding="utf-8")
            except OSError as error:
                raise FaultError(f"{out}: cannot be written: {error.strerror}") from error
    older_size = known.size if known is not None else None
    emit(newest, lambda one: render_checkpoint(one, older_size), json=json)


async def _list(bus: Bus, requests: list[ListRecords], limit: int) -> RecordList:
    """Up to `limit` matching records over as many pages as it takes, newest first."""
    records: list[AuditRecord] = []
    tree_size, more = 0, False
    for first in requests:
        request, count = first, 0
        while True:
            page = await bus.request(LIST_RECORDS, request, timeout_seconds=PATIENCE_SECONDS)
            records += page.records
            count += len(page.records)
            tree_size = max(tree_size, page.tree_size)
            if not page.more or count >= limit:
                more |= page.more
                break
            before = page.records[-1].index
            request = msgspec.structs.replace(
                first, before_index=before, limit=min(limit - count, PAGE_RECORDS)
            )
    records.sort(key=lambda record: record.index, reverse=True)
    more |= len(records) > limit
    return RecordList(records=tuple(records[:limit]), tree_size=tree_size, more=more)


async def _follow(
    bus: Bus, requests: list[ListRecords], limit: int
) -> AsyncIterator[list[AuditRecord]]:
    """The newest records, then whatever comes, oldest first; a fault is waited out."""
    page = await _list(bus, requests, limit)
    while True:
        if page.records:
            yield list(reversed(page.records))
        last = page.tree_size - 1
        await asyncio.sleep(FOLLOW_SECONDS)
        page = await _newer(bus, requests, last)


async def _newer(bus: Bus, requests: list[ListRecords], last: int) -> RecordList:
    later = [msgspec.structs.replace(request, after_index=last) for request in requests]
    loop = asyncio.get_running_loop()
    gives_up_at = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            return await _list(bus, later, sys.maxsize)
        except FaultError:
            if loop.time() > gives_up_at:
                raise
            await asyncio.sleep(FOLLOW_SECONDS)


def _verified(found: VerifiedProof) -> VerifiedBundle:
    proved = found.proved
    return VerifiedBundle(
        origin=proved.head.origin,
        tree_size=proved.head.size,
        root=proved.head.root.hex(),
        index=proved.index,
        leaf=proved.leaf,
        event=proved.event,
        key_source=found.key_source,
        witnesses=found.witnesses,
    )


def _read_note(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = Reason(path="--older", rule="cannot be read as text", got=str(path))
        raise RefusedError(f"{path}: is no checkpoint", [reason]) from error


def _check_growth(older: TreeHead, newer: TreeHead, consistency: tuple[str, ...]) -> None:
    try:
        proof = [Hash(bytes.fromhex(item)) for item in consistency]
    except ValueError as error:
        raise ProofError("the consistency proof is not hexadecimal") from error
    check_consistency(
        proof,
        old_size=older.size,
        old_root=older.root,
        new_size=newer.size,
        new_root=newer.root,
    )
