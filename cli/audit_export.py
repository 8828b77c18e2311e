# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit export`: records into a file, oldest first, to be gone on with whenever it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

import msgspec
from cyclopts import Parameter
from msgspec import structs
from rich.text import Text

from cli.audit_export_proof import lines_of, proof_path, write_proof
from cli.audit_forms import FORMS, Form, FormName, form_name
from cli.audit_log import NO_FILTERS, ScanLimitOption, searching
from cli.audit_query import SCAN_LIMIT, Advance, Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, refusing, run
from cli.line_files import cut_torn_line
from cli.parquet_files import parquet_file
from cli.people import read_names
from cli.raw_records import number_of, numbers_of
from cli.session import connected
from services.auditor.exports import Lines
from shared.adapters.bus import Bus
from shared.contracts.audit import PROVE_RECORD, ProveRecord, StreamRecords
from shared.errors import FaultError, Reason, RefusedError
from shared.version import VERSION


class Exported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `export --json` prints."""

    file: str
    records: int
    """Written by this command."""
    scanned: int
    tree_size: int
    """Leaves in the log when it began: what is recorded later is not in the file."""
    proof: str = ""
    """The file that goes with it; empty unless it is NDJSON."""
    is_proved: bool = False
    """Whether that shows that the records are the log's, and none between them is left out."""
    position: int | None = None
    """Where it stopped before its end: `--resume --after` goes on there."""


