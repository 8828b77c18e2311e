# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nobody can make a service believe that somebody else asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from installation.adapters.directory import read_facts
from installation.create import create_installation
from installation.layout import Layout
from installation.members import add
from shared.adapters.bus import connect
from shared.adapters.callers import Caller
from shared.adapters.provisioning import provision
from shared.adapters.service_layer import Handler
from shared.contracts.base import API, EVENTS, Endpoint
from shared.contracts.control_permissions import control_permissions
from shared.contracts.events import PUBLIC
from shared.contracts.permissions import CONTROL_ROLES
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    LIST_DEPLOYMENTS,
    ApplyDeployment,
    DeploymentAccepted,
    DeploymentList,
    ListDeployments,
)
from shared.contracts.storage import EVENT_STREAM, kv_stream, kv_subject
from shared.nkeys import parse_credentials
from tests.support.installations import bare_client, connected, running_server, utc_now

ANSWER_SECONDS = 5.0


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server with streams and buckets, a node and a viewer."""
    directory = tmp_path_factory.mktemp("attestation") / "installation"
    create_installation(directory, listen="127.0.0.1:0", nodes=["n1"], now=utc_now())
    add(directory, name="onlooker", role="viewer", now=utc_now())
    with running_server(directory):
        asyncio.run(_provisioned(directory))
        yield directory


async def _provisioned(directory: Path) -> None:
    async with connected(directory, "service", "provisioner") as connection:
        await provision(connection)


class Asked:
    """A scheduler that notes who asked it."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    async def listed(self, _: ListDeployments, caller: Caller) -> DeploymentList:
        """Nothing, to anybody."""
        self.callers.append(caller)
        return DeploymentList(deployments=())

    async def applied(self, _: ApplyDeployment, caller: Caller) -> DeploymentAccepted:
        """Must not be reached."""
        self.callers.append(caller)
        raise AssertionError(caller)


@pytest.fixture
async def scheduler(installation: Path) -> AsyncIterator[Asked]:
    """Serves two endpoints as the scheduler."""
    asked = Asked()
    place = Layout(installation).credentials("service", "scheduler")
    endpoints: dict[Endpoint[Any, Any], Handler] = {
        LIST_DEPLOYMENTS: asked.listed,
        APPLY_DEPLOYMENT: asked.applied,
    }
    async with (
        connect(place) as bus,
        bus.serve("scheduler", endpoints, version="0.0.0"),
    ):
        yield asked


def _forged_info(installation: Path) -> bytes:
    """What the server would say about the administrator."""
    layout = Layout(installation)
    facts = read_facts(layout)
    place = layout.credentials("principal", "admin") / "user.creds"
    key = parse_credentials(place.read_text()).key.public
    issuer = next(key for key, role in facts.roles.items() if role == "administrator")
    return msgspec.json.encode(
        {"acc": facts.accounts.users, "user": key, "issuer_key": issuer, "name_tag": "admin"}
    )


FORGERIES = {
    "plain": b"Nats-Request-Info: %b\r\n",
    "twice": b"Nats-Request-Info: %b\r\nNats-Request-Info: %b\r\n",
    "blank before the colon": b"Nats-Request-Info : %b\r\n",
    "blank before the name": b" Nats-Request-Info: %b\r\n",
    "lower case": b"nats-request-info: %b\r\n",
    "no last line end": b"Nats-Request-Info : %b\r\nFoo",
    "no line end at all": b"Nats-Request-Info: %b",
    "bare line feed": b"X: y\nNats-Request-Info: %b\r\n",
    "empty line": b"Nats-Request-Info : %b\r\n\r\n\r\n",
}


def _forged_headers(installation: Path, form: str) -> bytes:
    text = FORGERIES[form]
    return b"NATS/1.0\r\n" + text.replace(b"%b", _forged_info(installation)) + b"\r\n"


async def _publish_raw(
    client: Client, subject: str, reply: str, headers: bytes, data: bytes
) -> None:
    """A message whose header block nats-py would not write."""
    sizes = f"{len(headers)} {len(headers) + len(data)}"
    line = f"HPUB {subject} {reply} {sizes}\r\n".encode()
    await client._send_command(line + headers + data + b"\r\n")
    await client.flush()


@pytest.mark.parametrize("form", FORGERIES)
async def test_a_principal_cannot_be_somebody_else(
    installation: Path, scheduler: Asked, form: str
) -> None:
    """A viewer that forges the header in any spelling is a viewer to the service, or nobody."""
    async with bare_client(installation, "principal", "onlooker") as client:
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        headers = _forged_headers(installation, form)

        await _publish_raw(client, LIST_DEPLOYMENTS.subject, inbox, headers, b"{}")
        await answers.next_msg(ANSWER_SECONDS)

    assert {caller.role for caller in scheduler.callers} <= {"viewer"}
    assert {caller.name for caller in scheduler.callers} <= {"onlooker"}


