# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the server refuses to each role, tried with real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installation.create import create_installation
from installation.members import add
from installation.registry import SERVICE_ROLES
from shared.adapters.bus_errors import NobodyAnswersError, NotPermittedError
from shared.adapters.provisioning import provision
from shared.contracts import catalog, node, scheduler, verification
from shared.contracts.base import API, EVENTS, Endpoint
from shared.contracts.control_permissions import control_permissions
from shared.contracts.events import PUBLIC
from shared.contracts.permissions import (
    ALLOWED_ENDPOINTS,
    CONTROL_ROLES,
    USER_ROLES,
    UserRole,
    inbox_prefix,
)
from shared.contracts.storage import artifact_subject, kv_stream, kv_subject, outbox_bucket
from tests.support.installations import connected, running_server, utc_now

SECONDS = 5.0
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server with streams, two nodes and one principal of each role."""
    directory = tmp_path_factory.mktemp("roles") / "installation"
    create_installation(directory, listen="127.0.0.1:0", nodes=["n1", "n2"], now=utc_now())
    for role in USER_ROLES:
        add(directory, name=role, role=role, now=utc_now())
    with running_server(directory):
        asyncio.run(_provisioned(directory))
        yield directory


async def _provisioned(directory: Path) -> None:
    async with connected(directory, "service", "provisioner") as connection:
        await provision(connection)


def _direct_get(bucket: str, key: str) -> str:
    return f"$JS.API.DIRECT.GET.{kv_stream(bucket)}.{kv_subject(bucket, key)}"


NODE_MAY_NOT_PUBLISH = [
    kv_subject("observed", "n2"),
    kv_subject("nodes", "n2"),
    kv_subject("verifications", f"n2.{DIGEST}"),
    kv_subject("desired", "n1"),
    kv_subject("desired", "n2"),
    kv_subject("deployments", "d1"),
    kv_subject(outbox_bucket("scheduler").name, "pending.x"),
    f"{EVENTS}.{PUBLIC}.node.n2.chain.attach",
    f"{EVENTS}.{PUBLIC}.scheduler.deployment.apply",
    artifact_subject(DIGEST, 0),
    _direct_get("desired", "n2"),
    _direct_get("observed", "n2"),
    f"$JS.API.DIRECT.GET.ARTIFACTS.{artifact_subject(DIGEST, 0)}",
    f"$JS.API.DIRECT.GET.{kv_stream('desired')}",
    f"$JS.API.CONSUMER.CREATE.{kv_stream('desired')}",
    "$JS.API.STREAM.INFO.EVT",
    catalog.READ_ARTIFACT.at(node="n2").subject,
    catalog.RESOLVE_PACKAGE.subject,
    node.STAGE_CHAINS.at(node="n2").subject,
    verification.VERIFY_ON_NODE.at(node="n2").subject,
    scheduler.APPLY_DEPLOYMENT.subject,
    "$SRV.PING",
    "$SYS.REQ.CLAIMS.UPDATE",
    "_INBOX.node.n2.x",
]


@pytest.mark.parametrize("subject", NODE_MAY_NOT_PUBLISH)
async def test_a_node_cannot_write_or_ask_for_what_is_not_its_own(
    installation: Path, subject: str
) -> None:
    """State, events and artifacts of others are refused to a node, by the server, at once."""
    async with connected(installation, "node", "n1") as connection:
        with pytest.raises(NotPermittedError):
            await connection.ask(subject, b"{}", timeout_seconds=SECONDS)


@pytest.mark.parametrize(
    "subject",
    [
        kv_subject("desired", "n2"),
        kv_subject("desired", "*"),
        kv_subject("desired", ">"),
        kv_subject("observed", "n2"),
        f"{EVENTS}.>",
        artifact_subject("*", 0).rpartition(".")[0] + ".>",
        node.GET_CHAINS.at(node="n2").subject,
        node.STAGE_CHAINS.at(node="n2").subject,
        f"{inbox_prefix('node', 'n2')}.>",
        "_INBOX.>",
        ">",
    ],
)
async def test_a_node_cannot_listen_to_what_is_not_its_own(
    installation: Path, subject: str
) -> None:
    """Desired state, requests and replies of another node never reach a node."""

    async def ignored(_: object) -> None:
        return

    async with connected(installation, "node", "n1") as connection:
        with pytest.raises(NotPermittedError):
            await connection.subscribe(subject, ignored)


async def test_a_node_can_write_its_own_state_and_events(installation: Path) -> None:
    """What the table gives a node, the server lets through and stores."""
    async with connected(installation, "node", "n1") as connection:
        for subject in (
            kv_subject("observed", "n1"),
            kv_subject("nodes", "n1"),
            f"{EVENTS}.{PUBLIC}.node.n1.chain.attach",
        ):
            acknowledgement = await connection.ask(subject, b"{}", timeout_seconds=SECONDS)
            assert b'"seq"' in acknowledgement.data

        kept = await connection.ask(_direct_get("observed", "n1"), b"", timeout_seconds=SECONDS)

    assert kept.data == b"{}"


def _all_endpoints() -> list[Endpoint[Any, Any]]:
    subjects = {e.subject: e for role in USER_ROLES for e in ALLOWED_ENDPOINTS[role]}
    return list(subjects.values())


@pytest.mark.parametrize("role", USER_ROLES)
async def test_a_principal_may_ask_exactly_what_the_table_names(
    installation: Path, role: UserRole
) -> None:
    """The server lets a role's endpoints through, where nobody answers yet, and no other."""
    reached = set()
    async with connected(installation, "principal", role) as connection:
        for endpoint in _all_endpoints():
            subject = endpoint.at(node="n1").subject
            try:
                await connection.ask(subject, b"{}", timeout_seconds=SECONDS)
            except NobodyAnswersError:
                reached.add(endpoint.subject)
            except NotPermittedError:
                continue

    assert reached == {endpoint.subject for endpoint in ALLOWED_ENDPOINTS[role]}


