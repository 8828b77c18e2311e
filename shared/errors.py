# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The roots of every expected failure: a refusal is not a fault is not a bug.

A refusal says no for reasons that repeating will not change; a fault says that something outside
failed and that later may work.  Anything else that is raised is a bug and ends the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.contracts.errors import ErrorCode


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One broken rule, at one place."""

    path: str
    """Where, as `chain[1].config.ports`; empty for the request as a whole."""
    rule: str
    """Which rule is broken, one sentence in the domain's words."""
    got: Any = None
    """What was found there."""
    allowed: Any = None
    """What would be accepted, if that can be said."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The wire form of a RefusedError or FaultError."""

    code: str
    message: str
    reasons: tuple[Reason, ...] = ()


class RefusedError(Exception):
    """The rules say no.  Nothing was changed; the same request will be refused again."""

    code: ClassVar[ErrorCode] = "invalid_request"

    def __init__(
        self, message: str, reasons: Iterable[Reason] = (), *, code: ErrorCode | None = None
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.reasons: Final = tuple(reasons)
        self.refusal_code: Final[ErrorCode] = code or type(self).code

    def refusal(self) -> Refusal:
        """This error as it travels."""
        return Refusal(code=self.refusal_code, message=self.message, reasons=self.reasons)


class VerificationError(RefusedError):
    """A digest, signature or proof does not match.  Always audited."""

    code: ClassVar[ErrorCode] = "verification_failed"


class FaultError(Exception):
    """The outside failed; the same request may work later."""

    code: ClassVar[ErrorCode] = "unavailable"

    def __init__(
        self, message: str, reasons: Iterable[Reason] = (), *, code: ErrorCode | None = None
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.reasons: Final = tuple(reasons)
        self.fault_code: Final[ErrorCode] = code or type(self).code

    def refusal(self) -> Refusal:
        """This error as it travels."""
        return Refusal(code=self.fault_code, message=self.message, reasons=self.reasons)
