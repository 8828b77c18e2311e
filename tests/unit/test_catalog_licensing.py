# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Licence statements: what an object tells the kernel against what its manifest says."""

from __future__ import annotations

import pytest

from services.catalog.licensing import licence_reasons, restricted_anywhere
from services.catalog.spdx import ExpressionError, parse_expression
from shared.bytecode.licences import GPL_ONLY_HELPERS
from shared.contracts.catalog import ProgramFacts
from shared.errors import Reason
from tests.package_builders import a_manifest, some_facts
from tests.support.kernels import a_kernel


def reasons(elf: str, spdx: str, *, helpers: tuple[int, ...] = ()) -> list[Reason]:
    """Why the two statements disagree, for a program that calls `helpers`."""
    program = ProgramFacts(function="one", section="xdp", instructions=2, helpers=helpers)
    facts = some_facts(licence=elf, programs=(program,))
    return list(licence_reasons(a_manifest(licence=spdx), [facts]))


@pytest.mark.parametrize(
    ("elf", "spdx"),
    [
        ("GPL", "GPL-2.0-only"),
        ("GPL", "GPL-2.0"),
        ("GPL v2", "GPL-2.0-or-later"),
        ("GPL", "GPL-2.0+"),
        ("GPL", "Apache-2.0 OR GPL-2.0-only"),
        ("GPL", "GPL-2.0-only WITH Linux-syscall-note"),
        ("GPL", "GPL-2.0-only AND MIT"),
        ("GPL", "LGPL-2.1-only AND (GPL-2.0-only OR BSD-3-Clause)"),
        ("GPL and additional rights", "GPL-2.0-only OR MIT"),
        ("Dual BSD/GPL", "GPL-2.0-only OR BSD-2-Clause"),
        ("Dual BSD/GPL", "(BSD-3-Clause OR GPL-2.0-or-later)"),
        ("Dual MIT/GPL", "MIT OR GPL-2.0-only"),
        ("Dual MPL/GPL", "MPL-2.0 OR GPL-2.0-only"),
        ("Apache-2.0", "Apache-2.0"),
        ("Apache-2.0", "Apache-2.0 OR MIT"),
        ("LicenseRef-Acme", "LicenseRef-Acme"),
        ("Proprietary", "LicenseRef-Proprietary"),
        ("Acme, all rights reserved", "LicenseRef-Acme-all-rights-reserved"),
        ("", "Apache-2.0"),
    ],
)
def test_statements_that_agree_are_accepted(elf: str, spdx: str) -> None:
    """The expression offers every choice that the kernel's string names."""
    assert reasons(elf, spdx) == []


@pytest.mark.parametrize(
    ("elf", "spdx"),
    [
        ("GPL", "Apache-2.0"),
        ("GPL", "LicenseRef-Proprietary"),
        ("GPL", "GPL-3.0-only"),
        ("GPL", "GPL-2.0-only AND Apache-2.0"),
        ("GPL", "BSD-2-Clause"),
        ("Dual BSD/GPL", "GPL-2.0-only"),
        ("Dual BSD/GPL", "BSD-2-Clause"),
        ("Dual BSD/GPL", "GPL-2.0-only AND BSD-2-Clause"),
        ("Dual MIT/GPL", "GPL-2.0-only OR BSD-2-Clause"),
        ("Dual MPL/GPL", "MIT OR GPL-2.0-only"),
        ("GPL and additional rights", "GPL-2.0-only"),
        ("GPL-2.0-only", "MIT"),
        ("Proprietary", "Apache-2.0"),
        ("Proprietary", "LicenseRef-Acme"),
        ("Dual Apache/GPL", "Apache-2.0 OR GPL-2.0-only"),
    ],
)
def test_a_false_statement_is_refused_with_evidence(elf: str, spdx: str) -> None:
    """Both statements are in the reason, at the object that made one of them."""
    found = reasons(elf, spdx)

    assert found
    for reason in found:
        assert reason.path == "archive[one.bpf.o].license"
        assert reason.got == {"elf": elf, "spdx": spdx}


def test_the_strings_that_would_do_are_named() -> None:
    """A refusal says which of the kernel's strings the expression justifies."""
    (reason,) = reasons("Dual BSD/GPL", "MIT OR GPL-2.0-only")

    assert reason.allowed == ["GPL", "GPL v2", "GPL and additional rights", "Dual MIT/GPL"]


def test_gpl_only_helpers_need_a_string_that_the_kernel_knows() -> None:
    """A program that calls bpf_trace_printk (6) under another string could never load."""
    (reason,) = reasons("Apache-2.0", "Apache-2.0", helpers=(1, 6))

    assert "function one calls" in reason.rule
    assert reason.got == {"elf": "Apache-2.0", "helpers": [6], "kernel_functions": []}


def test_a_helper_that_some_kernel_restricts_is_checked_beside_those_of_the_table() -> None:
    """A vendor's kernel may keep more for itself; the table holds for nodes that come later."""
    found = restricted_anywhere([None, a_kernel(gpl_only_helpers="51"), a_kernel()])
    program = ProgramFacts(function="one", section="xdp", instructions=2, helpers=(1, 51))
    facts = some_facts(licence="Apache-2.0", programs=(program,))
    manifest = a_manifest(licence="Apache-2.0")

    (reason,) = licence_reasons(manifest, [facts], restricted=found)

    assert found == GPL_ONLY_HELPERS | {51}
    assert reason.got == {"elf": "Apache-2.0", "helpers": [51], "kernel_functions": []}
    assert list(licence_reasons(manifest, [facts])) == []


def test_gpl_only_helpers_are_open_to_a_string_that_the_kernel_knows() -> None:
    """The same calls are nothing to remark on under `GPL`."""
    assert reasons("GPL", "GPL-2.0-only", helpers=(1, 6)) == []


def test_and_binds_more_tightly_than_or() -> None:
    """`A OR B AND C` offers A, or B and C together."""
    assert parse_expression("A OR B AND C", path="") == {frozenset({"A"}), frozenset({"B", "C"})}
    assert parse_expression("(A OR B) AND C", path="") == {
        frozenset({"A", "C"}),
        frozenset({"B", "C"}),
    }


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "AND", "MIT OR", "OR MIT", "MIT MIT", "(MIT", "MIT)", "()", "MIT WITH"),
        *("MIT/BSD", "Dual BSD/GPL", "mit\n", "(" * 200 + "MIT" + ")" * 200, "A" * 600),
        " AND ".join(f"(A{number} OR B{number})" for number in range(7)),
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Nonsense, endless nesting and endless choice are refused, at the manifest's field."""
    with pytest.raises(ExpressionError):
        parse_expression(text, path="manifest.licence")
    assert {reason.path for reason in reasons("GPL", text)} == {"manifest.licence"}