_WORDS_ON_VERSIONS = {"submit", "review", "approve", "promote", "deprecate", "yank", "revoke"}
_RATINGS = {"rate", "unrate"}
_ABOUT_THE_LOG = (f"{API}.auditor.hold.", f"{API}.auditor.finding.")


@pytest.mark.parametrize("role", USER_ROLES)
def test_every_command_is_denied_to_who_only_reads(role: UserRole) -> None:
    """A viewer, code owner or approver has no command to nodes and deployments.

    But approvers let rollouts begin, and auditors hold records and close findings.  Everybody but
    viewers and auditors rates.  Spaces are made by approvers and administrators alone.  Code owners
    request licence waivers and approvers grant them: no role but the administrator's has both.  Nor
    has another one both the approval of a version and its promotion.
    """
    commands = {
        endpoint.subject
        for endpoint in ALLOWED_ENDPOINTS[role]
        if endpoint.is_command and ".events.subscription." not in endpoint.subject
    }
    waivers = {subject for subject in commands if ".licence.waiver." in subject}

    spaces = {subject for subject in commands if ".catalog.space." in subject}
    rollouts = {
        one for one in commands if one.endswith((".deployment.resume", ".deployment.approve"))
    }
    words = {one for one in commands - rollouts if one.rpartition(".")[2] in _WORDS_ON_VERSIONS}
    ratings = {one for one in commands if one.rpartition(".")[2] in _RATINGS}
    log = {one for one in commands if one.startswith(_ABOUT_THE_LOG)}
    others = commands - waivers - words - spaces - ratings - rollouts - log
    assert bool(log) == (role in {"auditor", "administrator"})
    assert bool(others) == (role in {"operator", "publisher", "administrator"})
    assert bool(rollouts) == (role in {"operator", "approver", "administrator"})
    assert bool(ratings) == (role not in {"viewer", "auditor"})
    assert bool(spaces) == (role in {"approver", "administrator"})
    approves_and_promotes = {"approve", "promote"} <= {one.rpartition(".")[2] for one in words}
    assert approves_and_promotes == (role == "administrator")
    has_both = any("request" in one for one in waivers) and any("grant" in one for one in waivers)
    assert has_both == (role == "administrator")


