# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""By which name a process is known among several.

The state directory holds a name.  Whoever holds the lock on it has that name, so whoever had it
before is dead, and what it held can be taken over without waiting.  Another process that is started
with the same directory makes a name up.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import FaultError

INSTANCE_FILE: Final = "instance"
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Instance:
    """This process."""

    name: str
    host: str
    pid: int


@contextmanager
def named_instance(state_dir: Path) -> Iterator[Instance]:
    """A name that no other process has during the block.

    Raises:
        FaultError: The state directory cannot be used.
    """
    with _locked(state_dir) as name:
        yield Instance(name or _new_name(), socket.gethostname(), os.getpid())


@contextmanager
def _locked(state_dir: Path) -> Iterator[str]:
    """The directory's name; empty if another process has it."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(state_dir / INSTANCE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FaultError(f"{state_dir}: cannot be used: {error.strerror}") from error
    try:
        yield _read_or_make(opened) if _lock(opened) else ""
    finally:
        os.close(opened)


def _lock(opened: int) -> bool:
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_or_make(opened: int) -> str:
    name = os.read(opened, 2 * _NAME_BYTES).decode("ascii", "replace")
    if len(name) == 2 * _NAME_BYTES and name.isalnum():
        return name
    name = _new_name()
    os.pwrite(opened, name.encode(), 0)
    os.fsync(opened)
    return name


def _new_name() -> str:
    return secrets.token_hex(_NAME_BYTES)
