# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Values of global variables as bytes.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shared.configuration.kinds import codec_of
from shared.configuration.package_rules import variable_rules
from shared.contracts.configuration import VariableEntry
from shared.contracts.value_types import Member
from shared.errors import Reason


def encode_variables(
    values: Mapping[str, Any],
    entries: Mapping[str, VariableEntry],
    variables: Iterable[Member],
    problems: list[Reason],
) -> dict[str, tuple[int, bytes]]:
    """Offset and bytes of every value whose variable is among `variables`, by name.

    Args:
        values: What is configured; others of them are passed over.
        entries: What the package says of its variables.
        variables: Of one section, or of all.
        problems: Where everything is told that does not fit, as `variables.<name>`.
    """
    encoded: dict[str, tuple[int, bytes]] = {}
    for one in variables:
        if one.name in values:
            path, before = f"variables.{one.name}", len(problems)
            rules = variable_rules(entries.get(one.name, VariableEntry()))
            data = codec_of(one.layout, rules, []).encode(values[one.name], path, problems)
            if len(problems) == before:
                encoded[one.name] = (one.offset_bits // 8, data)
    return encoded
