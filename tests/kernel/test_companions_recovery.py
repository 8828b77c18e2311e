# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A companion supervisor that ends: orderly, by SIGKILL, beside another one, with its file lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.companions.adapters.control_groups import read_layout
from shared.contracts.companions import ApplyCompanions
from tests.support.companion_supervisor import (
    SupervisorProcess,
    a_spec,
    a_supervisor,
    nothing_is_left,
)
from tests.support.other_owners import wait_for

pytestmark = pytest.mark.kernel

FOREVER = "exec sleep 1000"


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_a_killed_supervisor_replaces_what_it_left(supervisor: SupervisorProcess) -> None:
    """Its companions go on without it; the next one ends them, says so, and starts them anew."""
    supervisor.apply(a_spec(supervisor.folder, f"sleep 1000 & {FOREVER}"))
    supervisor.until("start", "ready")
    wait_for(lambda: len(supervisor.members()) == 2, what="a companion with a child")
    left = supervisor.members()

    supervisor.kill()
    assert all(map(is_alive, left))
    supervisor.start()

    events = supervisor.until("start", "ready", "exit", "start", "ready")
    assert events[2].exit is not None
    assert events[2].exit.reason == "lost"
    assert not any(map(is_alive, left))
    assert all(len(names) == 1 for names in supervisor.groups().values())
    numbers = [event.number for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_groups_of_others_are_left_alone() -> None:
    """Who made one beside the companions' keeps its processes."""
    with a_supervisor() as supervisor:
        other = Path(read_layout().hierarchies[0].mount, supervisor.place, "other")
        other.mkdir(parents=True)
        child = subprocess.Popen(["sleep", "1000"])
        (other / "cgroup.procs").write_text(str(child.pid))
        supervisor.start()

        assert child.poll() is None
        supervisor.stop()
        child.kill()
        child.wait()
        wait_for(lambda: not (other / "cgroup.procs").read_text(), what="an empty group")
        other.rmdir()


def test_a_supervisor_may_be_killed_at_any_moment(supervisor: SupervisorProcess) -> None:
    """Between any two steps of a start or a stop; afterwards there is one run and one group."""
    specs = [
        a_spec(supervisor.folder, f"sleep 1000 & echo {number}; {FOREVER}", stop_seconds=1)
        for number in range(2)
    ]
    for number, wait_seconds in enumerate((0.0, 0.002, 0.004, 0.008, 0.016, 0.03)):
        supervisor.send(ApplyCompanions(instances=(specs[number % 2],)))
        time.sleep(wait_seconds)
        supervisor.kill()
        supervisor.start()

    supervisor.apply(specs[0])
    supervisor.until_said("0")

    wait_for(lambda: len(supervisor.members()) == 2, what="one companion with its child")
    assert all(len(names) == 1 for names in supervisor.groups().values())
    numbers = [event.number for event in supervisor.fetch()]
    assert numbers == sorted(set(numbers))


def test_one_that_stops_takes_its_companions_along(supervisor: SupervisorProcess) -> None:
    """Nobody would limit or watch them; the next one starts what was wanted last."""
    supervisor.apply(a_spec(supervisor.folder, FOREVER))
    supervisor.until("start", "ready")
    left = supervisor.members()

    assert supervisor.stop() == 0
    assert not any(map(is_alive, left))
    assert not any(supervisor.groups().values())

    supervisor.start()
    supervisor.until("start", "ready", "stopped", "start", "ready")


def test_what_was_not_wanted_any_more_is_not_started(supervisor: SupervisorProcess) -> None:
    """The set that was acknowledged last counts, not the one before."""
    supervisor.apply(a_spec(supervisor.folder, FOREVER))
    supervisor.until("start", "ready")
    supervisor.apply()

    supervisor.kill()
    supervisor.start()

    assert supervisor.states().companions == ()
    nothing_is_left(supervisor)


def test_events_are_kept_until_they_are_fetched(supervisor: SupervisorProcess) -> None:
    """Across a SIGKILL; what was acknowledged is not said again."""
    supervisor.apply(a_spec(supervisor.folder, "exit 0"))
    supervisor.until("start", "ready", "exit")
    seen = len(supervisor.seen)

    supervisor.kill()
    supervisor.start()
    supervisor.until("start", "ready", "exit", "start", "ready", "exit")

    assert len({event.number for event in supervisor.seen}) == len(supervisor.seen) >= seen + 3


def test_two_never_share_a_state(supervisor: SupervisorProcess) -> None:
    """The second one waits a while and gives up; the first one goes on."""
    environment = {
        **os.environ,
        "COMPANIONS_STATE_DIR": str(supervisor.folder / "state"),
        "COMPANIONS_SOCKET": str(supervisor.folder / "other"),
        "COMPANIONS_CGROUP": supervisor.place,
    }
    second = subprocess.run(
        [sys.executable, "-m", "services.companions"],
        env=environment,
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert second.returncode != 0
    assert supervisor.states().companions == ()


def test_the_socket_is_for_root_alone(supervisor: SupervisorProcess) -> None:
    """Nobody else decides what runs as whom."""
    assert (supervisor.folder / "socket").stat().st_mode & 0o777 == 0o600
    assert (supervisor.folder / "state").stat().st_mode & 0o777 == 0o700


def test_a_group_that_was_delegated_is_divided() -> None:
    """As under systemd: the supervisor makes room in the group it was started in."""
    with a_supervisor() as supervisor:
        homes = [Path(one.mount, supervisor.place) for one in read_layout().hierarchies]
        for home in homes:
            home.mkdir(parents=True)
        doors = " ".join(f"{home}/cgroup.procs" for home in homes)
        supervisor.before = ("sh", "-c", f'for d in {doors}; do echo $$ >$d; done; exec "$@"', "-")
        # Nobody handed controllers down to the group where all is in one hierarchy.
        supervisor.environment = {
            "COMPANIONS_CGROUP": "own",
            "COMPANIONS_MAY_LACK": "cpu,memory,pids",
        }
        supervisor.start()

        supervisor.apply(a_spec(supervisor.folder, FOREVER))
        supervisor.until("start", "ready")

        pid = supervisor.state().pid
        told = Path(f"/proc/{pid}/cgroup").read_text()
        assert told.count(f"/{supervisor.place}/companions/") == len(homes)
        unified = Path(f"/proc/{supervisor.pid}/cgroup").read_text().splitlines()[-1]
        assert unified == f"0::/{supervisor.place}/supervisor"
        supervisor.stop()
        wait_for(lambda: not is_alive(pid), what="the companion's end")
        for home in homes:
            for folder in (*home.glob("*/"), home):
                if folder.is_dir():
                    folder.rmdir()


def test_many_companions_are_not_short_of_files() -> None:
    """The usual limit of a process, which it may raise, is not the node's limit of companions."""
    with a_supervisor() as supervisor:
        supervisor.before = ("prlimit", "--nofile=64:4096")
        supervisor.start()
        spec = a_spec(supervisor.folder, FOREVER)
        supervisor.apply(*(replace(spec, id=f"companion-{number}") for number in range(12)))

        def are_ready() -> bool:
            return {state.phase for state in supervisor.states().companions} == {"ready"}

        wait_for(are_ready, what="twelve companions that are ready")


def test_a_user_id_range_that_is_used_up_refuses_by_name() -> None:
    """No two companions ever share an id."""
    with a_supervisor() as supervisor:
        supervisor.environment = {"COMPANIONS_USER_IDS": "1900000000-1900000000"}
        supervisor.start()
        spec = a_spec(supervisor.folder, FOREVER)
        supervisor.apply(spec, replace(spec, id="second"))

        ended = supervisor.until("exit", "backoff", companion="second")[0].exit

        assert ended is not None
        assert "COMPANIONS_USER_IDS" in ended.problem
