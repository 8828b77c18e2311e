# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The secret that the catalog already has: the seed of its own credentials."""

from __future__ import annotations

from pathlib import Path

from services.catalog.ticket import derive_ticket_key
from shared.errors import FaultError
from shared.installation_facts import CREDENTIALS_FILE
from shared.nkeys import parse_credentials
from shared.trust.receipts import derive_clock_seed


def read_ticket_key(credentials_dir: Path) -> bytes:
    """The key for tickets that belongs to the credentials in a directory.

    Raises:
        RefusedError: The file is not a credentials file.
        FaultError: It cannot be read.
    """
    return derive_ticket_key(_read_seed(credentials_dir))


def read_clock_seed(credentials_dir: Path) -> bytes:
    """The seed of receipts that belongs to the credentials in a directory.

    Raises:
        RefusedError: The file is not a credentials file.
        FaultError: It cannot be read.
    """
    return derive_clock_seed(_read_seed(credentials_dir))


def _read_seed(credentials_dir: Path) -> bytes:
    path = credentials_dir / CREDENTIALS_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from error
    return parse_credentials(text).key.seed
