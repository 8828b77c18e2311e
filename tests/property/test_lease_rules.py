# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who leads, whatever stands still, dies, is cut off or is deleted by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.leadership.lease import (
    LAPSE_SECONDS,
    LOOK_SECONDS,
    RENEW_SECONDS,
    Sight,
    blurred,
    free_because,
    is_fresh,
    is_led_by,
    look,
    next_token,
)
from shared.contracts.leadership import Lease

STEP_SECONDS = 0.05
PROCESSES = ("a", "b", "c")
CALM_SECONDS = LAPSE_SECONDS + LOOK_SECONDS + 4 * STEP_SECONDS


@dataclass
class Register:
    """The lease as the server keeps it, and the largest token in a fence."""

    lease: Lease | None = None
    revision: int = 0
    fenced: int = 0

    def write(self, lease: Lease | None, expected: int) -> bool:
        """Compare-and-set, as the bus does it."""
        if expected != (self.revision if self.lease is not None else 0):
            return False
        self.lease, self.revision = lease, self.revision + 1
        return True


@dataclass
class Process:
    """One scheduler, step by step; its clock began at another moment than the others'."""

    name: str
    skew: float
    sight: Sight | None = None
    token: int = 0
    """0: it does not lead."""
    revision: int = 0
    confirmed: float = 0.0
    due: float = 0.0
    frozen_until: float = 0.0
    cut_until: float = 0.0
    taken: list[int] = field(default_factory=list)

    def answers(self, now: float) -> bool:
        """Whether a request would be answered now."""
        is_running = self.frozen_until <= now
        return bool(self.token) and is_running and is_fresh(self.confirmed, now=now + self.skew)

    def step(self, register: Register, now: float) -> None:
        """What it does now, if it can."""
        if now < self.frozen_until or now < self.due:
            return
        if self.token:
            self.due = now + RENEW_SECONDS
            self._renew(register, now)
        else:
            self.due = now + LOOK_SECONDS
            self._look(register, now)

    def _renew(self, register: Register, now: float) -> None:
        if now < self.cut_until:
            return
        lease = Lease(token=self.token, instance=self.name, renewals=register.revision)
        if not register.write(lease, self.revision):
            stored = register.lease
            if stored is not None and not is_led_by(stored, self.token, self.name):
                self.token, self.sight = 0, None
                return
            assert register.write(lease, register.revision if stored is not None else 0)
        self.revision, self.confirmed = register.revision, now + self.skew

    def _look(self, register: Register, now: float) -> None:
        mine = now + self.skew
        if now < self.cut_until:
            self.sight = blurred(self.sight, now=mine)
            return
        revision = register.revision if register.lease is not None else 0
        self.sight = look(self.sight, register.lease, revision, now=mine)
        if free_because(self.sight, self.name, now=mine) is None:
            return
        token = next_token(self.sight, register.fenced)
        if register.write(Lease(token=token, instance=self.name), revision):
            self.token, self.revision, self.confirmed = token, register.revision, mine
            register.fenced = max(register.fenced, token)
            self.taken.append(token)


TROUBLES = st.lists(
    st.tuples(
        st.sampled_from(("freeze", "cut", "kill", "release")),
        st.sampled_from(PROCESSES),
        st.floats(0, 8),
        st.floats(0, 4),
    ),
    max_size=12,
)


@given(TROUBLES, st.lists(st.floats(-1000, 1000), min_size=3, max_size=3))
def test_at_most_one_answers_and_somebody_does_once_it_is_calm(
    troubles: list[tuple[str, str, float, float]], skews: list[float]
) -> None:
    """Freezes, partitions, kills and releases in any order, over clocks that agree on nothing."""
    register = Register()
    processes = {name: Process(name, skew) for name, skew in zip(PROCESSES, skews, strict=True)}
    now = 0.0
    given_out: list[int] = []

    def run(seconds: float) -> None:
        nonlocal now
        end = now + seconds
        while now < end:
            for process in processes.values():
                count = len(process.taken)
                process.step(register, now)
                given_out.extend(process.taken[count:])
            assert sum(process.answers(now) for process in processes.values()) <= 1
            now += STEP_SECONDS

    for kind, name, length, then in troubles:
        process = processes[name]
        if kind == "freeze":
            process.frozen_until = now + length
        elif kind == "cut":
            process.cut_until = now + length
        elif kind == "kill":
            processes[name] = Process(name, process.skew, due=now + length)
        elif process.token and now >= process.cut_until:
            lease = Lease(token=process.token, instance=name, released=True)
            register.write(lease, process.revision)
            processes[name] = Process(name, process.skew, due=now + length)
        run(then)
    for process in processes.values():
        process.frozen_until = process.cut_until = 0.0
        process.due = min(process.due, now)
    run(CALM_SECONDS)

    assert given_out == sorted(set(given_out)), "a token was given twice"
    assert [process.name for process in processes.values() if process.answers(now)] == [
        process.name for process in processes.values() if process.token == max(given_out)
    ]


@given(st.floats(0, 1e6), st.integers(1, 50))
def test_a_lease_that_is_renewed_in_time_is_never_free(start: float, renewals: int) -> None:
    """However long it is watched, as long as every renewal comes before the lease lapses."""
    sight: Sight | None = None
    now = start
    for revision in range(1, renewals + 1):
        lease = Lease(token=1, instance="leader", renewals=revision)
        for _ in range(int((LAPSE_SECONDS - LOOK_SECONDS) / LOOK_SECONDS)):
            sight = look(sight, lease, revision, now=now)
            assert free_because(sight, "other", now=now) is None
            now += LOOK_SECONDS


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_token_is_larger_than_any_before(stored: int, fenced: int) -> None:
    """Whether the lease or a fence knows the largest."""
    lease = Lease(token=stored, instance="x")
    assert next_token(Sight(lease, 1, 0.0, is_first=True), fenced) > max(stored, fenced)
    assert next_token(Sight(None, 0, 0.0, is_first=True), fenced) > fenced


def test_a_lease_that_went_missing_is_left_to_its_leader_for_a_while() -> None:
    """Deleted by hand, it is no invitation; gone for as long as a lease lasts, it is."""
    seen = look(None, Lease(token=1, instance="leader"), 1, now=0.0)
    gone = look(seen, None, 0, now=1.0)

    assert free_because(gone, "other", now=1.0) is None
    assert free_because(gone, "other", now=1.0 + LAPSE_SECONDS) == "missing"
    assert free_because(look(None, None, 0, now=1.0), "other", now=1.0) == "first"
