# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A task group raises groups; whoever called it wants the error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager

from shared.errors import FaultError


@asynccontextmanager
async def plain_task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what was raised in it: of several faults the first.

    Only several exceptions that are not all faults leave as a group.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        # Whatever it holds goes on its way, by itself or as it came; nothing is dealt with here.
        first, *others = leaves(group)
        if not others or all(isinstance(error, FaultError) for error in (first, *others)):
            raise first from first.__cause__
        raise


@asynccontextmanager
async def beside(*works: Coroutine[object, object, object]) -> AsyncIterator[None]:
    """A block during which these work; one that ends in an error ends it, as a task group does."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, however deep; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error
