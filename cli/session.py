# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""As whom a command speaks to the bus, and the connection it does so through."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from shared.adapters.bus import REQUEST_SECONDS, Bus, connect
from shared.contracts.base import Endpoint, Message, Request
from shared.contracts.errors import ErrorCode
from shared.errors import RefusedError

CREDENTIALS_VARIABLE: Final = "L3AF_CREDENTIALS"
INSTALLATION_VARIABLE: Final = "L3AF_INSTALLATION"
DEFAULT_INSTALLATION: Final = Path("~/.local/share/l3af")
FIRST_PRINCIPAL: Final = "admin"
"""Made with the installation, so that the first command has somebody to speak as."""

RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)


class NoCredentialsError(RefusedError):
    """There is nobody to speak as."""

    code: ClassVar[ErrorCode] = "not_found"


def installation_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the installation of this user is: `L3AF_INSTALLATION`, or the default."""
    return Path(environ.get(INSTALLATION_VARIABLE) or DEFAULT_INSTALLATION).expanduser()


def credentials_dir(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of the principal to speak as.

    In this order: what was given, `L3AF_CREDENTIALS`, the installation's first administrator.

    Raises:
        NoCredentialsError: The directory does not exist or holds no `user.creds`.
    """
    if given is not None:
        chosen = given.expanduser()
    elif variable := environ.get(CREDENTIALS_VARIABLE):
        chosen = Path(variable).expanduser()
    else:
        chosen = installation_dir(environ) / "credentials" / "principals" / FIRST_PRINCIPAL
    if not (chosen / "user.creds").is_file():
        raise NoCredentialsError(
            f"no credentials in {chosen}: start an installation with `l3af up`, or name a "
            f"principal's directory with --credentials or {CREDENTIALS_VARIABLE}"
        )
    return chosen


@asynccontextmanager
async def connected(credentials: Path | None = None) -> AsyncIterator[Bus]:
    """A connection to the bus as the principal that `credentials_dir` chooses.

    Raises:
        NoCredentialsError: There is no such principal here.
        FaultError: The bus does not answer.
    """
    async with connect(credentials_dir(credentials)) as bus:
        yield bus


async def ask(
    endpoint: Endpoint[RequestT, ReplyT],
    message: RequestT,
    credentials: Path | None,
    *,
    timeout_seconds: float = REQUEST_SECONDS,
) -> ReplyT:
    """The reply to one request, over a connection of its own.

    Raises:
        RefusedError: There is nobody to speak as, or the rules say no.
        FaultError: Nobody answers.
    """
    async with connected(credentials) as bus:
        return await bus.request(endpoint, message, timeout_seconds=timeout_seconds)
