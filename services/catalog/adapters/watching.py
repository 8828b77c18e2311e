# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Work that is due from time to time, and at once when something concerns it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn

import structlog

from shared.errors import FaultError, RefusedError

WATCH_SECONDS: Final = 60.0
"""How often it is looked whether something is due, if nothing says that it is earlier."""
RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger()


async def keep_looking(
    look: Callable[[], Awaitable[float]], concerned: asyncio.Event, *, what: str
) -> NoReturn:
    """For ever: `look` is done now, when its pause is over, and whenever `concerned` is set.

    Args:
        look: Does what is due; returns the seconds until something may be due again.
        concerned: Cleared before each look.
        what: What is looked after, as `waivers`.
    """
    while True:
        concerned.clear()
        try:
            pause_seconds = await look()
        except (FaultError, RefusedError) as error:
            _log.warning(f"{what}_not_watched", why=error.message)
            pause_seconds = WATCH_SECONDS if isinstance(error, RefusedError) else RETRY_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await concerned.wait()
