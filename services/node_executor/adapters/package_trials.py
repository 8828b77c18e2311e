# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of one package, each program linked alone with fresh maps and attached to nothing."""

from __future__ import annotations

import fnmatch
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.bcc_sources import SourceCompiler
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.kernel_facts import kernel_facts, own_platform
from services.node_executor.adapters.packet_runner import PacketRunner
from services.node_executor.adapters.packet_timing import ns_per_packet
from services.node_executor.adapters.probe_chain import load_probe
from services.node_executor.adapters.probe_features import require
from services.node_executor.adapters.trial_configuration import (
    configure,
    find_map,
    trial_variables,
)
from services.node_executor.generations import Point
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from services.node_executor.package_test.comparison import (
    bounded,
    map_differences,
    metric_differences,
    packet_differences,
)
from services.node_executor.package_test.map_room import check_map_room
from services.node_executor.packages import OpenedPackage
from services.node_executor.packet_tests import WatchedMap, programs_that_ran, verdict_name
from services.node_executor.probe_types import loading_of_section
from services.node_executor.slot_metrics import Counted
from shared.bytecode.elf import read_elf_facts, read_object
from shared.configuration.entries import UNDECLARED, map_codec, map_layout
from shared.configuration.metric_selection import select
from shared.contracts.node import DEFAULT_PROCEED_ON
from shared.contracts.package_manifest import PackageManifest, ProgramEntry
from shared.contracts.package_tests import (
    Difference,
    PackageTest,
    PackageTested,
    PackageTestResult,
)
from shared.errors import FaultError, Reason, RefusedError
from shared.identifiers import ProbeHook, is_probe

_CHAIN_NAME: Final = "l3af-test"


class PackageTrials:
    """Runs tests one after the other; holds nothing between them."""

    def __init__(self, compiler: SourceCompiler, *, limit_map_bytes: int | None = None) -> None:
        """Nothing is loaded yet.

        Args:
            compiler: Makes objects of programs that nodes compile.
            limit_map_bytes: What the maps of one program may take; None: what they want.
        """
        self._compiler: Final = compiler
        self._limit_map_bytes: Final = limit_map_bytes
        self._runner: Final = PacketRunner()

    async def run(
        self,
        package: OpenedPackage,
        tests: Sequence[PackageTest],
        *,
        only: str = "",
        loads_all: bool = False,
    ) -> PackageTested:
        """What became of every test whose name matches the glob `only`; empty: of all.

        A test that cannot be run says why and affects no other.  With `loads_all`, programs on
        hooks that no test is about are loaded too, and of programs that have no object for this
        platform nothing is said.
        """
        chosen = [test for test in tests if not only or fnmatch.fnmatchcase(test.name, only)]
        if loads_all:
            chosen += _loads(package.manifest, tests)
            here = {one.name for one in package.manifest.programs if one.object_on(own_platform())}
            chosen = [test for test in chosen if test.program in here]
        return PackageTested(
            package=package.manifest.name,
            version=package.manifest.version,
            kernel=platform.release(),
            machine=platform.machine(),
            results=tuple([await self._result(package, test) for test in chosen]),
        )

    async def _result(self, package: OpenedPackage, test: PackageTest) -> PackageTestResult:
        trial = _Trial(self._runner, package.manifest, test)
        problem: RefusedError | FaultError | None = None
        try:
            trial.run(await self._source(package, test))
        except (RefusedError, FaultError) as error:
            problem = error
        return PackageTestResult(
            name=test.name,
            program=test.program,
            hook=test.hook,
            has_passed=problem is None and not trial.differences,
            packets=len(test.packets),
            verified_instructions=trial.verified_instructions,
            ns_per_packet=trial.ns_per_packet,
            differences=bounded(trial.differences),
            problem=problem.message if problem is not None else "",
            reasons=problem.reasons if problem is not None else (),
        )

    async def _source(self, package: OpenedPackage, test: PackageTest) -> ProgramSource:
        entry = next(one for one in package.manifest.programs if one.name == test.program)
        own = entry.object_on(own_platform())
        if not own:
            rule = f"has no object for {own_platform()}, so it cannot be tested here"
            reason = Reason(path=f"programs.{entry.name}", rule=rule, allowed=sorted(entry.objects))
            raise RefusedError(f"{entry.name} {rule}", [reason])
        if entry.compiler:
            package = await self._compiler.with_object(
                package, own, entry.function, hook=test.hook, name=test.program
            )
        if self._limit_map_bytes is not None:
            facts = read_elf_facts(package.files[own], own)
            check_map_room(
                facts.maps, processors=os.cpu_count() or 1, limit_bytes=self._limit_map_bytes
            )
        return ProgramSource(
            name=entry.name,
            object_path=own,
            data=package.files[own],
            function=entry.function,
            proceed_on=_proceed_on(entry, test),
        )


