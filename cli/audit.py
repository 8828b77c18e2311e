# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit`: ask the log, prove records, verify proofs offline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts
import msgspec
from cyclopts import Parameter

from cli.audit_export import export
from cli.audit_export_proof import is_export, verify_export
from cli.audit_growth import newest_head
from cli.audit_history import command, history
from cli.audit_log import log
from cli.audit_verify import verify_whole
from cli.audit_view import render_checkpoint, render_proved
from cli.console import CredentialsOption, JsonFlag, emit, refusing, run, say
from cli.people import read_names
from cli.proof_files import (
    ProofFormat,
    VerifiedProof,
    VerifiedWitness,
    read_proof_file,
    render_proof,
    verify_proof,
)
from cli.session import connected
from services.auditor.checkpoint import TreeHead, parse_verifier_key
from services.auditor.log_keys import follow_keys
from services.auditor.proofs import verify_bundle
from services.auditor.records import ProblemLeaf
from shared.contracts.audit import (
    PROVE_RECORD,
    Checkpoint,
    ProofBundle,
    ProveRecord,
)
from shared.contracts.events import Envelope, Event
from shared.errors import FaultError, Reason, RefusedError
from shared.validation import convert_document

app = cyclopts.App(name="audit", help="Ask the log, prove records, verify proofs.")
app.command("cli.audit_key:app", name="key", help="Change the key that signs the log.")
app.command("cli.audit_backup:backup", help="Copy the log while the auditor writes it.")
app.command("cli.audit_bundle:app", name="bundle", help="What goes with what was handed out.")
app.command("cli.audit_evidence:evidence", help="What a standard asks, and what shows it.")
app.command("cli.audit_forward:forward", help="Send records to a file, syslog or a web server.")
app.command("cli.audit_report:app", name="report", help="Reports from the log alone.")
app.command("cli.audit_sbom:sbom", help="Bill of materials of what ran at a moment.")
app.command("cli.audit_hold:app", name="hold", help="Records that nobody may remove.")
app.command("cli.audit_archive:app", name="archive", help="Records that were archived.")
app.command("cli.audit_retention:app", name="retention", help="How long records are kept.")
app.command("cli.audit_retention:prune", help="Remove records that are old enough.")
app.command("cli.audit_erase:erase", help="Make a person's names, keys and words unreadable.")
app.command("cli.audit_watch:app", name="watch", help="What the log is watched for.")
app.command("cli.audit_findings:app", name="finding", help="One finding of compliance.")
app.command("cli.audit_check:check", help="What about the log needs attention.")
app.command("cli.audit_heads:heads", help="Which heads of the log the nodes know.")
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
    leaf: Envelope | ProblemLeaf | None
    """None: the record is restricted."""
    event: Event | None
    key_source: str
    """Whose word it is that the key is the log's."""
    witnesses: tuple[VerifiedWitness, ...] = ()
    """Those of the witnesses named that cosigned the head."""


app.command(log)
app.command(export)
app.command(history)
app.command(command)


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
    bundle: Path | None = None,
    *,
    store: Annotated[
        str, Parameter(help="Check a whole log: its directory, a copy, or a postgresql:// URL.")
    ] = "",
    checkpoint: Annotated[
        tuple[Path, ...],
        Parameter(negative=(), help="With --store: a head that somebody kept; repeat for more."),
    ] = (),
    workers: Annotated[int, Parameter(help="With --store: processes; else one a CPU.")] = 0,
    limit: Annotated[int, Parameter(help="How many problems are named.")] = 100,
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
    """Check a proof, an export, or with --store a whole log; needs no server and no credentials.

    Parameters
    ----------
    bundle
        What `l3af audit prove` wrote, in either format, or an export with FILE.proof beside it.
    """
    if store:
        verify_whole(
            store, key=key, checkpoints=checkpoint, workers=workers, limit=limit, json=json
        )
        return
    with refusing(json=json):
        if bundle is None:
            raise RefusedError("give the file that `l3af audit prove` wrote, or --store")
        is_of_many = is_export(bundle)
        if is_of_many and (witness or witnesses is not None):
            raise RefusedError("--witness is for the proof of one record, and this is an export")
    if is_of_many:
        verify_export(bundle, key=key, limit=limit, json=json)
        return
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
            note = _read_note(older) if older is not None else ""
            return await newest_head(bus, note)

    newest, known = run(got(), json=json)
    if out is not None:
        with refusing(json=json):
            try:
                out.write_text(newest.checkpoint, encoding="utf-8")
            except OSError as error:
                raise FaultError(f"{out}: cannot be written: {error.strerror}") from error
    older_size = known.size if known is not None else None
    emit(newest, lambda one: render_checkpoint(one, older_size), json=json)


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
        return read_proof_file(path).decode()
    except UnicodeDecodeError as error:
        reason = Reason(path="--older", rule="cannot be read as text", got=str(path))
        raise RefusedError(f"{path}: is no checkpoint", [reason]) from error
