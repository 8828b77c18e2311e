# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The closed list of error codes and the number each travels under.

Numbers follow HTTP's classes because ADR-32 asks for a number in `Nats-Service-Error-Code`.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

ErrorCode = Literal[
    "invalid_request",  # malformed JSON, unknown field, value out of range
    "not_permitted",  # the caller's role has no right to this
    "not_found",  # the named thing does not exist
    "conflict",  # the named thing exists, is claimed, or changed meanwhile
    "version_unsatisfied",  # no released version meets the constraint
    "no_eligible_node",  # no node, or no interface on one, meets the selector
    "verification_failed",  # digest, signature or proof does not match
    "verifier_rejected",  # the kernel's verifier refused a program
    "link_refused",  # the chain cannot be one program by the linking rules
    "hook_owned",  # somebody else holds the hook
    "unsupported_by_kernel",  # the node's kernel lacks what is needed
    "too_large",  # over a stated limit
    "unavailable",  # the outside failed; later may work
]

ERROR_NUMBERS: Final[dict[ErrorCode, int]] = {
    "invalid_request": 400,
    "not_permitted": 403,
    "not_found": 404,
    "conflict": 409,
    "version_unsatisfied": 412,
    "too_large": 413,
    "no_eligible_node": 421,
    "verification_failed": 422,
    "verifier_rejected": 423,
    "link_refused": 424,
    "hook_owned": 425,
    "unsupported_by_kernel": 426,
    "unavailable": 503,
}
"""Every code's number; distinct, so that a client may switch on either."""

RETRYABLE: Final[frozenset[ErrorCode]] = frozenset({"unavailable"})
"""Codes of faults: the same request may work later."""

assert set(get_args(ErrorCode)) == set(ERROR_NUMBERS)
