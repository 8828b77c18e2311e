# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which processes are started, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from installation.layout import Layout
from installation.processes import (
    PROCESS_NAMES,
    NodePlace,
    node_label,
    parse_node_place,
    process_specs,
    refuse_unreachable_server,
)
from installation.supervision import ProcessSpec
from shared.errors import RefusedError

LAYOUT = Layout(Path("/srv/l3af"))


def specs(
    *, only: tuple[str, ...] = (), schedulers: int = 1, **environ: str
) -> dict[str, ProcessSpec]:
    """What would run, by name."""
    wanted = process_specs(
        LAYOUT,
        python="/venv/bin/python",
        nats_server="/venv/bin/nats-server",
        nodes=[NodePlace("n1"), NodePlace("n2", "lab-2")],
        schedulers=schedulers,
        only=only,
        environ=environ,
    )
    return {spec.name: spec for spec in wanted}


def test_everything_starts_in_order() -> None:
    """The server, what it stores in, the services, the executors."""
    assert list(specs()) == [
        "nats-server",
        "provisioner",
        "catalog",
        "scheduler",
        "auditor",
        "companions-n1",
        "companions-n2",
        "node_executor-n1",
        "node_executor-n2",
    ]


def test_a_second_scheduler_has_the_first_one_s_credentials_and_a_state_of_its_own() -> None:
    """One leads, under one name to the audit log; each is known by its own directory."""
    both = specs(schedulers=2)

    assert list(both).index("scheduler-2") == list(both).index("scheduler") + 1
    first, second = both["scheduler"], both["scheduler-2"]
    assert second.environment == {
        **first.environment,
        "SCHEDULER_STATE_DIR": "/srv/l3af/state/scheduler-2",
    }
    assert (second.command, second.answers_as) == (first.command, first.answers_as)


def test_a_service_gets_its_own_credentials_and_state() -> None:
    """No process is told where another's keys are."""
    environment = specs()["catalog"].environment

    assert environment == {
        "CATALOG_CREDENTIALS_DIR": "/srv/l3af/credentials/services/catalog",
        "CATALOG_STATE_DIR": "/srv/l3af/state/catalog",
        "CATALOG_LOG_LEVEL": "info",
        "CATALOG_MAX_ARTIFACT_BYTES": "1073741824",
        "CATALOG_UPLOADS_BYTES": "4294967296",
        "CATALOG_LICENCE_POLICY": "gpl-ok",
        "CATALOG_VERIFICATION_KERNELS": "0",
        "CATALOG_VERIFICATION_CHANNELS": "",
        "CATALOG_VERIFICATION_SECONDS": "300",
        "CATALOG_APPROVALS": "",
        "CATALOG_SOAK_SECONDS": "",
        "CATALOG_KEPT_VERSIONS": "",
        "CATALOG_TRUST_MODE": "trusted",
    }


def test_an_executor_runs_in_its_network_namespace() -> None:
    """Only the network is another; the executor's id is that of the started process."""
    spec = specs()["node_executor-n2"]

    assert spec.command == (
        "nsenter",
        "--net=/run/netns/lab-2",
        "/venv/bin/python",
        "-m",
        "services.node_executor",
    )
    assert spec.environment["NODE_EXECUTOR_CREDENTIALS_DIR"].endswith("/nodes/n2")
    assert spec.answers_as == "node/n2"


def test_every_node_has_a_companion_supervisor_of_its_own() -> None:
    """In the node's network namespace, without credentials; no two share a socket or a group."""
    first, second = specs()["companions-n1"], specs()["companions-n2"]

    assert second.command[:2] == ("nsenter", "--net=/run/netns/lab-2")
    assert first.environment["COMPANIONS_STATE_DIR"] == "/srv/l3af/state/companions-n1"
    assert "COMPANIONS_CREDENTIALS_DIR" not in first.environment
    assert first.answers_as == ""
    executor = specs()["node_executor-n1"].environment
    assert executor["NODE_EXECUTOR_COMPANIONS_SOCKET"] == first.environment["COMPANIONS_SOCKET"]
    for name in ("COMPANIONS_SOCKET", "COMPANIONS_CGROUP"):
        assert first.environment[name] != second.environment[name]


def test_a_socket_has_a_short_path() -> None:
    """Paths of sockets have 107 bytes at most, and installations lie anywhere."""
    deep = Layout(Path("/srv", *["installation"] * 20))
    (supervisor,) = process_specs(
        deep,
        python="python",
        nats_server="nats-server",
        nodes=[NodePlace("n" * 63)],
        only=("companions",),
        environ={},
    )

    assert len(supervisor.environment["COMPANIONS_SOCKET"]) < 100


def test_some_can_be_run_apart() -> None:
    """`--only` leaves the rest to another machine."""
    assert list(specs(only=("catalog", "node_executor"))) == [
        "catalog",
        "node_executor-n1",
        "node_executor-n2",
    ]


def test_the_callers_variables_count() -> None:
    """Log levels, labels and the bpffs directory are the caller's; key directories are not."""
    environment = specs(
        NODE_EXECUTOR_LABELS="zone=a",
        NODE_EXECUTOR_BPFFS_DIR="/sys/fs/bpf/other",
        NODE_EXECUTOR_LOG_LEVEL="debug",
        NODE_EXECUTOR_CREDENTIALS_DIR="/elsewhere",
    )["node_executor-n1"].environment

    assert environment["NODE_EXECUTOR_LABELS"] == "zone=a"
    assert environment["NODE_EXECUTOR_BPFFS_DIR"] == "/sys/fs/bpf/other"
    assert environment["NODE_EXECUTOR_LOG_LEVEL"] == "debug"
    assert environment["NODE_EXECUTOR_CREDENTIALS_DIR"] == "/srv/l3af/credentials/nodes/n1"


def test_a_place_is_a_name_or_a_name_and_a_namespace() -> None:
    """The name is a label, because it stands in subjects."""
    assert parse_node_place("n1") == NodePlace("n1")
    assert parse_node_place("n1@lab-1") == NodePlace("n1", "lab-1")
    with pytest.raises(RefusedError):
        parse_node_place("N.1")


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("edge-1", "edge-1"),
        ("Edge1.example.org", "edge1"),
        ("a_b", "a-b"),
        ("_", "node"),
        ("", "node"),
    ],
)
def test_a_host_name_gives_a_node_name(host: str, node: str) -> None:
    """Whatever a host is called, its node's name is a label."""
    assert node_label(host) == node


def test_the_names_on_the_command_line_are_those_of_the_table() -> None:
    """`--only` knows every process and no other."""
    from typing import get_args

    from cli.up import ProcessName

    assert get_args(ProcessName) == PROCESS_NAMES


def test_a_node_in_a_namespace_cannot_have_a_server_on_loopback() -> None:
    """Every namespace has its own loopback; the refusal names each such node."""
    places = (NodePlace("near"), NodePlace("far", "lab-1"), NodePlace("farther", "lab-2"))

    with pytest.raises(RefusedError) as refused:
        refuse_unreachable_server("nats://127.0.0.1:4222", places)

    assert [reason.path for reason in refused.value.reasons] == [
        "node far@lab-1",
        "node farther@lab-2",
    ]
    refuse_unreachable_server("tls://198.18.0.1:4222", places)
    refuse_unreachable_server("nats://127.0.0.1:4222", places[:1])