@pytest.mark.parametrize(
    "subject",
    [
        kv_subject("deployments", "d1"),
        kv_subject("desired", "n1"),
        f"{EVENTS}.{PUBLIC}.scheduler.deployment.apply",
        catalog.RESOLVE_PACKAGE.subject,
        "$JS.API.INFO",
        "$SRV.PING",
        "$SYS.REQ.CLAIMS.UPDATE",
    ],
)
async def test_an_administrator_has_no_way_around_the_services(
    installation: Path, subject: str
) -> None:
    """State and events are refused even to an administrator: services alone write them."""
    async with connected(installation, "principal", "administrator") as connection:
        with pytest.raises(NotPermittedError):
            await connection.ask(subject, b"{}", timeout_seconds=SECONDS)


async def test_a_principal_sees_public_events_and_no_others(installation: Path) -> None:
    """Public events reach the users' account; every other audience is refused."""
    received: asyncio.Queue[str] = asyncio.Queue()

    async def note(message: Any) -> None:
        received.put_nowait(message.subject)

    async with (
        connected(installation, "principal", "viewer") as viewer,
        connected(installation, "node", "n1") as emitter,
    ):
        with pytest.raises(NotPermittedError):
            await viewer.subscribe(f"{EVENTS}.>", note)
        with pytest.raises(NotPermittedError):
            await viewer.subscribe(f"{EVENTS}.r_secret.>", note)
        await viewer.subscribe(f"{EVENTS}.{PUBLIC}.>", note)

        await emitter.publish(f"{EVENTS}.r_secret.node.n1.chain.attach", b"{}")
        await emitter.publish(f"{EVENTS}.{PUBLIC}.node.n1.chain.attach", b"{}")

        assert await asyncio.wait_for(received.get(), SECONDS) == (
            f"{EVENTS}.{PUBLIC}.node.n1.chain.attach"
        )
    assert received.empty()


SERVICES = ("catalog", "scheduler", "auditor")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_cannot_write_what_belongs_to_another(
    installation: Path, service: str
) -> None:
    """Outboxes, events and buckets have one writer each."""
    owned = {
        "catalog": [kv_subject("catalog", "x")],
        "scheduler": [kv_subject("desired", "n1"), kv_subject("deployments", "x")],
        "auditor": [],
    }
    forbidden = [subject for other in SERVICES if other != service for subject in owned[other]]
    for other in SERVICES:
        if other != service:
            forbidden.append(kv_subject(outbox_bucket(other).name, "pending.x"))
            forbidden.append(f"{EVENTS}.{PUBLIC}.{other}.record.x")
    forbidden += [kv_subject("observed", "n1"), f"{EVENTS}.{PUBLIC}.node.n1.chain.attach"]
    forbidden += [scheduler.APPLY_DEPLOYMENT.subject, "$JS.API.STREAM.DELETE.EVT"]

    async with connected(installation, "service", service) as connection:
        for subject in forbidden:
            with pytest.raises(NotPermittedError):
                await connection.ask(subject, b"{}", timeout_seconds=SECONDS)


@pytest.mark.parametrize("name", SERVICE_ROLES)
async def test_every_service_may_listen_where_the_table_says(installation: Path, name: str) -> None:
    """Each subscription of the table is one that the server accepts."""

    async def ignored(_: object) -> None:
        return

    async with connected(installation, "service", name) as connection:
        for subject in control_permissions(SERVICE_ROLES[name]).subscribe:
            await connection.subscribe(subject, ignored)


async def test_the_supervisor_may_look_and_nothing_else(installation: Path) -> None:
    """Whoever holds the supervisor's key can ask who is there, and change nothing."""
    async with connected(installation, "service", "supervisor") as connection:
        with pytest.raises(NobodyAnswersError):
            await connection.ask("$SRV.PING", b"", timeout_seconds=SECONDS)
        for subject in (kv_subject("desired", "n1"), scheduler.APPLY_DEPLOYMENT.subject):
            with pytest.raises(NotPermittedError):
                await connection.ask(subject, b"{}", timeout_seconds=SECONDS)


def test_every_role_of_a_service_is_given_credentials() -> None:
    """No control role but the node's is without credentials in a new installation."""
    assert {*SERVICE_ROLES.values(), "node"} == set(CONTROL_ROLES)
