# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog as the process it is, with the trust root of `tests.package_builders`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from cli.package_build import BuiltPackage, build_package
from shared.adapters.bus import Bus
from shared.contracts.catalog import LIST_PACKAGES, ListPackages
from shared.dsse import public_key_of, sign_certificate
from shared.errors import FaultError
from shared.installation_facts import (
    FACTS_FILE,
    PUBLISHER_CERTIFICATE_FILE,
    PUBLISHER_KEY_FILE,
    parse_facts,
    render_facts,
)
from shared.package_archive import describe_files, unpack_archive, write_archive
from tests.package_builders import PUBLISHER_SEED, TRUST_SEED, a_certificate
from tests.support.operator_mode import OperatorModeServer

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0


class CatalogProcess:
    """`python -m services.catalog`, started, killed and started again by a test."""

    def __init__(
        self,
        server: OperatorModeServer,
        state_dir: Path,
        *,
        licence_policy: str = "gpl-ok",
        settings: Mapping[str, str] = MappingProxyType({}),
        trust_seed: bytes = TRUST_SEED,
    ) -> None:
        """`settings` are further variables of its environment."""
        self._server = server
        self._state_dir = state_dir
        self._licence_policy = licence_policy
        self._settings = settings
        self._trust_seed = trust_seed
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, asker: Bus) -> None:
        """Answering."""
        credentials = self._server.credentials("service-catalog")
        write_trust_root(credentials, self._trust_seed)
        environment = os.environ | {
            "CATALOG_CREDENTIALS_DIR": str(credentials),
            "CATALOG_STATE_DIR": str(self._state_dir),
            "CATALOG_LICENCE_POLICY": self._licence_policy,
            **self._settings,
        }
        with (self._server.directory / "catalog.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.catalog"], cwd=ROOT, env=environment, stderr=log
            )
        async with asyncio.timeout(START_SECONDS):
            while not await self._answers(asker):
                assert self._process.poll() is None, self.log()
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Gone without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Asked to end; the exit status."""
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        """What the process wrote."""
        return (self._server.directory / "catalog.log").read_text()

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(timeout=START_SECONDS)
        self._process = None
        return status

    async def _answers(self, asker: Bus) -> bool:
        try:
            await asker.request(LIST_PACKAGES, ListPackages(), timeout_seconds=0.5)
        except FaultError:
            return False
        return True


def a_built_package(
    name: str = "rate-limit", *, version: str = "1.0.0", padding_bytes: int = 0
) -> BuiltPackage:
    """A first-party package under another version, made larger by a file of random bytes."""
    built = build_package(ROOT / "packages" / name)
    files = unpack_archive(built.archive)
    if padding_bytes:
        files["padding.bin"] = os.urandom(padding_bytes)
    manifest = msgspec.structs.replace(built.manifest, version=version, files=describe_files(files))
    return BuiltPackage(manifest=manifest, archive=write_archive(files), elf=built.elf)


def write_publisher(
    credentials: Path,
    *,
    name: str = "acme",
    seed: bytes = PUBLISHER_SEED,
    trust_seed: bytes = TRUST_SEED,
) -> None:
    """The principal of a credentials directory may sign packages, and knows the trust root."""
    (credentials / PUBLISHER_KEY_FILE).write_text(seed.hex())
    certificate = sign_certificate(a_certificate(seed, publisher=name), seed=trust_seed)
    (credentials / PUBLISHER_CERTIFICATE_FILE).write_bytes(msgspec.json.encode(certificate))
    write_trust_root(credentials, trust_seed)


def write_trust_root(credentials: Path, trust_seed: bytes) -> None:
    """What the directory says of the installation names this trust root."""
    facts = parse_facts((credentials / FACTS_FILE).read_bytes())
    root = public_key_of(trust_seed).hex()
    (credentials / FACTS_FILE).write_bytes(
        render_facts(msgspec.structs.replace(facts, trust_root=root))
    )