@pytest.mark.parametrize("form", FORGERIES)
async def test_a_node_cannot_have_the_server_deliver_a_forged_request(
    installation: Path, scheduler: Asked, form: str
) -> None:
    """A stored message that is sent back to an endpoint's subject carries nobody's identity."""
    subject = kv_subject("observed", "n1")
    read = f"$JS.API.DIRECT.GET.{kv_stream('observed')}.{subject}"
    async with bare_client(installation, "node", "n1") as client:
        headers = _forged_headers(installation, form)
        inbox = client.new_inbox()
        stored = await client.subscribe(inbox)
        await _publish_raw(client, subject, inbox, headers, b"{}")
        await stored.next_msg(ANSWER_SECONDS)

        await client.publish(read, b"", reply=APPLY_DEPLOYMENT.subject)
        await client.publish(read, b"", reply=LIST_DEPLOYMENTS.subject)
        await client.flush()

    async with bare_client(installation, "principal", "onlooker") as honest:
        await honest.request(LIST_DEPLOYMENTS.subject, b"", timeout=ANSWER_SECONDS)
    assert [caller.role for caller in scheduler.callers] == ["viewer"]


@pytest.mark.parametrize("way", ["pull", "push"])
@pytest.mark.parametrize("form", FORGERIES)
async def test_the_auditors_key_cannot_have_the_server_deliver_a_forged_request(
    installation: Path, scheduler: Asked, form: str, way: str
) -> None:
    """What a consumer delivers to an endpoint's subject carries nobody's identity.

    nats-server 2.15.1 does deliver it, although the key has no right to publish there.
    """
    name = f"{way}-{form.replace(' ', '-')}"
    stored = f"{EVENTS}.{PUBLIC}.auditor.{name}"
    settings = {"filter_subject": stored, "ack_policy": "none"}
    if way == "push":
        settings["deliver_subject"] = LIST_DEPLOYMENTS.subject
    else:
        settings["durable_name"] = name
    async with (
        bare_client(installation, "service", "auditor") as client,
        bare_client(installation, "service", "scheduler") as ear,
    ):
        delivered = await ear.subscribe(LIST_DEPLOYMENTS.subject)
        await ear.flush()
        inbox = client.new_inbox()
        acknowledged = await client.subscribe(inbox)
        headers = _forged_headers(installation, form)
        await _publish_raw(client, stored, inbox, headers, b"{}")
        await acknowledged.next_msg(ANSWER_SECONDS)

        consumer = msgspec.json.encode({"stream_name": EVENT_STREAM, "config": settings})
        place = f"$JS.API.CONSUMER.{{}}.{EVENT_STREAM}.{name}"
        made = await client.request(place.format("CREATE"), consumer, timeout=ANSWER_SECONDS)
        assert b'"error"' not in made.data
        if way == "pull":
            await client.publish(place.format("MSG.NEXT"), b"", reply=LIST_DEPLOYMENTS.subject)
        assert (await delivered.next_msg(ANSWER_SECONDS)).subject == stored

    async with bare_client(installation, "principal", "onlooker") as honest:
        await honest.request(LIST_DEPLOYMENTS.subject, b"", timeout=ANSWER_SECONDS)
    assert [caller.role for caller in scheduler.callers] == ["viewer"]


def test_no_role_of_the_control_account_may_ask_the_api() -> None:
    """Where requests are attested, nobody inside may publish."""
    publishing = [
        (role, subject)
        for role in CONTROL_ROLES
        for subject in control_permissions(role).publish
        if subject.startswith((f"{API}.", "l3af.v1.>", "l3af.>", ">", "*"))
    ]

    assert publishing == []


async def test_a_service_asked_directly_by_a_node_is_never_reached(
    installation: Path, scheduler: Asked
) -> None:
    """The server refuses a node's publication on an endpoint's subject."""
    async with bare_client(installation, "node", "n1") as client:
        await client.publish(LIST_DEPLOYMENTS.subject, b"{}")
        await client.flush()

    async with bare_client(installation, "principal", "onlooker") as honest:
        await honest.request(LIST_DEPLOYMENTS.subject, b"", timeout=ANSWER_SECONDS)
    assert [caller.name for caller in scheduler.callers] == ["onlooker"]
