# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An installation is there completely or not at all, and only its owner reads its secrets."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from installation.adapters.directory import (
    InstallationDirectoryError,
    read_facts,
    read_keys,
    write_credentials,
    write_installation,
)
from installation.create import create_installation
from installation.layout import Layout
from shared.contracts.catalog import DsseEnvelope
from shared.dsse import public_key_of, verify_certificate
from shared.errors import FaultError, RefusedError
from shared.installation_facts import parse_facts
from shared.nkeys import parse_credentials

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOOPBACK = "127.0.0.1:4222"


def snapshot(root: Path) -> dict[str, bytes | None]:
    """Every path below, with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """With one node, and TLS so that every kind of file is there."""
    directory = tmp_path / "installation"
    create_installation(directory, listen=LOOPBACK, nodes=["n1"], now=NOW, force_tls=True)
    return directory


def test_nobody_else_can_read_anything(installation: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    modes = {
        stat.S_IMODE(path.stat().st_mode) | (path.is_dir() << 12)
        for path in (installation, *installation.rglob("*"))
    }

    assert modes == {0o600, 0o700 | 1 << 12}


def test_the_umask_does_not_matter(tmp_path: Path) -> None:
    """Even one that takes nothing away leaves secrets private."""
    before = os.umask(0)
    try:
        create_installation(tmp_path / "open", listen=LOOPBACK, now=NOW)
    finally:
        os.umask(before)

    test_nobody_else_can_read_anything(tmp_path / "open")


def test_an_existing_installation_is_refused_and_stays(installation: Path) -> None:
    """A second `init` changes nothing."""
    before = snapshot(installation)

    with pytest.raises(InstallationDirectoryError, match="already"):
        create_installation(installation, listen=LOOPBACK, now=NOW)

    assert snapshot(installation) == before


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    """Nothing is mixed with what is there; an empty directory is fine."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thing").touch()
    (tmp_path / "empty").mkdir()

    with pytest.raises(InstallationDirectoryError, match="not empty"):
        create_installation(tmp_path / "used", listen=LOOPBACK, now=NOW)
    create_installation(tmp_path / "empty", listen=LOOPBACK, now=NOW)

    assert read_facts(Layout(tmp_path / "empty")).name == "l3af"


class _OutOfRandomnessError(Exception):
    """Raised by the source below."""


def failing_at(call: int) -> Callable[[int], bytes]:
    """A source of bytes that fails at its n-th call."""
    calls = iter(range(call))

    def random_bytes(size: int) -> bytes:
        for _ in calls:
            return os.urandom(size)
        raise _OutOfRandomnessError

    return random_bytes


@pytest.mark.parametrize("call", range(0, 25, 4))
def test_a_failure_anywhere_leaves_nothing(tmp_path: Path, call: int) -> None:
    """Neither the directory nor a draft beside it is left."""
    with pytest.raises(_OutOfRandomnessError):
        create_installation(tmp_path / "i", listen=LOOPBACK, now=NOW, random_bytes=failing_at(call))

    assert list(tmp_path.iterdir()) == []


def test_a_disk_failure_leaves_nothing(tmp_path: Path) -> None:
    """A file that cannot be written undoes the others."""
    root = tmp_path / "i"
    files = {root / "a": b"1", root / "a" / "b": b"2"}

    with pytest.raises(FaultError):
        write_installation(root, files, directories=())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Not A Label"},
        {"administrator": "x.y"},
        {"nodes": ["ok", "*"]},
        {"listen": "nonsense"},
        {"listen": ":4222"},
    ],
)
def test_bad_names_and_listeners_are_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    """Nothing is written for them."""
    arguments = {"listen": LOOPBACK, "now": NOW, **wrong}

    with pytest.raises(RefusedError):
        create_installation(tmp_path / "i", **arguments)  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == []


def test_everybody_has_what_they_need(installation: Path) -> None:
    """Each directory of credentials holds a key, the facts and the authority, and no more."""
    layout = Layout(installation)
    common = {"user.creds", "installation.json", "ca.pem"}
    expected = {
        layout.credentials("node", "n1"): common,
        layout.credentials("service", "catalog"): common,
        layout.credentials("service", "auditor"): common | {"checkpoint.key"},
        layout.credentials("principal", "admin"): common | {"publisher.key", "publisher.dsse.json"},
    }

    for directory, names in expected.items():
        assert {path.name for path in directory.iterdir()} == names
        assert parse_facts((directory / "installation.json").read_bytes()) == read_facts(layout)


def test_a_credential_is_issued_by_its_roles_key(installation: Path) -> None:
    """Who issued it says what it may do."""
    layout = Layout(installation)
    facts = read_facts(layout)
    text = (layout.credentials("service", "scheduler") / "user.creds").read_text()

    claims = parse_credentials(text).claims

    assert facts.role_of(claims["iss"]) == "service-scheduler"
    assert claims["nats"]["issuer_account"] == facts.accounts.control
    assert claims["name"] == "scheduler"


def test_the_publishers_certificate_is_the_trust_roots(installation: Path) -> None:
    """The first administrator can sign packages that the installation trusts."""
    layout = Layout(installation)
    place = layout.credentials("principal", "admin")
    envelope = msgspec.json.decode((place / "publisher.dsse.json").read_bytes(), type=DsseEnvelope)
    root = bytes.fromhex(read_facts(layout).trust_root)

    certificate = verify_certificate(envelope, trust_root=root)

    seed = bytes.fromhex((place / "publisher.key").read_text())
    assert certificate.key == public_key_of(seed).hex()
    assert certificate.publisher == "admin"
    assert root == public_key_of(read_keys(layout).trust_root)


def test_credentials_are_replaced_whole(tmp_path: Path) -> None:
    """What an earlier key left behind is gone with it."""
    directory = tmp_path / "credentials" / "ann"
    write_credentials(directory, {"user.creds": b"1", "publisher.key": b"2"})

    write_credentials(directory, {"user.creds": b"3"})

    assert snapshot(directory) == {"user.creds": b"3"}
    assert [path.name for path in directory.parent.iterdir()] == ["ann"]


def test_what_is_no_installation_says_how_to_make_one(tmp_path: Path) -> None:
    """The refusal names the command."""
    with pytest.raises(InstallationDirectoryError, match="l3af init"):
        read_facts(Layout(tmp_path))
