# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel adapters raise, beyond the two roots."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import ClassVar, Final

from services.node_executor.adapters.verifier_log import VerifierFinding, read_verifier_log
from services.node_executor.kernel_types import HookOccupant
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError

_LOG_TAIL_CHARACTERS: Final = 8192


class KernelFaultError(FaultError):
    """A system call failed for a reason that lies outside the program."""

    def __init__(self, action: str, number: int) -> None:
        super().__init__(f"{action}: {os.strerror(number)} ({errno.errorcode.get(number, number)})")
        self.number: Final = number


class UnsupportedByKernelError(RefusedError):
    """The node lacks what is needed."""

    code: ClassVar[ErrorCode] = "unsupported_by_kernel"


class InterfaceGoneError(FaultError):
    """The network interface does not exist any more."""


class HookOwnedError(RefusedError):
    """Somebody else's program is on the hook."""

    code: ClassVar[ErrorCode] = "hook_owned"

    def __init__(self, hook_point: str, occupants: tuple[HookOccupant, ...]) -> None:
        named = ", ".join(
            f"'{found.program_name}' (program {found.program_id}, tag {found.program_tag})"
            for found in occupants
        )
        super().__init__(
            f"{hook_point} is held by {named or 'a program that cannot be named'}",
            [Reason(path=hook_point, rule="must be free or held by this executor", got=named)],
        )
        self.occupants: Final = occupants


class LinkChangedError(RefusedError):
    """The link runs another program than expected: somebody else was faster."""

    code: ClassVar[ErrorCode] = "conflict"

    def __init__(self, link_id: int, *, expected_id: int, actual: HookOccupant) -> None:
        super().__init__(
            f"link {link_id} runs program {actual.program_id} '{actual.program_name}'"
            f" (tag {actual.program_tag}), not program {expected_id}"
        )
        self.actual: Final = actual


class VerifierRejectedError(RefusedError):
    """The kernel's verifier refused a program.

    The message holds the verifier's last words and the source line they are about.
    """

    code: ClassVar[ErrorCode] = "verifier_rejected"

    def __init__(
        self,
        name: str,
        function: str,
        log: str,
        *,
        path: str = "",
        place: str = "",
        body: int | None = None,
    ) -> None:
        """`place` is `file.c:12`, for logs that do not say it; `path` is for the reason."""
        finding = read_verifier_log(log)
        if not finding.place:
            finding = replace(finding, place=place)
        super().__init__(
            f"{name}: the kernel's verifier refuses '{function}': {finding.sentence}",
            [Reason(path=path or name, rule=finding.error, got=finding.source or None)],
        )
        self.finding: Final[VerifierFinding] = finding
        self.body: Final = body
        """Of a linked chain: index of the program that it is about; None: not known."""
        self.log_tail: Final = log[-_LOG_TAIL_CHARACTERS:]
