# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""No number that a caller chooses is without an end, so that none overflows behind the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from shared.contracts.permissions import ALLOWED_ENDPOINTS

ENDPOINTS = {
    endpoint.subject: endpoint for allowed in ALLOWED_ENDPOINTS.values() for endpoint in allowed
}


def _numbers(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") in {"integer", "number"}:
            yield path, schema
        for key, value in schema.items():
            yield from _numbers(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _numbers(value, f"{path}[{index}]")


@pytest.mark.parametrize("subject", sorted(ENDPOINTS))
def test_every_number_in_a_request_is_bounded(subject: str) -> None:
    """It has a smallest and a greatest value."""
    schema = msgspec.json.schema(ENDPOINTS[subject].request)

    unbounded = [
        path
        for path, number in _numbers(schema, "")
        if "maximum" not in number or "minimum" not in number
    ]

    assert unbounded == []
