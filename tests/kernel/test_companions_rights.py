# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a companion may do and see: what its manifest declares, and nothing beside it."""

from __future__ import annotations

import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from services.node_executor.adapters.kernel_info import map_info
from shared.contracts.package_manifest import CompanionLimits
from tests.support.companion_supervisor import ID, SupervisorProcess, a_command, a_spec
from tests.support.hand_linked import Kernel, a_kernel

pytestmark = pytest.mark.kernel

TELLS = """
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status
ulimit -n
echo told
exec sleep 1000
"""
LOOKS = """#!/usr/bin/python3
import ctypes, os, signal, sys, time
libbpf = ctypes.CDLL("libbpf.so.1")
folder = os.environ["L3AF_MAPS"]
def look(*_):
    for name in sorted(os.listdir(folder)):
        descriptor = libbpf.bpf_obj_get(os.path.join(folder, name).encode())
        key, value = ctypes.c_uint32(0), ctypes.c_uint64(0)
        found = libbpf.bpf_map_lookup_elem(descriptor, ctypes.byref(key), ctypes.byref(value))
        put = libbpf.bpf_map_update_elem(
            descriptor, ctypes.byref(key), ctypes.byref(ctypes.c_uint64(value.value + 1)), 0)
        print(name, found, value.value, put, flush=True)
    print("looked", flush=True)
look()
for number in map(int, sys.argv[1:]):
    print("by id", libbpf.bpf_map_get_fd_by_id(number), flush=True)
for place in ("/sys/fs/bpf", "/run/l3af/maps/new"):
    try:
        os.mkdir(place) if place.endswith("new") else os.listdir(place)
        print(place, "is open", flush=True)
    except OSError as error:
        print(place, "is closed", flush=True)
print("done", flush=True)
while True:
    time.sleep(1000)
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Makes maps."""
    with a_kernel() as made:
        yield made


def told(supervisor: SupervisorProcess) -> dict[str, str]:
    """What the companion says of itself."""
    lines = supervisor.until_said("told")
    return dict(re.split(r":\s*", line, maxsplit=1) for line in lines if ":" in line)


def test_one_that_declares_nothing_can_do_nothing(supervisor: SupervisorProcess) -> None:
    """A user id of its own, no group beside it, no capability now or ever."""
    limits = CompanionLimits(open_files=77)
    supervisor.apply(a_spec(supervisor.folder, TELLS, limits=limits))

    said = told(supervisor)

    (user,) = set(said["Uid"].split())
    assert int(user) == supervisor.state().user_id
    assert 1_900_000_000 <= int(user) <= 1_900_065_535
    assert set(said["Gid"].split()) == {user}
    assert {said[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert said["NoNewPrivs"] == "1"
    assert "77" in supervisor.lines()


def test_nothing_of_the_supervisors_is_handed_on(supervisor: SupervisorProcess) -> None:
    """Neither descriptors nor variables."""
    script = "ls /proc/$$/fd; env | cut -d= -f1 | sort; echo told; exec sleep 1000"
    supervisor.apply(a_spec(supervisor.folder, script, environment={"L3AF_NODE": "n1"}))

    lines = supervisor.until_said("told")

    # The shell keeps its script open as 10.
    assert lines[:-1] == [
        *("0", "1", "10", "2"),
        *("HOME", "L3AF_MAPS", "L3AF_NODE", "NOTIFY_SOCKET", "PATH", "PWD"),
    ]


def test_an_account_and_capabilities_are_those_declared(supervisor: SupervisorProcess) -> None:
    """In force after exec, and bounded to them."""
    capabilities = ("CAP_NET_RAW", "CAP_BPF")
    spec = a_spec(supervisor.folder, TELLS, user="nobody", capabilities=capabilities)
    supervisor.apply(spec)

    said = told(supervisor)

    assert said["Uid"].split() == [str(pwd.getpwnam("nobody").pw_uid)] * 4
    wanted = f"{1 << 13 | 1 << 39:016x}"
    assert {said[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {wanted}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"user": "root"}, "account root is root; companions need another one"),
        ({"user": "nobody-knows-it"}, "this node has no account nobody-knows-it"),
        ({"capabilities": ("CAP_FLY",)}, "there is no capability CAP_FLY"),
        ({"maps": {"gone": 4_000_000_000}}, "maps of the companion: "),
    ],
)
def test_what_this_node_cannot_give_is_refused_by_name(
    supervisor: SupervisorProcess, fields: dict[str, object], problem: str
) -> None:
    """Nothing runs with less or more than was declared."""
    supervisor.apply(a_spec(supervisor.folder, "echo ran", **fields))

    ended = supervisor.until("exit")[0].exit

    assert ended is not None
    assert ended.reason == "not-started"
    assert ended.problem.startswith(problem)
    assert supervisor.lines() == []


