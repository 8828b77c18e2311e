# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How an accepted command comes on, while somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from cli.console import plain, remark_terminal, say
from cli.rollout_view import render_progress, rollout_line
from shared.contracts.scheduler import DeploymentStatus


@contextmanager
def following(
    key: str, *, json: bool, console: Console | None = None
) -> Iterator[Callable[[DeploymentStatus], None]]:
    """Call what is yielded with each status, and it is shown.

    On a terminal, waves, nodes and reasons are drawn in one place and gone at the end; elsewhere a
    rollout has a line whenever it comes further, with `--json` none.

    Args:
        key: Of the deployment.
        json: Whether nothing is to be said.
        console: Where to; None: where remarks go.
    """
    console, said = console or remark_terminal(), ""
    if not console.is_terminal:

        def tell(status: DeploymentStatus) -> None:
            nonlocal said
            line = rollout_line(status.rollout) if status.rollout is not None else ""
            if line and line != said:
                say(f"{key} {line}", json=json)
            said = line

        yield tell
        return
    spinner = Spinner("dots", Text(plain(key)))
    with Live(spinner, console=console, transient=True) as live:
        yield lambda status: live.update(_drawn(status, spinner))


def _drawn(status: DeploymentStatus, spinner: Spinner) -> RenderableType:
    done = status.count_of("running")
    spinner.text = Text(plain(f"{status.key}: {done} of {status.place_count} places as wanted"))
    return spinner if status.rollout is None else Group(spinner, render_progress(status))
