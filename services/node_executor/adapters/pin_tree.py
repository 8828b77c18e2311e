# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The directory of all pins, which stays although somebody unmounts the bpffs that it lies in.

Pins go when the last mount of their bpffs goes, and programs come off their hooks with them.  So
the directory is held open: a plain unmount is refused by the kernel (EBUSY), and after a lazy one
(MNT_DETACH) the pins live on, out of sight.  They are then pinned again in a bpffs that is mounted
in the place of the one before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from services.node_executor.adapters import pins
from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError


class PinTree:
    """One directory, in sight whenever `ensure` returned."""

    def __init__(self, base: PurePosixPath, on_restored: Callable[[int], object]) -> None:
        """The directory is there; `on_restored` is told how many pins were out of sight.

        Raises:
            KernelFaultError: bpffs cannot be mounted, or the directory not made.
        """
        pins.prepare_pin_directory(base)
        self._base: Final = base
        self._on_restored: Final = on_restored
        self._held = _opened(base)
        self._unsaid: int | None = None

    def ensure(self) -> None:
        """The path leads to the pins, as many as there were; whoever asked is told once.

        Raises:
            KernelFaultError: As above; what is pinned goes on, and the next call tries again.
            FaultError: `on_restored` failed; the next call tells it again.
        """
        if not self._is_in_sight():
            pins.prepare_pin_directory(self._base)
            following = _opened(self._base)
            if _identity(following.fd)[0] != _identity(self._held.fd)[0]:
                try:
                    self._unsaid = _copy(f"/proc/self/fd/{self._held.fd}", self._base)
                except (KernelFaultError, OSError) as error:
                    following.close()
                    raise _fault(self._base, error) from error
            self._held.close()
            self._held = following
        if self._unsaid is not None:
            self._on_restored(self._unsaid)
            self._unsaid = None

    def __del__(self) -> None:
        """The directory is not held any more."""
        if hasattr(self, "_held"):
            self._held.close()

    def _is_in_sight(self) -> bool:
        try:
            found = os.stat(self._base)  # noqa: PTH116 because it is asked for each look
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == _identity(self._held.fd)


def _copy(source: str, target: PurePosixPath) -> int:
    """Everything below `source` is pinned below `target` too; how many objects that are."""
    count = 0
    for folder, folders, files in os.walk(source):
        below = target / PurePosixPath(folder).relative_to(source)
        Path(below).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                pins.link_path(below / name, PurePosixPath(path.readlink()))
            elif name in files and (opened := pins.open_pinned_text(str(path))) is not None:
                with opened:
                    pins.pin(opened, below / name)
                count += 1
    return count


def _opened(base: PurePosixPath) -> Descriptor:
    try:
        return Descriptor(os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise _fault(base, error) from error


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _fault(base: PurePosixPath, error: OSError | KernelFaultError) -> KernelFaultError:
    number = error.number if isinstance(error, KernelFaultError) else error.errno
    return KernelFaultError(f"bringing pins back to {base}", number or 0)
