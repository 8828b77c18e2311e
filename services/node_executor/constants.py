# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Global variables that are part of a program's code, as bytes to load it with.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.bytecode.configurable_types import variable_types
from shared.bytecode.elf import ObjectFile
from shared.configuration.variables import encode_variables
from shared.contracts.configuration import VariableEntry
from shared.contracts.value_types import Member
from shared.errors import Reason, RefusedError


class ConstantsError(RefusedError):
    """Values of global variables do not fit the program; every one is listed."""


def encode_constants(
    values: Mapping[str, Any],
    entries: Mapping[str, VariableEntry],
    parsed: ObjectFile,
    *,
    name: str,
) -> dict[str, bytes]:
    """The bytes of every constant that is configured, by name.

    Args:
        values: What is configured.
        entries: What the package says of its variables.
        parsed: The program's object.
        name: How refusals call the program.

    Raises:
        ConstantsError: One is no constant of the object, or its value does not fit.
    """
    constants = [
        Member(one, 0, layout)
        for (section, one), layout in variable_types(parsed.btf).items()
        if one in parsed.variables
        and parsed.variables[one].section == section
        and parsed.variables[one].is_constant
    ]
    problems: list[Reason] = []
    encoded = encode_variables(values, entries, constants, problems)
    known = sorted(one.name for one in constants)
    rule = "must be a constant of the program"
    problems += [
        Reason(path=f"variables.{one}", rule=rule, got=one, allowed=known)
        for one in values
        if one not in known
    ]
    if problems:
        path = f"{name}.{problems[0].path}"
        raise ConstantsError(
            f"{path}: {problems[0].rule}",
            [
                Reason(
                    path=f"{name}.{one.path}",
                    rule=one.rule,
                    got=one.got,
                    allowed=one.allowed,
                )
                for one in problems
            ],
        )
    return {one: data for one, (_, data) in encoded.items()}
