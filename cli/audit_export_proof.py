# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What goes with an export, and `l3af audit verify` of an export and what went with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from cli.audit_forms import FORMS
from cli.audit_lines import csv_heading, json_line
from cli.audit_verify import LogProblem, problem_line
from cli.console import REFUSED, emit, plain, progress, refusing
from cli.proof_files import trusted_key
from services.auditor.checkpoint import VerifierKey, parse_verifier_key
from services.auditor.exports import CheckedExport, ExportChecker, Lines, read_export_proof
from services.auditor.log_keys import follow_keys
from shared.adapters.bus import Bus
from shared.contracts.audit import PROVE_RECORD, ProofBundle, ProveRecord
from shared.errors import FaultError, Reason, RefusedError

PROOF_SUFFIX: Final = ".proof"
ATTEMPTS: Final = 10
"""Until both ends of an export are proved against one head; heads are signed once a second."""


class VerifiedExport(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify --json` prints of an export."""

    verified: bool
    """Every record is the log's, and none between the first and the last is left out."""
    in_order: bool
    """Nothing is wrong with it; without a range that is all that can be said."""
    records: int
    first: int
    last: int
    """Numbers of records; -1: there are none."""
    restricted: int = 0
    """How many are there by the hash of their leaf alone: who exported them does not see more."""
    erased: int = 0
    """From how many of them words of a person were erased: what is left is not proved."""
    origin: str = ""
    """Empty: nothing shows that the records are a log's."""
    tree_size: int = 0
    """Of the signed head that they were proved against."""
    problem_count: int
    problems: tuple[LogProblem, ...]
    key_source: str


def proof_path(file: Path) -> Path:
    """Where the proof of an export lies."""
    return file.with_name(file.name + PROOF_SUFFIX)


def lines_of(file: Path) -> Lines:
    """What the lines come to that are in an export already.

    Raises:
        RefusedError: One of them is no record.
        FaultError: It cannot be read.
    """
    lines = Lines()
    try:
        with file.open("rb") as opened:
            for line in opened:
                lines.take(FORMS["ndjson"].record_of(line.decode()), line)
    except OSError as error:
        raise FaultError(f"{file}: cannot be read: {error.strerror}") from error
    return lines


async def write_proof(bus: Bus, file: Path, lines: Lines) -> bool:
    """The proof of an export lies beside it; whether it shows that the records are the log's.

    Raises:
        FaultError: It cannot be proved or written.
    """
    ends = await _prove_ends(bus, lines) if lines.is_whole else (None, None)
    try:
        proof_path(file).write_bytes(lines.proof(*ends))
    except OSError as error:
        raise FaultError(f"{proof_path(file)}: cannot be written: {error.strerror}") from error
    return lines.is_whole


async def _prove_ends(bus: Bus, lines: Lines) -> tuple[ProofBundle, ProofBundle]:
    """The first and the last record, proved against one head."""
    for _ in range(ATTEMPTS):
        last = await bus.request(PROVE_RECORD, ProveRecord(index=lines.last))
        first = await bus.request(PROVE_RECORD, ProveRecord(index=lines.first))
        if first.checkpoint.split("\n\n")[0] == last.checkpoint.split("\n\n")[0]:
            return first, last
    raise FaultError("the log's head changed with every proof; --resume proves the export again")


def is_export(file: Path) -> bool:
    """Whether a file is one that `l3af audit export` wrote."""
    try:
        with file.open("rb") as opened:
            begin = opened.read(len(csv_heading()))
    except OSError:
        return False
    if begin == csv_heading().encode():
        rule = "CSV leaves fields out and changes texts, so no proof can be about it"
        reason = Reason(path=str(file), rule=rule, allowed="an export as NDJSON")
        raise RefusedError("a CSV export cannot be verified", [reason])
    return begin.startswith(b'{"index":') or proof_path(file).exists()


def verify_export(file: Path, *, key: str, limit: int, json: bool) -> None:
    """Verify, print, and end with REFUSED unless every record is shown to be the log's."""
    with refusing(json=json):
        trusted, source = trusted_key(key)
        try:
            proof = read_export_proof(proof_path(file).read_bytes())
        except OSError as error:
            rule = "lies beside an export as NDJSON, and both are needed"
            reason = Reason(path=str(proof_path(file)), rule=rule)
            raise RefusedError("the proof of the export cannot be read", [reason]) from error

        def key_of(bundle: ProofBundle) -> VerifierKey:
            known = parse_verifier_key(trusted or bundle.verifier_key)
            return follow_keys(known, bundle.key_chain)[-1]

        def spelled(record: msgspec.Struct) -> bytes:
            return json_line(msgspec.json.encode(record))

        checker = ExportChecker(proof, key_of=key_of, spelled=spelled, limit=limit)
        with progress("verifying", total=proof.records) as advance, file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                checker.take(number, line)
                advance(number)
        done = checker.finish()
    source = source or "the proof's own word: compare it, or give --key"
    found = _told(checker, done, source)
    emit(found, _render, json=json)
    if not found.verified:
        sys.exit(REFUSED)


def _told(checker: ExportChecker, done: CheckedExport, source: str) -> VerifiedExport:
    in_order = not checker.problems.count
    return VerifiedExport(
        verified=in_order and done.head is not None,
        in_order=in_order,
        records=done.records,
        first=done.first,
        last=done.last,
        restricted=done.restricted,
        erased=done.erased,
        origin=done.head.origin if done.head is not None else "",
        tree_size=done.head.size if done.head is not None else 0,
        problem_count=checker.problems.count,
        problems=tuple(LogProblem(**one._asdict()) for one in checker.problems.kept),
        key_source=source,
    )


def _render(found: VerifiedExport) -> RenderableType:
    by = Text(f"The log's key, by {plain(found.key_source)}.", style="dim")
    if not found.in_order:
        lines = [Text(plain(problem_line(one)), style="red") for one in found.problems]
        more = found.problem_count - len(found.problems)
        if more:
            lines.append(Text(f"and {more} more (--limit)", style="red"))
        return Group(Text(f"{found.problem_count} problems", style="bold red"), *lines)
    if not found.verified:
        return Group(
            Text("not verified", style="bold red"),
            Text(
                f"{found.records} records are as they were written, by the file's own word. "
                "It is a selection, and nothing in it shows that they are the log's: export "
                "records without holes (--after, no filters), or prove single ones."
            ),
        )
    restricted = f" {found.restricted} of them by their hash alone." if found.restricted else ""
    if found.erased:
        restricted += f" Words of persons were erased from {found.erased}: of these the leaf is."
    return Group(
        Text("verified", style="bold green"),
        Text(
            f"Records {found.first} to {found.last} of the log {plain(found.origin)}, all of them, "
            f"under its signed head of {found.tree_size}.{restricted} Not signed: received_at, "
            "and an event's stream_sequence."
        ),
        by,
    )
