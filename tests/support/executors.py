# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains of small programs with signed packages, and an executor's parts over the real kernel."""

from __future__ import annotations

import itertools
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from pyroute2 import IPRoute

from services.node_executor.adapters.hook_points import HookPointKernel
from services.node_executor.adapters.linker import link
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.chain_journal import ChainJournal
from services.node_executor.changes import HookPoints
from services.node_executor.execution import Kernel, Steps
from services.node_executor.generations import Point, Standing
from services.node_executor.packages import OpenedPackage, open_package
from services.node_executor.preparation import Needs, Prepared
from services.node_executor.resting import Resting
from shared.bytecode.elf import read_elf
from shared.contracts.catalog import PackageVersion, SignedPackage
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.events import Event
from shared.contracts.metrics import MetricSource
from shared.contracts.package_manifest import MapEntry, PackageManifest, ProgramEntry
from shared.identifiers import Hook
from shared.package_archive import describe_files, write_archive
from shared.trust.packages import Trust
from tests.package_builders import NOW, TRUST_ROOT, sign
from tests.support.bpf_objects import compile_source
from tests.support.counters import total_in
from tests.support.softirqs import wait_until_received

_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
} packets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u16);
	__type(value, __u32);
	__uint(max_entries, LIMITS);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
	__uint(max_entries, 4);
} settings SEC(".maps");

unsigned long stamp;

