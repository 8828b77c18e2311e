# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of hook points on the real kernel: what runs, what is pinned, what is said."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.configuration import ConfigurationError
from services.node_executor.generations import Point
from services.node_executor.preparation import MapMismatchError
from shared.contracts.metrics import MetricSource
from shared.identifiers import Hook
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    a_wire,
    pins_below,
    real_kernel,
    send_frames,
)

HOOKS: tuple[Hook, ...] = ("xdp", "tc-ingress", "tc-egress")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_chain_runs_and_is_read_back(executor: Executor, wire: Wire, hook: Hook) -> None:
    """After a change the kernel runs one program for the whole chain, and that is what is said."""
    point = Point(wire.name, hook)
    chain = a_chain(
        wire.name, a_program("one", hook=hook), a_program("two", hook=hook, order=20), hook=hook
    )

    executor.settle(chain, point, 7)
    send_frames(wire.name if hook == "tc-egress" else wire.peer, 100)

    seen = executor.points.describe(point, chain, desired_generation=7)
    assert (seen.state, seen.generation, seen.desired_generation) == ("attached", 1, 7)
    assert [program.deployment for program in seen.programs] == ["one", "two"]
    assert seen.program_id > 0
    assert seen.link_id > 0
    assert executor.scalar(point, "one") == 100
    assert executor.scalar(point, "two") == 100
    assert executor.actions() == ["chain.request", "chain.attach"]


def test_an_upgrade_keeps_counts_and_a_rollback_links_nothing(
    executor: Executor, wire: Wire
) -> None:
    """Maps are carried over; the previous generation comes back by one link update."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    send_frames(wire.peer, 10)
    link_id = executor.kernel.observe(point).link_id

    executor.settle(a_chain(wire.name, a_program("one", "2.0.0", revision=2)), point, 2)
    send_frames(wire.peer, 10)
    after_upgrade = executor.scalar(point, "one")
    has_linked = executor.settle(a_chain(wire.name, a_program("one", revision=3)), point, 3)
    send_frames(wire.peer, 10)

    seen = executor.points.describe(point, None, desired_generation=3)
    assert after_upgrade == 30
    assert executor.scalar(point, "one") == 40
    assert not has_linked
    assert seen.generation == 3
    assert seen.programs[0].revision == 3
    assert executor.kernel.observe(point).link_id == link_id


def test_new_entries_are_written_without_linking(executor: Executor, wire: Wire) -> None:
    """Only configuration differs: the same program runs, entries not named are gone or zero."""
    point = Point(wire.name, "xdp")
    first = {"limits": {"80": 5, "443": 6}, "settings": {"1": 7}}
    executor.settle(a_chain(wire.name, a_program("one", config=first)), point, 1)
    before = executor.kernel.observe(point)
    second = {"limits": {"80": 9}}

    executor.settle(a_chain(wire.name, a_program("one", config=second, revision=2)), point, 2)

    after = executor.kernel.observe(point)
    pins = after.map_pins
    limits = next(pins[key] for key in pins if key.name == "limits")
    settings = next(pins[key] for key in pins if key.name == "settings")
    assert after.link_program_id == before.link_program_id
    assert executor.kernel.read_entries(limits) == {b"\x50\x00": b"\x09\0\0\0"}
    assert not any(b"".join(executor.kernel.read_entries(settings).values()))
    assert executor.actions()[2:] == ["chain.request", "chain.configure"]


def test_an_empty_chain_is_taken_off_with_its_pins(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Nothing of ours is left on the hook or in bpffs, and packets pass as before."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)

    executor.settle(a_chain(wire.name), point, 2)

    assert executor.kernel.observe(point).link_id == 0
    assert executor.kernel.observe(point).foreign_program_id == 0
    assert pins_below(base) == []
    assert list(Path(base).iterdir()) == []
    assert executor.actions()[-1] == "chain.detach"


def test_only_two_generations_are_kept(executor: Executor, wire: Wire, base: PurePosixPath) -> None:
    """The one before the previous is let go, and the maps of programs that left with it."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one"), a_program("two", order=20)), point, 1)
    executor.settle(a_chain(wire.name, a_program("one")), point, 2)
    kept = [pin for pin in pins_below(base) if "/maps/two/" in pin]

    executor.settle(a_chain(wire.name, a_program("one", "2.0.0")), point, 3)

    pins = pins_below(base)
    assert kept
    assert [pin for pin in pins if "/maps/two/" in pin] == []
    assert len([pin for pin in pins if pin.endswith("/head")]) == 2


