# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One suite for each fake and its real counterpart: a fake may only do what the real one does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.node_executor.actions import EntryChange
from services.node_executor.adapters import hooks
from services.node_executor.adapters.linker import link
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.attachment import Surroundings
from services.node_executor.chain_journal import Store
from services.node_executor.execution import Kernel
from services.node_executor.generations import ChainMemory, MapKey, MapPin, Point, ProgramPin
from services.node_executor.observed_hook import PinnedGeneration
from services.node_executor.preparation import Needs
from shared.contracts.events import EventBody
from shared.contracts.link_options import LinkOptions
from shared.errors import FaultError, RefusedError
from tests.fake_store import FakeStore
from tests.fakes import FakeKernel
from tests.support.counters import total_in
from tests.support.executors import (
    a_chain,
    a_program,
    a_wire,
    pin_directory,
    published,
    real_kernel,
)
from tests.support.other_owners import a_foreign_program

NOBODY = 0x7FFFFFF0
"""An id that no object has."""


@dataclass
class World:
    """A kernel with one interface, two loaded programs and a map."""

    kernel: Kernel
    point: Point
    programs: tuple[int, int]
    map_id: int
    array_id: int
    take_interface_away: Callable[[], None]
    bring_interface_back: Callable[[], None]
    put_foreign: Callable[[], int]
    """Somebody else's program is on the hook; returns its id."""


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The fake one, then the real one."""
    with ExitStack() as stack:
        yield a_fake_world() if request.param == "fake" else a_real_world(stack)


def a_fake_world() -> World:
    """In memory."""
    kernel = FakeKernel()
    kernel.add_interface("data0")
    map_id, array_id = kernel.add_map(), kernel.add_map({b"\1\0": bytes(4)}, is_array=True)
    programs = (kernel.add_program(map_id), kernel.add_program(map_id))
    return World(
        kernel,
        Point("data0", "xdp"),
        programs,
        map_id,
        array_id,
        lambda: kernel.remove_interface("data0"),
        lambda: kernel.add_interface("data0"),
        lambda: _fake_foreign(kernel),
    )


def _fake_foreign(kernel: FakeKernel) -> int:
    kernel.foreign[Point("data0", "xdp")] = program_id = kernel.add_program()
    return program_id


def a_real_world(stack: ExitStack) -> World:
    """On the kernel that runs this test."""
    wires = stack.enter_context(ExitStack())
    wire = wires.enter_context(a_wire())
    point = Point(wire.name, "xdp")
    kernel = real_kernel(stack.enter_context(pin_directory()))
    linked = [
        link(
            point,
            a_chain(wire.name, a_program("one", version)),
            [published(version).opened()],
            needs=Needs(link=True, carried={}),
        )
        for version in ("1.0.0", "2.0.0")
    ]
    for one in linked:
        stack.callback(one.close)
    maps = {held.name: held.map_id for held in linked[0].maps}
    return World(
        kernel,
        point,
        (linked[0].program_id, linked[1].program_id),
        maps["limits"],
        maps["settings"],
        wires.close,
        lambda: _bring_back(stack, wire.name[:-1]),
        lambda: _real_foreign(stack, wire.name),
    )


def _real_foreign(stack: ExitStack, interface: str) -> int:
    theirs = stack.enter_context(a_foreign_program("xdp"))
    index = socket.if_nametoindex(interface)
    stack.enter_context(hooks.attach(theirs.program, index, "xdp", hook_point="p").link)
    return theirs.info.id


def _bring_back(stack: ExitStack, stem: str) -> None:
    stack.enter_context(a_wire(stem))


def attach_first(world: World) -> None:
    """The first program runs on the hook."""
    index = world.kernel.observe(world.point).interface_index
    assert index is not None
    world.kernel.attach(world.point, interface_index=index, program_id=world.programs[0])


def test_a_free_hook_has_nothing(world: World) -> None:
    """An interface without us has an index and nothing else."""
    hook = world.kernel.observe(world.point)

    assert hook.interface_index
    assert (hook.link_id, hook.link_program_id, hook.foreign_program_id) == (0, 0, 0)
    assert (dict(hook.program_pins), dict(hook.map_pins)) == ({}, {})


def test_attaching_runs_the_program(world: World) -> None:
    """The link is pinned and runs what was given."""
    attach_first(world)

    hook = world.kernel.observe(world.point)
    assert hook.link_program_id == world.programs[0]
    assert hook.link_id


def test_a_held_hook_takes_no_second_link(world: World) -> None:
    """A second attachment is refused and changes nothing."""
    attach_first(world)

    with pytest.raises(RefusedError) as caught:
        attach_first(world)

    assert caught.value.refusal_code == "hook_owned"
    assert world.kernel.observe(world.point).link_program_id == world.programs[0]


def test_replacing_needs_the_expected_program(world: World) -> None:
    """The link keeps its id; a wrong expectation is refused."""
    attach_first(world)
    before = world.kernel.observe(world.point)
    first, second = world.programs

    world.kernel.replace(world.point, expected_program_id=first, program_id=second)
    with pytest.raises(RefusedError) as caught:
        world.kernel.replace(world.point, expected_program_id=first, program_id=second)

    after = world.kernel.observe(world.point)
    assert caught.value.refusal_code == "conflict"
    assert (after.link_id, after.link_program_id) == (before.link_id, second)


def test_replacing_without_a_link_is_a_fault(world: World) -> None:
    """There is nothing to replace."""
    first, second = world.programs

    with pytest.raises(FaultError):
        world.kernel.replace(world.point, expected_program_id=first, program_id=second)


def test_detaching_frees_the_hook(world: World) -> None:
    """And doing it again is fine."""
    attach_first(world)

    world.kernel.detach(world.point)
    world.kernel.detach(world.point)

    assert world.kernel.observe(world.point).link_id == 0


def test_a_program_that_does_not_exist_is_a_fault(world: World) -> None:
    """For attaching, pinning and asking."""
    index = world.kernel.observe(world.point).interface_index
    assert index is not None

    with pytest.raises(FaultError):
        world.kernel.attach(world.point, interface_index=index, program_id=NOBODY)
    with pytest.raises(FaultError):
        world.kernel.pin_program(world.point, ProgramPin(1), NOBODY)
    with pytest.raises(FaultError):
        world.kernel.program(NOBODY)


def test_pins_are_seen_replaced_and_let_go(world: World) -> None:
    """A pin names one object at a time; letting a free one go is fine."""
    first, second = world.programs
    key, shared = MapKey("one", "limits"), MapKey("", "l3af_slots")
    kernel, point = world.kernel, world.point

    kernel.pin_program(point, ProgramPin(1), first)
    kernel.pin_program(point, ProgramPin(1), second)
    kernel.pin_program(point, ProgramPin(1, 2), first)
    kernel.pin_map(point, MapPin(1, key), world.map_id)
    kernel.pin_map(point, MapPin(1, shared), world.array_id)
    kernel.write_record(point, 1, b"first")
    kernel.write_record(point, 1, b"second")
    kernel.name_maps(point, 1)
    kernel.name_maps(point, 2)
    pinned, points = kernel.observe(point), kernel.points()
    for _ in range(2):
        kernel.write_record(point, 1, b"")
        kernel.name_maps(point, 0)
        kernel.unpin_program(point, ProgramPin(1))
        kernel.unpin_program(point, ProgramPin(1, 2))
        kernel.unpin_map(point, MapPin(1, key))
        kernel.unpin_map(point, MapPin(1, shared))
    free = kernel.observe(point)

    maps = {key: world.map_id, shared: world.array_id}
    assert pinned.generations == {1: PinnedGeneration({0: second, 2: first}, maps, b"second")}
    assert (pinned.named, points) == (2, {point})
    assert (dict(free.generations), free.named, free.odd) == ({}, 0, ())


def test_entries_are_written_and_removed(world: World) -> None:
    """Removing what is not there is fine."""
    key, value = b"\x50\0", b"\x05\0\0\0"

    world.kernel.write_entries(world.map_id, [EntryChange(key, None, value)])
    written = world.kernel.read_entries(world.map_id)
    for _ in range(2):
        world.kernel.write_entries(world.map_id, [EntryChange(key, value, None)])

    assert written == {key: value}
    assert world.kernel.read_entries(world.map_id) == {}


def test_only_arrays_have_a_blank_value(world: World) -> None:
    """Entries of other maps are removed."""
    assert world.kernel.blank_value(world.map_id) is None
    assert world.kernel.blank_value(world.array_id) == bytes(4)


def test_configuration_becomes_bytes(world: World) -> None:
    """By the types of the map."""
    entries, problems = world.kernel.encode_entries(world.map_id, "limits", {"80": 5})

    assert (entries, list(problems)) == ({b"\x50\0": b"\x05\0\0\0"}, [])


def test_numbers_are_read_by_key_and_as_sum(world: World) -> None:
    """A key that is not there counts as zero."""
    entries = [EntryChange(b"\x50\0", None, b"\x05\0\0\0"), EntryChange(b"\1\0", None, b"\2\0\0\0")]

    world.kernel.write_entries(world.map_id, entries)

    numbers = [total_in(world.kernel, world.map_id, key) for key in ("80", "443", "*")]
    assert numbers == [5, 0, 7]


def test_a_hook_says_how_it_is_attached(world: World) -> None:
    """Nothing is displaced, and there is no one else."""
    before = world.kernel.observe(world.point)
    attach_first(world)

    after = world.kernel.observe(world.point)
    assert (before.attachment, after.attachment) == ("", "xdp-native")
    assert after.displaced_program_id == 0
    assert world.kernel.surroundings(world.point) == Surroundings("")


def test_a_way_can_be_chosen(world: World) -> None:
    """And is read back."""
    index = world.kernel.observe(world.point).interface_index
    assert index is not None

    world.kernel.attach(
        world.point, interface_index=index, program_id=world.programs[0], choice="generic"
    )

    assert world.kernel.observe(world.point).attachment == "xdp-generic"


def test_hardware_is_refused_beforehand(world: World) -> None:
    """What can be known before an attempt is said before it."""
    world.kernel.check(world.point, LinkOptions())
    with pytest.raises(RefusedError):
        world.kernel.check(world.point, LinkOptions(attach="offload"))


def test_another_owner_is_displaced_and_comes_back(world: World) -> None:
    """Seen as foreign, then as displaced, then as foreign again."""
    foreign = world.put_foreign()
    index = world.kernel.observe(world.point).interface_index
    assert index is not None
    world.kernel.pin_program(world.point, ProgramPin(1), world.programs[0])

    before = world.kernel.observe(world.point)
    world.kernel.take_over(
        world.point,
        interface_index=index,
        foreign_program_id=foreign,
        program_id=world.programs[0],
    )
    taken = world.kernel.observe(world.point)
    world.kernel.detach(world.point)
    after = world.kernel.observe(world.point)

    assert (before.foreign_program_id, before.link_program_id) == (foreign, 0)
    assert (taken.displaced_program_id, taken.link_program_id) == (foreign, world.programs[0])
    assert taken.foreign_program_id == 0
    assert (after.foreign_program_id, after.link_is_dead) == (foreign, False)


def test_only_the_program_that_was_seen_is_displaced(world: World) -> None:
    """Somebody else came in between."""
    foreign = world.put_foreign()
    index = world.kernel.observe(world.point).interface_index
    assert index is not None

    with pytest.raises(RefusedError) as caught:
        world.kernel.take_over(
            world.point,
            interface_index=index,
            foreign_program_id=NOBODY,
            program_id=world.programs[0],
        )

    assert caught.value.refusal_code == "hook_owned"
    assert world.kernel.observe(world.point).foreign_program_id == foreign


def test_a_link_dies_with_its_interface(world: World) -> None:
    """The pin stays and runs nothing, also when the name comes back; dropping it frees the hook."""
    attach_first(world)

    world.take_interface_away()
    away = world.kernel.observe(world.point)
    world.bring_interface_back()
    back = world.kernel.observe(world.point)
    world.kernel.drop_dead_link(world.point)
    free = world.kernel.observe(world.point)
    attach_first(world)

    assert (away.interface_index, away.link_is_dead) == (None, True)
    assert (back.link_is_dead, back.link_is_live) == (True, False)
    assert (free.link_is_dead, free.link_is_live) == (False, False)
    assert world.kernel.observe(world.point).link_is_live


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The fake one, then the real one."""
    if request.param == "fake":
        yield FakeStore()
        return
    real = StateStore.open(
        tmp_path / "state.sqlite",
        emitter="node/n1",
        now=lambda: "2026-01-01T00:00:00.000000Z",
        new_salt=lambda: bytes(16),
        on_event=lambda _event: None,
    )
    yield real
    real.close()


def test_memory_is_what_was_kept_last(store: Store) -> None:
    """One memory for each hook point."""
    first = ChainMemory(interface="data0", hook="xdp", last_number=1)
    second = ChainMemory(interface="data0", hook="xdp", last_number=2)

    store.journal([("id-1", EventBody(action="chain.attach", outcome="succeeded"))], first)
    store.journal([], second)

    assert store.remembered() == {Point("data0", "xdp"): second}
