# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the licence engine that hold for any package."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bytecode.licences import GPL_COMPATIBLE_LICENCES, GPL_ONLY_HELPERS
from shared.contracts.licences import OUTCOMES
from shared.licensing.compatibility import joint_arms, may_combine, strings_for
from shared.licensing.expressions import ExpressionError, bare, parse_expression, render_arm
from shared.licensing.policies import SHIPPED
from shared.licensing.verdict import RULES, refusals
from tests.support.licensed_packages import an_object, verdict

KNOWN = st.sampled_from(
    [
        *("GPL-2.0-only", "GPL-2.0-or-later", "MIT", "BSD-2-Clause", "Apache-2.0", "MPL-2.0"),
        *("GPL-3.0-only", "LGPL-2.1-only", "LicenseRef-Acme", "CC0-1.0"),
    ]
)
EXPRESSIONS = st.recursive(
    KNOWN,
    lambda inner: st.builds(
        lambda left, word, right: f"({left} {word} {right})",
        *(inner, st.sampled_from(["AND", "OR"]), inner),
    ),
    max_leaves=5,
)
STRINGS = st.one_of(
    st.sampled_from(sorted(GPL_COMPATIBLE_LICENCES)),
    EXPRESSIONS,
    st.text(max_size=40),
)
HELPERS = st.frozensets(st.integers(1, 220), max_size=6).map(lambda ids: tuple(sorted(ids)))


@settings(deadline=None)
@given(st.text(alphabet="()AMIT ORANDWH+.-:orand", max_size=80) | st.text(max_size=600))
def test_any_text_is_arms_or_a_refusal(text: str) -> None:
    """Whatever a publisher writes, the parser neither fails otherwise nor runs away."""
    try:
        arms = parse_expression(text, path="x")
    except ExpressionError:
        return
    assert arms
    assert all(arms)


@settings(deadline=None)
@given(EXPRESSIONS)
def test_arms_written_as_an_expression_are_the_same_arms(text: str) -> None:
    """OR over the arms says what the expression said."""
    arms = parse_expression(text, path="x")
    written = " OR ".join(f"({render_arm(arm)})" for arm in arms)

    assert parse_expression(written, path="x") == arms


@settings(deadline=None)
@given(EXPRESSIONS, STRINGS, HELPERS, st.sampled_from(SHIPPED))
def test_a_verdict_has_every_rule_and_is_the_gravest_of_them(
    spdx: str, elf: str, helpers: tuple[int, ...], under: str
) -> None:
    """And what is refused is exactly what a publisher is told."""
    found = verdict(spdx, an_object(elf, helpers=helpers), under=under)

    assert {one.rule for one in found.findings} == set(RULES)
    assert found.outcome == max((one.outcome for one in found.findings), key=OUTCOMES.index)
    assert bool(refusals(found)) == (found.outcome == "refused")
    assert all(one.text and one.fix for one in found.findings if one.outcome != "passed")


@settings(deadline=None)
@given(EXPRESSIONS, STRINGS, HELPERS)
def test_a_program_that_the_kernel_refuses_is_refused_under_any_policy(
    spdx: str, elf: str, helpers: tuple[int, ...]
) -> None:
    """For its string and its calls, whatever the manifest says."""
    is_refused = elf not in GPL_COMPATIBLE_LICENCES and not GPL_ONLY_HELPERS.isdisjoint(helpers)
    for under in SHIPPED:
        found = verdict(spdx, an_object(elf, helpers=helpers), under=under)
        (outcome,) = {one.outcome for one in found.findings if one.rule == "gpl-only-helpers"}
        assert outcome == ("refused" if is_refused else "passed")


@settings(deadline=None)
@given(EXPRESSIONS)
def test_a_string_that_the_engine_proposes_is_one_that_it_accepts(spdx: str) -> None:
    """The way out that a refusal names is a way out."""
    for string in strings_for(parse_expression(spdx, path="x")):
        found = verdict(spdx, an_object(string))
        assert {one.outcome for one in found.findings if one.rule == "kernel-string"} == {"passed"}


@settings(deadline=None)
@given(EXPRESSIONS, HELPERS, st.sampled_from(SHIPPED))
def test_what_is_elected_is_offered(spdx: str, helpers: tuple[int, ...], under: str) -> None:
    """An election never invents a choice."""
    (election,) = verdict(spdx, an_object("GPL", helpers=helpers), under=under).elections

    assert parse_expression(election.elected, path="x") <= parse_expression(spdx, path="x")


@settings(deadline=None)
@given(st.lists(EXPRESSIONS, min_size=1, max_size=4))
def test_joint_choices_combine_and_do_not_depend_on_the_order(
    expressions: list[str],
) -> None:
    """What several works may be taken under together is a choice of each."""
    works = [parse_expression(text, path="x") for text in expressions]
    joint = joint_arms(works)

    assert all(may_combine(arm) for arm in joint)
    for arm in joint:
        assert all(any(bare(one) <= arm for one in arms) for arms in works)
    assert bool(joint) == bool(joint_arms(reversed(works)))
