# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A process from start to exit status.

The only place that catches everything: what reaches it and is no refusal or fault is a bug.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import structlog
import uvloop

from shared.adapters.exception_groups import leaves
from shared.errors import FaultError, RefusedError

EXIT_CLEAN: Final = 0
EXIT_BUG: Final = 1
EXIT_REFUSED: Final = 2
"""The configuration or the credentials are refused: starting again will not help."""
EXIT_FAULT: Final = 3

_log = structlog.get_logger()


class StoppedError(Exception):
    """`stop` was set before `main` had what it needs; a clean end."""


def run(main: Callable[[asyncio.Event], Awaitable[None]]) -> NoReturn:
    """Runs `main(stop)` and ends the process.

    SIGTERM and SIGINT set `stop`; `main` then finishes what it has and returns, or raises
    StoppedError if it has nothing yet.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_until_stopped(main))
            status = EXIT_CLEAN
        except StoppedError:
            status = EXIT_CLEAN
        except Exception as error:  # noqa: BLE001 because this is the one place per process
            status = exit_status(error)
            _log.error("process_failed", status=status, exc_info=error)
    sys.exit(status)


def exit_status(error: BaseException) -> int:
    """The status that says what kind of failure `error` is; of several, a bug counts most."""
    return min(_status_of(leaf) for leaf in leaves(error))


def _status_of(error: BaseException) -> int:
    if isinstance(error, FaultError):
        return EXIT_FAULT
    return EXIT_REFUSED if isinstance(error, RefusedError) else EXIT_BUG


async def _until_stopped(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)
