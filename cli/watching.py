# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looking at something again and again: in one place of a terminal, elsewhere line by line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from cyclopts import Parameter
from rich.console import RenderableType
from rich.live import Live

from cli.console import emit, say, terminal
from shared.errors import FaultError, Reason, RefusedError

SHORTEST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 3600.0

EveryOption = Annotated[float, Parameter(name="--every", help="Seconds between looks.")]
LooksOption = Annotated[
    int, Parameter(name="--looks", help="Stop after so many looks; 0: when interrupted.")
]

SeenT = TypeVar("SeenT")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Watching:
    """Whether and how a command looks more than once."""

    watch: Annotated[bool, Parameter(name="--watch", negative=(), help="Look again and again.")] = (
        False
    )
    every: EveryOption = 1.0
    looks: LooksOption = 0


ONCE: Final = Watching()


def check_watching(every: float, looks: int) -> None:
    """Nothing, if one can look like this.

    Raises:
        RefusedError: Too often, too rarely, or less often than never.
    """
    reasons = []
    if not SHORTEST_SECONDS <= every <= LONGEST_SECONDS:
        rule = f"must be between {SHORTEST_SECONDS} and {LONGEST_SECONDS:.0f} seconds"
        reasons.append(Reason(path="--every", rule=rule, got=every))
    if looks < 0:
        reasons.append(Reason(path="--looks", rule="must not be negative", got=looks))
    if reasons:
        raise RefusedError(f"{reasons[0].path} {reasons[0].rule}", reasons)


async def looked(
    look: Callable[[], Awaitable[SeenT]],
    *,
    every: float,
    waiting: Callable[[str], None] | None = None,
) -> AsyncIterator[SeenT]:
    """What is seen, for ever; a look begins `every` seconds after the one before began.

    Args:
        look: Looks once.
        every: In seconds.
        waiting: Told what is away, each time that this changes, until something is seen again;
            None: a look that fails is the last.

    Raises:
        FaultError: Of the look, if nobody is told.
    """
    clock, said = asyncio.get_running_loop().time, ""
    while True:
        began_at = clock()
        try:
            seen = await look()
        except FaultError as error:
            if waiting is None:
                raise
            if error.message != said:
                waiting(error.message)
            said = error.message
        else:
            said = ""
            yield seen
        await asyncio.sleep(max(0.0, began_at + every - clock()))


async def show_looks(
    seen: AsyncIterable[SeenT],
    render: Callable[[SeenT], RenderableType],
    *,
    looks: int = 0,
    json: bool,
    show: Callable[[SeenT], None] | None = None,
) -> SeenT | None:
    """The last that was seen, once all of it was shown.

    Args:
        seen: What to show.
        render: For people.
        looks: How many at most; 0: all.
        json: Whether each is printed as one JSON document a line.
        show: How one is printed where it is not drawn in place; None: by `render`, or as JSON.
    """
    is_live = sys.stdout.isatty() and not json
    number, last = 0, None
    with ExitStack() as held:
        live = held.enter_context(Live(console=terminal(), auto_refresh=False)) if is_live else None
        async for last in seen:
            if live is not None:
                live.update(render(last), refresh=True)
            elif show is not None:
                show(last)
            else:
                emit(last, render, json=json)
            number += 1
            if number == looks:
                break
    return last


async def show(
    look: Callable[[], Awaitable[SeenT]],
    render: Callable[[SeenT], RenderableType],
    watching: Watching,
    *,
    json: bool,
) -> None:
    """What is seen is printed, once or for as long as one watches.

    Raises:
        RefusedError: One cannot watch like this; or the look is refused.
        FaultError: Of the only look; who watches is told what is away, and waits.
    """
    if not watching.watch:
        emit(await look(), render, json=json)
        return
    check_watching(watching.every, watching.looks)
    seen = looked(
        look, every=watching.every, waiting=lambda what: say(f"waiting: {what}", json=json)
    )
    await show_looks(seen, render, looks=watching.looks, json=json)
