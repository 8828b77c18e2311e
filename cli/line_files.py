# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Files of records, a line each, that may have been torn while one was written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Final

from cli.audit_forms import Form
from shared.errors import RefusedError

LONGEST_LINE_BYTES: Final = 4 * 1024 * 1024
"""No record's line is longer."""


def cut_torn_line(raw: IO[bytes], form: Form, *, file: Path) -> int | None:
    """What was being written last is gone if it is no whole line; the last record's number.

    Raises:
        RefusedError: The file holds something else.
    """
    size = raw.seek(0, os.SEEK_END)
    start = raw.seek(max(0, size - LONGEST_LINE_BYTES))
    tail = raw.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if not whole and start:
        raise RefusedError(f"{file}: its last line is no record of an export")
    raw.truncate(start + len(whole))
    raw.seek(start + len(whole))
    if not whole:
        return None
    line = whole[:-1].rpartition(b"\n")[2].decode(errors="replace").rstrip("\r")
    if form.heading and line == form.heading.rstrip():
        return None
    return form.record_of(line)


def last_whole_record(path: Path, form: Form) -> int | None:
    """The number of a file's last record, once what was torn is cut off; None: it has none.

    Raises:
        RefusedError: The file holds something else, or cannot be opened.
    """
    try:
        with path.open("r+b") as raw:
            return cut_torn_line(raw, form, file=path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be opened: {error.strerror}") from error
