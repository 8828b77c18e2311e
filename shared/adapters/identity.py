# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A credentials directory: who a process is, and whom it trusts."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Final

from shared.errors import FaultError, RefusedError
from shared.installation_facts import (
    AUTHORITY_FILE,
    CREDENTIALS_FILE,
    FACTS_FILE,
    InstallationFacts,
    parse_facts,
)
from shared.nkeys import Credentials, parse_credentials


class Identity:
    """One user of one installation, as the directory says.

    Raises:
        RefusedError: A file is malformed.
        FaultError: A file cannot be read.
    """

    def __init__(self, credentials_dir: Path, *, role: str | None) -> None:
        self._credentials_dir: Final = credentials_dir
        try:
            self.facts: Final[InstallationFacts] = parse_facts(
                (credentials_dir / FACTS_FILE).read_bytes()
            )
            credentials = self._read()
        except OSError as error:
            raise FaultError(f"{credentials_dir}: cannot be read: {error}") from error
        self.name: Final[str] = credentials.name
        self.key: Final[str] = credentials.key.public
        self.role: Final[str] = role or self.facts.role_of(str(credentials.claims["iss"]))
        self.address_secret: Final[bytes] = hashlib.sha256(
            b"l3af address digest" + credentials.key.seed
        ).digest()
        """Known to this user alone, and the same after a restart."""

    def current_credentials(self) -> Credentials:
        """Read anew each time, so that rotated credentials need no restart.

        Raises:
            OSError: Unreadable or malformed.
        """
        try:
            return self._read()
        except RefusedError as error:
            raise OSError(f"{self._credentials_dir}: {error.message}") from error

    def tls_context(self) -> ssl.SSLContext | None:
        """Trusts the installation's authority alone and checks names; None without TLS."""
        if not self.facts.has_tls:
            return None
        context = ssl.create_default_context(cafile=str(self._credentials_dir / AUTHORITY_FILE))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _read(self) -> Credentials:
        data = (self._credentials_dir / CREDENTIALS_FILE).read_bytes()
        return parse_credentials(data.decode("ascii", "replace"))
