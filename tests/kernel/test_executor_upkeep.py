# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What others do to a hook point, what is lost, and what traffic sees of a change."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters import kernel_info, pins
from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.attachment import ForeignOwnerError
from services.node_executor.generations import MapKey, Point
from shared.identifiers import Hook
from tests.support.chain_reference import a_source
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    pins_below,
    real_kernel,
    remove_pins,
    send_frames,
)

FRAMES = 100


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_no_packet_is_missed_while_programs_are_exchanged(
    executor: Executor, wire: Wire, hook: Hook
) -> None:
    """Upgrades and rollbacks under traffic: the program counted every frame that was sent."""
    point = Point(wire.name, hook)
    executor.settle(a_chain(wire.name, a_program("one", hook=hook), hook=hook), point, 1)
    changes = 0

    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(_send_steadily, wire.peer)
        while not sending.done():
            version = ("1.1.0", "1.0.0")[changes % 2]
            chain = a_chain(wire.name, a_program("one", version, hook), hook=hook)
            executor.settle(chain, point, changes + 2)
            changes += 1

    assert changes > 1
    assert executor.scalar(point, "one") == FRAMES


def _send_steadily(interface: str) -> None:
    for _ in range(FRAMES):
        send_frames(interface, 1)
        time.sleep(0.001)  # a packet a millisecond, so that changes fall between and upon them


def test_a_link_that_was_taken_away_is_noticed_and_put_back(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """The log says what was found; the program that is still pinned goes on again."""
    point = Point(wire.name, "xdp")
    chain = a_chain(wire.name, a_program("one"))
    executor.settle(chain, point, 1)
    Path(base / wire.name / "xdp" / "link").unlink()

    executor.settle(chain, point, 1)

    assert executor.kernel.observe(point).link_is_live
    assert executor.actions()[2:] == ["chain.drift", "chain.request", "chain.attach"]


def test_a_program_that_somebody_exchanged_is_noticed_once_and_corrected(
    executor: Executor, wire: Wire
) -> None:
    """Our link runs our program again, whoever changed it."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("one")), point, 1)
    executor.settle(a_chain(wire.name, a_program("one", "2.0.0")), point, 2)
    hook = executor.kernel.observe(point)
    older = next(one for one in hook.program_pins.values() if one != hook.link_program_id)
    executor.kernel.replace(point, expected_program_id=hook.link_program_id, program_id=older)

    for _ in range(2):
        executor.settle(a_chain(wire.name, a_program("one", "2.0.0")), point, 2)

    assert executor.kernel.observe(point).link_program_id == hook.link_program_id
    assert executor.actions()[4:] == ["chain.drift", "chain.request", "chain.attach"]


def test_a_lost_state_directory_costs_no_packet_and_no_count(
    executor: Executor, wire: Wire, base: PurePosixPath, tmp_path: Path
) -> None:
    """What runs goes on; the next desired chain takes its place and its maps over."""
    point = Point(wire.name, "xdp")
    chain = a_chain(wire.name, a_program("one"))
    executor.settle(chain, point, 1)
    send_frames(wire.peer, 5)
    running = executor.kernel.observe(point).link_program_id

    forgetful = Executor(real_kernel(base), tmp_path / "other" / "state.sqlite")
    forgetful.start()
    adopted = forgetful.kernel.observe(point).link_program_id
    forgetful.settle(chain, point, 1)
    send_frames(wire.peer, 5)

    assert adopted == running
    assert forgetful.scalar(point, "one") == 10
    assert len([pin for pin in pins_below(base) if pin.endswith("/head")]) == 1
    forgetful.stop()


def test_half_made_pins_of_a_killed_run_are_swept(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """A pin that had not taken its name yet holds an object for nothing; deployments stay."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("is-new")), point, 1)
    before = pins_below(base)
    limits = executor.kernel.observe(point).map_pins[MapKey("is-new", "limits")]
    with kernel_info.map_by_id(limits) as opened:
        pins.pin(
            opened,
            base / wire.name / "xdp" / "generations" / "1" / "maps" / "is-new" / "limits-new",
        )

    real_kernel(base)

    assert pins_below(base) == before
    assert MapKey("is-new", "limits") in executor.kernel.observe(point).map_pins


def test_empty_folders_of_hook_points_are_swept(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Folders of a run that was killed while it tidied go at the next start; others stay."""
    executor.settle(a_chain(wire.name, a_program("one")), Point(wire.name, "xdp"), 1)
    before = pins_below(base)
    Path(base / "gone0" / "xdp" / "maps" / "one").mkdir(parents=True)

    real_kernel(base)

    assert [path.name for path in Path(base).iterdir()] == [wire.name]
    assert pins_below(base) == before


def test_nothing_is_found_missing_after_a_reboot(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """Pins and links end with the kernel: the log says what was adopted, and no drift."""
    point, chain = Point(wire.name, "xdp"), a_chain(wire.name, a_program("one"))
    executor.settle(chain, point, 1)
    executor.stop()
    remove_pins(base)
    deadline = time.monotonic() + 5
    while executor.kernel.observe(point).foreign_program_id:  # the kernel takes it off by itself
        assert time.monotonic() < deadline
        time.sleep(0.01)
    executor.boot_id = "boot-2"
    executor.start()

    executor.settle(chain, point, 1)

    assert executor.kernel.observe(point).link_is_live
    assert executor.actions()[2:] == ["chain.adopt", "chain.request", "chain.attach"]


def test_two_executors_never_share_a_state_directory(executor: Executor, tmp_path: Path) -> None:
    """The second one is told so; sequences would not stay without gaps otherwise."""
    second = Executor(executor.kernel, tmp_path / "state" / "state.sqlite")

    with pytest.raises(StateStoreError, match="locked"):
        second.start()


def test_a_program_that_netlink_put_there_is_somebody_else_s(
    executor: Executor, wire: Wire, base: PurePosixPath
) -> None:
    """It has no link, as we have none yet, and the chain is refused before anything is made."""
    point = Point(wire.name, "xdp")
    pins.prepare_pin_directory(base / "theirs")
    with link_chain([a_source("passes")], "xdp", name="theirs") as theirs:
        pins.pin(theirs.program, base / "theirs" / "program")
        command = ("ip", "link", "set", wire.name, "xdp", "pinned", f"{base}/theirs/program")
        subprocess.run(command, check=True)

        with pytest.raises(ForeignOwnerError):
            executor.points.admit(point, a_chain(wire.name, a_program("one")))

        subprocess.run(("ip", "link", "set", wire.name, "xdp", "off"), check=True)
        pins.unpin(base / "theirs" / "program", base=base)
    executor.points.admit(point, a_chain(wire.name, a_program("one")))
