# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says of its companions: in the audit log, in its observed record, as numbers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from services.node_executor.companion_events import (
    companion_entries,
    exit_words,
    observed_companion,
    phase_words,
    shown_companion,
)
from services.node_executor.companion_metrics import companion_families, companion_values
from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    CompanionEvent,
    CompanionExit,
    CompanionPhase,
    CompanionState,
    CompanionUsage,
)
from shared.contracts.events import Outcome
from shared.contracts.node import ObservedChain
from shared.contracts.node_companions import COMPANION_ACTIONS, CompanionShown
from shared.redaction import redacted_chain
from tests.support.companions import NOW, a_companion_memory, a_companion_program, wanted_by

ID = "eth0/xdp/edge/exporter"
WANTED = wanted_by(a_companion_memory(a_companion_program()))
ONE = WANTED[ID]


def an_event(number: int = 1, **fields: Any) -> CompanionEvent:
    """Of the exporter."""
    return CompanionEvent(**{"number": number, "time": NOW, "id": ID, "kind": "start", **fields})


def a_state(phase: CompanionPhase = "ready", **fields: Any) -> CompanionState:
    """The exporter runs as it is wanted."""
    known = {"id": ID, "since": NOW, "spec_sha256": spec_digest(ONE.spec), "pid": 77, "starts": 1}
    return CompanionState(**{**known, "phase": phase, **fields})


@pytest.mark.parametrize(
    ("event", "action", "outcome", "rules"),
    [
        (an_event(pid=7), "companion.start", "succeeded", []),
        (an_event(kind="ready", pid=7), "companion.ready", "succeeded", []),
        (
            an_event(kind="exit", exit=CompanionExit(reason="status", status=3)),
            "companion.exit",
            "failed",
            ["exited with status 3"],
        ),
        (
            an_event(kind="exit", exit=CompanionExit(reason="status")),
            "companion.exit",
            "succeeded",
            [],
        ),
        (
            an_event(kind="exit", exit=CompanionExit(reason="signal", signal="SIGSEGV")),
            "companion.exit",
            "failed",
            ["was ended by SIGSEGV"],
        ),
        (
            an_event(kind="exit", exit=CompanionExit(reason="oom")),
            "companion.exit",
            "failed",
            ["used more memory than it may"],
        ),
        (an_event(kind="oom"), "companion.oom", "observed", []),
        (
            an_event(kind="gave-up", count=5, problem="failed 5 times within 60 s"),
            "companion.give-up",
            "failed",
            [
                "failed 5 times within 60 s",
                "it is not started again by itself: l3af companion restart tries once more",
            ],
        ),
        (
            an_event(kind="stopped", exit=CompanionExit(reason="stopped")),
            "companion.stop",
            "succeeded",
            [],
        ),
        (an_event(kind="update", problem="status 1"), "companion.update", "failed", ["status 1"]),
    ],
)
def test_each_thing_that_happens_has_its_event(
    event: CompanionEvent, action: str, outcome: Outcome, rules: list[str]
) -> None:
    """With the place, the deployment, the package, and how a run ended."""
    (said,) = companion_entries("n1", [event], WANTED)

    body = said.body
    assert (body.action, body.outcome) == (action, outcome)
    assert action in COMPANION_ACTIONS
    assert [reason.rule for reason in body.reasons] == rules
    assert (body.node, body.interface, body.hook, body.deployment) == ("n1", "eth0", "xdp", "edge")
    assert (body.package, body.version, body.details["companion"]) == ("one", "1.0.0", "exporter")
    assert ("alarm" in body.details) == (event.kind == "gave-up")


def test_waiting_to_be_started_again_is_no_event() -> None:
    """It is state; a companion that fails for hours does not fill the log with it."""
    assert list(companion_entries("n1", [an_event(kind="backoff")], WANTED)) == []


def test_events_that_were_lost_are_said_to_be() -> None:
    """Of no companion in particular, so to everybody and without a name."""
    (said,) = companion_entries("n1", [an_event(id="", kind="lost", count=12)], WANTED)

    assert (said.body.action, said.body.details["events"]) == ("companion.lose", 12)
    assert (said.audience, said.body.deployment) == ("public", "")


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6, unique=True))
def test_what_is_fetched_again_is_the_same_event_and_nothing_else_is(numbers: list[int]) -> None:
    """Ids depend on number, time and companion alone, whatever is known of it by then."""
    events = [an_event(number) for number in sorted(numbers)]

    first = [one.event_id for one in companion_entries("n1", events, WANTED)]
    again = [one.event_id for one in companion_entries("n1", events, {})]

    assert first == again
    assert len(set(first)) == len(numbers)
    (elsewhere,) = companion_entries("n2", events[:1], WANTED)
    assert elsewhere.event_id != first[0]