class _Trial:
    """One test; what was found until something failed stays known."""

    def __init__(self, runner: PacketRunner, manifest: PackageManifest, test: PackageTest) -> None:
        self._runner: Final = runner
        self._manifest: Final = manifest
        self._test: Final = test
        self.verified_instructions = 0
        self.ns_per_packet = 0
        self.differences: list[Difference] = []

    def run(self, source: ProgramSource) -> None:
        """Every packet was run, and everything is compared.

        Raises:
            RefusedError: The program does not load, or the configuration does not fit it.
            FaultError: The kernel failed.
        """
        test, manifest = self._test, self._manifest
        variables, constants = trial_variables(manifest, test, source.data, source.object_path)
        source = replace(source, globals=constants)
        if is_probe(test.hook):
            with _load_probe(source, test.hook) as loaded:
                self.verified_instructions = loaded.info.instructions_verified
                configure(loaded.maps[source.name], manifest, test, variables.live, source)
            return
        with link_chain([source], test.hook, name=_CHAIN_NAME, facts=kernel_facts()) as chain:
            self.verified_instructions = sum(
                one.instructions_verified for one in chain.segment_infos
            )
            maps = chain.maps[source.name]
            configure(maps, manifest, test, variables.live, source)
            self._run_packets(chain, source)
            for name, wanted in test.maps.items():
                self.differences += self._map_differences(maps, name, wanted)
            self.differences += metric_differences(test.metrics, self._metrics(maps))
            # Last, because it counts in the maps that are compared.
            packets = [bytes.fromhex(one.packet) for one in test.packets]
            self.ns_per_packet = ns_per_packet(chain.info.id, packets)

    def _run_packets(self, chain: LinkedChain, source: ProgramSource) -> None:
        test, runner = self._test, self._runner
        counters = chain.counters
        if counters is None:
            raise AssertionError("unreachable: a trial is linked with counters")
        counted = (Counted(source.name, 0, source.proceed_on),)
        for number, wanted in enumerate(test.packets):
            runner.clear_counters(counters.info.id)
            packet = bytes.fromhex(wanted.packet)
            left = runner.run(chain.info.id, packet, Point("", test.hook))
            values = runner.read_counters(counters.info.id)
            ran = programs_that_ran(values, hook=test.hook, programs=counted)
            # What the program said; the chain's end may make another verdict of it.
            verdict = ran[0].verdict if ran else verdict_name(left.verdict, test.hook)
            if verdict == "other":
                verdict = verdict_name(left.verdict, test.hook)
            self.differences += packet_differences(number, wanted, verdict=verdict, data=left.data)

    def _map_differences(
        self, maps: Mapping[str, LoadedMap], name: str, wanted: Mapping[str, object]
    ) -> Iterator[Difference]:
        loaded = find_map(maps, name)
        watched = self._runner.watched(loaded.info.id, deployment="", name=name)
        if not isinstance(watched, WatchedMap):
            rule = f"maps of type {loaded.info.type_name} cannot be compared"
            raise RefusedError(f"maps.{name}: {rule}", [Reason(path=f"maps.{name}", rule=rule)])
        return map_differences(watched, wanted, self._runner.contents(loaded.info.id))

    def _metrics(self, maps: Mapping[str, LoadedMap]) -> dict[str, int]:
        found = {}
        for name in self._test.metrics:
            entry = self._manifest.metrics[name]
            loaded = find_map(maps, entry.map)
            layout = map_layout(*kernel_info.map_declaration(loaded.handle.fd))
            codec = map_codec(layout, self._manifest.maps.get(entry.map, UNDECLARED))
            numbers = map_access.selected(loaded.handle, select(entry, codec))
            found[name] = sum(numbers.values())
        return found


def _load_probe(source: ProgramSource, hook: ProbeHook) -> LinkedChain:
    """The program, loaded for what its section names and attached to nothing.

    Raises:
        UnsupportedByKernelError: The kernel has no such probes.
        RefusedError: Its section does not name what it has to be verified against; or as
            `load_probe` says.
    """
    entry = read_object(source.data, source.object_path).program(source.function)
    section = entry.section if entry is not None else ""
    loading = loading_of_section(section, hook)
    if loading is None:
        rule = f"names nothing that a {hook} could be verified against before it is deployed"
        reason = Reason(path=f"programs.{source.name}", rule=f"section {section} {rule}")
        raise RefusedError(f"section {section} of {source.name} {rule}", [reason])
    require(hook)
    return load_probe(source, hook, loading)


def _loads(manifest: PackageManifest, tests: Sequence[PackageTest]) -> list[PackageTest]:
    """A test without a name and without packets for each program and hook that has none."""
    tested = {(test.program, test.hook) for test in tests}
    return [
        PackageTest(name="", program=entry.name, hook=hook, packets=())
        for entry in manifest.programs
        for hook in entry.hooks
        if (entry.name, hook) not in tested
    ]


def _proceed_on(entry: ProgramEntry, test: PackageTest) -> tuple[str, ...]:
    return entry.proceed_on or DEFAULT_PROCEED_ON[test.hook]
