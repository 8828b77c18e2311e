# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Keys come and go while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import nats.errors
import pytest

from installation.adapters.directory import read_registry
from installation.create import create_installation
from installation.layout import Layout
from installation.members import add, refresh_stored_accounts, revoke, rotate, update_accounts
from installation.registry import UnknownMemberError
from shared.adapters.bus_errors import NobodyAnswersError, NotPermittedError
from shared.contracts.scheduler import LIST_DEPLOYMENTS
from shared.errors import RefusedError
from tests.support.installations import bare_client, connected, running_server, utc_now

SECONDS = 5.0
AT_ONCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server."""
    directory = tmp_path_factory.mktemp("revocation") / "installation"
    create_installation(directory, listen="127.0.0.1:0", nodes=["n1"], now=utc_now())
    with running_server(directory):
        yield directory


async def _can_connect(directory: Path, name: str) -> bool:
    try:
        async with connected(directory, "principal", name):
            return True
    except NotPermittedError:
        return False


async def test_an_added_principal_is_let_in_at_once(installation: Path) -> None:
    """No restart and no contact with the server is needed."""
    add(installation, name="new", role="viewer", now=utc_now())

    async with connected(installation, "principal", "new") as connection:
        with pytest.raises(NobodyAnswersError):
            await connection.ask(LIST_DEPLOYMENTS.subject, b"", timeout_seconds=SECONDS)


async def test_a_revoked_key_is_cut_off_at_once_and_stays_out(
    installation: Path, tmp_path: Path
) -> None:
    """Its open connection ends within moments, others stay, and it cannot come back."""
    place = add(installation, name="leaver", role="operator", now=utc_now()).credentials_dir
    kept = tmp_path / "kept"
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    async with (
        connected(installation, "principal", "admin") as other,
        bare_client(installation, "principal", "leaver", closed_cb=on_closed),
    ):
        place.rename(kept)

        change = await revoke(installation, kind="principal", name="leaver", now=utc_now())
        await asyncio.wait_for(closed.wait(), AT_ONCE_SECONDS)

        assert change.is_in_force
        assert other.is_connected
    kept.rename(place)
    assert not await _can_connect(installation, "leaver")


async def test_a_rotated_key_works_and_the_old_one_is_out(installation: Path) -> None:
    """The new credentials are let in without a restart; a copy of the old ones is not."""
    place = add(installation, name="rotator", role="viewer", now=utc_now()).credentials_dir
    old = (place / "user.creds").read_bytes()

    change = await rotate(installation, kind="principal", name="rotator", now=utc_now())

    assert change.is_in_force
    assert change.member.role == "viewer"
    assert await _can_connect(installation, "rotator")
    (place / "user.creds").write_bytes(old)
    assert not await _can_connect(installation, "rotator")


async def test_a_rotated_node_comes_back_with_its_new_key(installation: Path) -> None:
    """An executor that reads its credentials anew reconnects under the same name."""
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    async with bare_client(installation, "node", "n1", closed_cb=on_closed):
        await rotate(installation, kind="node", name="n1", now=utc_now())
        await asyncio.wait_for(closed.wait(), AT_ONCE_SECONDS)

    async with connected(installation, "node", "n1") as connection:
        assert connection.name == "n1"


async def test_a_name_can_be_given_again_after_a_revocation(installation: Path) -> None:
    """The new holder has a new key; the registry keeps both."""
    first = add(installation, name="again", role="viewer", now=utc_now()).member
    await revoke(installation, kind="principal", name="again", now=utc_now())

    second = add(installation, name="again", role="viewer", now=utc_now()).member

    assert second.key != first.key
    assert await _can_connect(installation, "again")
    keys = [m.key for m in read_registry(Layout(installation)).members if m.name == "again"]
    assert keys == [first.key, second.key]


async def test_a_key_ends_by_itself(installation: Path) -> None:
    """From its end on, the server refuses it."""
    past = utc_now() - timedelta(hours=2)
    add(
        installation,
        name="guest",
        role="viewer",
        now=past,
        expires_at=past + timedelta(hours=1),
    )

    assert not await _can_connect(installation, "guest")


async def test_a_taken_name_is_refused(installation: Path) -> None:
    """Two keys never stand for one name at a time."""
    registry = read_registry(Layout(installation))

    with pytest.raises(RefusedError, match="rotate or revoke"):
        add(installation, name="admin", role="viewer", now=utc_now())

    assert read_registry(Layout(installation)) == registry


async def test_revoking_nobody_is_refused(installation: Path) -> None:
    """An unknown name is named, with the known ones."""
    with pytest.raises(UnknownMemberError) as refused:
        await revoke(installation, kind="principal", name="nobody", now=utc_now())

    assert "admin" in refused.value.reasons[0].allowed


async def test_revoking_again_is_harmless(installation: Path) -> None:
    """A second revocation puts the first in force again and changes nothing else."""
    add(installation, name="twice", role="viewer", now=utc_now())
    first = await revoke(installation, kind="principal", name="twice", now=utc_now())

    second = await revoke(installation, kind="principal", name="twice", now=utc_now())

    assert second.member == first.member


async def test_a_revocation_while_the_server_is_down_holds_from_its_start(
    tmp_path: Path,
) -> None:
    """It is kept where the server reads its accounts."""
    directory = tmp_path / "installation"
    create_installation(directory, listen="127.0.0.1:0", now=utc_now())
    place = add(directory, name="leaver", role="viewer", now=utc_now()).credentials_dir
    place.rename(tmp_path / "kept")

    change = await revoke(directory, kind="principal", name="leaver", now=utc_now())
    (tmp_path / "kept").rename(place)

    assert not change.is_in_force
    with running_server(directory):
        assert not await _can_connect(directory, "leaver")
        assert await _can_connect(directory, "admin")


async def test_a_revocation_survives_the_servers_restart(tmp_path: Path) -> None:
    """What was pushed to the running server is on its disk."""
    directory = tmp_path / "installation"
    create_installation(directory, listen="127.0.0.1:0", now=utc_now())
    place = add(directory, name="leaver", role="viewer", now=utc_now()).credentials_dir
    place.rename(tmp_path / "kept")
    with running_server(directory):
        await revoke(directory, kind="principal", name="leaver", now=utc_now())
    (tmp_path / "kept").rename(place)

    with running_server(directory):
        assert not await _can_connect(directory, "leaver")


async def test_accounts_can_be_put_in_force_again(installation: Path) -> None:
    """After an upgrade the running server takes the new table over, and keeps every connection."""
    async with connected(installation, "principal", "admin") as connection:
        assert await update_accounts(installation, now=utc_now())

        with pytest.raises(NobodyAnswersError):
            await connection.ask(LIST_DEPLOYMENTS.subject, b"", timeout_seconds=SECONDS)


def test_stored_accounts_follow_the_table(tmp_path: Path) -> None:
    """Before a start, what differs from table and registry is written anew, and only that."""
    directory = tmp_path / "installation"
    facts = create_installation(directory, listen="127.0.0.1:0", now=utc_now())
    layout = Layout(directory)
    users = layout.account_jwt(facts.accounts.users)
    users.write_bytes(layout.account_jwt(facts.accounts.system).read_bytes())

    changed = refresh_stored_accounts(directory, now=utc_now())

    assert changed == ("users",)
    assert refresh_stored_accounts(directory, now=utc_now()) == ()


def test_without_the_operators_keys_nothing_is_rewritten(tmp_path: Path) -> None:
    """A server's machine needs no `operator/`."""
    directory = tmp_path / "installation"
    create_installation(directory, listen="127.0.0.1:0", now=utc_now())
    (directory / "operator").rename(tmp_path / "safe")

    assert refresh_stored_accounts(directory, now=utc_now()) == ()


async def test_a_stolen_jwt_without_its_seed_is_refused(installation: Path) -> None:
    """A JWT is no secret: every service sees it; connecting takes a signature by its key."""
    with pytest.raises(nats.errors.Error):
        async with bare_client(
            installation, "principal", "admin", signature_cb=lambda _: b"A" * 86 + b"=="
        ):
            pass