def test_a_map_that_would_change_its_shape_is_refused(executor: Executor, wire: Wire) -> None:
    """State is never thrown away silently: the reason names map, old and new shape."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    before = executor.kernel.observe(point)

    with pytest.raises(MapMismatchError) as caught:
        executor.settle(a_chain(wire.name, a_program("one", "3.0.0")), point, 2)

    assert caught.value.reasons[0].path == "one.maps.limits"
    assert executor.kernel.observe(point) == before


def test_a_value_that_does_not_fit_is_refused_before_anything_changes(
    executor: Executor, wire: Wire
) -> None:
    """Every wrong key and value is named, by the map's types."""
    point = Point(wire.name, "xdp")
    config = {"limits": {"70000": 1, "80": -1}, "no_map": {"1": 1}}

    with pytest.raises(ConfigurationError) as caught:
        executor.settle(a_chain(wire.name, a_program("one", config=config)), point, 1)

    paths = [reason.path for reason in caught.value.reasons]
    assert paths == ["one.config.limits.70000", "one.config.limits.80", "one.config.no_map"]
    assert executor.kernel.observe(point).link_id == 0
    assert executor.actions() == []


def test_a_restart_adopts_without_touching_anything(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The next run finds program, link, counts and generation, and says that it adopted them."""
    point = Point(wire.name, "xdp")
    chain = a_chain(wire.name, a_program("one", config={"limits": {"80": 1}}))
    executor.settle(chain, point, 1)
    send_frames(wire.peer, 5)
    before, pins = executor.kernel.observe(point), pins_below(base)

    executor.stop()
    send_frames(wire.peer, 5)
    executor.start()
    executor.settle(chain, point, 1)

    assert executor.kernel.observe(point) == before
    assert pins_below(base) == pins
    assert executor.scalar(point, "one") == 10
    assert executor.actions() == ["chain.request", "chain.attach", "chain.adopt"]


def test_an_interface_that_comes_back_gets_its_chain_and_its_counts(
    base: PurePosixPath, tmp_path: Path
) -> None:
    """While it is away the chain waits; then the same program is put on, nothing is linked."""
    executor = Executor(real_kernel(base), tmp_path / "state.sqlite")
    executor.start()
    with a_wire() as wire:
        point = Point(wire.name, "xdp")
        chain = a_chain(wire.name, a_program("one"))
        executor.settle(chain, point, 1)
        send_frames(wire.peer, 3)
    executor.settle(chain, point, 1)
    waiting = executor.points.describe(point, chain, desired_generation=1)

    with a_wire(wire.name[:-1]) as wire:
        has_linked = executor.settle(chain, point, 1)
        send_frames(wire.peer, 3)
        attached = executor.points.describe(point, chain, desired_generation=1)
        counted = executor.scalar(point, "one")
    executor.stop()

    assert waiting.state == "waiting-for-interface"
    assert not has_linked
    assert (attached.state, attached.generation) == ("attached", 2)
    assert counted == 6


def test_metrics_are_read_by_key_and_as_sums(executor: Executor, wire: Wire) -> None:
    """A metric names a map and a key, or all keys; one that cannot be read says why."""
    point = Point(wire.name, "xdp")
    config = {"limits": {"80": 5, "443": 6}}
    metrics = {
        "all": MetricSource(map="limits", key="*"),
        "web": MetricSource(map="limits", key="80"),
    }
    executor.settle(a_chain(wire.name, a_program("one", config=config, metrics=metrics)), point, 1)

    assert executor.scalar(point, "one", "limits", "*") == 11
    assert executor.scalar(point, "one", "limits", "80") == 5
