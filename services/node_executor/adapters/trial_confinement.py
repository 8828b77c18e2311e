# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the process of a candidate's trial gives up before it looks at the candidate."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

from shared.contracts.package_tests import TrialLimits
from shared.errors import FaultError

NICENESS: Final = 10
"""Everything else on the node goes first."""
FILE_BYTES: Final = 64 << 20
"""Of one file, as a compiler makes; what is said on standard error is one too."""
_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
"""include/uapi/linux/prctl.h."""


class ConfinementError(FaultError):
    """The process could not give up what it must."""


def confine(limits: TrialLimits) -> None:
    """Memory and time are bounded, and the process ends with the one that started it.

    Raises:
        ConfinementError: The kernel refuses it.
    """
    seconds = limits.processor_seconds
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES,) * 2)
        os.nice(NICENESS)
    except (OSError, ValueError) as error:
        raise ConfinementError(f"the trial cannot be confined: {error}") from error
    libc = ctypes.CDLL(None, use_errno=True)
    for option, argument in ((_SET_DEATH_SIGNAL, signal.SIGKILL), (_NO_NEW_PRIVILEGES, 1)):
        if libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))):
            number = ctypes.get_errno()
            raise ConfinementError(f"the trial cannot be confined: prctl {os.strerror(number)}")
