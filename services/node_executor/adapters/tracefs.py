# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel's list of tracepoints (tracefs), wherever it is, or mounted for this process alone.

A mount that nobody put anywhere (fsmount(2)) is seen by nobody else and ends with its descriptor,
so nothing of the host changes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.node_executor.adapters.kernel_errors import KernelFaultError, UnsupportedByKernelError
from services.node_executor.adapters.raw_syscalls import FSCONFIG, FSMOUNT, FSOPEN, syscall

NO_TRACEPOINTS: Final = "the kernel has no list of tracepoints (CONFIG_TRACING, tracefs)"
_USUAL: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_CREATE: Final = 6
_ABSENT: Final = (errno.ENODEV, errno.ENOSYS)


def tracepoint_id(category: str, name: str) -> int | None:
    """The number by which perf_event_open(2) knows the tracepoint; None: there is none.

    Raises:
        UnsupportedByKernelError: The kernel has no tracefs.
        KernelFaultError: It cannot be read.
    """
    with _root() as folder:
        try:
            opened = os.open(f"events/{category}/{name}/id", os.O_RDONLY, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise KernelFaultError(f"reading {category}:{name}", error.errno or 0) from error
        try:
            return int(os.read(opened, 32))
        finally:
            os.close(opened)


@contextmanager
def _root() -> Iterator[int]:
    root = next((path for path in _USUAL if (path / "events").is_dir()), None)
    found = _mounted() if root is None else os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield found
    finally:
        os.close(found)


def _mounted() -> int:
    context = _result(syscall(FSOPEN, bytearray(b"tracefs\0"), 0))
    try:
        _result(syscall(FSCONFIG, context, _CREATE, 0, 0, 0))
        return _result(syscall(FSMOUNT, context, 0, 0))
    finally:
        os.close(context)


def _result(answer: tuple[int, int]) -> int:
    result, failure = answer
    if failure in _ABSENT:
        raise UnsupportedByKernelError(NO_TRACEPOINTS)
    if failure:
        raise KernelFaultError("mounting tracefs for this process", failure)
    return result
