# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which processes make up the system: command, environment, order.  The one table.

Pure.  `l3af up`, compose.yaml, deploy/systemd and deploy/env start the same commands with the same
variables; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from installation.layout import Layout
from installation.registry import MemberKind
from installation.server_config import is_loopback
from installation.supervision import ProcessSpec, answer_name
from shared.canonical import sha256_hex
from shared.errors import Reason, RefusedError
from shared.identifiers import parse_token

NATS_SERVER: Final = "nats-server"
PROVISIONER: Final = "provisioner"
COMPANIONS: Final = "companions"
NODE_EXECUTOR: Final = "node_executor"
SCHEDULER: Final = "scheduler"
PROCESSES_OF_NODES: Final = (COMPANIONS, NODE_EXECUTOR)
"""Those of which each node has one."""
BPFFS_DIR: Final = "/sys/fs/bpf/l3af"
CACHE_BYTES: Final = 512 * 1024 * 1024
JOURNAL_BYTES: Final = 256 * 1024 * 1024
"""What package archives may take on a node's disk."""
NETWORK_NAMESPACES: Final = "/run/netns"
COMPANION_SOCKETS: Final = "/run/l3af"
"""Where executors reach the companion supervisors of their nodes.  Companions cannot look there:
it is the folder that each has to itself."""
_DIGEST_LETTERS: Final = 16


@dataclass(frozen=True, slots=True)
class ProcessKind:
    """One kind of process."""

    name: str
    stage: int
    """Lower stages start first and stop last."""
    module: str = ""
    """What Python runs; empty for nats-server."""
    prefix: str = ""
    """Of its environment variables."""
    settings: tuple[str, ...] = ()
    """Names of the variables, without the prefix."""
    credentials: MemberKind = "service"
    runs_once: bool = False
    """Whether it is done when it exits with status 0."""
    answers_as: str = ""
    """The service name under which it answers `$SRV.PING`; empty: it does not."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Full names of the variables it reads."""
        return tuple(f"{self.prefix}_{setting}" for setting in self.settings)


_SERVICE_SETTINGS: Final = ("CREDENTIALS_DIR", "STATE_DIR", "LOG_LEVEL")


def _service(name: str, *own_settings: str) -> ProcessKind:
    return ProcessKind(
        name=name,
        stage=2,
        module=f"services.{name}",
        prefix=name.upper(),
        settings=(*_SERVICE_SETTINGS, *own_settings),
        answers_as=name,
    )


PROCESSES: Final[tuple[ProcessKind, ...]] = (
    ProcessKind(name=NATS_SERVER, stage=0),
    ProcessKind(
        name=PROVISIONER,
        stage=1,
        module="installation.provision",
        prefix="PROVISIONER",
        settings=("CREDENTIALS_DIR", "LOG_LEVEL"),
        runs_once=True,
    ),
    _service(
        "catalog",
        "MAX_ARTIFACT_BYTES",
        "UPLOADS_BYTES",
        "LICENCE_POLICY",
        "VERIFICATION_KERNELS",
        "VERIFICATION_CHANNELS",
        "VERIFICATION_SECONDS",
        "APPROVALS",
        "SOAK_SECONDS",
        "KEPT_VERSIONS",
        "TRUST_MODE",
    ),
    _service(SCHEDULER),
    _service(
        "auditor", "STORE", "TAKE_OVER_SECONDS", "WITNESSES", "TILES_DIR", "ARCHIVE_DIR", "ALARMS"
    ),
    ProcessKind(
        name=COMPANIONS,
        stage=2,
        module="services.companions",
        prefix="COMPANIONS",
        settings=(
            "STATE_DIR",
            "LOG_LEVEL",
            "SOCKET",
            "CGROUP",
            "USER_IDS",
            "MAY_LACK",
            "EVENT_BYTES",
        ),
    ),
    ProcessKind(
        name=NODE_EXECUTOR,
        stage=3,
        module="services.node_executor",
        prefix="NODE_EXECUTOR",
        settings=(
            *_SERVICE_SETTINGS,
            "BPFFS_DIR",
            "LABELS",
            "EXPEDITED_GRACE_PERIODS",
            "CACHE_BYTES",
            "OFFLINE_MODE",
            "PERIOD_SECONDS",
            "ORPHANS",
            "JOURNAL_BYTES",
            "UNMANAGED",
            "NAMED_NAMESPACES",
            "TRUST_MODE",
            "METRICS_LISTEN",
            "L3AFD_NAMES",
            "BCC_PYTHON",
            "COMPANIONS_SOCKET",
        ),
        credentials="node",
        answers_as="node",
    ),
)
"""In the order in which they start."""
PROCESS_NAMES: Final = tuple(kind.name for kind in PROCESSES)