SEC("SECTION")
int counts(struct CONTEXT *ctx)
{
	__u32 zero = 0;
	__u16 port = 80;
	__u64 *value = bpf_map_lookup_elem(&packets, &zero);

	if (value)
		*value += STEP;
	stamp += 1;
	bpf_map_lookup_elem(&limits, &port);
	bpf_map_lookup_elem(&settings, &zero);
	return VERDICT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""
VERSIONS: dict[str, dict[str, str]] = {
    "1.0.0": {},
    "1.1.0": {},
    "2.0.0": {"STEP": "2"},
    "3.0.0": {"LIMITS": "64"},
    "4.0.0": {"VERDICT": "DROP"},
}
"""1 and 1.1 count packets, 2 counts double, 3 has a larger map, 4 drops."""
PACKETS = "packets"
COUNTED = {PACKETS: MetricSource(map=PACKETS, key="0")}
"""Packets that a counter saw, as a metric."""


@cache
def counting_object(version: str, hook: Hook) -> bytes:
    """The object of one version for one kind of hook."""
    is_xdp = hook == "xdp"
    verdicts = {"PASS": "XDP_PASS" if is_xdp else "0", "DROP": "XDP_DROP" if is_xdp else "2"}
    words = {"STEP": "1", "LIMITS": "8", "VERDICT": "PASS"} | VERSIONS[version]
    source = _SOURCE.replace("SECTION", "xdp" if is_xdp else "tc")
    source = source.replace("CONTEXT", "xdp_md" if is_xdp else "__sk_buff")
    source = source.replace("VERDICT", verdicts[words["VERDICT"]])
    return compile_source(source.replace("STEP", words["STEP"]).replace("LIMITS", words["LIMITS"]))


@dataclass(frozen=True, slots=True)
class Published:
    """A package as the catalog would hold it."""

    manifest: PackageManifest
    signed: SignedPackage
    archive: bytes

    def opened(self) -> OpenedPackage:
        """Verified again, as before every load."""
        return open_package(self.signed, self.archive, trust=Trust(root=TRUST_ROOT), now=NOW)


def packed(manifest: PackageManifest, files: dict[str, bytes]) -> Published:
    """The package of these files, which the manifest need not describe yet."""
    archive = write_archive(files)
    manifest = msgspec.structs.replace(manifest, files=describe_files(files))
    return Published(manifest, sign(manifest, archive=archive), archive)


@cache
def published(version: str = "1.0.0", hook: Hook = "xdp") -> Published:
    """Package `counter` in one version."""
    manifest = PackageManifest(
        name="counter",
        version=version,
        summary="Counts",
        licence="GPL-2.0-only OR BSD-2-Clause",
        programs=(
            ProgramEntry(name="counts", object="counter.bpf.o", function="counts", hooks=(hook,)),
        ),
        maps={
            "limits": MapEntry(key_minimum=1, key_maximum=65535, value_maximum=1000000),
            "settings": MapEntry(),
        },
    )
    return packed(manifest, {"counter.bpf.o": counting_object(version, hook)})


def a_counter(number: str, *, code: str) -> tuple[PackageVersion, bytes]:
    """Package `counter` for XDP under a number, with the object of another; and its archive."""
    path = "counter.bpf.o"
    manifest = msgspec.structs.replace(published("1.0.0").manifest, version=number, files=())
    data = counting_object(code, "xdp")
    made = packed(manifest, {path: data, "README.md": number.encode()})
    version = PackageVersion(
        version=number,
        signed=made.signed,
        manifest=made.manifest,
        elf=(read_elf(data, path).facts,),
        published_at="",
        published_by="U",
    )
    return version, made.archive


def a_program(
    deployment: str = "one", version: str = "1.0.0", hook: Hook = "xdp", **changes: Any
) -> DesiredProgram:
    """One program of package `counter`."""
    fields: dict[str, Any] = {
        "deployment": deployment,
        "revision": 1,
        "package": "counter",
        "version": version,
        "program": "counts",
        "function": "counts",
        "object": "counter.bpf.o",
        "order": 10,
        "proceed_on": ("pass",) if hook == "xdp" else ("ok",),
        "signed": published(version, hook).signed,
    }
    return DesiredProgram(**{**fields, **changes})


def a_chain(
    interface: str, *programs: DesiredProgram, hook: Hook = "xdp", command: str = "command-1"
) -> DesiredChain:
    """A desired chain."""
    cause = Cause(command_id=command, actor_key="UALICE", actor_role="operator")
    return DesiredChain(interface=interface, hook=hook, programs=programs, cause=cause)


def _opened(program: DesiredProgram, hook: Hook) -> OpenedPackage:
    return published(program.version, hook).opened()


class Executor:
    """One run of an executor without its bus; `start` again is what a restart is."""

    def __init__(
        self, kernel: Kernel, path: Path, *, wrap_store: Callable[[StateStore], Any] = lambda s: s
    ) -> None:
        self.kernel = kernel
        self.opened: Callable[[DesiredProgram, Hook], OpenedPackage] = _opened
        """Where programs come from."""
        self.decided_on: Standing | None = None
        """Where the hook point stood when a change was last prepared."""
        self._path = path
        self._wrap_store = wrap_store
        self._counter = itertools.count()
        self._ticks = itertools.count()
        self.boot_id = "boot-1"
        self.now = 100.0
        """Seconds since the kernel started, as this executor is told."""
        self.newest: Event | None = None
        """Journaled last, by whichever run."""

    def start(self) -> None:
        """Open the journal and adopt."""
        self.store = StateStore.open(
            self._path,
            emitter="node/n1",
            now=lambda: f"2026-01-01T00:00:00.{next(self._ticks):06}Z",
            new_salt=lambda: uuid.uuid4().bytes,
            on_event=self._note,
        )
        start = f"start-{next(self._counter)}"
        store = self._wrap_store(self.store)
        journal = ChainJournal(node="n1", start=start, boot_id=self.boot_id, store=store)
        self.points = HookPoints(
            kernel=self.kernel, steps=Steps(self.kernel), journal=journal, clock=lambda: self.now
        )
        self.resting = Resting(
            kernel=self.kernel,
            journal=journal,
            drift=self.points.drift,
            clock=lambda: self.now,
        )
        self.points.adopt()

    def stop(self) -> None:
        """As the process ends, however it ends."""
        self.store.close()

    def settle(self, chain: DesiredChain | None, point: Point, generation: int) -> bool:
        """What the service does for one hook point; returns whether something was linked."""
        if self.rests(chain, point, generation):
            return False
        needs = self.points.needs(point, chain)
        prepared = self.prepare(chain, point, needs)
        try:
            self.points.settle(
                point,
                chain,
                desired_generation=generation,
                prepared=prepared,
                decided_on=self.decided_on,
            )
        finally:
            if prepared.linked is not None:
                prepared.linked.close()
        return prepared.linked is not None

    def rests(self, chain: DesiredChain | None, point: Point, generation: int) -> bool:
        """Whether nothing has to be done there."""
        return point in self.resting.look({point: chain}, desired_generation=generation)

    def prepare(self, chain: DesiredChain | None, point: Point, needs: Needs | None) -> Prepared:
        """What the change needs; whoever gets it closes it."""
        self.decided_on = needs.standing if needs else None
        if needs is None or not needs.link or chain is None:
            return Prepared()
        packages = [self.opened(program, point.hook) for program in chain.programs]
        return Prepared(linked=link(point, chain, packages, needs=needs))

    def events(self) -> list[Event]:
        """Everything journaled and not published."""
        return self.store.unpublished()

    def _note(self, event: Event) -> None:
        self.newest = event

    def actions(self) -> list[str]:
        """What the journal says, oldest first."""
        return [event.data.action for event in self.events()]

    def scalar(self, point: Point, deployment: str, name: str = PACKETS, key: str = "*") -> int:
        """A number out of a map that the running chain uses."""
        pins = self.kernel.observe(point).map_pins
        found = next(pins[pinned] for pinned in pins if pinned == (deployment, name))
        return total_in(self.kernel, found, key)


@dataclass(frozen=True, slots=True)
class Wire:
    """Two ends of a veth pair; what one sends the other receives, and nothing else is on it."""

    name: str
    peer: str


@contextmanager
def a_wire(stem: str = "") -> Iterator[Wire]:
    """A veth pair in this network namespace, gone afterwards; without IPv6, so it is silent."""
    used = stem or f"w{uuid.uuid4().hex[:8]}"
    no_addresses = {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", 1]]}
    with IPRoute() as route:
        route.link("add", ifname=f"{used}a", kind="veth", peer=f"{used}b")
        try:
            for name in (f"{used}a", f"{used}b"):
                index = route.link_lookup(ifname=name)[0]
                route.link("set", index=index, IFLA_AF_SPEC={"attrs": [["AF_INET6", no_addresses]]})
                route.link("set", index=index, state="up")
            yield Wire(f"{used}a", f"{used}b")
        finally:
            for index in route.link_lookup(ifname=f"{used}a"):
                route.link("del", index=index)


@contextmanager
def pin_directory() -> Iterator[PurePosixPath]:
    """A folder of bpffs for one test; whatever is left in it is let go."""
    base = PurePosixPath("/sys/fs/bpf") / f"t{uuid.uuid4().hex[:8]}"
    try:
        yield base
    finally:
        remove_pins(base)


def remove_pins(base: PurePosixPath) -> None:
    """Nothing is pinned below `base`, and it is gone."""
    for path in sorted(Path(base).rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    if Path(base).exists():
        Path(base).rmdir()


def pins_below(base: PurePosixPath) -> list[str]:
    """Paths of everything pinned, relative to `base`."""
    found = (path for path in Path(base).rglob("*") if not path.is_dir())
    return sorted(str(path.relative_to(base)) for path in found)


def real_kernel(base: PurePosixPath) -> HookPointKernel:
    """The kernel that runs this test."""
    return HookPointKernel(base)


def send_frames(interface: str, count: int) -> None:
    """`count` frames of a protocol that nobody answers have gone over the wire."""
    frame = bytes.fromhex("ffffffffffff020000000001") + b"\x88\xb5" + bytes(50)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        for _ in range(count):
            sender.send(frame)
    wait_until_received()
