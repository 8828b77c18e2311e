# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How every command speaks: results on stdout, everything else on stderr, three exit statuses.

Exit 0: done.  Exit 2: refused, the same command will be refused again.  Exit 3: a fault, later it
may work.  `--json` prints one JSON document: the reply on stdout, or the refusal on stderr.
Progress is shown only where a person looks on.  A command that checks something may end with 1:
it was done, and found what needs attention.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
import uvloop
from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from shared.adapters.logs import silence_tls_endings
from shared.audit_formats.tables import without_controls
from shared.errors import FaultError, Reason, RefusedError

REFUSED: Final = 2
FAULT: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT

NodeArgument = Annotated[str, Parameter(help="Its name.")]
"""The node that a command is about."""

JsonFlag = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON document instead of text.")
]
CredentialsOption = Annotated[
    Path | None,
    Parameter(
        name="--credentials",
        help="Directory with `user.creds` and `installation.json` of the principal to act as.",
    ),
]

PIPED_COLUMNS: Final = 200
"""Off a terminal nothing is squeezed: digests, keys and command ids stay in one piece."""

plain: Final = without_controls
"""Texts of others as they are shown."""

_out: Final = Console(
    markup=False,
    highlight=False,
    emoji=False,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_COLUMNS,
)
_error: Final = Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)

ResultT = TypeVar("ResultT")
MessageT = TypeVar("MessageT")


def run(coroutine: Coroutine[Any, Any, ResultT], *, json: bool) -> ResultT:
    """What the coroutine returns; its refusals and faults end the process (see `refused`)."""
    silence_tls_endings()
    try:
        return uvloop.run(coroutine)
    except (RefusedError, FaultError) as error:
        refused(error, json=json)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def refusing(*, json: bool) -> Iterator[None]:
    """Like `run`, for a command that needs no event loop."""
    try:
        yield
    except (RefusedError, FaultError) as error:
        refused(error, json=json)


def refused(error: RefusedError | FaultError, *, json: bool = False) -> NoReturn:
    """Say on stderr why not, with every reason, and exit with REFUSED or FAULT."""
    refusal = error.refusal()
    if json:
        sys.stderr.write(msgspec.json.encode(refusal).decode() + "\n")
    else:
        word = "refused" if isinstance(error, RefusedError) else "failed"
        _error.print(Text.assemble((f"{word}: ", "bold red"), plain(refusal.message)))
        for reason in refusal.reasons:
            _error.print(_reason_line(reason))
    sys.exit(REFUSED if isinstance(error, RefusedError) else FAULT)


def emit(message: MessageT, render: Callable[[MessageT], RenderableType], *, json: bool) -> None:
    """Print the message on stdout: rendered for people, or as one JSON document."""
    if json:
        sys.stdout.write(msgspec.json.encode(message).decode() + "\n")
    else:
        _out.print(render(message))


def terminal() -> Console:
    """Where results go, for what is drawn anew in one place of a terminal."""
    return _out


def remark_terminal() -> Console:
    """Where everything else goes, for what is drawn anew while one waits."""
    return _error


def say(line: RenderableType, *, json: bool = False) -> None:
    """Print a remark on stderr; nothing with `--json`."""
    if not json:
        _error.print(plain(line) if isinstance(line, str) else line)


@contextmanager
def progress(description: str, *, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show how far a long wait is, on a terminal; call what is yielded with the amount done.

    Args:
        description: What is going on, as `uploading`.
        total: The amount that is all; None shows a spinner and the time.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([BarColumn()] if total else []),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_error, transient=True, disable=not _error.is_terminal) as bars:
        task = bars.add_task(plain(description), total=total)
        yield lambda done: bars.update(task, completed=done)


def _reason_line(reason: Reason) -> Text:
    line = Text("  ")
    if reason.path:
        line.append(f"{plain(reason.path)}: ", style="bold")
    line.append(plain(reason.rule))
    remarks = [
        f"{word} {plain(_short(value))}"
        for word, value in (("got", reason.got), ("allowed", reason.allowed))
        if value is not None
    ]
    if remarks:
        line.append(f" ({'; '.join(remarks)})", style="dim")
    return line


def _short(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return msgspec.json.encode(value).decode()
