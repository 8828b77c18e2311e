# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the story is told: steps, commands as a reader would type them, tables, and claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Narrator:
    """Prints the story and remembers which claims did not hold."""

    def __init__(self, console: Console, *, steps: int) -> None:
        self._console = console
        self._steps = steps
        self._step = 0
        self._started = perf_counter()
        self.claims_shown = 0
        self.failed_claims: list[str] = []

    def step(self, title: str, why: str) -> None:
        """The next chapter."""
        self._step += 1
        seconds = perf_counter() - self._started
        self._console.print()
        self._console.rule(
            f"[bold]{self._step}/{self._steps}  {title}[/]  [dim]{seconds:.0f} s[/]", align="left"
        )
        self._console.print(f"[dim]{why}[/]")

    def command(self, words: Sequence[str]) -> None:
        """A command as the reader could type it."""
        self._console.print(Text("  $ " + " ".join(words), style="cyan"), overflow="fold")

    def say(self, sentence: str) -> None:
        """One line of the story."""
        self._console.print(f"  {sentence}")

    def quote(self, text: str, *, style: str = "yellow") -> None:
        """What the product answered, indented."""
        for line in text.strip().splitlines():
            self._console.print(Text("    " + line, style=style), overflow="fold")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of what was seen."""
        table = Table(*columns, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 2))
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        self._console.print(table)

    def claim(self, sentence: str, holds: bool, *, seen: str = "") -> None:  # noqa: FBT001 because a claim holds or not
        """A statement that was checked; the story goes on, but the demo fails if it is false."""
        self.claims_shown += 1
        mark = Text("  ✔ ", style="bold green") if holds else Text("  ✘ ", style="bold red")
        self._console.print(
            mark + Text(sentence) + Text(f"  ({seen})" if seen else "", style="dim")
        )
        if not holds:
            self.failed_claims.append(sentence)

    @contextmanager
    def waiting(self, for_what: str) -> Iterator[None]:
        """Show that something takes a moment."""
        with self._console.status(f"  {for_what}"):
            yield
