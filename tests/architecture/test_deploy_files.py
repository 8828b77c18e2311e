# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is deployed is what `l3af up` runs: same commands, same variables, one table."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from installation.processes import COMPANIONS, NATS_SERVER, NODE_EXECUTOR, PROCESSES, ProcessKind
from installation.provision import ProvisionerConfig
from installation.server_config import ServerFiles, parse_listener, server_config
from services.auditor.config import AuditorConfig
from services.catalog.config import CatalogConfig
from services.companions.config import CompanionsConfig
from services.node_executor.config import NodeExecutorConfig
from shared.config import ServiceConfig, load_config

ROOT = Path(__file__).parents[2]
INSTALLATION = "/var/lib/l3af/installation"
CONFIGURED = [kind for kind in PROCESSES if kind.module]


def expected_command(kind: ProcessKind) -> list[str]:
    """The command of the table, with the program's bare name."""
    if kind.name == NATS_SERVER:
        return ["nats-server", "-c", f"{INSTALLATION}/server/nats.conf"]
    return ["python", "-m", kind.module]


def env_file(kind: ProcessKind) -> Path:
    """The process's variables."""
    return ROOT / "deploy" / "env" / f"{kind.name}.env"


def variables(path: Path) -> dict[str, str]:
    """Of an environment file."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def unit(kind: ProcessKind) -> dict[str, list[str]]:
    """Every setting of the process's systemd unit, in order."""
    name = f"l3af-{kind.name.replace('_', '-')}.service"
    settings: dict[str, list[str]] = {}
    for line in (ROOT / "deploy" / "systemd" / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            settings.setdefault(key, []).append(value)
    return settings


def compose_block(name: str) -> str:
    """The lines of one service in compose.yaml."""
    services = (ROOT / "compose.yaml").read_text().split("\nservices:\n")[1]
    blocks = re.split(r"^  (?=[a-z_-]+:$)", services, flags=re.MULTILINE)
    return next(block for block in blocks if block.startswith(f"{name}:"))


@pytest.mark.parametrize("kind", PROCESSES, ids=lambda kind: kind.name)
def test_compose_starts_the_same_command(kind: ProcessKind) -> None:
    """Each process is a container with the table's command and its own variables."""
    block = compose_block(kind.name)
    command = re.search(r"^ *command: (\[.*\])$", block, re.MULTILINE)

    assert command is not None
    assert json.loads(command[1]) == expected_command(kind)
    assert (f"env_file: deploy/env/{kind.name}.env" in block) == bool(kind.module)


def test_compose_has_no_process_of_its_own() -> None:
    """Nothing runs in containers that `l3af up` does not run; `init` ends."""
    services = (ROOT / "compose.yaml").read_text().split("\nservices:\n")[1].split("\nvolumes:")[0]

    assert set(re.findall(r"^  ([a-z_-]+):$", services, re.MULTILINE)) == {
        "init",
        *(kind.name for kind in PROCESSES),
    }


@pytest.mark.parametrize("kind", PROCESSES, ids=lambda kind: kind.name)
def test_systemd_starts_the_same_command(kind: ProcessKind) -> None:
    """Each process is a unit with the table's command and its own variables."""
    settings = unit(kind)
    program, *words = settings["ExecStart"][0].split()

    assert [Path(program).name, *words] == expected_command(kind)
    assert settings.get("EnvironmentFile") == (
        [f"/etc/l3af/{kind.name}.env"] if kind.module else None
    )


@pytest.mark.parametrize("kind", CONFIGURED, ids=lambda kind: kind.name)
def test_environment_files_list_every_variable(kind: ProcessKind) -> None:
    """The variables of the table, all of them and no others."""
    assert tuple(variables(env_file(kind))) == kind.variables


@pytest.mark.parametrize("kind", CONFIGURED, ids=lambda kind: kind.name)
def test_processes_read_the_variables_of_the_table(kind: ProcessKind) -> None:
    """What a process can be told is what the table names, and the shipped file is accepted."""
    configurations: dict[str, type[msgspec.Struct]] = {
        "provisioner": ProvisionerConfig,
        NODE_EXECUTOR: NodeExecutorConfig,
        COMPANIONS: CompanionsConfig,
        "catalog": CatalogConfig,
        "auditor": AuditorConfig,
    }
    configuration = configurations.get(kind.name, ServiceConfig)
    read = {field.name.upper() for field in msgspec.structs.fields(configuration)}

    load_config(configuration, variables(env_file(kind)), prefix=f"{kind.prefix}_")

    assert read == set(kind.settings)


def test_only_what_works_on_the_node_has_capabilities() -> None:
    """Everything else runs without any, as another user than root; containers have the units'."""
    for kind in PROCESSES:
        settings = unit(kind)
        capabilities = settings["CapabilityBoundingSet"][0].split()
        if kind.name in {NODE_EXECUTOR, COMPANIONS}:
            needed = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON", "CAP_SYS_ADMIN"]
            assert capabilities == needed or kind.name == COMPANIONS
            added = re.search(r"cap_add: \[(.*)\]", compose_block(kind.name))
            assert added is not None
            assert [f"CAP_{name}" for name in added[1].split(", ")] == capabilities
        else:
            assert capabilities == []
            assert settings["User"] == [f"l3af-{kind.name}"]
            assert "cap_add" not in compose_block(kind.name)


SECRETS = [
    "operator/operator.seed",
    "operator/trust-root.seed",
    "server/jwt/ACCOUNT.jwt",
    "server/tls/server.key",
    *(
        f"credentials/services/{kind.name}/user.creds"
        for kind in CONFIGURED
        if kind.name not in {COMPANIONS, NODE_EXECUTOR}
    ),
    "credentials/principals/admin/publisher.key",
    "credentials/nodes/node-1/user.creds",
]


def own_directory(kind: ProcessKind) -> str:
    """All of the installation that a process needs."""
    if kind.name == NATS_SERVER:
        return "server"
    if kind.name == NODE_EXECUTOR:
        return "credentials/nodes/node-1"
    return f"credentials/services/{kind.name}"


def reachable(paths: list[str]) -> list[str]:
    """The secrets that lie at or below paths of the machine."""
    secrets = {secret: Path(INSTALLATION, secret) for secret in SECRETS}
    return [
        secret
        for secret, place in secrets.items()
        if any(place.is_relative_to(path) for path in paths)
    ]


def mounts(block: str) -> dict[str, bool]:
    """Paths of the machine that a container has, and whether it may write there."""
    short = re.findall(r'"(/[^:"]+):([^:"]+)(:ro)?"', block)
    long = re.findall(r"source: (\S+)\n +target: (\S+)\n( +read_only: true\n)?", block)
    assert all(source == target for source, target, _ in (*short, *long))
    return {source: not read_only for source, _, read_only in (*short, *long)}


@pytest.mark.parametrize("kind", PROCESSES, ids=lambda kind: kind.name)
def test_a_container_sees_its_own_credentials_alone(kind: ProcessKind) -> None:
    """No container but nats-server's has server/, none has operator/, none writes credentials."""
    seen = mounts(compose_block(kind.name))
    if kind.name == COMPANIONS:  # it has none
        assert reachable(list(seen)) == []
        return
    own = own_directory(kind)

    assert reachable(list(seen)) == [secret for secret in SECRETS if secret.startswith(own)]
    assert seen[f"{INSTALLATION}/{own}"] == (kind.name == NATS_SERVER)
    assert "volumes" not in (ROOT / "compose.yaml").read_text().split("\nservices:\n")[0]


@pytest.mark.parametrize("kind", PROCESSES, ids=lambda kind: kind.name)
def test_a_unit_sees_its_own_credentials_alone(kind: ProcessKind) -> None:
    """Whatever is not bound into the unit's own view of /var/lib/l3af is not there."""
    settings = unit(kind)
    bound = settings.get("BindPaths", []) + settings.get("BindReadOnlyPaths", [])

    if kind.name == NODE_EXECUTOR:  # its credentials are a copy in /etc/l3af/node
        assert settings["InaccessiblePaths"] == ["-/var/lib/l3af"]
        assert bound == []
        return
    if kind.name == COMPANIONS:  # it has none
        assert settings["InaccessiblePaths"] == ["-/var/lib/l3af -/etc/l3af/node"]
        assert bound == []
        return
    own = own_directory(kind)
    writable = [f"{INSTALLATION}/{own}"] if kind.name == NATS_SERVER else []
    state = [f"/var/lib/l3af/{kind.name}"] if "STATE_DIR" in kind.settings else []
    assert settings["TemporaryFileSystem"] == ["/var/lib/l3af:ro"]
    assert settings.get("BindPaths", []) == writable + state
    assert reachable(bound) == [secret for secret in SECRETS if secret.startswith(own)]
    assert settings["ExecStartPre"][0].split()[-1] == f"{INSTALLATION}/{own}"


def test_every_unit_has_a_user_of_its_own() -> None:
    """Processes of one user reach each other's files; each user is made by sysusers.d."""
    users = [unit(kind)["User"][0] for kind in PROCESSES]
    made = re.findall(
        r"^u (\S+)", (ROOT / "deploy" / "sysusers.d" / "l3af.conf").read_text(), re.MULTILINE
    )

    others = [user for user in users if user != "root"]
    assert len(set(others)) == len(others)
    assert set(made) == set(others)


def test_whatever_keeps_running_is_started_again() -> None:
    """Systemd restarts without giving up; what runs once is started again only if it failed."""
    for kind in PROCESSES:
        settings = unit(kind)
        assert settings["Restart"] == ["on-failure" if kind.runs_once else "always"]
        assert ("Type" in settings) == kind.runs_once


def test_the_example_of_the_servers_configuration_is_what_init_writes() -> None:
    """deploy/nats/nats.conf shows the generated text for a listener with TLS."""
    server = f"{INSTALLATION}/server"
    expected = server_config(
        name="example",
        listener=parse_listener(":4222", names=("bus.example.org",)),
        operator_jwt="(the operator's JWT)",
        files=ServerFiles(
            accounts_dir=f"{server}/jwt",
            jetstream_dir=f"{server}/jetstream",
            pid_file=f"{server}/nats-server.pid",
            certificate=f"{server}/tls/server.crt",
            key=f"{server}/tls/server.key",
        ),
    )
    text = (ROOT / "deploy" / "nats" / "nats.conf").read_text()

    assert text.split("\n", 3)[3] == expected
