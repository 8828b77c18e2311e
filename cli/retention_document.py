# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Retention rules as people write them down."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cli.written_document import ApiVersion, read_written
from shared.contracts.retention import RetentionRules


class RetentionDocument(RetentionRules, frozen=True, kw_only=True):
    """Rules and the version of the form that they are written in."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""


def read_retention(file: Path) -> RetentionRules:
    """The rules in a file: YAML and JSON by the end of its name, all else is TOML.

    Raises:
        RefusedError: With every problem and its path.
    """
    written = read_written(file, RetentionDocument, noun="retention rules")
    return RetentionRules(rules=written.rules, daily=written.daily)
