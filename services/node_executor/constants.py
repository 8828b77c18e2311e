# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Global variables that are part of a program's code, as bytes to load it with.

Pure.
"""

from __future__ import annotations

from services.node_executor.stated_rules import variable_entries
from shared.bytecode.configurable_types import variable_types
from shared.bytecode.elf import ObjectFile
from shared.configuration.variables import encode_variables
from shared.contracts.desired import DesiredProgram
from shared.contracts.value_types import Member
from shared.errors import Reason, RefusedError


class ConstantsError(RefusedError):
    """Values of global variables do not fit the program; every one is listed."""


def encode_constants(program: DesiredProgram, parsed: ObjectFile) -> dict[str, bytes]:
    """The bytes of every constant that is configured, by name.

    Raises:
        ConstantsError: One is no constant of the object, or its value does not fit.
    """
    constants = [
        Member(name, 0, layout)
        for (section, name), layout in variable_types(parsed.btf).items()
        if name in parsed.variables
        and parsed.variables[name].section == section
        and parsed.variables[name].is_constant
    ]
    problems: list[Reason] = []
    encoded = encode_variables(program.constants, variable_entries(program), constants, problems)
    known = sorted(one.name for one in constants)
    rule = "must be a constant of the program"
    problems += [
        Reason(path=f"variables.{name}", rule=rule, got=name, allowed=known)
        for name in program.constants
        if name not in known
    ]
    if problems:
        path = f"{program.deployment}.{problems[0].path}"
        raise ConstantsError(
            f"{path}: {problems[0].rule}",
            [
                Reason(
                    path=f"{program.deployment}.{one.path}",
                    rule=one.rule,
                    got=one.got,
                    allowed=one.allowed,
                )
                for one in problems
            ],
        )
    return {name: data for name, (_, data) in encoded.items()}
