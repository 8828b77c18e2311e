# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Any NATS client can do what the command line does: plain JSON on documented subjects.

Nothing of the product is imported to talk to the bus here, but for the credentials' file format.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client

from demo.stage import Stage

APPLY = "l3af.v1.api.scheduler.deployment.apply"
GET = "l3af.v1.api.scheduler.deployment.get"


def _credentials(text: str) -> tuple[bytes, Ed25519PrivateKey]:
    token, seed = re.findall(r"-----\n([A-Za-z0-9._-]{20,}?)\n-----", text)
    raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    return token.encode(), Ed25519PrivateKey.from_private_bytes(raw[2:34])


@asynccontextmanager
async def _client(system: Stage) -> AsyncIterator[Client]:
    folder = system.installation / "credentials" / "principals" / "admin"
    facts = json.loads((folder / "installation.json").read_text())
    token, key = _credentials((folder / "user.creds").read_text())
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    client = await nats.connect(
        facts["server_url"],
        user_jwt_cb=lambda: token,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
        inbox_prefix="_INBOX.administrator.admin",
        tls=tls,
    )
    try:
        yield client
    finally:
        await client.close()


def _spec(name: str, order: int) -> dict[str, Any]:
    return {
        "name": name,
        "package": "port-count",
        "program": "port-count",
        "hook": "xdp",
        "interfaces": ["data0"],
        "order": order,
        "nodes": {"names": ["host-1"]},
    }


async def _ask(client: Client, subject: str, body: dict[str, Any]) -> Any:
    reply = await client.request(subject, json.dumps(body).encode(), timeout=30)
    assert not (reply.headers or {}).get("Nats-Service-Error"), reply.data
    return json.loads(reply.data)


async def _until_running(client: Client, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            reply = await client.request(GET, json.dumps({"name": name}).encode(), timeout=5)
            places = json.loads(reply.data).get("places", [])
            if places and all(place["state"] == "running" for place in places):
                return
            await asyncio.sleep(0.05)


async def test_a_bare_client_deploys_by_publishing_the_documented_json(system: Stage) -> None:
    """A request is answered with the command id, and the kernel then holds the program."""
    async with _client(system) as client:
        accepted = await _ask(
            client, APPLY, {"command_id": "bare-client-0001", "spec": _spec("bare", 31)}
        )
        await _until_running(client, "bare")
        again = await _ask(
            client, APPLY, {"command_id": "bare-client-0001", "spec": _spec("bare", 31)}
        )

    assert accepted["command_id"] == "bare-client-0001"
    assert again == accepted


async def test_a_command_without_a_reply_subject_is_executed_too(system: Stage) -> None:
    """Its outcome is the event that carries its command id."""
    async with _client(system) as client:
        events = await client.subscribe("l3af.v1.evt.public.scheduler.deployment.apply")
        await client.flush()
        body = {"command_id": "bare-client-0002", "spec": _spec("quiet", 32)}
        await client.publish(APPLY, json.dumps(body).encode())
        event = json.loads((await events.next_msg(timeout=20)).data)
        await _until_running(client, "quiet")

    assert event["data"]["correlation"] == "bare-client-0002"
    assert event["data"]["outcome"] == "accepted"
    assert event["data"]["actor"]["attested"] is True


async def test_a_subscriber_that_was_offline_misses_no_event(system: Stage) -> None:
    """Everything that happened while it was away is fetched afterwards, in order, once."""
    subscription = "l3af.v1.api.events.subscription"
    filters = ["l3af.v1.evt.public.scheduler.deployment.apply"]
    async with _client(system) as client:
        await _ask(client, f"{subscription}.create", {"name": "billing", "subjects": filters})
    async with _client(system) as client:
        for number in range(3):
            await _ask(
                client,
                APPLY,
                {
                    "command_id": f"while-away-{number}",
                    "spec": _spec(f"away-{number}", 40 + number),
                },
            )

    async with _client(system) as client:
        fetched = await _ask(client, f"{subscription}.fetch", {"name": "billing", "limit": 10})
        last = fetched["events"][-1]["position"]
        rest = await _ask(
            client,
            f"{subscription}.fetch",
            {"name": "billing", "acknowledge": last, "wait_seconds": 0.2},
        )

    correlations = [entry["event"]["data"]["correlation"] for entry in fetched["events"]]
    assert correlations == [f"while-away-{number}" for number in range(3)]
    assert rest.get("events", []) == []
