# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a bus can fail the one who uses it."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, RefusedError


class NotPermittedError(RefusedError):
    """The bus refuses these credentials, or a subject to them."""

    code: ClassVar[ErrorCode] = "not_permitted"


class MessageTooLargeError(RefusedError):
    """The message with its headers is over what the server takes."""

    code: ClassVar[ErrorCode] = "too_large"


class NobodyAnswersError(FaultError):
    """Nobody is there to answer; nothing was delivered."""


class NoAnswerInTimeError(FaultError):
    """No answer came; whether the request had an effect is not known."""


class BusUnreachableError(FaultError):
    """There is no connection."""
