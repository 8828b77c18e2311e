# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Any history of deployments, nodes, failures and leaders keeps what was promised.

A long run prints its seed; `L3AF_SEED` repeats it, `L3AF_SOAK_SECONDS` is how long it takes.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any, Final, get_args

import pytest
from hypothesis import seed as seeded
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from services.scheduler.deployment import UnknownDeploymentError
from services.scheduler.rollout.core import Ticked
from shared.contracts.rollout_policy import PolicyRule, RolloutPolicy
from shared.contracts.rollouts import RolloutSpec
from shared.errors import RefusedError
from tests.fleets import a_node, a_spec
from tests.support.rollout_histories import BAD, Steering
from tests.support.rollout_promises import KeptPromises

SOAK_SECONDS: Final = float(os.environ.get("L3AF_SOAK_SECONDS", "4"))
BATCH: Final = 25
"""Histories of one seed."""
NODES: Final = tuple(f"n{number}" for number in range(1, 7))
KEYS: Final = {"aa": ("eth0",), "bb": ("eth0", "eth1"), "cc": ("eth1",)}
GOOD: Final = ("1.0.0", "1.1.0", "2.0.0")

names = st.sampled_from(NODES)
keys = st.sampled_from(tuple(KEYS))
racks = st.sampled_from(("r1", "r2", ""))
limits: st.SearchStrategy[Any] = st.sampled_from((1, 2, "50%", "100%"))
terms = {
    "max_unavailable": limits,
    "bake_seconds": st.sampled_from((0, 0, 30)),
    "on_failure": st.sampled_from(("roll-back", "roll-back", "roll-back-wave", "pause")),
    "timeout_seconds": st.just(60),
    "gate": st.sampled_from(("automatic", "automatic", "canary", "manual")),
    "approvals": st.sampled_from((0, 0, 1)),
}
staged = st.one_of(
    st.builds(RolloutSpec, strategy=st.just("canary"), canary=st.sampled_from((None, 2)), **terms),
    st.builds(
        RolloutSpec,
        strategy=st.just("waves"),
        waves=st.sampled_from(((1, 2), ("50%",), (1, 1, 1))),
        failure_domain=st.sampled_from((None, "rack")),
        **terms,
    ),
    st.builds(
        RolloutSpec,
        strategy=st.just("canary"),
        failure_domain=st.just("rack"),
        across=st.just("one-by-one"),
        **terms,
    ),
)
blue_green = st.builds(
    RolloutSpec,
    strategy=st.just("blue-green"),
    blue=st.just("b"),
    green=st.just("g"),
    **terms,
)
policies = st.builds(
    lambda **limits: RolloutPolicy(rules=(PolicyRule(name="all", **limits),)),
    max_rollouts=st.sampled_from((None, None, 1, 2)),
    max_unavailable=st.sampled_from((None, None, 1, "50%")),
)
anyhow = st.one_of(st.just(RolloutSpec()), st.builds(RolloutSpec, max_unavailable=limits), staged)


def labelled(rack: str) -> dict[str, str]:
    """Labels of a node: its failure domain, and which interface is blue and which green."""
    return {"b": "eth0", "g": "eth1", **({"rack": rack} if rack else {})}


