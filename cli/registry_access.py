# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a registry wants to be asked: the challenge it answers with, and what satisfies it.

RFC 7235 for challenges; Docker's token authentication (distribution, spec/auth/token.md and
oauth.md) for `Bearer`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from cli.registry_logins import Login
from shared.errors import FaultError, Reason, RefusedError
from shared.oci.references import is_loopback

CLIENT: Final = "l3af"
MAX_TOKEN_BYTES: Final = 64 * 1024
_SCHEME: Final = re.compile(r"\s*(?P<scheme>[A-Za-z]+)\s+(?P<rest>.*)", re.DOTALL)
_PARAMETER: Final = re.compile(
    r'(?P<name>[A-Za-z_]+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^",\s]+))'
)

Ask = Callable[[str, str, Mapping[str, str], bytes | None], bytes]
"""Method, URL, headers and body to the body of an answer 200."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What `WWW-Authenticate` demands."""

    scheme: str
    """`bearer`, `basic`, or what is not known here."""
    parameters: Mapping[str, str]


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


def parse_challenge(header: str) -> Challenge:
    """The challenge in a header.

    >>> parse_challenge('Bearer realm="https://a/t",service="r"').parameters["service"]
    'r'
    """
    match = _SCHEME.fullmatch(header)
    if match is None:
        return Challenge(header.strip().lower(), {})
    parameters = {
        one["name"].lower(): one["quoted"] if one["quoted"] is not None else one["bare"]
        for one in _PARAMETER.finditer(match["rest"])
    }
    return Challenge(match["scheme"].lower(), parameters)


def authorization(
    challenge: Challenge,
    login: Login | None,
    *,
    scope: str,
    host: str,
    may_be_plain: bool,
    ask: Ask,
) -> str:
    """The `Authorization` header that satisfies the challenge.

    Args:
        challenge: The registry's.
        login: Who one is there; None: nobody.
        scope: What is wanted, as `repository:a/b:pull`.
        host: The registry's, for refusals.
        may_be_plain: Whether tokens may be asked for without TLS.
        ask: Asks the token service.

    Raises:
        RefusedError: Nobody is logged in, or the registry wants what is not spoken here.
        FaultError: The token service does not answer as it should.
    """
    if challenge.scheme == "basic":
        if login is None or not login.name:
            raise not_logged_in(host)
        return _basic(login)
    realm = challenge.parameters.get("realm", "")
    if challenge.scheme != "bearer" or not realm:
        rule = "asks for a kind of login that is not known here"
        reason = Reason(path=host, rule=rule, got=challenge.scheme, allowed=["Bearer", "Basic"])
        raise RefusedError(f"{host} {rule}", [reason])
    address = urlsplit(realm)
    is_private = address.scheme == "https" or may_be_plain or is_loopback(address.netloc)
    if address.scheme not in ("http", "https") or not is_private:
        reason = Reason(path=host, rule="sends logins to a place without TLS", got=realm)
        raise RefusedError(f"{host} {reason.rule}", [reason])
    wanted = {"service": challenge.parameters.get("service", ""), "scope": scope}
    wanted = {key: value for key, value in wanted.items() if value}
    answer = _asked(realm, wanted, login, ask)
    try:
        told = msgspec.json.decode(answer, type=_Token)
    except msgspec.DecodeError as error:
        raise FaultError(f"the token service of {host} did not answer in JSON") from error
    token = told.token or told.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise FaultError(f"the token service of {host} gave no token")
    return f"Bearer {token}"


def not_logged_in(host: str) -> RefusedError:
    """The refusal of somebody whom the registry does not know."""
    reason = Reason(
        path=host, rule=f"wants a login: `docker login {host}` or `podman login {host}`"
    )
    return RefusedError(f"{host} {reason.rule}", [reason])


def _asked(realm: str, wanted: Mapping[str, str], login: Login | None, ask: Ask) -> bytes:
    if login is not None and login.token:
        form = {"grant_type": "refresh_token", "refresh_token": login.token, "client_id": CLIENT}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return ask("POST", realm, headers, urlencode({**form, **wanted}).encode())
    headers = {} if login is None else {"Authorization": _basic(login)}
    joint = "&" if urlsplit(realm).query else "?"
    return ask("GET", f"{realm}{joint}{urlencode(wanted)}", headers, None)


def _basic(login: Login) -> str:
    pair = base64.b64encode(f"{login.name}:{login.password}".encode()).decode()
    return f"Basic {pair}"
