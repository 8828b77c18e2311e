# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces: which there are, and being in one for the length of a block.

setns(2) moves one thread, so whoever enters one does it in a thread that runs nothing else.  Only
the network changes: bpffs and all files are seen as before.  The process needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from services.node_executor.adapters.kernel_errors import InterfaceGoneError, KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries

FOLDER: Final = Path("/run/netns")
"""Where ip-netns(8) names them."""
_HOME: Final = "/proc/thread-self/ns/net"
_NEW_NETWORK: Final = 0x40000000
"""include/uapi/linux/sched.h: CLONE_NEWNET."""
_NO_NAMESPACE: Final = (errno.ENOENT, errno.EINVAL, errno.ENOTDIR)
"""There is no such name; the name was made and nothing is mounted there yet, or any more."""


class NamespaceGoneError(InterfaceGoneError):
    """There is no network namespace of that name now."""


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread is in that network namespace within the block, and back in its own afterwards.

    Args:
        netns: A name below /run/netns; empty: nothing changes.

    Raises:
        NamespaceGoneError: There is no such namespace.
        KernelFaultError: It may not be entered.
    """
    if not netns:
        yield
        return
    home = os.open(_HOME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(netns)
        try:
            yield
        finally:
            failure = _setns(home)
            if failure:  # whatever this thread did next would be done in a wrong place
                raise AssertionError(f"unreachable: the way home is held open, errno {failure}")
    finally:
        os.close(home)


def no_names() -> tuple[str, ...]:
    """As if there were no named namespace."""
    return ()


def names() -> tuple[str, ...]:
    """Every named namespace but the thread's own, ascending; one with two names by the first."""
    own = os.stat(_HOME)  # noqa: PTH116 because it is a path of proc
    seen = {own.st_ino}
    found = []
    with suppress(OSError):
        for name in sorted(os.listdir(FOLDER)):  # noqa: PTH208 because there may be thousands
            with suppress(OSError):
                status = os.stat(FOLDER / name)  # noqa: PTH116
                # A name that nothing is mounted on yet is an empty file of another filesystem.
                if status.st_dev == own.st_dev and status.st_ino not in seen:
                    seen.add(status.st_ino)
                    found.append(name)
    return tuple(found)


def _enter(netns: str) -> None:
    try:
        opened = os.open(FOLDER / netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(netns, error.errno or 0) from error
    try:
        failure = _setns(opened)
    finally:
        os.close(opened)
    if failure:
        raise _refused(netns, failure)


def _refused(netns: str, failure: int) -> NamespaceGoneError | KernelFaultError:
    if failure in _NO_NAMESPACE:
        return NamespaceGoneError(f"there is no network namespace {netns}")
    return KernelFaultError(f"entering the network namespace {netns}", failure)


def _setns(opened: int) -> int:
    """What the kernel answers: 0 or errno."""
    ffi, _, c = libraries()
    return int(ffi.errno) if c.setns(opened, _NEW_NETWORK) else 0
