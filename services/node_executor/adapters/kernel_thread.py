# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A thread in which the executor blocks, one call at a time.

There are two: one for kernel and journal, in which every change is made, and one for the disk with
the archives, so that no change waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from services.node_executor.adapters.memory_limits import MemoryLimitError, read_limits

ResultT = TypeVar("ResultT")


class KernelThread:
    """Runs blocking calls off the event loop, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")

    async def __call__(
        self, call: Callable[..., ResultT], *arguments: Any, **options: Any
    ) -> ResultT:
        """What `call` returns.  It is finished in any case, even if the caller is cancelled.

        So whatever was asked for happens, in order: a program is put on a hook before the caller
        who is cancelled closes it.

        Raises:
            MemoryLimitError: There was no memory for it.
        """
        loop = asyncio.get_running_loop()
        called = loop.run_in_executor(self._pool, partial(call, *arguments, **options))
        try:
            return await asyncio.shield(called)
        except MemoryError as error:
            while_doing = getattr(call, "__name__", "a call")
            raise MemoryLimitError(while_doing, read_limits()) from error

    def close(self) -> None:
        """All calls are finished."""
        self._pool.shutdown(wait=True)