class Histories(RuleBasedStateMachine):
    """What happens, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.history = KeptPromises(())

    @initialize(found=st.dictionaries(names, racks, min_size=2), policy=policies)
    def begin(self, found: dict[str, str], policy: RolloutPolicy) -> None:
        """Some nodes are there, and something may hold of every rollout."""
        views = (
            a_node(name, "eth0", "eth1", **labelled(rack)) for name, rack in sorted(found.items())
        )
        self.history = KeptPromises(views, policy)

    @rule(key=keys, version=st.sampled_from(GOOD), rollout=anyhow)
    def deploy(self, key: str, version: str, rollout: RolloutSpec) -> None:
        """A revision that every kernel takes that does not refuse it."""
        self._apply(key, version, rollout)

    @rule(version=st.sampled_from(GOOD), rollout=blue_green)
    def deploy_to_two_interfaces(self, version: str, rollout: RolloutSpec) -> None:
        """To the green one first."""
        self._apply("bb", version, rollout)

    @rule(key=keys, rollout=staged)
    def deploy_what_is_bad(self, key: str, rollout: RolloutSpec) -> None:
        """One that none takes, with care."""
        self._apply(key, BAD, rollout)

    def _apply(self, key: str, version: str, rollout: RolloutSpec) -> None:
        order = sorted(KEYS).index(key)
        spec = a_spec(key, interfaces=KEYS[key], rollout=rollout, order=order)
        with suppress(RefusedError):  # it says why, and nothing is stored
            self.history.apply(spec, version)

    @rule(key=keys)
    def undeploy(self, key: str) -> None:
        """It is on no node from now on."""
        with suppress(UnknownDeploymentError):
            self.history.remove(key)

    @rule(key=keys, how=st.sampled_from(get_args(Steering)))
    def steer(self, key: str, how: Steering) -> None:
        """Somebody pauses, resumes, approves or aborts it."""
        with suppress(RefusedError):  # it says why, and nothing is stored
            self.history.steer(key, how)

    @rule(name=names)
    def act(self, name: str) -> None:
        """A node does what it is told."""
        if name in self.history.nodes:
            self.history.act(name)

    @rule()
    def all_act(self) -> None:
        """Every node that lives does."""
        for name in self.history.nodes:
            self.history.act(name)

    @rule(name=names)
    def die(self, name: str) -> None:
        """A node is not heard any more."""
        if name in self.history.nodes:
            self.history.die(name)

    @rule(name=names)
    def come_back(self, name: str) -> None:
        """A node is heard again."""
        if name in self.history.nodes:
            self.history.come_back(name)

    @rule(name=names, rack=racks)
    def relabel(self, name: str, rack: str) -> None:
        """A node is in another failure domain."""
        if name in self.history.nodes:
            self.history.relabel(name, labelled(rack))

    @rule(name=names, undo=st.booleans())
    def forget(self, name: str, undo: bool) -> None:
        """A node is given up for lost, or taken back."""
        if name in self.history.nodes:
            self.history.forget(name, undo=undo)

    @rule(name=names)
    def join(self, name: str) -> None:
        """A node comes that was not there."""
        self.history.join(a_node(name, "eth0", "eth1", **labelled("")))

    @rule(name=names, version=st.sampled_from(GOOD))
    def dislike(self, name: str, version: str) -> None:
        """A node refuses this version from now on."""
        if name in self.history.nodes:
            node = self.history.nodes[name]
            node.refuses = frozenset({BAD, version})

    @rule(seconds=st.sampled_from((1, 29, 61)))
    def time_passes(self, seconds: int) -> None:
        """And everybody knows."""
        self.history.now += timedelta(seconds=seconds)
        self.history.happens(Ticked())

    @rule()
    def think(self) -> None:
        """The leader hears what happened, and writes nothing yet."""
        self.history.leader.think()

    @rule(count=st.integers(1, 3))
    def perform(self, count: int) -> None:
        """It writes some of what it meant to, whatever happened since."""
        self.history.leader.perform(count)

    @rule(count=st.integers(1, 3))
    def tell(self, count: int) -> None:
        """It tells some of the nodes."""
        self.history.leader.tell(count)

    @rule(settles=st.booleans())
    def say(self, settles: bool) -> None:
        """It says what is over, and may die before it notes that."""
        self.history.leader.say(settles=settles)

    @rule(freeze=st.booleans())
    def take_over(self, freeze: bool) -> None:
        """Another scheduler leads, while the old one is dead or stands still."""
        self.history.take_over(freeze=freeze)

    @rule()
    def wake(self) -> None:
        """Who stood still goes on where it was."""
        self.history.wake()

    @rule()
    def settle(self) -> None:
        """Nothing happens for a while."""
        self.history.settle()
        self.history.check_rest()

    @invariant()
    def leader_leads(self) -> None:
        """Who leads can write."""
        assert not self.history.leader.is_deposed

    def teardown(self) -> None:
        """Everybody is back and healthy, and time goes on: it comes to an end that has a name."""
        history = self.history
        history.wake()
        for name in history.nodes:
            history.come_back(name)
        for _ in range(60):
            history.settle()
            if not any(map(history.goes_on, history.store.deployments.values())):
                break
            history.now += timedelta(seconds=31)
            for key in KEYS:
                with suppress(RefusedError):
                    history.steer(key, "approve")
        history.check_end()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.soak
def test_thousands_of_histories() -> None:
    """The same for as long as one wants, by a seed that is said."""
    seed = int(os.environ.get("L3AF_SEED", secrets.randbelow(1 << 32)))
    sys.stderr.write(f"\nL3AF_SEED={seed} L3AF_SOAK_SECONDS={SOAK_SECONDS:g}\n")
    deadline, count = monotonic() + SOAK_SECONDS, 0
    while monotonic() < deadline:
        machine: Any = seeded(seed + count)(Histories)
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=BATCH, stateful_step_count=60, deadline=None, database=None
            ),
        )
        count += 1
    sys.stderr.write(f"{count * BATCH} histories\n")