@dataclass(frozen=True, slots=True)
class NodePlace:
    """One node executor on this machine."""

    node: str
    network_namespace: str = ""
    """Name below /run/netns; empty: this process's own."""


def refuse_unreachable_server(server_url: str, nodes: Iterable[NodePlace]) -> None:
    """Nothing, if every node's network namespace can reach the server.

    Raises:
        RefusedError: A node is in a namespace of its own and the server listens on loopback, which
            every namespace has to itself.
    """
    host = urlsplit(server_url).hostname or ""
    if not is_loopback(host):
        return
    reasons = [
        Reason(
            path=f"node {place.node}@{place.network_namespace}",
            rule="cannot reach a server on loopback from a network namespace of its own",
            got=server_url,
            allowed="an installation made with --listen ADDRESS:PORT that the namespace can reach",
        )
        for place in nodes
        if place.network_namespace
    ]
    if reasons:
        raise RefusedError(f"{reasons[0].path} {reasons[0].rule}", reasons)


def parse_node_place(text: str) -> NodePlace:
    """The place written as `NAME` or `NAME@NETWORK-NAMESPACE`.

    Raises:
        RefusedError: The name is not a label.
    """
    node, _, namespace = text.partition("@")
    return NodePlace(parse_token(node, path="node"), namespace)


def node_label(host_name: str) -> str:
    """The node name that a host name gives: its first label, in lower case.

    >>> node_label("Edge_1.example.org")
    'edge-1'
    """
    first = host_name.partition(".")[0].lower()
    label = "".join(c if c.isascii() and c.isalnum() else "-" for c in first)[:63].strip("-")
    return label or "node"


def process_specs(
    layout: Layout,
    *,
    python: str,
    nats_server: str,
    nodes: Sequence[NodePlace],
    schedulers: int = 1,
    only: Sequence[str] = (),
    environ: Mapping[str, str],
) -> tuple[ProcessSpec, ...]:
    """What to run for an installation on one machine, in starting order.

    Args:
        layout: Of the installation.
        python: Interpreter that has the product.
        nats_server: The server's binary.
        nodes: One executor for each.
        schedulers: How many; one of them leads.
        only: Names of PROCESSES to run; empty: all.
        environ: Its log levels, labels and bpffs directory win over the defaults.
    """
    specs: list[ProcessSpec] = []
    for kind in PROCESSES:
        if only and kind.name not in only:
            continue
        if not kind.module:
            command = (nats_server, "-c", str(layout.server_config))
            specs.append(ProcessSpec(name=kind.name, stage=kind.stage, command=command))
            continue
        places = nodes if kind.name in PROCESSES_OF_NODES else (None,)
        specs += [_spec(kind, layout, python, place, environ) for place in places]
        if kind.name == SCHEDULER:
            specs += [
                _spec(kind, layout, python, None, environ, number=number)
                for number in range(2, schedulers + 1)
            ]
    return tuple(specs)


def companion_place(layout: Layout, node: str) -> str:
    """The name that a node's companion supervisor has on this machine, and no other one has.

    Short whatever the installation's path is: paths of sockets have 107 bytes at most (unix(7)).
    """
    return sha256_hex(f"{layout.root}\0{node}".encode())[:_DIGEST_LETTERS]


