# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout policy as people write it down."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cli.written_document import ApiVersion, read_written
from shared.contracts.rollout_policy import RolloutPolicy


class RolloutPolicyDocument(RolloutPolicy, frozen=True, kw_only=True):
    """A policy and the version of the form that it is written in."""

    api_version: ApiVersion = msgspec.field(default="l3af/v1", name="apiVersion")
    """Left out: l3af/v1."""


def read_policy(file: Path) -> RolloutPolicy:
    """The policy in a file: YAML and JSON by the end of its name, all else is TOML.

    Raises:
        RefusedError: With every problem and its path.
    """
    written = read_written(file, RolloutPolicyDocument, noun="a rollout policy")
    return RolloutPolicy(rules=written.rules)
