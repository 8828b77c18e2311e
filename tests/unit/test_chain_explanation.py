# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An explanation says what the plan says, and what a program would need to be inline."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from services.node_executor.explanation import MAX_CONSTRAINTS, MAX_TEXT, REMEDIES, explain
from services.node_executor.linking.body import Body
from services.node_executor.linking.plan import Constraint, KernelFacts, LinkPlan, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import EXIT, MAY_GOTO, Instruction
from shared.contracts.inspection import ChainExplanation

PASS = (Instruction(0xB7, 0, immediate=2), Instruction(EXIT))
LOOPS = (Instruction(MAY_GOTO), *PASS)
LINKING = Path(__file__).parents[2] / "services" / "node_executor" / "linking"


def a_body(name: str, instructions: tuple[Instruction, ...] = PASS, **facts: object) -> Body:
    """A body that passes."""
    body = Body(
        name=name,
        instructions=instructions,
        stack_depths_bytes=(16,),
        licence="Dual BSD/GPL",
        proceed_on=("pass",),
    )
    return replace(body, **facts)  # type: ignore[arg-type]


def a_plan(*bodies: Body, **policy: object) -> LinkPlan:
    """Of an XDP chain."""
    return plan_link(bodies, KernelFacts(), LinkPolicy(hook="xdp", **policy))  # type: ignore[arg-type]


def test_every_program_is_explained_in_its_order() -> None:
    """With its mode and reason, its segment and its slot."""
    plan = plan_link(
        [a_body("guard"), a_body("count")],
        KernelFacts(),
        LinkPolicy(hook="xdp"),
        slots={"guard": 7, "count": 2},
    )

    said = explain(plan)

    assert [(one.deployment, one.mode, one.slot) for one in said.programs] == [
        ("guard", "inline", 7),
        ("count", "inline", 2),
    ]
    assert said.programs[0].stack_bytes == 16
    assert said.programs[0].needed_for_inline == ()
    assert (said.attachment, said.has_counters, len(said.segments)) == ("xdp", True, 1)
    assert said.segments[0].deployments == ("guard", "count")


def test_what_a_called_program_would_need_to_be_inline_is_said() -> None:
    """In words about the program, not about the rule."""
    said = explain(a_plan(a_body("loops", LOOPS), a_body("last")))

    assert said.programs[0].mode == "call-global"
    assert said.programs[0].needed_for_inline == (REMEDIES["may-goto"],)
    assert "may-goto" in {one.rule for one in said.constraints}


def test_bodies_of_different_licences_are_explained_as_segments() -> None:
    """Each segment says why it begins."""
    secret = a_body("secret", licence="Proprietary")

    said = explain(a_plan(a_body("open"), secret))

    assert [one.deployments for one in said.segments] == [("open",), ("secret",)]
    assert [one.segment for one in said.programs] == [0, 1]
    assert said.segments[1].why_begun


def test_every_rule_by_which_a_program_is_called_has_a_remedy() -> None:
    """A new rule in the planner needs a sentence here."""
    sources = "".join((LINKING / name).read_text() for name in ("body_rules.py", "arrangement.py"))
    calls = re.search(r"def call_reasons.*?(?=\ndef )", sources, re.DOTALL)
    assert calls is not None
    rules = set(re.findall(r'^\s+"([a-z]+(?:-[a-z]+)+)",$', calls.group(), re.MULTILINE))
    rules |= set(re.findall(r'Misfit\(\s+"([a-z-]+)"', sources))

    assert rules
    assert rules <= set(REMEDIES)


def test_an_explanation_stays_small_and_comes_back_as_it_was() -> None:
    """It is kept with its generation, which is kept beside its pins."""
    plan = a_plan(*(a_body(f"body-{number}") for number in range(64)))
    many = tuple(
        Constraint("rule-name", f"chain[{number}] x", "t" * 5000, "effect") for number in range(500)
    )

    said = explain(replace(plan, constraints=many, warnings=("w" * 5000,)))

    assert len(said.constraints) == MAX_CONSTRAINTS
    assert said.constraints_left_out == 500 - MAX_CONSTRAINTS
    assert len(said.warnings[0]) == MAX_TEXT + 3
    encoded = msgspec.json.encode(said)
    assert len(encoded) < 400_000
    assert msgspec.json.decode(encoded, type=ChainExplanation) == said


@pytest.mark.parametrize("has_counters", [True, False])
def test_whether_packets_are_counted_is_said(has_counters: bool) -> None:
    """As the options of the chain want it."""
    assert explain(a_plan(a_body("one"), has_counters=has_counters)).has_counters == has_counters