def _spec(
    kind: ProcessKind,
    layout: Layout,
    python: str,
    place: NodePlace | None,
    environ: Mapping[str, str],
    *,
    number: int = 1,
) -> ProcessSpec:
    """Of several with the same credentials, `number` tells which it is."""
    command: tuple[str, ...] = (python, "-m", kind.module)
    name = kind.name if place is None else f"{kind.name}-{place.node}"
    if number > 1:
        name = f"{name}-{number}"
    member = kind.name if place is None else place.node
    if place is not None and place.network_namespace:
        namespace = f"{NETWORK_NAMESPACES}/{place.network_namespace}"
        command = ("nsenter", f"--net={namespace}", *command)
    own = companion_place(layout, "" if place is None else place.node)
    socket = f"{COMPANION_SOCKETS}/{own}.sock"
    has_own_namespace = place is not None and bool(place.network_namespace)
    defaults = {
        "CREDENTIALS_DIR": str(layout.credentials(kind.credentials, member)),
        "STATE_DIR": str(layout.state(name)),
        "LOG_LEVEL": environ.get(f"{kind.prefix}_LOG_LEVEL", "info"),
        "BPFFS_DIR": environ.get(f"{kind.prefix}_BPFFS_DIR", BPFFS_DIR),
        "LABELS": environ.get(f"{kind.prefix}_LABELS", ""),
        "EXPEDITED_GRACE_PERIODS": environ.get(f"{kind.prefix}_EXPEDITED_GRACE_PERIODS", "true"),
        "CACHE_BYTES": environ.get(f"{kind.prefix}_CACHE_BYTES", str(CACHE_BYTES)),
        "OFFLINE_MODE": environ.get(f"{kind.prefix}_OFFLINE_MODE", "available"),
        "PERIOD_SECONDS": environ.get(f"{kind.prefix}_PERIOD_SECONDS", "15"),
        "ORPHANS": environ.get(f"{kind.prefix}_ORPHANS", "remove"),
        "JOURNAL_BYTES": environ.get(f"{kind.prefix}_JOURNAL_BYTES", str(JOURNAL_BYTES)),
        "UNMANAGED": environ.get(f"{kind.prefix}_UNMANAGED", "report"),
        # One of several executors of a host looks after its own network namespace alone.
        "NAMED_NAMESPACES": environ.get(
            f"{kind.prefix}_NAMED_NAMESPACES", "false" if has_own_namespace else "true"
        ),
        "TRUST_MODE": environ.get(f"{kind.prefix}_TRUST_MODE", "trusted"),
        "METRICS_LISTEN": environ.get(f"{kind.prefix}_METRICS_LISTEN", ""),
        "L3AFD_NAMES": environ.get(f"{kind.prefix}_L3AFD_NAMES", "false"),
        "MAX_ARTIFACT_BYTES": environ.get(f"{kind.prefix}_MAX_ARTIFACT_BYTES", str(1 << 30)),
        "UPLOADS_BYTES": environ.get(f"{kind.prefix}_UPLOADS_BYTES", str(4 << 30)),
        "LICENCE_POLICY": environ.get(f"{kind.prefix}_LICENCE_POLICY", "gpl-ok"),
        "VERIFICATION_KERNELS": environ.get(f"{kind.prefix}_VERIFICATION_KERNELS", "0"),
        "VERIFICATION_CHANNELS": environ.get(f"{kind.prefix}_VERIFICATION_CHANNELS", ""),
        "VERIFICATION_SECONDS": environ.get(f"{kind.prefix}_VERIFICATION_SECONDS", "300"),
        "APPROVALS": environ.get(f"{kind.prefix}_APPROVALS", ""),
        "SOAK_SECONDS": environ.get(f"{kind.prefix}_SOAK_SECONDS", ""),
        "KEPT_VERSIONS": environ.get(f"{kind.prefix}_KEPT_VERSIONS", ""),
        "STORE": environ.get(f"{kind.prefix}_STORE", ""),
        "TAKE_OVER_SECONDS": environ.get(f"{kind.prefix}_TAKE_OVER_SECONDS", "20"),
        "WITNESSES": environ.get(f"{kind.prefix}_WITNESSES", ""),
        "TILES_DIR": environ.get(f"{kind.prefix}_TILES_DIR", ""),
        "ARCHIVE_DIR": environ.get(f"{kind.prefix}_ARCHIVE_DIR", ""),
        "ALARMS": environ.get(f"{kind.prefix}_ALARMS", ""),
        "SOCKET": socket,
        "COMPANIONS_SOCKET": environ.get(f"{kind.prefix}_COMPANIONS_SOCKET", socket),
        "CGROUP": f"l3af/{own}",
        "USER_IDS": environ.get(f"{kind.prefix}_USER_IDS", "1900000000-1900065535"),
        "MAY_LACK": environ.get(f"{kind.prefix}_MAY_LACK", ""),
        "EVENT_BYTES": environ.get(f"{kind.prefix}_EVENT_BYTES", str(16 << 20)),
        "BCC_PYTHON": environ.get(f"{kind.prefix}_BCC_PYTHON", "/usr/bin/python3"),
    }
    return ProcessSpec(
        name=name,
        stage=kind.stage,
        command=command,
        environment={f"{kind.prefix}_{setting}": defaults[setting] for setting in kind.settings},
        runs_once=kind.runs_once,
        answers_as=_answer(kind, place),
    )


def _answer(kind: ProcessKind, place: NodePlace | None) -> str:
    """How its answer to `$SRV.PING` reads; empty: it gives none."""
    if place is None or not kind.answers_as:
        return kind.answers_as
    return answer_name(kind.answers_as, place.node)
