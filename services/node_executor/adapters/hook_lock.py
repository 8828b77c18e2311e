# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One executor at a time changes a hook point, whichever processes there are.

The lock is flock(2) on the hook point's pin directory: the kernel frees it when its holder dies.
A directory that was removed and made again is another one, so whoever gets the lock looks whether
what was locked is still what the path names.  Only a holder removes the directory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from time import monotonic, sleep
from typing import Final

from services.node_executor.adapters.kernel_errors import KernelFaultError

PATIENCE_SECONDS: Final = 5.0
"""A change takes milliseconds; a swap of XDP without expedited grace periods up to 30."""
_PAUSE_SECONDS: Final = 0.002
_DIRECTORY_MODE: Final = 0o700


class LockHeldError(Exception):
    """Another process held the lock for too long."""


@contextmanager
def exclusively(
    directory: PurePosixPath, *, base: PurePosixPath, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[None]:
    """Nobody else is in such a block for the same directory, which exists within it.

    Directories below `base` that are empty afterwards are removed.

    Raises:
        LockHeldError: Somebody else is in it for longer than `patience_seconds`.
        KernelFaultError: bpffs refuses.
    """
    locked = _lock(Path(directory), monotonic() + patience_seconds)
    try:
        yield
    finally:
        with suppress(OSError):  # because what is not empty stays
            for folder in (directory, *directory.parents):
                if folder == base or not folder.is_relative_to(base):
                    break
                Path(folder).rmdir()
        os.close(locked)


def _lock(directory: Path, deadline: float) -> int:
    while True:
        try:
            directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # a holder removed it, or the one above it, just now
        except OSError as error:
            raise KernelFaultError(f"locking {directory}", error.errno or 0) from error
        if _is_locked(opened) and _is_named(directory, opened):
            return opened
        os.close(opened)
        if monotonic() > deadline:
            raise LockHeldError
        sleep(_PAUSE_SECONDS)


def _is_locked(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(directory: Path, opened: int) -> bool:
    """Whether the path still leads to the directory that was opened."""
    try:
        return directory.stat().st_ino == os.fstat(opened).st_ino
    except FileNotFoundError:
        return False
