# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit export`: records into a file, oldest first, to be gone on with whenever it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated

import msgspec
from cyclopts import Parameter
from rich.text import Text

from cli.audit_export_proof import proof_path, write_proof
from cli.audit_forms import FORMS, Form, FormName, form_name
from cli.audit_log import NO_FILTERS, ScanLimitOption, searching
from cli.audit_query import SCAN_LIMIT, Answer, Filters, requests_of
from cli.console import CredentialsOption, JsonFlag, emit, refusing, run
from cli.line_files import cut_torn_line
from cli.people import read_names
from cli.session import connected
from shared.contracts.audit import AuditRecord
from shared.errors import FaultError, RefusedError


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
        Parameter(help="Else by the file's name: .csv, .cef, .log (syslog), .ocsf, or NDJSON."),
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
    and OCSF are for SIEMs, a line for each record.  Beside NDJSON lies FILE.proof, with which
    `l3af audit verify FILE` checks it; the others cannot be verified.

    Parameters
    ----------
    file
        It is made; with --resume it is gone on with.
    """
    names = read_names()
    form = FORMS[format or form_name(file)]

    with refusing(json=json):
        questions = requests_of(filters, names, now=datetime.now(UTC), order="oldest")

    async def exported() -> Exported:
        with _opened(file, form, resume=resume) as (opened, last):
            start = max((one for one in (after, last) if one is not None), default=None)
            requests = [msgspec.structs.replace(one, after_index=start) for one in questions]
            async with connected(credentials) as bus:
                with searching() as advance:
                    answer = Answer(bus, requests, scan_limit=scan_limit, advance=advance)
                    await _write(opened, answer, form.line, file)
        async with connected(credentials) as bus:
            is_proved = form.has_proof and await write_proof(bus, file)
            return Exported(
                file=str(file),
                proof=str(proof_path(file)) if form.has_proof else "",
                is_proved=is_proved,
                records=answer.count,
                scanned=answer.scanned,
                tree_size=answer.tree_size,
                position=answer.position,
            )

    emit(run(exported(), json=json), _render, json=json)


async def _write(
    opened: IO[str], answer: Answer, line: Callable[[AuditRecord], str], file: Path
) -> None:
    try:
        async for record in answer.records():
            opened.write(line(record))
    except FaultError as fault:
        written = f"{answer.count} records were written to {file}; --resume goes on behind them"
        raise FaultError(f"{fault.message}; {written}") from fault


@contextmanager
def _opened(file: Path, form: Form, *, resume: bool) -> Iterator[tuple[IO[str], int | None]]:
    """The file, and the number of its last record; on the disk when the block ends.

    Raises:
        RefusedError: It is there already, or is no export.
        FaultError: It cannot be written.
    """
    try:
        with file.open("r+b" if resume else "xb") as raw:
            last = cut_torn_line(raw, form, file=file) if resume else None
            with os.fdopen(os.dup(raw.fileno()), "w", encoding="utf-8", newline="") as opened:
                if raw.tell() == 0:
                    opened.write(form.heading)
                yield opened, last
                opened.flush()
                os.fsync(opened.fileno())
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
    end = "" if done.position is None else f"; --resume --after {done.position} goes on"
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
