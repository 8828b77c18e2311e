# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Licence statements: what an object tells the kernel against what its manifest says."""

from __future__ import annotations

import msgspec
import pytest

from shared.contracts.licences import LicenceFinding
from shared.contracts.package_facts import ProgramFacts
from shared.kernel_abilities import kernel_abilities
from shared.licensing.expressions import (
    ExpressionError,
    category,
    is_known,
    parse_expression,
)
from shared.licensing.verdict import MAX_FINDINGS, RULES, refusals
from tests.package_builders import some_facts
from tests.support.kernels import a_kernel
from tests.support.licensed_packages import an_object, broken, verdict


def refused(elf: str, spdx: str, *, helpers: tuple[int, ...] = ()) -> list[LicenceFinding]:
    """Why the two statements cannot stand, for a program that calls `helpers`."""
    found = verdict(spdx, an_object(elf, helpers=helpers))
    return [one for one in found.findings if one.outcome == "refused"]


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
    assert refused(elf, spdx) == []


@pytest.mark.parametrize(
    ("elf", "spdx"),
    [
        ("GPL", "Apache-2.0"),
        ("GPL", "LicenseRef-Proprietary"),
        ("GPL", "LicenseRef-GPL-2.0"),
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
def test_a_false_statement_is_refused_with_evidence_and_a_way_out(elf: str, spdx: str) -> None:
    """Both statements are in the finding, at the object that made one of them."""
    found = [one for one in refused(elf, spdx) if one.rule == "kernel-string"]

    assert found
    for one in found:
        assert one.path == "archive[one.bpf.o].license"
        assert one.evidence == {"file": "one.bpf.o", "elf": elf, "spdx": spdx}
        assert one.fix


def test_the_strings_that_would_do_are_named() -> None:
    """A refusal says which of the kernel's strings the expression justifies."""
    (found,) = refused("Dual BSD/GPL", "MIT OR GPL-2.0-only")

    assert found.allowed == ("GPL", "GPL v2", "GPL and additional rights", "Dual MIT/GPL")


def test_a_refusal_of_a_request_has_rule_evidence_and_fix() -> None:
    """What a publisher reads is the finding, as every refusal is written."""
    (reason,) = refusals(verdict("Apache-2.0", an_object("GPL")))

    assert reason.path == "archive[one.bpf.o].license"
    assert "kernel-string" in reason.rule
    assert "fix: offer GPL-2.0-only or GPL-2.0-or-later in the manifest" in reason.rule
    assert reason.got == {"file": "one.bpf.o", "elf": "GPL", "spdx": "Apache-2.0"}


def test_gpl_only_helpers_need_a_string_that_the_kernel_knows() -> None:
    """A program that calls bpf_trace_printk (6) under another string could never load."""
    (found,) = refused("Apache-2.0", "Apache-2.0", helpers=(1, 6))

    assert found.rule == "gpl-only-helpers"
    assert found.evidence == {
        "file": "one.bpf.o",
        "function": "one",
        "helpers": ["bpf_trace_printk (6)"],
        "elf": "Apache-2.0",
    }


def test_gpl_only_helpers_are_open_to_a_string_that_the_kernel_knows() -> None:
    """The same calls are nothing to remark on under `GPL`."""
    assert refused("GPL", "GPL-2.0-only", helpers=(1, 6)) == []


def test_the_kernels_own_tables_go_before_the_built_in_one() -> None:
    """What no kernel of the nodes restricts is open, and what one of them restricts is closed."""
    one = an_object("MIT", helpers=(7, 69))
    lenient = kernel_abilities(a_kernel(gpl_only_helpers="4"))
    strict = kernel_abilities(a_kernel(gpl_only_helpers="4,7"))

    assert "gpl-only-helpers" not in broken(verdict("MIT", one, kernels=(lenient,)))
    found = broken(verdict("MIT", one, kernels=(lenient, strict)))["gpl-only-helpers"]
    assert found.evidence["helpers"] == ["bpf_get_prandom_u32 (7)"]


def test_a_kernel_function_is_closed_to_any_other_string() -> None:
    """The finding names the function that calls it."""
    one = an_object("MIT", kernel_functions=("bpf_xdp_metadata_rx_hash",))
    found = broken(verdict("MIT", one))["kernel-functions"]

    assert found.outcome == "refused"
    assert found.evidence["kernel_functions"] == ["bpf_xdp_metadata_rx_hash"]


@pytest.mark.parametrize(
    ("section", "helper", "is_closed"),
    [
        ("perf_event", 27, False),
        ("kprobe/do_exit", 27, True),
        ("kprobe/do_exit", 173, True),
        ("kprobe.multi/do_*", 173, False),
        ("?kprobe.session/do_*", 173, False),
        ("uprobe.multi//bin/true:*", 173, False),
        ("fexit/do_exit", 173, True),
    ],
)
def test_the_kind_of_program_decides_over_two_helpers(
    section: str, helper: int, *, is_closed: bool
) -> None:
    """get_stackid and get_func_ip exist in two versions, one of them open to all."""
    one = an_object("MIT", function="other", section=section, helpers=(helper,))

    assert ("gpl-only-helpers" in broken(verdict("MIT", one))) == is_closed


@pytest.mark.parametrize("section", ["lsm/bpf", "lsm.s/bpf", "struct_ops/init"])
def test_some_kinds_of_program_are_for_gpl_compatible_ones_alone(section: str) -> None:
    """The kernel refuses them whatever they call."""
    one = an_object("MIT", function="other", section=section)

    assert broken(verdict("MIT", one))["program-types"].outcome == "refused"


def test_a_string_that_says_less_than_the_manifest_is_noted() -> None:
    """`GPL` for dual-licensed code is true, and hides the choice."""
    found = broken(verdict("GPL-2.0-only OR BSD-2-Clause", an_object("GPL")))

    assert found["under-declared"].outcome == "noted"
    assert found["under-declared"].allowed == ("Dual BSD/GPL",)


def test_what_a_node_compiles_is_said_not_to_be_known() -> None:
    """The calls of a C source are known after a node compiled it."""
    one = an_object("MIT", compiler="bcc")

    assert broken(verdict("MIT", one))["gpl-only-helpers"].outcome == "noted"


def test_licences_that_exclude_each_other_are_refused_where_they_are_the_only_choice() -> None:
    """GPL-2.0-only and Apache-2.0 cannot be one object; with another choice it is noted."""
    impossible = "GPL-2.0-only AND Apache-2.0"

    assert broken(verdict(impossible, an_object("")))["arms-combine"].outcome == "refused"
    assert (
        broken(verdict(f"MIT OR ({impossible})", an_object("MIT")))["arms-combine"].outcome
        == "noted"
    )
    unclear = broken(verdict("GPL-2.0-only AND LicenseRef-A", an_object("")))
    assert unclear["arms-combine"].outcome == "review"


def test_every_rule_is_in_the_verdict_whether_it_holds_or_not() -> None:
    """A verdict says what was looked at, not only what was found."""
    good = verdict("GPL-2.0-only OR BSD-2-Clause", an_object("Dual BSD/GPL"))

    assert [(one.rule, one.outcome) for one in good.findings] == [(one, "passed") for one in RULES]
    assert (good.outcome, good.policy, good.policy_version) == ("passed", "gpl-ok", "1.0.0")
    bad = verdict("MIT", an_object("GPL"))
    assert {one.rule for one in bad.findings} == set(RULES)


def test_what_is_broken_in_many_places_is_named_in_some_and_counted() -> None:
    """A verdict is kept in a record, and a refusal is a message."""
    programs = tuple(
        ProgramFacts(
            function=f"f{number}", section="xdp", instructions=2, helpers=tuple(range(212))
        )
        for number in range(1000)
    )
    found = verdict("MIT", some_facts(licence="MIT", programs=programs))

    calls = [one for one in found.findings if one.rule == "gpl-only-helpers"]
    assert len(calls) == MAX_FINDINGS + 1
    assert calls[-1].text == f"{1000 - MAX_FINDINGS} more places are left out"
    assert (calls[-1].outcome, found.outcome) == ("refused", "refused")
    assert len(msgspec.json.encode(found)) < 100_000


def test_and_binds_more_tightly_than_or() -> None:
    """`A OR B AND C` offers A, or B and C together."""
    assert parse_expression("A OR B AND C", path="") == {frozenset({"A"}), frozenset({"B", "C"})}
    assert parse_expression("(A OR B) AND C", path="") == {
        frozenset({"A", "C"}),
        frozenset({"B", "C"}),
    }


def test_a_licence_ref_is_its_authors_word_and_nobody_elses() -> None:
    """A list may know a licence by such a name; here it is not that licence."""
    assert parse_expression("LicenseRef-GPL-2.0", path="") == {frozenset({"LicenseRef-GPL-2.0"})}
    assert is_known("LicenseRef-GPL-2.0")
    assert category("LicenseRef-GPL-2.0") == "Unknown"
    assert not is_known("Nonsense-1.0")
    assert broken(verdict("Nonsense-1.0", an_object("")))["identifiers-known"].outcome == "review"


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "AND", "MIT OR", "OR MIT", "MIT MIT", "(MIT", "MIT)", "()", "MIT WITH"),
        *("MIT/BSD", "Dual BSD/GPL", "mit\n", "(" * 200 + "MIT" + ")" * 200, "A" * 600),
        *("MIT WITH (A)", "A WITH B WITH C", "(MIT OR A) WITH B", ")(", "MIT,BSD", "MIT+A"),
        " AND ".join(f"(A{number} OR B{number})" for number in range(7)),
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    """Nonsense, endless nesting and endless choice are refused, at the manifest's field."""
    with pytest.raises(ExpressionError):
        parse_expression(text, path="manifest.licence")
    assert {one.path for one in refused("GPL", text)} == {"manifest.licence"}
