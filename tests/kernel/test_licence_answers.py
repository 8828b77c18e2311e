# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The licence engine says of every call what the running kernel says.

The kernel is asked by loading: a program that makes one call and ends.  A seeded part of all
(helper, kind of program, licence string) is asked here, all of them in the long form.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from itertools import product

import pytest

from services.node_executor.adapters.capabilities import probe_pieces
from services.node_executor.adapters.program_probe import NOT_ASKED, PROGRAM_TYPES, ProgramType
from shared.bytecode.licences import GPL_COMPATIBLE_LICENCES
from shared.kernel_abilities import KernelAbilities, kernel_abilities
from shared.licensing.kernel import (
    GPL_ONLY_TYPES,
    ProgramKind,
    closed_calls,
    helper_answer,
)
from tests.support.licence_probe import KINDS, LicenceProbe

pytestmark = pytest.mark.kernel

IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
SEED = 1
SAMPLE = 6000
HELPERS = range(1, 212)
OTHER_STRINGS = (
    *("", "Proprietary", "gpl", "GPL ", " GPL", "GPLv2", "GPL v3", "GPL-2.0", "GPL-2.0-only"),
    *("GPL-2.0-or-later", "Dual Apache/GPL", "Dual LGPL/GPL", "Dual BSD/GPL ", "dual BSD/GPL"),
    *("MIT", "BSD", "Apache-2.0", "MPL", "GPL-2.0-only OR BSD-2-Clause", "GPL" * 60),
)
STRINGS = (*sorted(GPL_COMPATIBLE_LICENCES), *OTHER_STRINGS)

Question = tuple[tuple[ProgramKind, ProgramType], int, str]


@pytest.fixture(scope="module")
def kernel() -> KernelAbilities:
    """This kernel's own tables, as a node finds them."""
    found = [one for one in probe_pieces() if one is not None]
    return kernel_abilities(found[-1])


@pytest.fixture(scope="module")
def probe() -> LicenceProbe:
    """The one that asks."""
    return LicenceProbe()


def questions(probe: LicenceProbe) -> list[Question]:
    """All that can be asked of this kernel."""
    kinds = [one for one in KINDS if probe.takes(one[1])]
    return list(product(kinds, HELPERS, STRINGS))


def assert_agreement(
    probe: LicenceProbe, kernel: KernelAbilities, asked: Iterable[Question]
) -> None:
    """Both tables, the probed and the built-in one, say what the kernel says.

    That a kind lacks a helper is known of helpers that the node asked about.
    """
    wrong = []
    for (kind, loaded_as), helper, licence in asked:
        live = probe.says(loaded_as, licence, helper=helper)
        built_in = helper_answer(kind, helper, licence)
        by_node = helper_answer(kind, helper, licence, kernel)
        is_known = live != "absent" or helper not in NOT_ASKED
        if (is_known and by_node != live) or live not in ("absent", built_in):
            wrong.append((kind, helper, licence, live, by_node, built_in))
    assert not wrong, f"{len(wrong)}: {wrong[:20]}"


@pytest.mark.soak
def test_calls_are_answered_as_the_kernel_answers(
    probe: LicenceProbe, kernel: KernelAbilities
) -> None:
    """Every helper, kind of program that loads here, and string; a seeded part in the short form.

    Helpers whose mere asking leaves a trace in the kernel's log are left to the long form.
    """
    everything = questions(probe)
    if not IS_SOAK:
        short = [one for one in everything if one[1] not in NOT_ASKED]
        assert len(short) > SAMPLE
        everything = random.Random(SEED).sample(short, SAMPLE)

    assert_agreement(probe, kernel, everything)


def test_every_helper_in_every_kind_is_answered_for_one_string_of_either_side(
    probe: LicenceProbe, kernel: KernelAbilities
) -> None:
    """What is open and closed is complete, not sampled."""
    asked = [
        one for one in questions(probe) if one[1] not in NOT_ASKED and one[2] in ("GPL", "MIT")
    ]

    assert_agreement(probe, kernel, asked)


@pytest.mark.parametrize("licence", STRINGS)
def test_kernel_functions_are_closed_to_the_same_strings(probe: LicenceProbe, licence: str) -> None:
    """In any kind of program; the kernel asks for the licence before it looks at the function."""
    for kind, loaded_as in KINDS:
        if probe.takes(loaded_as):
            answer = closed_calls(kind, licence, helpers=(), kernel_functions=("any",))

            live = probe.closes_functions(loaded_as, licence, function=1)
            assert bool(answer.kernel_functions) == live, kind


@pytest.mark.parametrize("licence", STRINGS)
def test_struct_ops_are_closed_to_the_same_strings(probe: LicenceProbe, licence: str) -> None:
    """LSM programs too, where the process may make them: the kernel looks at the hook first."""
    (loaded_as,) = (one for one in PROGRAM_TYPES if one.name == "struct_ops")
    answer = closed_calls(ProgramKind("struct_ops"), licence, helpers=(), kernel_functions=())

    assert {"lsm", "struct_ops"} == GPL_ONLY_TYPES
    assert answer.is_type_closed == probe.closes_type(loaded_as, licence)
