# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit backup`: a copy of the log's file, while the auditor writes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from cli.console import JsonFlag, emit, progress, refusing, say
from cli.session import installation_dir
from installation.layout import Layout
from services.auditor.adapters.sqlite_backup import LogCopy, back_up
from services.auditor.health.adapters.state_directory import StateDirectory
from services.auditor.store import StoreFaultError

STATE_VARIABLE: Final = "AUDITOR_STATE_DIR"


def backup(
    file: Path,
    *,
    state_dir: Annotated[
        Path | None,
        Parameter(help=f"The auditor's; else {STATE_VARIABLE}, or this installation's."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """A checked copy of the log as it is now; the auditor may run, and goes on.

    Runs on the auditor's machine, as a user who may read its state directory; one who may write
    there leaves word of the copy for `l3af audit check`.

    Parameters
    ----------
    file
        Becomes the copy; must not exist.
    """
    variable = os.environ.get(STATE_VARIABLE)
    usual = Path(variable) if variable else Layout(installation_dir()).state("auditor")
    directory = state_dir or usual
    with refusing(json=json), progress("copying the log", total=100) as show:
        copied = back_up(
            directory,
            file,
            progress=lambda done, total: show(100 * done // max(total, 1)),
        )
    try:
        StateDirectory(directory).leave_note(
            tree_size=copied.tree_size, root=copied.root, file=file
        )
    except StoreFaultError as fault:
        say(f"the auditor does not learn of this copy: {fault.message}", json=json)
    emit(copied, _render, json=json)


def _render(copied: LogCopy) -> RenderableType:
    return Text(
        f"{copied.file}: {copied.tree_size} records of {copied.origin}, {copied.file_bytes} bytes\n"
        f"root {copied.root}"
    )
