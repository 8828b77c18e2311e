# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who hears the events of a space while they happen, enforced by the real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from installation.create import create_installation
from installation.members import add, members, rotate
from shared.adapters.bus_errors import NotPermittedError
from shared.adapters.connection import Connection
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC
from shared.contracts.permissions import USER_ROLES
from shared.errors import RefusedError
from tests.support.installations import connected, running_server, utc_now

SECONDS = 5.0
EMBARGO = "r_0123456789abcdef"
OTHER = "r_ffffffffffffffff"
NAMESPACE = "p_acme"
TAIL = "node.n1.chain.attach"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server; of each role one principal in two spaces and one in none."""
    directory = tmp_path_factory.mktemp("spaces") / "installation"
    create_installation(directory, listen="127.0.0.1:0", nodes=["n1"], now=utc_now())
    for role in USER_ROLES:
        now = utc_now()
        add(directory, name=f"{role}-in", role=role, now=now, spaces=(EMBARGO, NAMESPACE))
        add(directory, name=f"{role}-out", role=role, now=now)
    with running_server(directory):
        yield directory


class Ear:
    """What one principal hears."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self, subject: str) -> None:
        """From now on."""

        async def note(message: Any) -> None:
            self._heard.put_nowait(message.subject)

        await self.connection.subscribe(subject, note)

    async def next(self) -> str:
        """The subject of what is heard next."""
        return await asyncio.wait_for(self._heard.get(), SECONDS)

    def is_silent(self) -> bool:
        """Whether nothing more was heard so far."""
        return self._heard.empty()


@asynccontextmanager
async def an_ear(directory: Path, name: str) -> AsyncIterator[Ear]:
    """One principal's."""
    async with connected(directory, "principal", name) as connection:
        yield Ear(connection)


@pytest.mark.parametrize("role", USER_ROLES)
async def test_events_of_a_space_are_heard_by_those_whose_key_names_it(
    installation: Path, role: str
) -> None:
    """Whatever the role, and nothing of a space that the key does not name."""
    async with (
        an_ear(installation, f"{role}-in") as ear,
        connected(installation, "node", "n1") as emitter,
    ):
        for space in (EMBARGO, NAMESPACE, PUBLIC):
            await ear.listen(f"{EVENTS}.{space}.>")
        with pytest.raises(NotPermittedError):
            await ear.listen(f"{EVENTS}.{OTHER}.>")

        for space in (OTHER, EMBARGO, NAMESPACE, PUBLIC):
            await emitter.publish(f"{EVENTS}.{space}.{TAIL}", b"{}")

        heard = [await ear.next() for _ in range(3)]
        assert heard == [f"{EVENTS}.{space}.{TAIL}" for space in (EMBARGO, NAMESPACE, PUBLIC)]
        assert ear.is_silent()


@pytest.mark.parametrize("role", USER_ROLES)
async def test_a_key_that_names_no_space_hears_public_alone(installation: Path, role: str) -> None:
    """The server drops the permission whose tag is missing: neither a guess nor a wildcard helps.

    What is refused is refused alike whether the space exists or not.
    """
    async with (
        an_ear(installation, f"{role}-out") as ear,
        connected(installation, "node", "n1") as emitter,
    ):
        guesses = (EMBARGO, NAMESPACE, OTHER, "*", "{{tag(space)}}", "")
        refused = []
        for space in guesses:
            with pytest.raises(NotPermittedError) as caught:
                await ear.listen(f"{EVENTS}.{space}.>" if space else f"{EVENTS}.>")
            refused.append(caught.value.message.replace(space, "") if space else "")
        await ear.listen(f"{EVENTS}.{PUBLIC}.>")

        for space in (EMBARGO, NAMESPACE, PUBLIC):
            await emitter.publish(f"{EVENTS}.{space}.{TAIL}", b"{}")

        assert len(set(refused[:3])) == 1
        assert await ear.next() == f"{EVENTS}.{PUBLIC}.{TAIL}"
        assert ear.is_silent()


async def test_a_new_key_hears_what_it_is_given(installation: Path) -> None:
    """Rotating keeps the spaces, replaces them, or takes them away; the registry says which."""
    add(installation, name="mover", role="viewer", now=utc_now(), spaces=(EMBARGO,))

    kept = await rotate(installation, kind="principal", name="mover", now=utc_now())
    async with an_ear(installation, "mover") as ear:
        await ear.listen(f"{EVENTS}.{EMBARGO}.>")
    other = await rotate(
        installation, kind="principal", name="mover", now=utc_now(), spaces=(NAMESPACE,)
    )
    async with an_ear(installation, "mover") as ear:
        await ear.listen(f"{EVENTS}.{NAMESPACE}.>")
        with pytest.raises(NotPermittedError):
            await ear.listen(f"{EVENTS}.{EMBARGO}.>")
    none = await rotate(installation, kind="principal", name="mover", now=utc_now(), spaces=())
    async with an_ear(installation, "mover") as ear:
        with pytest.raises(NotPermittedError):
            await ear.listen(f"{EVENTS}.{NAMESPACE}.>")

    assert [one.member.spaces for one in (kept, other, none)] == [(EMBARGO,), (NAMESPACE,), ()]
    assert [
        one.spaces for one in members(installation, kind="principal") if one.name == "mover"
    ] == [(EMBARGO,), (EMBARGO,), (NAMESPACE,), ()]


@pytest.mark.parametrize("space", [PUBLIC, "acme", "p_", "p_Acme", "r_12", "p_a.>", "*", "p_a b"])
def test_what_is_no_space_enters_no_key(installation: Path, space: str) -> None:
    """Refused by name; nobody is added."""
    with pytest.raises(RefusedError) as refused:
        add(installation, name="nobody", role="viewer", now=utc_now(), spaces=(NAMESPACE, space))

    assert [one.got for one in refused.value.reasons] == [space]
    assert all(one.name != "nobody" for one in members(installation, kind="principal"))
