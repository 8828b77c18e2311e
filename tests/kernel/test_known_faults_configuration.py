# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of what is asked for and not done: each row ends with what the kernel has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from services.node_executor.actions import EntryChange, WriteMapEntries
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.kernel_facts import own_platform
from services.node_executor.execution import Steps
from services.node_executor.generations import MapKey, Point
from services.node_executor.packages import program_problems
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DesiredProgram
from shared.errors import RefusedError
from shared.validation import convert_document
from tests.support.executors import Executor, Wire, a_chain, a_program, published
from tests.support.known_faults import Fault, table

CONFIG = {"limits": {"80": 5, "443": 6}}
SPEC: dict[str, Any] = {
    "name": "edge",
    "package": "counter",
    "hook": "xdp",
    "interfaces": ["eth0"],
}


class Bench:
    """One program that runs with two entries in one of its maps."""

    def __init__(self, executor: Executor, wire: Wire) -> None:
        self.executor, self.wire = executor, wire
        self.point = Point(wire.name, "xdp")
        self._generation = 0
        self.run()
        self._before = self._seen()

    def run(self, **changes: Any) -> DesiredProgram:
        """The program is desired with these changes and settled."""
        self._generation += 1
        program = a_program(**{"config": CONFIG, **changes})
        chain = a_chain(self.wire.name, program)
        self.executor.settle(chain, self.point, self._generation)
        return program

    def refused(self, **changes: Any) -> list[str]:
        """The paths of the refusal; what ran goes on as it was."""
        with pytest.raises(RefusedError) as caught:
            self.run(**changes)
        self.is_as_before()
        return [one.path for one in caught.value.reasons]

    def is_as_before(self) -> None:
        """Program, link, maps and entries."""
        assert self._seen() == self._before

    def limits(self) -> dict[int, int]:
        """What the kernel has in the map."""
        entries = self.executor.kernel.read_entries(self.map_id)
        return {
            int.from_bytes(key, "little"): int.from_bytes(value, "little")
            for key, value in entries.items()
        }

    @property
    def map_id(self) -> int:
        """Of the map with the entries."""
        return self.executor.kernel.observe(self.point).map_pins[MapKey("one", "limits")]

    def _seen(self) -> tuple[Any, ...]:
        return self.executor.kernel.observe(self.point), self.limits()


def spec_refused(**fields: Any) -> list[str]:
    """Paths of what a deployment is refused for."""
    with pytest.raises(RefusedError) as caught:
        convert_document({**SPEC, **fields}, DeploymentSpec, what="deployment")
    return sorted(one.path for one in caught.value.reasons)


@pytest.fixture
def bench(executor: Executor, wire: Wire) -> Bench:
    """It runs."""
    return Bench(executor, wire)


def _unknown_map(bench: Bench) -> None:
    assert bench.refused(config={"limitz": {"80": 5}}) == ["one.config.limitz"]


def _out_of_range(bench: Bench) -> None:
    config = {"limits": {"65536": 1, "80": 1 << 32, "web": 1}}

    assert bench.refused(config=config) == [
        "one.config.limits.65536",
        "one.config.limits.80",
        "one.config.limits.web",
    ]


def _too_many(bench: Bench) -> None:
    many = {str(port): 1 for port in range(9)}

    assert bench.refused(config={"limits": many}) == ["one.config.limits"]


def _write_fails(bench: Bench) -> None:
    keys = [port.to_bytes(2, "little") for port in (80, *range(1000, 1016))]
    changes = [EntryChange(keys[0], (5).to_bytes(4, "little"), bytes(4))]
    changes += [EntryChange(key, None, bytes(4)) for key in keys[1:]]

    write = WriteMapEntries(bench.map_id, tuple(changes))
    with pytest.raises(KernelFaultError):
        Steps(bench.executor.kernel).run([write], bench.point)

    bench.is_as_before()


def _unlisted(bench: Bench) -> None:
    bench.run(config={"limits": {"443": 7}})

    assert bench.limits() == {443: 7}


def _object_file(bench: Bench) -> None:
    assert spec_refused(object_file="other.o", cmd_start="run") == ["cmd_start", "object_file"]
    program = a_program(object="other.bpf.o", function="other")
    manifest, here = published().manifest, own_platform()
    told = program_problems(program, manifest, hook="xdp", platform=here, path="one")
    assert sorted(one.path for one in told) == ["one.function", "one.object"]
    bench.is_as_before()


def _admin_status(bench: Bench) -> None:
    assert spec_refused(admin_status="pending") == ["admin_status"]
    bench.is_as_before()


def _everything_at_once(bench: Bench) -> None:
    bench.run(config={"limits": {"80": 9}}, version="1.1.0", proceed_on=("pass", "tx"))

    seen = bench.executor.points.describe(bench.point, None, desired_generation=0)
    current = bench.executor.points.memory(bench.point).current
    assert current is not None
    assert bench.limits() == {80: 9}
    assert [one.version for one in seen.programs] == ["1.1.0"]
    assert current.chain.programs[0].proceed_on == ("pass", "tx")


FAULTS: dict[str, Fault[Callable[[Bench], None]]] = {
    "unknown-map": Fault(
        "entries of a map that the program has not",
        "answers 200 and writes nothing",
        "refused by the map's name, with those that there are",
        _unknown_map,
    ),
    "out-of-range": Fault(
        "keys and values beyond the map's types",
        "cuts them off, or reads behind its own variable",
        "refused, each by its path",
        _out_of_range,
    ),
    "too-many": Fault(
        "more entries than the map holds",
        "writes as many as fit and ignores the error",
        "refused before the first is written",
        _too_many,
    ),
    "write-fails": Fault(
        "an entry that the kernel refuses, after others",
        "ignores the error; some entries are written",
        "all are taken back, and the failure is told",
        _write_fails,
    ),
    "unlisted": Fault(
        "entries that are not listed any more",
        "deletes them one by one beside those that it failed to write",
        "the map holds exactly what is listed",
        _unlisted,
    ),
    "object-file": Fault(
        "another object_file for a running program, or another field that is not looked at",
        "answers 200 and goes on with the old one; the answer shows the old value",
        "unknown fields are refused by name; an object or function that the package has not, too",
        _object_file,
    ),
    "admin-status": Fault(
        "an admin_status that there is not",
        "starts it on a hook that has programs, ignores it on an empty one; 200 both times",
        "refused by name: what is deployed runs, and what shall not run is not deployed",
        _admin_status,
    ),
    "several-changes": Fault(
        "version, entries and verdicts changed together",
        "looks at the first difference and forgets the others",
        "all are there after one swap",
        _everything_at_once,
    ),
}


@table(FAULTS)
def test_everything_is_applied_or_refused_by_name(
    bench: Bench, fault: Fault[Callable[[Bench], None]]
) -> None:
    """See the table."""
    fault.shows(bench)
