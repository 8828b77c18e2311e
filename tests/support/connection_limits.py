# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`connection-limit` as an executor runs it on hosts of a lab, and connections to them."""

from __future__ import annotations

import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from lab.hosts import DATA_INTERFACE, PEER_INTERFACE, Host, Lab, create_lab
from services.node_executor.adapters import hooks
from services.node_executor.adapters.network_namespaces import inside
from services.node_executor.generations import MapKey, Point
from services.node_executor.packages import OpenedPackage
from shared.contracts.desired import Cause, DesiredChain, DesiredProgram
from shared.contracts.probes import RawTracepointTarget, TracepointTarget
from shared.identifiers import Hook
from shared.package_archive import unpack_archive
from tests.support.executors import Executor, Published, packed, pin_directory, real_kernel
from tests.support.namespaces import ip
from tests.support.package_programs import built, running
from tests.support.probes import until

PACKAGE: Final = "connection-limit"
COUNT: Final = Point("count", "tracepoint")
COUNT_TOO: Final = Point("count-too", "raw-tracepoint")
TARGET: Final = TracepointTarget(category="sock", name="inet_sock_set_state")
RAW_TARGET: Final = RawTracepointTarget(name="inet_sock_set_state")
CAUSE: Final = Cause(command_id="command-1", actor_key="UALICE", actor_role="operator")
PORT: Final = 8080


@cache
def published(version: str) -> Published:
    """The package under a version; every version is another archive of the same programs."""
    package = built(PACKAGE)
    files = unpack_archive(package.archive) | {"VERSION": version.encode()}
    manifest = package.manifest
    changed = type(manifest)(
        name=manifest.name,
        version=version,
        summary=manifest.summary,
        licence=manifest.licence,
        programs=manifest.programs,
        maps=manifest.maps,
        node_maps=manifest.node_maps,
    )
    return packed(changed, files)


def _opened(program: DesiredProgram, _hook: Hook) -> OpenedPackage:
    return published(program.version).opened()


def _program(deployment: str, name: str, version: str, **changes: Any) -> DesiredProgram:
    entry = next(one for one in built(PACKAGE).manifest.programs if one.name == name)
    return DesiredProgram(
        deployment=deployment,
        revision=1,
        package=PACKAGE,
        version=version,
        program=name,
        function=entry.function,
        object=entry.object,
        order=210,
        proceed_on=entry.proceed_on,
        signed=published(version).signed,
        **changes,
    )


class LimitedHosts:
    """Hosts of a lab whose connections are counted, and limited where that was asked for."""

    def __init__(self, lab: Lab, executor: Executor, held: ExitStack) -> None:
        self.hosts = lab.hosts
        self.executor = executor
        self._held = held
        self._generation = 0

    def count(self, version: str = "1.0.0") -> None:
        """The tracepoint's programs run."""
        program = _program("count", "connection-count", version)
        self._settle(COUNT, (program,), target=TARGET)
        too = _program("count-too", "connection-count-too", version)
        self._settle(COUNT_TOO, (too,), target=RAW_TARGET)

    def limit(
        self, host: Host, connections: int, action: str = "DROP", version: str = "1.0.0"
    ) -> None:
        """The host's port has a limit."""
        limits = {str(PORT): {"connections": connections, "action": action}}
        program = _program("limit", "connection-limit", version, config={"cl_limits": limits})
        self._settle(self.point(host), (program,))

    def point(self, host: Host) -> Point:
        """Where the host is limited."""
        return Point(DATA_INTERFACE, "xdp", host.namespace)

    def restart(self) -> None:
        """The executor ends and begins again."""
        self.executor.stop()
        self.executor.start()

    def taken(self, host: Host) -> int:
        """Places of the host's port that are taken."""
        found = self.executor.kernel.read_entries(self._map(COUNT, "count", "cl_ports"))
        value = found.get(_port_of(host), bytes(8))
        return int.from_bytes(value[:8], "little")

    def sockets(self, host: Host) -> int:
        """Connections to the host's port that are counted."""
        found = self.executor.kernel.read_entries(self._map(COUNT, "count", "cl_sockets"))
        return list(found.values()).count(_port_of(host))

    def counted(self, host: Host, name: str) -> int:
        """One of the limit's counters."""
        total: int = self.executor.scalar(self.point(host), "limit", name)
        return total

    def maps(self, point: Point) -> Mapping[MapKey, int]:
        """What the programs of a hook point have, by id."""
        return self.executor.kernel.observe(point).map_pins

    def listen(self, host: Host) -> socket.socket:
        """Accepts nothing by itself; the kernel makes connections."""
        with inside(host.namespace):
            listener = self._held.enter_context(socket.socket(socket.AF_INET6))
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", PORT))
        listener.listen(512)
        return listener

    def connect(self, host: Host, seconds: float = 30.0, address: str = "") -> socket.socket:
        """A connection from the host's peer, to the host's IPv4 address or another one.

        Raises:
            OSError: There was none within so many seconds, or it was reset.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(host.peer_namespace):
            client = self._held.enter_context(socket.socket(family))
        client.settimeout(seconds)
        client.connect((address or host.data_address, PORT))
        return client

    def give_ipv6(self, host: Host) -> str:
        """The host's IPv6 address, which it and its peer have from now on."""
        for number, interface, netns in (
            (1, DATA_INTERFACE, host.namespace),
            (2, PEER_INTERFACE, host.peer_namespace),
        ):
            ip("addr", "add", f"fd00::{number}/64", "dev", interface, "nodad", within=netns)
        return "fd00::1"

    def _map(self, point: Point, deployment: str, name: str) -> int:
        return self.maps(point)[MapKey(deployment, name)]

    def _settle(self, point: Point, programs: tuple[DesiredProgram, ...], **changes: Any) -> None:
        self._generation += 1
        chain = DesiredChain(**point._asdict(), programs=programs, cause=CAUSE, **changes)
        self.executor.settle(chain, point, self._generation)


@contextmanager
def limited_hosts(folder: Path, hosts: int = 1) -> Iterator[LimitedHosts]:
    """So many hosts, and an executor that runs nothing yet.

    What a host sends back by XDP reaches its peer, as over a real cable: peers have a program of
    their own, without which a veth pair takes no such frames.
    """
    with ExitStack() as held:
        base = held.enter_context(pin_directory())
        executor = Executor(real_kernel(base), folder / "state" / "state.sqlite")
        executor.opened = _opened
        lab = held.enter_context(create_lab(f"c{uuid.uuid4().hex[:7]}", hosts))
        for host in lab.hosts:
            passing = held.enter_context(running("port-count", "port-count", "xdp"))
            with inside(host.peer_namespace):
                index = socket.if_nametoindex(PEER_INTERFACE)
                where = host.peer_namespace
                link = hooks.attach(passing.chain.program, index, "xdp", hook_point=where).link
            held.enter_context(link)
        executor.start()
        held.callback(executor.stop)
        yield LimitedHosts(lab, executor, held.enter_context(ExitStack()))


def _port_of(host: Host) -> bytes:
    """The port as maps have it."""
    return struct.pack("=IHxx", Path("/run/netns", host.namespace).stat().st_ino, PORT)


def wait_until_taken(limited: LimitedHosts, host: Host, wanted: int) -> None:
    """Connections end when the kernel has time for it."""
    until(lambda: limited.taken(host) == wanted)