def export(
    file: Path,
    *,
    filters: Filters = NO_FILTERS,
    format: Annotated[  # noqa: A002 # the option is called so
        FormName | None,
        Parameter(
            help="Else by the file's name: .csv, .cef, .log (syslog), .ocsf, .parquet, or NDJSON."
        ),
    ] = None,
    resume: Annotated[
        bool, Parameter(negative=(), help="Go on behind the file's last whole record.")
    ] = False,
    after: Annotated[int | None, Parameter(help="Only records with a greater number.")] = None,
    scan_limit: ScanLimitOption = SCAN_LIMIT,
    json: JsonFlag = False,
    credentials: CredentialsOption = None,
) -> None:
    """Write every record that matches into a file, oldest first; safe to open in anything.

    NDJSON keeps every text exactly.  CSV is for spreadsheets: control characters are written as
    escapes, and what would be a formula begins with an apostrophe.  CEF, syslog (RFC 5424 with CEF)
    and OCSF are for SIEMs, a line for each record.  Parquet is for analysis: columns with types, in
    a file that is there when it is whole.  Beside NDJSON lies FILE.proof, with which `l3af audit
    verify FILE` checks it; the others cannot be verified.

    Parameters
    ----------
    file
        It is made; with --resume it is gone on with.
    """
    names = read_names()
    chosen = format or form_name(file)

    with refusing(json=json):
        questions = requests_of(filters, names, now=datetime.now(UTC), order="oldest")
        if chosen == "parquet" and resume:
            rule = "is written as a whole: --after RECORD goes on in another file"
            raise RefusedError(f"Parquet {rule}", [Reason(path="--resume", rule=rule)])

    async def exported() -> Exported:
        if chosen == "parquet":
            reading = Reading(questions, after, scan_limit, credentials)
            return await _export_table(file, reading)
        form = FORMS[chosen]
        with _opened(file, form, resume=resume) as (opened, last):
            start = max((one for one in (after, last) if one is not None), default=None)
            reading = Reading(questions, start, scan_limit, credentials)
            lines = lines_of(file) if form.has_proof else None
            answer = await _write(opened, reading, form, lines)
        return await _prove(file, answer, lines, credentials)

    emit(run(exported(), json=json), _render, json=json)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is exported, and as whom."""

    questions: Sequence[StreamRecords]
    after: int | None
    scan_limit: int
    credentials: Path | None

    def answer(self, bus: Bus, advance: Advance) -> Answer:
        """Nothing is asked yet."""
        requests = [structs.replace(one, after_index=self.after) for one in self.questions]
        return Answer(bus, requests, scan_limit=self.scan_limit, advance=advance)


async def _write(opened: IO[bytes], reading: Reading, form: Form, told: Lines | None) -> Answer:
    """Everything that matches is in the file, and what goes with it is known."""
    async with connected(reading.credentials) as bus:
        with searching() as advance:
            answer = reading.answer(bus, advance)
            try:
                async with aclosing(answer.batches()) as batches:
                    async for records in batches:
                        lines = form.lines(records)
                        opened.write(b"".join(lines))
                        if told is not None:
                            told.take_all(numbers_of(records, lines), lines)
            except FaultError as fault:
                written = f"{answer.count} records were written to {opened.name}"
                why = f"{fault.message}; {written}; --resume goes on behind them"
                raise FaultError(why) from fault
    return answer


async def _prove(
    file: Path, answer: Answer, lines: Lines | None, credentials: Path | None
) -> Exported:
    """What was done, with the proof beside the file if there can be one."""
    done = _exported(file, answer)
    if lines is None:
        return done
    async with connected(credentials) as bus:
        is_proved = await write_proof(bus, file, lines)
    return structs.replace(done, proof=str(proof_path(file)), is_proved=is_proved)


async def _export_table(file: Path, reading: Reading) -> Exported:
    """The whole file, or none of that name."""
    with parquet_file(file) as table:
        async with connected(reading.credentials) as bus:
            with searching() as advance:
                answer = reading.answer(bus, advance)
                last = -1
                async with aclosing(answer.batches()) as batches:
                    async for records in batches:
                        table.take(records)
                        last = number_of(records[-1]) if records else last
            said = {"version": VERSION, "tree_size": str(answer.tree_size)}
            if last >= 0:
                proved = await bus.request(PROVE_RECORD, ProveRecord(index=last))
                said |= {"checkpoint": proved.checkpoint, "verifier_key": proved.verifier_key}
            table.finish(said | {"origin": bus.facts.log_origin})
    return _exported(file, answer)


def _exported(file: Path, answer: Answer) -> Exported:
    return Exported(
        file=str(file),
        records=answer.count,
        scanned=answer.scanned,
        tree_size=answer.tree_size,
        position=answer.position,
    )


@contextmanager
def _opened(file: Path, form: Form, *, resume: bool) -> Iterator[tuple[IO[bytes], int | None]]:
    """The file, and the number of its last record; on the disk when the block ends.

    Raises:
        RefusedError: It is there already, or is no export.
        FaultError: It cannot be written.
    """
    try:
        with file.open("r+b" if resume else "xb") as raw:
            last = cut_torn_line(raw, form, file=file) if resume else None
            if raw.tell() == 0:
                raw.write(form.heading.encode())
            yield raw, last
            raw.flush()
            os.fsync(raw.fileno())
    except (RefusedError, FaultError):
        if not resume and file.stat().st_size <= len(form.heading):
            file.unlink()
        raise
    except FileExistsError as error:
        raise RefusedError(f"{file}: is there already; --resume goes on with it") from error
    except FileNotFoundError as error:
        raise RefusedError(f"{file}: there is nothing to go on with, or no such place") from error
    except OSError as error:
        raise FaultError(f"{file}: cannot be written: {error.strerror}") from error


def _render(done: Exported) -> Text:
    whole = "" if done.file.endswith(".parquet") else "--resume "
    end = "" if done.position is None else f"; {whole}--after {done.position} goes on"
    if not done.proof:
        proof = "only NDJSON can be verified"
    elif done.is_proved:
        proof = f"{done.proof} shows that they are the log's"
    else:
        proof = "a selection: nothing shows that they are the log's"
    return Text(
        f"{done.records} records written to {done.file} ({done.scanned} looked at, "
        f"{done.tree_size} in the log){end}; {proof}"
    )
