# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real nats-server in operator mode, with the accounts and permissions of the contract.

Everything is made fresh under a directory of the test; nothing listens but on loopback.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from installation.claims import (
    ACCOUNT_NAMES,
    PublicKeys,
    account_claims,
    account_of,
    operator_claims,
    user_claims,
)
from shared.contracts.control_permissions import control_permissions
from shared.contracts.permissions import (
    CONTROL_ROLES,
    USER_ROLES,
    ControlRole,
    Role,
)
from shared.installation_facts import (
    CREDENTIALS_FILE,
    FACTS_FILE,
    Accounts,
    InstallationFacts,
    render_facts,
)
from shared.nkeys import KeyKind, NKey, render_credentials, render_jwt

START_SECONDS = 60.0
NATS_SERVER = Path(sys.executable).parent / "nats-server"
MAX_PAYLOAD_BYTES = 1024 * 1024


def new_key(kind: KeyKind) -> NKey:
    """A key nobody had before."""
    return NKey(kind, secrets.token_bytes(32))


class OperatorModeServer:
    """One server and the keys to make users of every role."""

    def __init__(
        self,
        directory: Path,
        *,
        feature_flags: str = "js_ack_fc_v2: false",
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._certificate = certificate
        self.directory = directory
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._feature_flags = feature_flags
        self._operator = new_key("operator")
        self._accounts = {name: new_key("account") for name in ACCOUNT_NAMES}
        roles: tuple[Role, ...] = (*USER_ROLES, *CONTROL_ROLES)
        self._roles: dict[Role, NKey] = {role: new_key("account") for role in roles}
        self._users: dict[tuple[Role, str], NKey] = {}
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where clients connect."""
        scheme = "nats" if self._certificate is None else "tls"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def facts(self) -> InstallationFacts:
        """What a credentials directory says about the installation."""
        return InstallationFacts(
            name="test",
            created_at="2026-01-01T00:00:00Z",
            server_url=self.url,
            operator_key=self._operator.public,
            accounts=Accounts(**{name: key.public for name, key in self._accounts.items()}),
            roles={key.public: role for role, key in self._roles.items()},
            trust_root="00" * 32,
            log_origin="l3af.test/log",
            log_verifier_key="",
        )

    def start(self) -> None:
        """Answering on `port`, which stays the same over restarts."""
        config = self.directory / "server.conf"
        config.write_text(self._configuration())
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [NATS_SERVER, "-c", str(config)], stdout=log, stderr=log
            )
        self._wait_until_ready(self.process)

    def stop(self) -> None:
        """Gone, whatever it was doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """As after a crash: same port, same store."""
        self.stop()
        self.start()

    def credentials(
        self,
        role: Role,
        name: str | None = None,
        *,
        lives_seconds: int | None = None,
        spaces: Sequence[str] = (),
    ) -> Path:
        """A credentials directory of a user of that role; the same for the same name.

        It hears the events of the spaces live, beside `public`.

        Services are named after their role, as the permission table expects.
        """
        now = datetime.now(UTC)
        user = name or role.removeprefix("service-")
        key = self._users.setdefault((role, user), new_key("user"))
        directory = self.directory / "credentials" / f"{role}-{user}"
        claims = user_claims(
            key=key.public,
            name=user,
            account_key=self._accounts[account_of(role)].public,
            now=now,
            expires_at=None if lives_seconds is None else now + timedelta(seconds=lives_seconds),
            spaces=spaces,
        )
        jwt = render_jwt(claims, signer=self._roles[role])
        return self._written(directory, jwt, key)

    def _written(self, directory: Path, jwt: str, key: NKey) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / CREDENTIALS_FILE).write_text(render_credentials(jwt, key))
        (directory / CREDENTIALS_FILE).chmod(0o600)
        (directory / FACTS_FILE).write_bytes(render_facts(self.facts))
        return directory

    def key_of(self, role: Role, name: str) -> str:
        """The public key of a user made before."""
        return self._users[role, name].public

    def lesser_credentials(self, role: ControlRole, *, hears_no: str) -> Path:
        """As a service has them from a release in which its role did not yet hear that subject."""
        now, user = datetime.now(UTC), role.removeprefix("service-")
        key, account = new_key("user"), self._accounts["control"]
        directory = self.directory / "credentials" / f"{role}-without-{hears_no}"
        claims = user_claims(key=key.public, name=user, account_key=account.public, now=now)
        may = control_permissions(role)
        heard = [subject for subject in may.subscribe if subject != hears_no]
        assert len(heard) + 1 == len(may.subscribe)
        claims["nats"] |= {
            "pub": {"allow": list(may.publish)},
            "sub": {"allow": heard},
            "subs": -1,
            "data": -1,
            "payload": -1,
        }
        jwt = render_jwt(claims, signer=account)
        return self._written(directory, jwt, key)

    def unrestricted(self) -> tuple[str, NKey]:
        """JWT and key of a user of the control account who may do everything, for probing."""
        account, key = self._accounts["control"], new_key("user")
        nats: dict[str, Any] = {"type": "user", "version": 2, "pub": {}, "sub": {}}
        nats |= {"subs": -1, "data": -1, "payload": -1}
        claims = {"sub": key.public, "name": "probe", "iat": 1, "nats": nats}
        return render_jwt(claims, signer=account), key

    def _configuration(self) -> str:
        keys = PublicKeys(
            operator=self._operator.public,
            accounts={name: key.public for name, key in self._accounts.items()},
            roles={role: key.public for role, key in self._roles.items()},
        )
        now = datetime.now(UTC)
        operator = render_jwt(operator_claims(keys, name="test", now=now), signer=self._operator)
        accounts = "\n".join(
            f"  {key.public}: "
            + render_jwt(account_claims(name, keys, revocations={}, now=now), signer=self._operator)
            for name, key in self._accounts.items()
        )
        return (
            f'listen: "127.0.0.1:{self.port or -1}"\n'
            "server_name: test\n"
            f"max_payload: {MAX_PAYLOAD_BYTES}\n"
            f'ports_file_dir: "{self.directory}"\n'
            f'jetstream {{ store_dir: "{self.directory / "jetstream"}", sync_interval: always }}\n'
            f"{self._tls()}"
            f"feature_flags {{ {self._feature_flags} }}\n"
            f"operator: {operator}\n"
            "resolver: MEMORY\n"
            f"resolver_preload {{\n{accounts}\n}}\n"
        )

    def _tls(self) -> str:
        if self._certificate is None:
            return ""
        certificate, key = self._certificate
        return f'tls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 5 }}\n'

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        ports = self.directory / f"nats-server_{process.pid}.ports"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if ports.exists() and (text := ports.read_text()).strip().endswith("}"):
                self.port = int(json.loads(text)["nats"][0].rpartition(":")[2])
                return
            if process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError((self.directory / "server.log").read_text())
