# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who one is at a registry: what `docker login` and `podman login` keep.

docker/cli, "Credential stores": `auths` with `auth` (base64 of name and password) or a token,
`credHelpers` by registry and `credsStore` for all, which are programs `docker-credential-<name>`.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from shared.errors import FaultError, Reason, RefusedError
from shared.oci.references import DOCKER_HUB

HELPER_SECONDS: Final = 30.0
_HUB_KEY: Final = "https://index.docker.io/v1/"
_TOKEN_USER: Final = "<token>"  # noqa: S105 because it marks a token and is none


@dataclass(frozen=True, slots=True)
class Login:
    """One identity."""

    name: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    """An identity token, which is exchanged for access tokens."""


class _Stored(msgspec.Struct, frozen=True):
    auths: dict[str, dict[str, Any]] = {}
    credHelpers: dict[str, str] = {}  # noqa: N815 because Docker names it so
    credsStore: str = ""  # noqa: N815


def login_file(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where logins are kept; None: nowhere.

    In this order: what was given, `REGISTRY_AUTH_FILE`, podman's file, Docker's.
    """
    if given is not None:
        return given.expanduser()
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return Path(named).expanduser()
    docker = environ.get("DOCKER_CONFIG") or "~/.docker"
    places = [Path(docker).expanduser() / "config.json"]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(runtime) / "containers" / "auth.json")
    return next((place for place in places if place.is_file()), None)


def find_login(host: str, file: Path | None) -> Login | None:
    """Who to be at this host; None: nobody.

    Raises:
        RefusedError: The file cannot be read or is malformed.
        FaultError: A credential helper failed.
    """
    if file is None:
        return None
    stored = _read(file)
    names = _names(host)
    helper = next((stored.credHelpers[one] for one in names if one in stored.credHelpers), "")
    if helper or stored.credsStore:
        found = _ask_helper(helper or stored.credsStore, names)
        if found is not None:
            return found
    for one in names:
        if (entry := stored.auths.get(one)) is not None:
            return _login(entry, place=f"{file}: auths[{one}]")
    return None


def _read(file: Path) -> _Stored:
    try:
        return msgspec.json.decode(file.read_bytes() or b"{}", type=_Stored)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
        raise RefusedError(f"{file}: {rule}", [Reason(path=str(file), rule=rule)]) from error
    except msgspec.DecodeError as error:
        rule = f"is no file of registry logins: {error}"
        raise RefusedError(f"{file}: {rule}", [Reason(path=str(file), rule=rule)]) from error


def _names(host: str) -> tuple[str, ...]:
    """How the files call a host."""
    if host == DOCKER_HUB:
        return (_HUB_KEY, DOCKER_HUB, "index.docker.io")
    return (host, f"https://{host}", f"https://{host}/v2/", f"https://{host}/v1/")


def _login(entry: dict[str, Any], *, place: str) -> Login | None:
    if token := entry.get("identitytoken"):
        return Login(token=str(token))
    if text := entry.get("auth"):
        try:
            name, colon, password = (
                base64.b64decode(str(text), validate=True).decode().partition(":")
            )
        except (binascii.Error, UnicodeDecodeError) as error:
            reason = Reason(path=place, rule="is not base64 of name and password")
            raise RefusedError(f"{place} {reason.rule}", [reason]) from error
        if colon:
            return Login(name, password.strip("\0"))
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")))
    return None


def _ask_helper(helper: str, names: tuple[str, ...]) -> Login | None:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise FaultError(f"docker-credential-{helper} is not installed, and logins are kept by it")
    for name in names:
        try:
            answer = subprocess.run(
                [program, "get"],
                input=name.encode(),
                capture_output=True,
                check=False,
                timeout=HELPER_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise FaultError(f"{program} did not answer in {HELPER_SECONDS} s") from error
        if answer.returncode == 0:
            return _helped(answer.stdout, program)
    return None


def _helped(output: bytes, program: str) -> Login:
    try:
        said = msgspec.json.decode(output, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise FaultError(f"{program} did not answer in JSON") from error
    name, secret = str(said.get("Username", "")), str(said.get("Secret", ""))
    return Login(token=secret) if name == _TOKEN_USER else Login(name, secret)