def test_a_supervisor_that_counts_anew_says_other_events() -> None:
    """The number is the same and the time is not."""
    (first,) = companion_entries("n1", [an_event(1)], WANTED)
    (later,) = companion_entries("n1", [an_event(1, time="2026-03-02T00:00:00Z")], WANTED)

    assert first.event_id != later.event_id


def test_events_of_a_restricted_chain_go_to_its_audience() -> None:
    """Also when nobody wants the companion any more."""
    wanted = wanted_by(a_companion_memory(a_companion_program("p_acme.fix"), audience="p_acme"))
    event = an_event(id="eth0/xdp/p_acme.fix/exporter")

    (said,) = companion_entries("n1", [event], wanted)
    (after,) = companion_entries("n1", [event], {})

    assert (said.audience, after.audience) == ("p_acme", "p_acme")


@pytest.mark.parametrize(
    ("state", "phase", "reason"),
    [
        (a_state(), "ready", ""),
        (a_state("starting"), "starting", ""),
        (
            a_state("backing-off", last_exit=CompanionExit(reason="status", status=1), failures=2),
            "backing-off",
            "exited with status 1, 2 times in a row",
        ),
        (a_state("gave-up", problem="failed too often"), "gave-up", "failed too often"),
        (a_state("stopped", last_exit=CompanionExit(reason="status")), "stopped", ""),
        (
            a_state("stopped", last_exit=CompanionExit(reason="status", status=2)),
            "stopped",
            "exited with status 2",
        ),
        (a_state(spec_sha256="0" * 64), "starting", "is changed to what is wanted now"),
        (None, "starting", ""),
    ],
)
def test_observed_state_is_the_supervisors_word_about_what_is_wanted(
    state: CompanionState | None, phase: str, reason: str
) -> None:
    """What runs with other arguments is not what is wanted."""
    observed = observed_companion(ONE, state)

    assert (observed.state, observed.reason) == (phase, reason)
    assert (observed.deployment, observed.revision) == ("edge", 1)


def test_without_a_supervisor_nothing_is_claimed() -> None:
    """Whatever it said last."""
    observed = observed_companion(ONE, a_state(), problem="nobody answers")

    assert (observed.state, observed.reason, observed.pid) == ("unknown", "nobody answers", 0)


def test_a_run_ends_in_words() -> None:
    """With what is known beside the reason."""
    assert exit_words(CompanionExit(reason="not-started", problem="no such user")) == (
        "could not be started: no such user"
    )
    assert phase_words(a_state("gave-up")) == "failed too often"


def _shown(**usage: Any) -> CompanionShown:
    state = a_state(starts=3, usage=CompanionUsage(**usage))
    return shown_companion(ONE.place, observed_companion(ONE, state), ONE, state)


def test_prometheus_reads_what_companions_use() -> None:
    """By its own parser, under the documented names and labels."""

    class Once(Collector):
        def collect(self) -> Any:
            return companion_families(
                "n1", [_shown(cpu_seconds=1.5, memory_bytes=2048, processes=2)]
            )

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    text = generate_latest(registry).decode()
    read = {
        sample.name: (sample.value, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert {name: value for name, (value, _) in read.items()} == {
        "l3af_companion_ready": 1.0,
        "l3af_companion_restarts_total": 2.0,
        "l3af_companion_cpu_seconds_total": 1.5,
        "l3af_companion_memory_bytes": 2048.0,
        "l3af_companion_processes": 2.0,
    }
    assert read["l3af_companion_ready"][1] == {
        "node": "n1",
        "netns": "",
        "interface": "eth0",
        "hook": "xdp",
        "deployment": "edge",
        "companion": "exporter",
    }


def test_telemetry_has_the_same_numbers() -> None:
    """Under the companion's place; one that does not run uses nothing that is known."""
    stopped = shown_companion(ONE.place, observed_companion(ONE, None), ONE, None)
    name = "eth0/xdp/edge/companions/exporter"

    assert companion_values([_shown(cpu_seconds=1.5, memory_bytes=2048, processes=2)]) == {
        f"{name}/ready": 1,
        f"{name}/restarts": 2,
        f"{name}/cpu_seconds": 1.5,
        f"{name}/memory_bytes": 2048,
        f"{name}/processes": 2,
    }
    assert companion_values([stopped]) == {f"{name}/ready": 0, f"{name}/restarts": 0}


def test_a_hook_point_shows_only_companions_that_are_seen() -> None:
    """Others learn neither their names nor their number."""
    mine = observed_companion(ONE, a_state())
    theirs = msgspec.structs.replace(mine, deployment="p_acme.fix")
    chain = ObservedChain(interface="eth0", hook="xdp", state="attached", companions=(mine, theirs))

    assert redacted_chain(chain, lambda space: space == "public").companions == (mine,)