def test_two_companions_have_two_user_ids(supervisor: SupervisorProcess) -> None:
    """Neither can signal or trace the other."""
    spec = a_spec(supervisor.folder, TELLS)
    supervisor.apply(spec, replace(spec, id="other"))
    supervisor.until("start", "ready")
    supervisor.until("start", "ready", companion="other")

    assert len({state.user_id for state in supervisor.states().companions}) == 2


def test_it_sees_its_own_maps_and_no_others(supervisor: SupervisorProcess, kernel: Kernel) -> None:
    """Its maps can be read and written by name; others neither by path nor by id."""
    mine, foreign = kernel.map(), kernel.map()
    spec = a_spec(
        supervisor.folder,
        LOOKS,
        str(map_info(foreign).id),
        maps={"packets": map_info(mine).id},
    )
    supervisor.apply(spec)

    lines = supervisor.until_said("done")

    assert lines[:2] == ["packets 0 0 0", "looked"]
    assert lines[2].startswith("by id -")
    assert lines[3:5] == ["/sys/fs/bpf is closed", "/run/l3af/maps/new is closed"]


def test_nothing_of_its_view_is_left_outside(supervisor: SupervisorProcess, kernel: Kernel) -> None:
    """Its maps have no path in the node's own file systems."""
    mine = map_info(kernel.map()).id
    supervisor.apply(a_spec(supervisor.folder, LOOKS, maps={"packets": mine}))
    supervisor.until_said("looked")

    room = Path("/run/l3af/maps")
    assert not room.exists()
    assert "/run/l3af/" not in Path("/proc/self/mountinfo").read_text()


def test_maps_that_were_exchanged_come_with_the_update(
    supervisor: SupervisorProcess, kernel: Kernel
) -> None:
    """The update command finds the new maps under the old path, and so does the companion."""
    first, second = (map_info(kernel.map()).id for _ in range(2))
    update = a_command(supervisor.folder, LOOKS.replace("while True:", "if False:"))
    spec = a_spec(supervisor.folder, LOOKS, maps={"packets": first}, update=update)
    supervisor.apply(spec)
    supervisor.until_said("done")
    pid = supervisor.state().pid

    supervisor.apply(replace(spec, maps={"packets": second, "more": first}))

    assert supervisor.until("start", "ready", "update")[2].problem == ""
    lines = supervisor.lines()
    # The first map was counted in by the companion; the second one never.
    assert lines[lines.index("done") + 1 :][:2] == ["more 0 1 0", "packets 0 0 0"]
    assert supervisor.state().pid == pid


def test_limits_without_a_controller_are_named(supervisor: SupervisorProcess) -> None:
    """What the control groups offer is said, and nothing is missing on this machine."""
    supervisor.apply(a_spec(supervisor.folder, "exec sleep 1000"))
    supervisor.until("start", "ready")
    states = supervisor.states()

    assert set(states.controllers) == {"cpu", "memory", "pids"}
    assert states.companions[0].missing_limits == ()
    assert states.companions[0].id == ID
