# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Random sequences of changes: kernel, report and model agree after each, and nothing leaks.

A run prints its seed; `L3AF_SEED` repeats it.  What fails is shrunk to the shortest sequence.
"""

from __future__ import annotations

import itertools
import os
import secrets
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.identifiers import Hook
from tests.support.changing_node import HOOKS, ChangingNode, Part, ordered
from tests.support.executors import a_wire, pin_directory
from tests.support.generation_programs import DROPS

IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
SEQUENCES = 1000 if IS_SOAK else 20
STEPS = 14
SEED = int(os.environ.get("L3AF_SEED") or secrets.randbits(32))
DEPLOYMENTS = ("one", "two", "three", "four")
VERSIONS = ("1.0.0", "2.0.0", "3.0.0", "4.0.0", "5.0.0", DROPS, DROPS, "7.0.0")
"""One counts double, two may not be in one kernel program, one drops, the last cannot run."""

hooks = st.sampled_from(HOOKS)
orders = st.integers(1, 9)
choices = st.integers(0, 99)
kills = st.one_of(st.none(), st.integers(0, 24))
"""Before which step of the change a process that tries it is killed; None: there is none."""


class RandomChanges(RuleBasedStateMachine):
    """One node from its first change to its last."""

    folder: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.held = ExitStack()
        folder = self.folder / str(next(self.numbers))
        folder.mkdir()
        base = self.held.enter_context(pin_directory())
        wire = self.held.enter_context(a_wire())
        self.node = ChangingNode(folder, base, wire)
        self.disabled: dict[tuple[Hook, str], Part] = {}

    def teardown(self) -> None:
        """Nothing is left."""
        with self.held:
            self.node.close()

    def parts(self, hook: Hook) -> dict[str, Part]:
        """What is desired, by deployment."""
        return {part.deployment: part for part in self.node.models[hook].desired}

    def some_part(self, hook: Hook, choice: int) -> Part | None:
        """One of those that are desired."""
        desired = self.node.models[hook].desired
        return desired[choice % len(desired)] if desired else None

    def put(self, hook: Hook, part: Part, kills_at: int | None) -> None:
        """The part is in the chain, in the place of another of its deployment."""
        chain = ordered({**self.parts(hook), part.deployment: part})
        self.node.change(hook, chain, kills_at=kills_at)

    @rule(
        hook=hooks,
        deployment=st.sampled_from(DEPLOYMENTS),
        version=st.sampled_from(VERSIONS),
        order=orders,
        kills_at=kills,
    )
    def deploy_or_upgrade(
        self, hook: Hook, deployment: str, version: str, order: int, kills_at: int | None
    ) -> None:
        """A deployment is new, or has another version and place."""
        self.put(hook, Part(deployment, version, order), kills_at)

    @rule(hook=hooks, choice=choices, version=st.sampled_from(VERSIONS), kills_at=kills)
    def upgrade(self, hook: Hook, choice: int, version: str, kills_at: int | None) -> None:
        """Another version in the same place."""
        part = self.some_part(hook, choice)
        if part is not None:
            self.put(hook, replace(part, version=version, limit=0), kills_at)

    @rule(hook=hooks, choice=choices, order=orders, kills_at=kills)
    def reorder(self, hook: Hook, choice: int, order: int, kills_at: int | None) -> None:
        """Another place for the same version."""
        part = self.some_part(hook, choice)
        if part is not None:
            self.put(hook, replace(part, order=order), kills_at)

    @rule(hook=hooks, deployment=st.sampled_from(DEPLOYMENTS), limit=st.integers(0, 9))
    def configure(self, hook: Hook, deployment: str, limit: int) -> None:
        """Map entries are added, changed and taken away."""
        part = self.parts(hook).get(deployment) or Part(deployment, "5.0.0", 5)
        self.put(hook, replace(part, version="5.0.0", limit=limit), None)

    @rule(hook=hooks, choice=choices, kills_at=kills)
    def disable(self, hook: Hook, choice: int, kills_at: int | None) -> None:
        """A deployment leaves its chain."""
        part = self.some_part(hook, choice)
        if part is not None:
            self.disabled[hook, part.deployment] = part
            others = {name: one for name, one in self.parts(hook).items() if one != part}
            self.node.change(hook, ordered(others), kills_at=kills_at)

    @precondition(lambda self: self.disabled)
    @rule(choice=choices, kills_at=kills)
    def enable(self, choice: int, kills_at: int | None) -> None:
        """A deployment that left is back as it was."""
        hook, deployment = sorted(self.disabled)[choice % len(self.disabled)]
        self.put(hook, self.disabled.pop((hook, deployment)), kills_at)

    @rule(hook=hooks, back=st.integers(1, 3), kills_at=kills)
    def roll_back(self, hook: Hook, back: int, kills_at: int | None) -> None:
        """An earlier chain is desired again."""
        past = self.node.models[hook].past
        if len(past) >= back:
            self.node.change(hook, past[-back], kills_at=kills_at)

    @rule(state=st.sampled_from(("up", "down", "gone")))
    def change_interface(self, state: str) -> None:
        """It goes down, goes away, or comes (back)."""
        if state in ("up", "down", "gone") and state != self.node.interface:
            self.node.set_interface(state)  # type: ignore[arg-type]  # it is one of the three

    @rule(loses_state=st.sampled_from((False, False, False, True)))
    def kill_the_executor(self, *, loses_state: bool) -> None:
        """It is started again, perhaps without what it had on the disk."""
        self.node.restart(loses_state=loses_state)

    @rule()
    def let_time_pass(self) -> None:
        """Nothing is kept for going back any more."""
        self.node.let_time_pass()


@pytest.mark.soak
def test_after_every_change_of_a_random_sequence_kernel_report_and_model_agree(
    tmp_path: Path,
) -> None:
    """Deploy, upgrade, reorder, configure, disable, enable, roll back, interfaces, kills."""
    seeded: type[RandomChanges] = type("Seeded", (RandomChanges,), {"folder": tmp_path})
    seed(SEED)(seeded)
    run_state_machine_as_test(
        seeded,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True, scope="module")
def seed_is_printed() -> None:
    """What repeats this run."""
    sys.stderr.write(f"\nL3AF_SEED={SEED} repeats the random changes\n")
