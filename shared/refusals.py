# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A refusal as it travelled becomes again what was raised."""

from __future__ import annotations

from shared.contracts.errors import ERROR_NUMBERS, RETRYABLE, ErrorCode
from shared.errors import FaultError, Refusal, RefusedError


def parse_refusal(refusal: Refusal) -> RefusedError | FaultError:
    """The error to raise: a fault if it may work later, or if its code is of a newer release."""
    code: ErrorCode | None = next((code for code in ERROR_NUMBERS if code == refusal.code), None)
    if code is None or code in RETRYABLE:
        return FaultError(refusal.message, refusal.reasons)
    return RefusedError(refusal.message, refusal.reasons, code=code)
